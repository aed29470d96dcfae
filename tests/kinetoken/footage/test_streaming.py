"""Frames as they are decoded: the same as those read whole, a few at a time."""

import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from kinetoken.footage.streaming import VideoHead, read_head, stream_frames
from kinetoken.footage.webm import VideoFault, read_frames, write_webm
from tests.support.applied import write_mp4

FRAMES = np.random.default_rng(0).integers(0, 256, (13, 32, 48, 3), np.uint8)


@pytest.mark.parametrize("at_once", [1, 4, 13, 20])
@pytest.mark.parametrize("name", ["a.webm", "a.mp4"])
def test_batches_are_the_whole(tmp_path: Path, name: str, at_once: int) -> None:
    path = tmp_path / name
    if name.endswith("webm"):
        write_webm(path, FRAMES, 16)
    else:
        write_mp4(path, FRAMES)
    batches = list(stream_frames(path, at_once))
    assert [len(batch) for batch in batches] == [min(at_once, 13 - i) for i in range(0, 13, at_once)]
    np.testing.assert_array_equal(np.concatenate(batches), read_frames(path, None))
    assert read_head(path) == VideoHead(48, 32, 16.0)


def test_a_clip_on_its_side_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for image in FRAMES:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = path.read_bytes()
    # the track header's matrix (ISO/IEC 14496-12, 8.3.2), from upright to a quarter turn
    upright = b"\x00\x01\x00\x00" + bytes(12) + b"\x00\x01\x00\x00" + bytes(12) + b"\x40\x00\x00\x00"
    turned = bytes(4) + b"\x00\x01\x00\x00" + bytes(4) + b"\xff\xff\x00\x00" + bytes(16) + b"\x40\x00\x00\x00"
    place = content.index(b"tkhd")
    at = content.index(upright, place)
    path.write_bytes(content[:at] + turned + content[at + 36 :])
    assert read_head(path) == VideoHead(32, 48, 12.0)
    frames = np.concatenate(list(stream_frames(path, 5)))
    assert frames.shape == (13, 48, 32, 3)
    np.testing.assert_array_equal(frames, read_frames(path, None))


def test_nothing_is_decoded_beyond_what_is_asked_for(tmp_path: Path) -> None:
    """The first frames are read from a file whose end is lost; to read on names the loss."""
    path = tmp_path / "a.webm"
    write_webm(path, FRAMES, 16)
    whole = read_frames(path, None)
    os.truncate(path, int(path.stat().st_size * 0.7))
    np.testing.assert_array_equal(next(iter(stream_frames(path, 2))), whole[:2])
    with pytest.raises(VideoFault):
        list(stream_frames(path, 2))


def test_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    for read in (read_head, lambda path: list(stream_frames(path, 4))):
        path.unlink(missing_ok=True)
        with pytest.raises(VideoFault, match="no such file"):
            read(path)
        path.write_bytes(b"")
        with pytest.raises(VideoFault, match="0 bytes"):
            read(path)
        path.write_text("no video, though it is called one\n" * 100)
        with pytest.raises(VideoFault):
            read(path)
        with av.open(str(path), "w", format="webm") as container:
            stream = container.add_stream("libvpx-vp9", rate=16)
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            container.start_encoding()
        with pytest.raises(VideoFault):
            read(path)


def test_a_file_can_be_left_half_read(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    write_webm(path, FRAMES, 16)
    with_rest = stream_frames(path, 4)
    assert len(list(islice(with_rest, 2))) == 2
    with_rest.close()
