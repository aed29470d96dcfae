"""Video files: order-free encoding, faults by name, frames as wanted."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from kinetoken.actions.classes import PAIRS, draw_action
from kinetoken.actions.layout import VIDEOS
from kinetoken.actions.webm import Video, VideoFault, probe, read_frames, scaled_size, write_webm


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
