import numpy as np
import pytest

from kinetoken.diagnosis.usage import foreground_tokens, fsq_digits, usage_intervals, usage_of
from kinetoken.scenes.motion import Trajectories
from kinetoken.scenes.rendering import Rendering, Scene


def test_uniform_and_single_codes_are_the_two_ends() -> None:
    uniform, single = usage_of(np.full(64, 3)), usage_of(np.eye(64, dtype=int)[5] * 9)
    assert uniform.perplexity == pytest.approx(64) and uniform.usage == 1 and uniform.dead_codes == 0
    assert single.perplexity == pytest.approx(1) and single.usage == 1 / 64 and single.dead_codes == 63
    assert single.top1_share == 1 and single.entropy_bits == pytest.approx(0)


def test_usage_of_unequal_shares_in_closed_form() -> None:
    found = usage_of(np.array([2, 1, 1, 0]))
    assert found.entropy_bits == pytest.approx(1.5) and found.perplexity == pytest.approx(2**1.5)
    assert found.usage == 0.75 and found.top1_share == 0.5


def test_near_dead_codes_are_seen_but_a_hundredth_of_even_use() -> None:
    found = usage_of(np.array([0, 1, 400, 399]))  # even use would be 200 each, so 2 is the limit
    assert (found.dead_codes, found.near_dead_codes) == (1, 1)
    assert usage_of(np.array([0, 2, 400, 398])).near_dead_codes == 0


def test_nothing_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        usage_of(np.zeros(4, int))


def test_intervals_hold_the_estimate_and_narrow_with_clips() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (400, 8)) ** 2 // 16
    many = np.stack([np.bincount(clip, minlength=16) for clip in codes])
    few = many[:40]
    for counts in (few, many):
        low, high = usage_intervals(counts, seed=0)["perplexity"]
        assert low < usage_of(counts.sum(0)).perplexity < high
    width = [np.diff(usage_intervals(counts, seed=0)["perplexity"])[0] for counts in (few, many)]
    assert width[1] < 0.6 * width[0]


def test_fsq_digits_are_the_quantizers_own() -> None:
    from vector_quantize_pytorch import FSQ

    codes = np.arange(1000, dtype=np.int32)
    import torch

    expected = FSQ([8, 5, 5, 5]).indices_to_level_indices(torch.from_numpy(codes)).numpy()
    assert (fsq_digits(codes, (8, 5, 5, 5)) == expected).all()


def test_foreground_tokens_follow_the_ball(trajectory_params: Trajectories, rendering_params: Rendering) -> None:
    scene = Scene(trajectory_params.world, rendering_params.look)
    points = np.full((1, 16, 3), [0.0, 0.0, 3.0])
    points[:, 8:, 0] = 1.0  # jumps right after half of the clip
    mask = foreground_tokens(scene, points, (4, 8, 8))
    u = scene.camera.project(points)[0]
    assert mask.shape == (1, 4, 8, 8)
    for slice_ in range(4):
        columns = np.flatnonzero(mask[0, slice_].any(0))
        assert columns.min() <= u[0, 4 * slice_] // 8 <= columns.max() and len(columns) <= 3
    assert not (mask[0, 0] & mask[0, 3]).any()
