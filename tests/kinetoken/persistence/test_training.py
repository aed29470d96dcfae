"""What a training batch shows, and the losses, by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.persistence.network import DetectorOutput, TokenReadout, build_network
from kinetoken.persistence.params import ExtractorName, PersistenceParams
from kinetoken.persistence.training import CandidateBatches, Targets, losses, persistence_step, targets, turned
from kinetoken.physics.world import World
from kinetoken.scenes.rendering import Look, Scene
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[3]
SIZE, FRAMES = 32, 16
LOOK = Look(image_size=SIZE, wall_shade=0.2, floor_shade=0.3, shadow=0.0, ambient=0.8)
SCENE = Scene(World(floor_y=-1.75, ball_radius=0.2, fps=16.0, num_frames=FRAMES), LOOK)


@pytest.fixture(scope="module")
def params() -> PersistenceParams:
    read = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    return dataclasses.replace(read, head=dataclasses.replace(read.head, short_frames=8, whole_share=0.25))


def marked(count: int) -> tuple[torch.Tensor, Targets]:
    """Clips (N, T, H, W, 3) with one bright pixel in each frame, and where it is; the first clip is the brightest."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, SIZE, (count, FRAMES, 2))
    clips = torch.zeros(count, FRAMES, SIZE, SIZE, 3, dtype=torch.uint8)
    for row in range(count):
        for t, (u, v) in enumerate(place[row]):
            clips[row, t, v, u] = 255 - row
    present = torch.from_numpy(rng.integers(0, 2, (count, FRAMES)).astype(np.float32))
    return clips, Targets(torch.arange(count) % 2.0, torch.from_numpy(place.astype(np.float32)), present)


def test_the_eight_ways_are_the_symmetries_of_a_square() -> None:
    clips, known = marked(1)
    there = {turned(clips, known.place, way)[0].numpy().tobytes() for way in range(8)}
    assert len(there) == 8
    for way in range(8):  # and each can be gone back from
        once = turned(clips, known.place, way)
        assert any(torch.equal(turned(*once, back)[0], clips) for back in range(8))
        assert any(torch.equal(turned(*once, back)[1], known.place) for back in range(8))


def test_batches_show_the_clips_asked_for_cut_short_or_whole_and_turned(params: PersistenceParams) -> None:
    clips, known = marked(6)
    batches = CandidateBatches(clips, known, params.transformer, params.head, 1)
    assert len(batches) == 6
    rows, corners, whole = np.array([4, 0, 5]), set(), []
    for done in np.arange(120) / 120:
        batch = batches.gather(rows, done)
        frames = batch["kept"].shape[1]
        assert frames in (8, FRAMES)
        whole.append(frames == FRAMES)
        assert batch["place"].shape == (3, frames, 2) and batch["kept"].shape == (3, frames, SIZE, SIZE, 3)
        assert torch.equal(batch["presence"], known.presence[rows, :frames])
        assert torch.equal(batch["persistent"], known.persistent[rows])
        u, v = batch["place"].long().unbind(-1)
        at = batch["kept"][torch.arange(3)[:, None], torch.arange(frames), v, u, 0]
        assert (at == torch.tensor(255 - rows)[:, None]).all()
        corners.add(tuple(batch["place"][0, 0].tolist()))
    assert np.mean(whole) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 120))
    assert len(corners) == 8  # all ways were taken


@pytest.mark.parametrize(("share", "frames"), [(0.0, 8), (1.0, FRAMES)])
def test_features_of_codes_are_cut_by_slices_and_not_turned(
    params: PersistenceParams, share: float, frames: int
) -> None:
    _, known = marked(6)
    kept = torch.rand(6, FRAMES // 4, 4, 4, 8)
    head = dataclasses.replace(params.head, whole_share=share)
    batches = CandidateBatches(kept, known, params.magvit, head, 4)
    for done in (0.0, 0.3, 0.6):
        batch = batches.gather(np.array([2, 3]), done)
        assert torch.equal(batch["kept"], kept[2:4, : frames // 4])
        assert torch.equal(batch["place"], known.place[2:4, :frames])


def test_another_seed_shows_other_batches(params: PersistenceParams) -> None:
    clips, known = marked(4)
    other = dataclasses.replace(params.transformer, seed=params.transformer.seed + 1)
    one, two = (CandidateBatches(clips, known, each, params.head, 1) for each in (params.transformer, other))
    rows, times = np.arange(4), np.arange(20) / 20
    assert any(one.gather(rows, t)["place"].tolist() != two.gather(rows, t)["place"].tolist() for t in times)
    assert len({str(one.gather(rows, t)["place"][:, 0].tolist()) for t in times}) > 2


def test_clips_shorter_than_short_ones_are_shown_whole(params: PersistenceParams) -> None:
    clips, known = marked(2)
    short = Targets(known.persistent, known.place[:, :4], known.presence[:, :4])
    head = dataclasses.replace(params.head, whole_share=0.0)
    assert CandidateBatches(clips[:, :4], short, params.transformer, head, 1).gather(np.arange(2))["kept"].shape[1] == 4


@pytest.mark.parametrize("name", ["magvit", "slowfast_causal"])
def test_short_clips_that_are_cut_within_a_step_are_refused(params: PersistenceParams, name: ExtractorName) -> None:
    """6 frames are no whole number of steps of 4: said in words, before any training."""
    with pytest.raises((ValueError, UserError), match="short_frames"):
        other = dataclasses.replace(
            params, extractors=(name,), head=dataclasses.replace(params.head, short_frames=6)
        )
        shape = NetworkParams(
            stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=8, coarse_blocks=0
        )
        build_network(name, other, SIZE, Tokenizer(shape, FSQ, SIZE))


def test_targets_are_the_projected_place_and_whether_there_is_one() -> None:
    points = np.full((2, 3, 3), np.nan)
    points[0, 1], points[1, 0] = [0.3, -0.2, 3.0], [-0.5, 0.4, 4.0]
    known = targets(points, np.array([True, False]), SCENE)
    assert known.persistent.tolist() == [1.0, 0.0]
    assert known.presence.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    focal = SIZE / 2 / np.tan(np.radians(30))
    assert known.place[0, 1].tolist() == pytest.approx([15.5 + focal * 0.1, 15.5 + focal * 0.2 / 3], rel=1e-5)
    assert known.place[1, 0].tolist() == pytest.approx([15.5 - focal * 0.125, 15.5 - focal * 0.1], rel=1e-5)
    assert torch.isfinite(known.place).all()
    assert known.take(np.array([1])).place.tolist() == known.place[1:].tolist()


def evidence(logits: torch.Tensor, place: torch.Tensor, presence: torch.Tensor) -> DetectorOutput:
    empty = torch.empty(0)
    return DetectorOutput(logits, TokenReadout(empty, place, presence, empty), empty)


def test_losses_by_hand(params: PersistenceParams) -> None:
    place = torch.tensor([[[1.0, 2.0], [5.0, 5.0]], [[0.0, 0.0], [9.0, 9.0]]])
    read = place + torch.tensor([[[0.5, 0.0], [3.0, -2.0]], [[50.0, 50.0], [7.0, 7.0]]])
    batch = {
        "persistent": torch.tensor([1.0, 0.0]), "place": place, "presence": torch.tensor([[1.0, 1.0], [0.0, 0.0]]),
    }
    said = evidence(torch.tensor([[2.0, -1.0], [0.5, 0.0]]), read, torch.tensor([[3.0, 0.0], [-2.0, 1.0]]))
    found = {name: float(value) for name, value in losses(said, batch, params.head).items()}
    assert found["decision"] == pytest.approx(
        np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(1)), np.log1p(np.exp(0.5)), np.log(2)]), rel=1e-5
    )
    # Huber of 0.5 is 0.125, of 3 it is 2.5, of 2 it is 1.5; the second clip is never in sight
    assert found["place"] == pytest.approx((0.125 + 2.5 + 1.5) / 2)
    assert found["presence"] == pytest.approx(
        np.mean([np.log1p(np.exp(-3)), np.log(2), np.log1p(np.exp(-2)), np.log1p(np.exp(1))]), rel=1e-5
    )
    nobody = {**batch, "presence": torch.zeros(2, 2)}
    assert losses(said, nobody, params.head)["place"] == 0


def test_the_loss_weighs_its_parts(params: PersistenceParams) -> None:
    said = evidence(torch.tensor([[1.0]]), torch.tensor([[[4.0, 4.0]]]), torch.tensor([[0.3]]))
    batch = {
        "persistent": torch.ones(1), "place": torch.zeros(1, 1, 2), "presence": torch.ones(1, 1), "kept": said,
    }
    head = dataclasses.replace(params.head, place_weight=0.25, presence_weight=3.0)
    total, parts = persistence_step(head)(torch.nn.Identity(), batch)  # type: ignore[arg-type]
    assert float(total) == pytest.approx(
        float(parts["decision"] + 0.25 * parts["place"] + 3.0 * parts["presence"]), rel=1e-6
    )
    assert set(parts) == {"decision", "place", "presence"} and parts["place"] == 7
