"""What is drawn into training clips, and what stays clean."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.training_clips import (
    AugmentationParams,
    ClipBatches,
    WindowParams,
    cut_windows,
    quantizing_of,
    static_background,
    turn,
    vary,
)

OFF = AugmentationParams(
    other_ball=0.0, shapes=0.0, background=0.0, noise=0.0, brightness=0.3, texture=0.05, noise_std=0.05
)


@pytest.fixture(scope="module")
def batch(tiny_data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight clips in [0, 1] and their background."""
    pixels = ClipStore(tiny_data / "videos").read("train").pixels
    return torch.from_numpy(pixels[:8]).float() / 255, static_background(pixels)


def varied(batch: tuple[torch.Tensor, torch.Tensor], **shares: float) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    clips, background = batch
    return vary(clips, background.expand(len(clips), 1, *background.shape), dataclasses.replace(OFF, **shares))


def test_static_background_is_what_the_renderer_drew(tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    found = static_background(store.read("train").pixels)
    np.testing.assert_allclose(found.numpy(), store.scene.background(), atol=0.01)


def test_nothing_is_varied_when_all_is_off(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    given, target, behind = varied(batch)
    assert torch.equal(given, batch[0]) and torch.equal(target, batch[0])
    assert torch.equal(behind, batch[1].expand_as(behind)) and behind.shape == (8, 1, 64, 64, 3)


def test_noise_is_in_the_input_only(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    given, target, _ = varied(batch, noise=1.0)
    assert torch.equal(target, batch[0])
    spread = (given - target).std(dim=(1, 2, 3, 4))
    assert (spread > 0).all() and spread.max() < 0.06


def test_the_other_ball_comes_whole_and_the_own_is_kept_beside_it(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    clips, background = batch
    _, target, _ = varied(batch, other_ball=1.0)
    others = clips[(torch.arange(8) + 1) % 8]
    theirs = (others - background).abs().amax(-1) > 0.02
    assert torch.equal(target[theirs], others[theirs])
    assert torch.equal(target[~theirs], clips[~theirs])


def test_the_background_changes_with_its_clip(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    clips, background = batch
    given, target, behind = varied(batch, background=1.0)
    empty = ((clips - background).abs().amax(-1) < 0.005).unsqueeze(-1)
    torch.testing.assert_close(target * empty, behind * empty, atol=0.006, rtol=0)
    assert (behind - background).abs().mean(dim=(1, 2, 3, 4)).min() > 0.003
    assert torch.equal(given, target)


def test_shapes_cover_a_small_part_of_every_clip(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, target, behind = varied(batch, shapes=1.0)
    share = ((target - batch[0]).abs().amax(-1) > 0.02).float().mean(dim=(1, 2, 3))
    assert (share < 0.06).all() and (share > 0).float().mean() > 0.7
    assert torch.equal(behind, batch[1].expand_as(behind))


def test_a_share_is_a_share_and_the_seed_decides(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    many = batch[0].repeat(20, 1, 1, 1, 1)[:, :1], batch[1]
    given, target, _ = varied(many, noise=0.3)
    changed = (given != target).flatten(1).any(1).float().mean()
    assert 0.2 < changed < 0.4
    everything = {"other_ball": 0.5, "shapes": 0.5, "background": 0.5, "noise": 0.5}
    assert all(torch.equal(a, b) for a, b in zip(varied(batch, **everything), varied(batch, **everything), strict=True))


@pytest.mark.parametrize("windows", [WindowParams(size=32, share=0.0), WindowParams(size=64, share=1.0)])
def test_batches_are_gathered_by_index(tiny_data: Path, windows: WindowParams) -> None:
    """No windows are asked for, or they would be the whole clip."""
    pixels = ClipStore(tiny_data / "videos").read("val").pixels
    background = static_background(pixels)
    batches = ClipBatches(pixels, background, windows)
    assert len(batches) == len(pixels)
    batch = batches.gather(np.array([3, 1]), 0.5)
    np.testing.assert_array_equal(batch["clips"].numpy(), pixels[[3, 1]])
    assert torch.equal(batch["background"], background.expand(2, 1, 64, 64, 3))


def test_windows_come_first_and_then_whole_clips_of_as_many_pixels(tiny_data: Path) -> None:
    pixels = ClipStore(tiny_data / "videos").read("val").pixels
    batches = ClipBatches(pixels, static_background(pixels), WindowParams(size=32, share=0.75))
    rows = np.array([3, 1, 0, 2, 4, 7, 5, 6])
    for done, shape in ((0.0, (8, 16, 32, 32, 3)), (0.749, (8, 16, 32, 32, 3)), (0.75, (2, 16, 64, 64, 3))):
        batch = batches.gather(rows, done)
        assert batch["clips"].shape == shape
        assert batch["background"].shape == (shape[0], 1, *shape[2:])
    np.testing.assert_array_equal(batch["clips"].numpy(), pixels[[3, 1]])


@pytest.mark.parametrize(("epochs", "steps"), [(3, 7), (17, 240), (7, 3)])
def test_the_first_epochs_are_not_quantized_and_the_next_step_starts_to(
    epochs: int, steps: int, tiny_data: Path
) -> None:
    """By the share of all steps that lie behind, as `training.fit` works it out."""
    pixels = ClipStore(tiny_data / "videos").read("val").pixels
    for first in range(epochs):
        batches = ClipBatches(pixels, static_background(pixels), WindowParams(size=32, share=0.0), first / epochs)
        found = [
            quantizing_of(batches.gather(np.array([0]), (epoch * steps + step) / (epochs * steps)))
            for epoch in range(epochs) for step in (0, 1, steps - 1)
        ]
        wanted = ["off"] * 3 * first + (["starting"] if first else ["on"]) + ["on"] * (3 * (epochs - first) - 1)
        assert found == wanted
    always = ClipBatches(pixels, static_background(pixels), WindowParams(size=32, share=0.0)).gather(np.array([0]))
    assert always.keys() == {"clips", "background"}


def test_windows_lie_on_the_grid_near_what_moves(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Each is a piece of its clip with the background behind it, and shows the ball in most frames."""
    pixels, background = (batch[0] * 255).round().to(torch.uint8), batch[1]
    torch.manual_seed(1)
    windows, behind = cut_windows(pixels, background, 32).values()
    assert windows.shape == (8, 16, 32, 32, 3) and behind.shape == (8, 1, 32, 32, 3)
    corners = [(i, j) for i in range(0, 33, 8) for j in range(0, 33, 8)]
    for window, below, clip in zip(windows, behind, pixels, strict=True):
        found = [(i, j) for i, j in corners if torch.equal(window, clip[:, i : i + 32, j : j + 32])]
        assert any(torch.equal(below[0], background[i : i + 32, j : j + 32]) for i, j in found)
    seen = ((windows.float() / 255 - behind).abs().amax(-1) > 0.05).flatten(2).any(2).float()
    assert seen.mean() > 0.8 and (seen.amax(1) == 1).all()


def test_a_window_of_an_empty_clip_is_cut_all_the_same() -> None:
    cut = cut_windows(torch.zeros(2, 4, 64, 64, 3, dtype=torch.uint8), torch.zeros(64, 64, 3), 24)
    assert cut["clips"].shape == (2, 4, 24, 24, 3) and cut.keys() == {"clips", "background"}


def test_clips_with_still_pictures_of_their_own_are_cut_where_they_differ_from_those(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Each clip before another wall: by one background for all, everything would move."""
    pixels, background = (batch[0] * 255).round().to(torch.uint8), batch[1]
    wall = torch.randint(0, 60, (8, 64, 64, 3), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    moved = (pixels.int() + wall[:, None]).clamp(0, 255).to(torch.uint8)
    still = (background + wall.float() / 255).clamp(0, 1)
    torch.manual_seed(1)
    plain = cut_windows(pixels, background, 32)
    torch.manual_seed(1)
    cut = cut_windows(moved, background, 32, still)
    assert cut["still"].shape == cut["background"].shape and torch.equal(cut["background"], plain["background"])
    found = ClipBatches(
        moved.numpy(), background, WindowParams(size=32, share=0.0), still=(still * 255).round().byte().numpy()
    ).gather(np.arange(8))
    assert torch.allclose(found["still"][:, 0], still, atol=1 / 255)


def test_a_window_must_fit_the_grid() -> None:
    with pytest.raises(ValueError, match="multiple of 8 px, found 20"):
        WindowParams(size=20, share=0.5)


def marked_clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Six clips (T 4, 16 × 16) of a coloured square that moves to the right, and the still picture of each."""
    still = torch.rand(6, 1, 16, 16, 3, generator=torch.Generator().manual_seed(4))
    clips = still.expand(6, 4, 16, 16, 3).clone()
    for frame in range(4):
        clips[:, frame, 3:6, 2 + 3 * frame : 5 + 3 * frame] = torch.tensor([1.0, 0.5, 0.0])
    return clips, still


def test_turned_clips_keep_what_moves_and_their_still_pictures_turn_with_them() -> None:
    clips, still = marked_clips()
    torch.manual_seed(2)
    turned, behind = turn(clips, still, dataclasses.replace(OFF, turned=0.5, recoloured=0.5))
    moves, did = ((one - other).abs().amax(-1) > 0 for one, other in ((turned, behind), (clips, still)))
    assert torch.equal(moves.sum((1, 2, 3)), did.sum((1, 2, 3))), "where nothing moves a clip is its still picture"
    same = [torch.equal(one, other) for one, other in zip(turned, clips, strict=True)]
    assert not all(same) and turned.shape == clips.shape and behind.shape == still.shape
    colours = {tuple(sorted(pixel.tolist())) for clip, seen in zip(turned, moves, strict=True) for pixel in clip[seen]}
    assert colours == {(0.0, 0.5, 1.0)}
    for one, other in zip(turned, clips, strict=True):
        torch.testing.assert_close(one.sort(-1).values.sum((0, 1, 2)), other.sort(-1).values.sum((0, 1, 2)))


def test_nothing_is_turned_unless_asked_for() -> None:
    clips, still = marked_clips()
    turned, behind = turn(clips, still, dataclasses.replace(OFF, turned=0.0, recoloured=0.0))
    assert torch.equal(turned, clips) and torch.equal(behind, still)
