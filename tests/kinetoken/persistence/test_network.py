"""Extractors and head: causal to the bit, the same piece by piece, and what they are made of."""

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from kinetoken.backbones.resnet3d import TimeConv3d, streaming
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.persistence.attention import attention_ratio, meets_candidate, token_weights
from kinetoken.persistence.compute import count
from kinetoken.persistence.evaluation import (
    DetectorPredictions,
    Trial,
    area,
    decision_metrics,
    harmonic_mean,
    ideal_calibration_error,
)
from kinetoken.persistence.extractors import MagvitExtractor, build_extractor
from kinetoken.persistence.network import (
    Detector,
    PersistenceNetwork,
    build_network,
    load_detector,
    motion_features,
    save_detector,
)
from kinetoken.persistence.params import ExtractorName, PersistenceParams
from kinetoken.persistence.stopping import decide, steps_seen
from kinetoken.persistence.training import CandidateBatches, Targets, losses, targets, turned
from kinetoken.physics.world import World
from kinetoken.scenes.rendering import Look, Scene
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[3]
SIZE, FRAMES = 32, 16
ALL = get_args(ExtractorName)
LOOK = Look(image_size=SIZE, wall_shade=0.2, floor_shade=0.3, shadow=0.0, ambient=0.8)
SCENE = Scene(World(floor_y=-1.75, ball_radius=0.2, fps=16.0, num_frames=FRAMES), LOOK)
each_extractor = pytest.mark.parametrize("name", ALL)


@pytest.fixture(scope="module")
def params() -> PersistenceParams:
    read = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    small = {
        name: dataclasses.replace(read.of(name), channels=8, **({"width": 8} if name.endswith("causal") else {}))
        for name in ALL
    }
    small["transformer"] = dataclasses.replace(read.transformer, channels=8, heads=2)
    return dataclasses.replace(read, head=dataclasses.replace(read.head, width=8, heads=2), **small)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    shape = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=8, coarse_blocks=2)
    return Tokenizer(shape, FSQ, SIZE).eval()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, FRAMES, SIZE, SIZE, 3), np.uint8))


def network(name: str, params: PersistenceParams, tokenizer: Tokenizer) -> PersistenceNetwork:
    """With every parameter moved off its first value, so that nothing is hidden behind a zero."""
    built = build_network(name, params, SIZE, tokenizer)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built.eval()


@each_extractor
def test_what_comes_later_changes_nothing_by_one_bit(
    name: str, params: PersistenceParams, tokenizer: Tokenizer, clips: torch.Tensor
) -> None:
    built = network(name, params, tokenizer)
    with torch.no_grad():
        whole = built(built.extractor.kept(clips))
        for t in (4, 10):
            other = clips.clone()
            other[:, t:] = 255 - other[:, t:]
            changed = built(built.extractor.kept(other))
            done = t // built.stride
            for one, two in ((whole.logits, changed.logits), (whole.seen.content, changed.seen.content),
                             (whole.seen.attention, changed.seen.attention)):
                assert torch.equal(one[:, :done], two[:, :done])
                assert not torch.equal(one, two)
            assert torch.equal(whole.over_time[:, :, :done, :done], changed.over_time[:, :, :done, :done])
            frames = done * built.stride
            assert torch.equal(whole.seen.place[:, :frames], changed.seen.place[:, :frames])


@each_extractor
def test_piece_by_piece_gives_what_whole_clips_give(
    name: str, params: PersistenceParams, tokenizer: Tokenizer, clips: torch.Tensor
) -> None:
    built = network(name, params, tokenizer)
    with torch.no_grad():
        whole, state = built(built.extractor.kept(clips)), None
        for step in range(FRAMES // built.stride):
            piece, state = built.step(clips[:, step * built.stride : (step + 1) * built.stride], state)
            frames = slice(step * built.stride, (step + 1) * built.stride)
            torch.testing.assert_close(piece.logits[:, 0], whole.logits[:, step], atol=1e-5, rtol=0)
            torch.testing.assert_close(piece.seen.place, whole.seen.place[:, frames], atol=1e-4, rtol=0)
            torch.testing.assert_close(piece.seen.presence, whole.seen.presence[:, frames], atol=1e-5, rtol=0)
            torch.testing.assert_close(
                piece.over_time[:, :, 0], whole.over_time[:, :, step, : step + 1], atol=1e-5, rtol=0
            )


@each_extractor
def test_all_that_trains_is_reached_and_the_tokenizer_is_not(
    name: str, params: PersistenceParams, tokenizer: Tokenizer, clips: torch.Tensor
) -> None:
    built = network(name, params, tokenizer).train()
    evidence = built(built.extractor.kept(clips))
    (evidence.logits.square().sum() + evidence.seen.place.sum() + evidence.seen.presence.square().sum()).backward()
    unreached = [key for key, p in built.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not unreached
    assert all(p.grad is None for p in tokenizer.parameters())


@each_extractor
def test_every_step_costs_the_same_but_for_attention(
    name: str, params: PersistenceParams, tokenizer: Tokenizer
) -> None:
    built = network(name, params, tokenizer)
    compute = count(built, SIZE, FRAMES)
    assert len(compute.multiply_adds) == FRAMES // built.stride
    growth = np.diff(compute.multiply_adds)
    assert (growth >= 0).all() and growth.max() < 0.01 * compute.multiply_adds[0]
    shares = compute.share(np.arange(len(compute.multiply_adds)))
    assert (np.diff(shares) > 0).all() and shares[-1] == 1


def test_sizes_and_tokenizers_that_do_not_fit(params: PersistenceParams) -> None:
    with pytest.raises(UserError, match="multiple of 8"):
        build_extractor("transformer", params.transformer, 36, None)
    with pytest.raises(UserError, match="none was given"):
        build_extractor("magvit", params.magvit, SIZE, None)


def test_a_detector_comes_back_and_only_with_its_own_tokenizer(
    tmp_path: Path, params: PersistenceParams, tokenizer: Tokenizer, clips: torch.Tensor
) -> None:
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    own = load_tokenizer(tmp_path / "tokenizer")
    built = network("magvit", params, own)
    detector = Detector("magvit", built, (1.0, 2.0, 0.5, 1.0), 3.0, -2.0, FRAMES, own.hash)
    save_detector(tmp_path / "model", detector, params, SIZE)
    again = load_detector(tmp_path / "model", own)
    assert dataclasses.replace(again, network=built) == detector
    with torch.no_grad():
        kept = built.extractor.kept(clips)
        assert torch.equal(again.network(kept).logits, built(kept).logits)
    for wrong in (None, tokenizer):
        with pytest.raises(UserError, match="reads codes of tokenizer"):
            load_detector(tmp_path / "model", wrong)
    with pytest.raises(UserError, match="not a model of detect_persistence"):
        load_detector(tmp_path / "tokenizer")
    assert isinstance(again.network.extractor, MagvitExtractor)


def test_motion_features_by_hand() -> None:
    rng = np.random.default_rng(2)
    place, presence = rng.uniform(0, 60, (2, 7, 2)), rng.uniform(0, 1, (2, 7))
    found = motion_features(torch.from_numpy(place), torch.from_numpy(presence)).numpy()
    for clip in range(2):
        for t in range(2, 7):
            here = presence[clip, t]
            two = here * presence[clip, t - 1]
            three = two * presence[clip, t - 2]
            moved, before = (np.clip((place[clip, k] - place[clip, k - 1]) / 2, -8, 8) for k in (t, t - 1))
            turn = np.clip(moved - before, -8, 8)
            fast, rough = (moved**2).sum(), (turn**2).sum()
            expected = [
                here, two, three, *(two * moved), *(three * turn), two * min(fast, 16), three * min(rough, 16),
                two * np.log(fast + 0.02), three * np.log(rough + 0.02), *(place[clip, t] / 20 - 1.6),
            ]
            np.testing.assert_allclose(found[clip, t - 2], expected, rtol=1e-6)


def test_cells_that_the_disc_touches_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(-0.8, 0.8, (2, 4)), rng.uniform(-0.8, 0.8, (2, 4)), np.full((2, 4), 3.2)], -1)
    points[0, :2] = np.nan
    found = meets_candidate(points, SCENE, 2, SIZE // 8)
    fine = np.arange(0, SIZE, 0.1) + 0.05 - 0.5
    for clip in range(2):
        for step in range(2):
            expected = np.zeros((SIZE // 8, SIZE // 8), bool)
            for frame in (2 * step, 2 * step + 1):
                if np.isfinite(points[clip, frame, 0]):
                    u, v, radius = (float(x) for x in SCENE.camera.project(points[clip, frame]))
                    disc = np.hypot(fine[:, None] - v, fine[None] - u) < radius
                    expected |= disc.reshape(SIZE // 8, 80, SIZE // 8, 80).any((1, 3))
            np.testing.assert_array_equal(found[clip, step], expected.ravel())


def test_uniform_attention_scores_one_and_all_on_the_candidate_what_there_is() -> None:
    meets = np.zeros((2, 4, 16), bool)
    meets[0, 1, 3] = meets[0, 2, 4] = meets[0, 3, 5] = True
    step = np.array([2, 3])
    uniform = np.full((2, 4, 16), 1 / 48)
    ratio = attention_ratio(uniform, meets, step)
    assert ratio[0] == pytest.approx(1) and np.isnan(ratio[1])
    assert attention_ratio(meets / 2, meets, step)[0] == pytest.approx(48 / 2)
    watched = DetectorPredictions(np.zeros((1, 2)), np.zeros((1, 2, 2)), np.zeros((1, 2)),
                      np.array([[[0.5, 0.5], [1.0, 0.0]]]), np.array([[[1.0, 0.0], [0.25, 0.75]]]))
    np.testing.assert_allclose(token_weights(watched, np.array([1])), [[[0.125, 0.125], [0.75, 0.0]]])


def test_metrics_of_decisions_by_hand(params: PersistenceParams, tokenizer: Tokenizer) -> None:
    odds = np.array([[5.0, 5.0], [0.1, -5.0], [0.2, 1.0], [-6.0, -6.0]])
    persistent = np.array([True, False, False, False])
    compute = count(network("magvit", params, tokenizer), SIZE, 8)
    trial = Trial(odds, decide(odds, 4.0, -4.0), 0, steps_seen(4, 8), compute, 8)
    found = decision_metrics(trial, persistent, np.zeros(4), 0.4)
    assert found["accuracy"] == 0.75 and found["accuracy_floor"] == 0.75
    assert found["early_stop_rate"] == 0.5 and found["mean_decision_frame"] == 6
    assert found["earliness"] == 0.25
    assert found["harmonic_mean"] == pytest.approx(2 * 0.75 * 0.25 / 1.0)
    assert found["regret"] == pytest.approx(100 * (0.25 + 0.4 * 0.75))
    first = compute.multiply_adds[0] / compute.multiply_adds.sum()
    assert found["compute_saved"] == pytest.approx((1 - first) / 2)
    assert "regret" not in decision_metrics(trial, persistent, None, 0.4)


def test_area_of_one_that_knows_at_once_and_of_one_that_never_does() -> None:
    persistent = np.arange(40) % 2 == 0
    seen = steps_seen(1, 10)
    for odds, expected in ((np.where(persistent, 9.0, -9.0), 0.5 * (0.5 + 1) / 10 + 0.9), (np.full(40, 0.1), 0.5)):
        every = np.repeat(odds[:, None], 10, 1)
        trial = Trial(every, decide(every, 1.0, -1.0), 0, seen, None, 10)  # type: ignore[arg-type]
        assert area(trial, persistent) == pytest.approx(expected)
    assert harmonic_mean(1.0, 1.0) == 1 and harmonic_mean(0.0, 0.0) == 0


def test_what_a_calibrated_model_measures_shrinks_with_the_tracks() -> None:
    few, many = (ideal_calibration_error(np.full(count, 0.9)) for count in (100, 10000))
    assert 0 < many < few / 5


@pytest.mark.parametrize("way", range(8))
def test_turned_clips_keep_the_place_on_its_pixel(way: int) -> None:
    clips = torch.zeros(1, 3, SIZE, SIZE, 3, dtype=torch.uint8)
    place = torch.tensor([[[4.0, 9.0], [30.0, 1.0], [16.0, 16.0]]])
    for t, (u, v) in enumerate(place[0].long().tolist()):
        clips[0, t, v, u] = 255
    moved, found = turned(clips, place, way)
    for t, (u, v) in enumerate(found[0].long().tolist()):
        assert moved[0, t, v, u].tolist() == [255, 255, 255]
    assert sum(torch.equal(turned(clips, place, other)[0], moved) for other in range(8)) == 1


def test_batches_depend_on_the_seed_and_on_what_lies_behind_alone(params: PersistenceParams) -> None:
    kept = torch.randint(0, 255, (12, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8)
    known = Targets(torch.arange(12) % 2.0, torch.rand(12, FRAMES, 2), torch.ones(12, FRAMES))
    batches = CandidateBatches(kept, known, params.transformer, params.head, 1)
    rows = np.array([3, 1, 7])
    lengths = set()
    for done in np.linspace(0, 0.99, 40):
        one, two = batches.gather(rows, done), batches.gather(rows, done)
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert one["kept"].shape[1] == one["place"].shape[1] == one["presence"].shape[1]
        lengths.add(one["kept"].shape[1])
    assert lengths == {params.head.short_frames, FRAMES}


def test_places_count_only_where_the_candidate_is_in_sight(
    params: PersistenceParams, tokenizer: Tokenizer, clips: torch.Tensor
) -> None:
    points = np.zeros((3, FRAMES, 3)) + [0.1, 0.0, 3.0]
    points[:, 8:] = np.nan
    known = targets(points, np.array([True, False, True]), SCENE)
    evidence = network("transformer", params, tokenizer)(clips)
    batch = {"place": known.place, "presence": known.presence, "persistent": known.persistent}
    before = losses(evidence, batch, params.head)
    elsewhere = known.place.clone()
    elsewhere[:, 8:] += 100
    assert torch.equal(losses(evidence, {**batch, "place": elsewhere}, params.head)["place"], before["place"])
    elsewhere[:, :8] += 1
    assert not torch.equal(losses(evidence, {**batch, "place": elsewhere}, params.head)["place"], before["place"])


@pytest.mark.parametrize("piece", [4, 8])
def test_the_tokenizer_codes_clips_piece_by_piece_as_it_does_whole_ones(
    tokenizer: Tokenizer, clips: torch.Tensor, piece: int
) -> None:
    codes, past, found, features = tokenizer.encode(clips), None, [], []
    for start in range(0, FRAMES, piece):
        indices, after, past = tokenizer.step(clips[:, start : start + piece], past)
        found.append(indices)
        features.append(after)
    assert torch.equal(torch.cat(found, 1), codes)
    torch.testing.assert_close(torch.cat(features, 1), tokenizer.code_features(codes), atol=1e-5, rtol=0)


def test_a_tokenizer_that_sees_ahead_needs_whole_clips(clips: torch.Tensor) -> None:
    shape = NetworkParams(stem="patch", causal=False, fine_channels=8, fine_blocks=0, coarse_channels=8,
                          coarse_blocks=1)
    with pytest.raises(ValueError, match="not causal"):
        Tokenizer(shape, FSQ, SIZE).step(clips[:, :4])


def test_a_stream_leaves_nothing_behind_even_where_it_fails(params: PersistenceParams, tokenizer: Tokenizer) -> None:
    built = build_network("i3d_causal", params, SIZE, tokenizer)
    convolutions = [m for m in built.modules() if isinstance(m, TimeConv3d) and m.past]
    assert convolutions
    with pytest.raises(RuntimeError, match="on the way"), streaming(built, None):
        raise RuntimeError("on the way")
    assert all(m.before is None and not m.streams for m in convolutions)
