"""Video files: order-free encoding, faults by name, frames as wanted."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from kinetoken.actions.classes import PAIRS, draw_action
from kinetoken.actions.layout import VIDEOS
from kinetoken.footage import webm
from kinetoken.footage.webm import Video, VideoFault, probe, read_frames, scaled_size, write_webm


def _clip(seed: int = 0, frames: int = 12, size: int = 64) -> np.ndarray:
    return draw_action(PAIRS[seed % 7][0], np.random.default_rng(seed), (frames, frames), size)[0]


def _write(path: Path, pixels: np.ndarray) -> Path:
    write_webm(path, pixels, 12)
    return path


@pytest.mark.parametrize("seed", range(7))
def test_codec_knows_no_order(tmp_path: Path, seed: int) -> None:
    """The reversed clip's file decodes to exactly the reversed frames, so no frame's quality tells its place."""
    pixels = _clip(seed)
    forward = read_frames(_write(tmp_path / "a.webm", pixels), None)
    backward = read_frames(_write(tmp_path / "b.webm", pixels[::-1]), None)
    np.testing.assert_array_equal(forward, backward[::-1])
    assert len(forward) == 12
    assert np.abs(forward.astype(int) - pixels).mean() < 5  # what 4:2:0 costs


def test_same_clip_same_bytes(tmp_path: Path) -> None:
    one, other = (_write(tmp_path / f"{i}.webm", _clip()).read_bytes() for i in range(2))
    assert one == other
    with av.open(str(tmp_path / "0.webm")) as container:
        assert container.format.name == "matroska,webm"
        assert container.streams.video[0].codec_context.name == "vp9"
        assert container.streams.video[0].average_rate == 12


def test_probe_counts_by_decoding(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.webm", _clip(frames=17))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert probe(path) == Video(17, 64, 64)


@pytest.mark.parametrize("length", [4, 5, 12, 40])
def test_a_matroska_head_alone_is_a_fault_and_no_crash(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.webm"
    path.write_bytes(_write(tmp_path / "whole.webm", _clip()).read_bytes()[:length])
    with pytest.raises(VideoFault):
        probe(path)
    assert webm._missing_bytes(path) >= 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.6, 0.9])
def test_every_cut_is_found(action_folder: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.webm"
    for source in sorted((action_folder / VIDEOS).iterdir())[:10]:
        path.write_bytes(source.read_bytes())
        os.truncate(path, int(path.stat().st_size * share))
        with pytest.raises(VideoFault) as fault:
            probe(path)
        expected = {"empty"} if share == 0 else {"unreadable", "truncated", "corrupt"}
        assert fault.value.reason in expected


def test_other_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    with pytest.raises(VideoFault, match="no such file"):
        probe(path)
    path.write_text("no video, though it is called one\n" * 100)
    with pytest.raises(VideoFault) as fault:
        probe(path)
    assert fault.value.reason == "unreadable"
    with av.open(str(path), "w", format="webm") as container:
        container.add_stream("libopus", rate=48000)
    with pytest.raises(VideoFault):
        probe(path)


def test_wanted_frames_are_those_of_the_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.webm", _clip())
    whole = read_frames(path, None)
    wanted = np.array([1, 4, 5, 11])
    np.testing.assert_array_equal(read_frames(path, wanted), whole[wanted])
    with pytest.raises(VideoFault, match="not there any more"):
        read_frames(path, np.array([0, 12]))


def test_nothing_after_the_last_wanted_frame_is_decoded(tmp_path: Path) -> None:
    """Frames up to the last wanted one are read from a file whose end is lost."""
    path = _write(tmp_path / "a.webm", _clip())
    whole = read_frames(path, None)
    os.truncate(path, int(path.stat().st_size * 0.8))
    np.testing.assert_array_equal(read_frames(path, np.array([0, 2])), whole[[0, 2]])


def test_short_side(tmp_path: Path) -> None:
    wide = np.concatenate([_clip(), _clip()], 2)  # (T, 64, 128, 3)
    path = _write(tmp_path / "a.webm", wide)
    small = read_frames(path, np.array([3]), 32)
    assert small.shape == (1, 32, 64, 3)
    halved = wide[3].reshape(32, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(small[0] - halved).mean() < 6
    assert scaled_size(427, 240, 224) == (399, 224)
    assert scaled_size(240, 427, 240) == (240, 427)


# ---- frames that are stored on their side

PHONE = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # of one held upright
FORMATS = {"a.mp4": "libx264", "a.mov": "libx264", "a.mkv": "libx264", "a.webm": "libvpx-vp9"}
VIEWS = [  # anticlockwise turn in degrees, then mirrors across and down
    (degrees, flips) for degrees in (0, 90, 180, 270) for flips in ((False, False), (True, False), (False, True))
]


def _store(
    path: Path, pixels: np.ndarray, turn: tuple[float, bool, bool] | None = None, matrix: tuple[int, ...] | None = None
) -> Path:
    """The clip as it is, and beside it what a player is to do with it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(FORMATS[path.name], rate=12)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        if turn is not None:
            stream.set_display_rotation(*turn)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())
    return path


def _wide() -> np.ndarray:
    """(T, 64, 128, 3), no part of it like another."""
    return np.concatenate([_clip(1), _clip(2)], 2)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("degrees", "flips"), VIEWS)
def test_frames_are_turned_as_a_player_shows_them(
    tmp_path: Path, name: str, degrees: int, flips: tuple[bool, bool]
) -> None:
    stored = read_frames(_store(tmp_path / name, _wide()), None)
    path = _store(tmp_path / name, _wide(), (degrees, *flips))
    shown = np.rot90(stored, degrees // 90, (1, 2))
    shown = shown[:, :, ::-1] if flips[0] else shown[:, ::-1] if flips[1] else shown
    np.testing.assert_array_equal(read_frames(path, None), shown)
    np.testing.assert_array_equal(read_frames(path, np.array([2, 7])), shown[[2, 7]])
    assert probe(path) == Video(12, shown.shape[2], shown.shape[1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_clip_that_was_laid_on_its_side_is_upright_again(tmp_path: Path, quarters: int) -> None:
    """Upright means as it was before it was turned, whatever convention the flag is written in."""
    laid = np.rot90(_wide(), -quarters, (1, 2))
    found = read_frames(_store(tmp_path / "a.mp4", laid, (90 * quarters, False, False)), None)
    assert found.shape == _wide().shape
    assert np.abs(found.astype(int) - _wide()).mean() < 8


def test_a_phones_matrix(tmp_path: Path) -> None:
    """Held upright, a phone stores the picture turned left and has it shown turned right."""
    laid = np.rot90(_wide(), 1, (1, 2))
    path = _store(tmp_path / "a.mp4", laid, matrix=PHONE)
    in_header = b"".join(value.to_bytes(4, "big", signed=True) for value in PHONE)
    assert in_header in path.read_bytes()
    assert np.abs(read_frames(path, None).astype(int) - _wide()).mean() < 8


def test_the_short_side_of_turned_frames(tmp_path: Path) -> None:
    path = _store(tmp_path / "a.mp4", _wide(), (90, False, False))
    small = read_frames(path, np.array([3]), 32)
    assert small.shape == (1, 64, 32, 3)
    halved = np.rot90(_wide()[3]).reshape(64, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(small[0] - halved).mean() < 8


def test_a_clip_to_be_shown_aslant_is_a_fault(tmp_path: Path) -> None:
    upright = read_frames(_store(tmp_path / "a.mp4", _wide()), None)
    almost = read_frames(_store(tmp_path / "a.mp4", _wide(), (0.5, False, False)), None)
    np.testing.assert_array_equal(almost, upright)
    path = _store(tmp_path / "a.mp4", _wide(), (30, False, False))
    for read in (probe, lambda path: read_frames(path, None)):
        with pytest.raises(VideoFault, match="aslant; only quarter turns") as fault:
            read(path)
        assert fault.value.reason == "unreadable"


class _Unnamed:
    """A frame of FFmpeg's with side data of a kind that PyAV does not know."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self.width, self.height, self.rotation = frame.width, frame.height, frame.rotation

    @property
    def side_data(self) -> None:
        raise ValueError("31 is not a valid Type")


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_data_without_a_name_hides_no_turn(tmp_path: Path, degrees: int) -> None:
    with av.open(str(_store(tmp_path / "a.mp4", _wide(), (degrees, False, False)))) as container:
        frame = next(container.decode(video=0))
    assert webm._turn(_Unnamed(frame)) == webm._turn(frame)
