from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.footage import UserClips, fitted, measure_footage
from kinetoken.diagnosis.joining import Rows
from kinetoken.scenes.clips import ClipStore

GRID = (2, 4, 4)


def codes(count: int, track_id: np.ndarray | None = None) -> Rows:
    return Rows(Path("codes.parquet"), count, "codes", {} if track_id is None else {"track_id": track_id})


def spots(count: int, channels: int = 3) -> np.ndarray:
    """Clips (count, 4, 16, 16, channels) in [0, 1]: a texture of its own, over it a bright spot that moves."""
    rng = np.random.default_rng(0)
    clips = np.broadcast_to(rng.random((count, 1, 16, 16, 1)) * 0.5, (count, 4, 16, 16, channels)).copy()
    for frame in range(4):
        clips[:, frame, 4:8, 4 * frame : 4 * frame + 4] = 1.0
    return clips.astype(np.float32)


SPLIT = np.array(["train", "val", "test", "test"] * 3)


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_moves_is_found_against_each_clips_median(tmp_path: Path, as_bytes: bool, channels: int) -> None:
    clips = spots(12, channels)
    np.save(tmp_path / "c.npy", np.rint(clips * 255).astype(np.uint8) if as_bytes else clips)
    seen = measure_footage(UserClips(tmp_path / "c.npy", codes(12)), None, np.arange(12), SPLIT, GRID, 4)
    expected = np.zeros((12, *GRID), bool)
    for frame in range(4):
        expected[:, frame // 2, 1, frame] = True
    assert (seen.mask == expected).all() and seen.painted is None
    tokens = seen.points["pixels"]
    assert tokens.shape == (12, *GRID, 12) and np.abs(tokens[~expected]).max() < 0.01
    assert np.abs(tokens[expected]).max(-1).min() > 0.3


def test_rows_of_a_sample_are_read_and_reconstructions_judged(tmp_path: Path) -> None:
    clips = spots(40)
    still = np.broadcast_to(np.median(clips, 1, keepdims=True), clips.shape)
    np.save(tmp_path / "c.npy", clips)
    np.save(tmp_path / "still.npy", still)
    np.save(tmp_path / "dim.npy", 0.9 * clips)
    rows = np.arange(3, 39, 3)
    footage = UserClips(tmp_path / "c.npy", codes(40))
    lost = measure_footage(footage, UserClips(tmp_path / "still.npy", codes(40)), rows, SPLIT, GRID, 4).painted
    kept = measure_footage(footage, UserClips(tmp_path / "dim.npy", codes(40)), rows, SPLIT, GRID, 4).painted
    assert lost is not None and kept is not None
    assert lost.background_psnr_db > 50 and lost.foreground_psnr_db < 5
    assert kept.foreground_psnr_db == pytest.approx(20, abs=0.2)  # a tenth of the brightness is 20 dB
    assert kept.foreground_psnr_db_floor == 100, "the spot is where it is in every clip, so the mean video has it"


def test_clips_given_as_their_own_reconstructions_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", spots(12))
    drawn = spots(12)
    np.save(tmp_path / "float.npy", drawn.astype(np.float32) / (255 if drawn.dtype == np.uint8 else 1))
    footage = UserClips(tmp_path / "c.npy", codes(12))
    with pytest.raises(UserError, match="float.npy: the reconstructions equal the clips in every pixel"):
        measure_footage(footage, UserClips(tmp_path / "float.npy", codes(12)), np.arange(12), SPLIT, GRID, 4)


def test_a_clip_store_is_read_by_track_and_its_scene_is_the_background(tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    wanted = store.track_id[::-1][:12].astype(np.int64)
    table = np.concatenate([wanted, store.track_id[:5]])
    footage = UserClips(tiny_data / "videos", codes(len(table), table))
    seen = measure_footage(footage, None, np.arange(12), SPLIT, (4, 8, 8), 4)
    parts = list(footage.read(np.arange(12)))
    found = {int(place): clip for places, clips in parts for place, clip in zip(places, clips, strict=True)}
    for place, track in enumerate(wanted):
        assert (found[place] == store.take(np.flatnonzero(store.track_id == track)).pixels[0]).all()
    assert "the rendered scene" in seen.notes[0] and 0 < seen.mask.mean() < 0.5
    with pytest.raises(UserError, match="no clips for track_id 99999: 1 of the 1 clips"):
        UserClips(tiny_data / "videos", codes(1, np.array([99999])))
    with pytest.raises(UserError, match="no track_id to match them by"):
        UserClips(tiny_data / "videos", codes(7))


def test_clips_are_cut_to_the_grid_from_the_first_frame_and_the_far_edges() -> None:
    clips = np.arange(17 * 10 * 9).reshape(1, 17, 10, 9, 1).astype(np.uint8)
    cut = fitted(clips, (4, 3, 4), Path("c.npy"))
    assert cut.shape == (1, 16, 9, 8, 1) and (cut == clips[:, 1:, :9, :8]).all()


@pytest.mark.parametrize(("black", "white", "said"), [(0, 1, "[0, 1]"), (-1, 1, "[-1, 1]"), (0, 255, "[0, 255]")])
def test_a_file_has_one_scale_whatever_a_part_of_it_holds(
    tmp_path: Path, black: float, white: float, said: str
) -> None:
    clips = np.repeat(spots(1), 200, 0) * (0.02 + 0.98 * (np.arange(200) > 150)[:, None, None, None, None])
    values = black + (white - black) * clips
    values[190, 0, 0, 0] = white + 0.04 * (white - black)  # as decoders overshoot
    values[191, 0, 0, 0] = black - 0.04 * (white - black)
    np.save(tmp_path / "c.npy", values.astype(np.float32))
    footage, found = UserClips(tmp_path / "c.npy", codes(200)), np.empty((200, 4, 16, 16, 3), np.uint8)
    for places, pixels in footage.read(np.arange(200)):
        found[places] = pixels
    expected = np.rint(np.clip((values - black) / (white - black), 0, 1) * 255)
    assert np.abs(found - expected).max() <= 1 and found[:64].max() < 10 < found[190].max() == 255
    assert f"are read as {said}; values beyond were clipped" in footage.notes[-1]


@pytest.mark.parametrize("axis", [1, 2])
def test_channels_may_come_first_as_torch_has_them(tmp_path: Path, axis: int) -> None:
    clips = (spots(12) * 255).astype(np.uint8)
    np.save(tmp_path / "c.npy", np.moveaxis(clips, -1, axis))
    found = np.concatenate([pixels for _, pixels in UserClips(tmp_path / "c.npy", codes(12)).read(np.arange(12))])
    assert (found == clips).all()


def test_values_of_no_scale_are_refused(tmp_path: Path) -> None:
    for low, high in ((-3.0, 3.0), (-1.0, -1.0), (0.0, 1000.0), (-200.0, 255.0)):
        values = np.full((12, 4, 16, 16), low, np.float32)
        values[5] = high
        np.save(tmp_path / "c.npy", values)
        with pytest.raises(UserError, match=r"c.npy: clips run from .*; give \[0, 1\], \[-1, 1\] or \[0, 255\]"):
            list(UserClips(tmp_path / "c.npy", codes(12)).read(np.arange(12)))
