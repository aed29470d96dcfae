"""Video files of any length, a few frames at a time: what `webm.read_frames` reads whole, read as it is decoded.

    for frames in stream_frames(Path("ball.mp4"), 16): ...   # (≤ 16, H, W, 3) uint8, upright
"""

import dataclasses
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from kinetoken.footage.webm import LARGEST, Pixels, VideoFault, _missing_bytes, _to_rgb, _turn, opened

if TYPE_CHECKING:
    from av import VideoFrame

VIDEO_SUFFIXES = (".webm", ".mp4", ".mkv", ".mov", ".avi", ".gif")


@dataclasses.dataclass(frozen=True)
class VideoHead:
    """What the first frame of a file tells."""

    width: int  # pixels, as shown
    height: int
    fps: float  # the file's mean rate; 0 where it names none


def read_head(path: Path) -> VideoHead:
    """Decode the first frame. VideoFault for a file that is no video, and for one without a frame."""
    with opened(path) as container:
        stream = container.streams.video[0]
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise VideoFault("truncated", "no frame in it")
        width, height = _turn(first).size(first.width, first.height)
        return VideoHead(width, height, float(stream.average_rate or 0))


def stream_frames(path: Path, at_once: int) -> Generator[Pixels]:
    """All frames in order, `at_once` of them together and fewer at the end: (K, H, W, 3) uint8 RGB, upright.

    Of large frames fewer are decoded at once.

    Nothing is decoded beyond what is asked for. VideoFault for a file that is no video, that breaks off before the
    length it names, that holds no frame, or whose frames change their size.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        count, held = 0, list["VideoFrame"]()
        for frame in container.decode(stream):
            if held and (frame.width, frame.height) != (held[0].width, held[0].height):
                raise VideoFault("unreadable", f"frame {count} is {frame.width}×{frame.height}, those before are not")
            held.append(frame)
            count += 1
            if len(held) >= min(at_once, LARGEST // (frame.width * frame.height)):
                yield _upright(held)
                held = []
        _require_whole(path, count, stream.frames)
    if held:
        yield _upright(held)


def _upright(frames: "list[VideoFrame]") -> Pixels:
    width, height = _turn(frames[0]).size(frames[0].width, frames[0].height)
    return _to_rgb(frames, width, height)


def _require_whole(path: Path, count: int, named: int) -> None:
    """VideoFault if the file holds fewer frames than it names (0: it names none), or lacks its end."""
    if not count:
        raise VideoFault("truncated", "no frame in it")
    if count < named:
        raise VideoFault("truncated", f"{count} frames of {named}")
    if (missing := _missing_bytes(path)) > 0:
        raise VideoFault("truncated", f"its last {missing} bytes are not there; {count} frames are")
