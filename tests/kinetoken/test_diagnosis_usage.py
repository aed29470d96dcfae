import numpy as np
import pytest

from kinetoken.diagnosis.usage import (
    by_position,
    clip_counts,
    foreground_tokens,
    level_digits,
    level_histograms,
    usage_intervals,
    usage_of,
)
from kinetoken.rendering import Rendering, Scene
from kinetoken.trajectories import Trajectories


def test_uniform_and_single_codes_are_the_two_ends() -> None:
    uniform, single = usage_of(np.full(64, 3)), usage_of(np.eye(64, dtype=int)[5] * 9)
    assert uniform.perplexity == pytest.approx(64) and uniform.usage == 1 and uniform.dead_codes == 0
    assert single.perplexity == pytest.approx(1) and single.usage == 1 / 64 and single.dead_codes == 63
    assert single.top1_share == 1 and single.entropy_bits == pytest.approx(0)


def test_usage_of_unequal_shares_in_closed_form() -> None:
    found = usage_of(np.array([2, 1, 1, 0]))
    assert found.entropy_bits == pytest.approx(1.5) and found.perplexity == pytest.approx(2**1.5)
    assert found.usage == 0.75 and found.top1_share == 0.5


def test_nothing_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        usage_of(np.zeros(4, int))


def test_clip_counts_agree_with_counting_clip_by_clip() -> None:
    rng = np.random.default_rng(0)
    codes, mask = rng.integers(0, 7, (5, 2, 3, 3)).astype(np.int32), rng.random((5, 2, 3, 3)) < 0.4
    expected = [np.bincount(c[m], minlength=7) for c, m in zip(codes, mask, strict=True)]
    assert (clip_counts(codes, 7, mask) == np.stack(expected)).all()
    assert clip_counts(codes, 7).sum() == codes.size


def test_intervals_hold_the_estimate_and_narrow_with_clips() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (400, 2, 2, 2)).astype(np.int32) ** 2 // 16
    few, many = clip_counts(codes[:40], 16), clip_counts(codes, 16)
    for counts in (few, many):
        low, high = usage_intervals(counts, seed=0)["perplexity"]
        assert low < usage_of(counts.sum(0)).perplexity < high
    width = [np.diff(usage_intervals(counts, seed=0)["perplexity"])[0] for counts in (few, many)]
    assert width[1] < 0.6 * width[0]


def test_level_digits_are_the_quantizers_own() -> None:
    from vector_quantize_pytorch import FSQ

    codes = np.arange(1000, dtype=np.int32)
    import torch

    expected = FSQ([8, 5, 5, 5]).indices_to_level_indices(torch.from_numpy(codes)).numpy()
    assert (level_digits(codes, (8, 5, 5, 5)) == expected).all()


def test_level_histograms_sum_to_one_and_tell_ball_from_the_rest() -> None:
    codes = np.zeros((4, 1, 2, 2), np.int32)
    codes[:, 0, 0, 0] = 3  # first channel at its last level, on the ball only
    mask = np.zeros(codes.shape, bool)
    mask[:, 0, 0, 0] = True
    table = level_histograms(codes, (4, 3), mask).set_index(["channel", "level"])
    assert table.groupby("channel")["share"].sum().tolist() == [1, 1]
    assert table.loc[(0, 3), "share_foreground"] == 1 and table.loc[(0, 3), "share"] == 0.25
    assert len(level_histograms(codes, (), mask)) == 0


def test_by_position_finds_the_one_place_that_varies() -> None:
    codes = np.zeros((8, 2, 3, 4), np.int32)
    codes[:, 1, 2, 3] = np.arange(8)
    table = by_position(codes, 10, np.ones(codes.shape, bool))
    assert len(table) == 24
    place = table[["slice", "row", "column"]].to_numpy()[table["perplexity"].to_numpy().argmax()]
    assert place.tolist() == [1, 2, 3] and table["perplexity"].max() == pytest.approx(8)


def test_foreground_tokens_follow_the_ball(trajectory_params: Trajectories, rendering_params: Rendering) -> None:
    scene = Scene(trajectory_params.world, rendering_params.look)
    points = np.full((1, 16, 3), [0.0, 0.0, 3.0])
    points[:, 8:, 0] = 1.0  # jumps right after half of the clip
    mask = foreground_tokens(scene, points, (4, 8, 8))
    u = scene.project(points)[0]
    assert mask.shape == (1, 4, 8, 8)
    for slice_ in range(4):
        columns = np.flatnonzero(mask[0, slice_].any(0))
        assert columns.min() <= u[0, 4 * slice_] // 8 <= columns.max() and len(columns) <= 3
    assert not (mask[0, 0] & mask[0, 3]).any()
