"""Video files: clips written as lossless VP9, and read by decoding once from the start, without seeking.

Lossless, because a lossy codec spends its bits by a frame's place in the file: the sharpest frame would be the first,
and a model blind to order could tell it. What is lost is lost by each frame alone, when RGB becomes YUV 4:2:0.

Frames are read as a player shows them: a phone held upright stores them on their side, with a display matrix that says
how to turn them (ISO/IEC 14496-12, section 8.3.2).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

Pixels = NDArray[np.uint8]

VP9: dict[str, object] = {
    "lossless": "1", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "0",
}
LARGEST = 1 << 25  # pixels of a frame that is read: 8K and some
LARGEST_HELD = 1 << 31  # bytes of one file's frames that are held at once
RULES = 2  # of the rules by which files become frames: what was found by others is found anew
TILT = 0.02  # share of a display matrix off the quarter turns that is let pass, about a degree as in FFmpeg's players
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # ids of a file's first two elements


class VideoFault(Exception):
    """A file that is not a whole video: `reason` is one word of REASONS, the message the details."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


REASONS = ("missing", "empty", "unreadable", "corrupt", "truncated", "short")


@dataclasses.dataclass(frozen=True)
class Video:
    """What a whole file holds."""

    frames: int
    width: int  # as shown
    height: int


def write_webm(path: Path, pixels: Pixels, fps: float) -> None:
    """One clip (T, H, W, 3) uint8 with even H and W; no date, no random number, no version is written."""
    import av
    from av.codec.context import Flags

    with av.open(str(path), "w", format="webm", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=round(fps))
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        stream.options = dict(VP9)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@contextmanager
def opened(path: Path) -> Iterator["InputContainer"]:
    """The file's container, set to decode on one thread; VideoFault for what is no video or breaks while it is read."""
    import av

    kind = "matroska" if _first_bytes(path) == EBML else None  # saves trying all that FFmpeg knows
    found = False
    bound = {"max_pixels": str(LARGEST)}  # of FFmpeg itself, which makes pictures while it looks at the file
    try:
        with av.open(str(path), format=kind, options=bound) as container:
            if not container.streams.video:
                raise VideoFault("unreadable", "no video in it")
            context = container.streams.video[0].codec_context
            if context is None:
                raise VideoFault("unreadable", "its codec is not known here")
            if context.width * context.height > LARGEST:
                raise VideoFault("unreadable", f"frames of {context.width}×{context.height} are too large to be read")
            found = True
            context.options = bound
            context.thread_count = 1
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError, MemoryError) as error:
        text = str(getattr(error, "strerror", None) or error)
        raise VideoFault("corrupt" if found else "unreadable", text) from None


def _first_bytes(path: Path) -> bytes:
    if path.exists() and not (path.is_file() or path.is_dir()):  # to read it could take forever
        raise VideoFault("unreadable", "a pipe or a device, not a file")
    try:
        with open(path, "rb", buffering=0) as source:
            first = source.read(len(EBML))
    except FileNotFoundError:
        raise VideoFault("missing", "no such file") from None
    except OSError as error:
        raise VideoFault("unreadable", error.strerror or str(error)) from None
    if not first:
        raise VideoFault("empty", "0 bytes")
    return first


def probe(path: Path) -> Video:
    """Decode the whole file. VideoFault if it cannot be, or if it is shorter than it says.

    Damage that still decodes is not found: VP9 has no checksums.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        count, last = 0, None
        for frame in container.decode(stream):
            count, last = count + 1, frame
        if last is None:
            raise VideoFault("truncated", "no frame in it")
        width, height = _turn(last).size(last.width, last.height)
        said = stream.frames  # 0 where the container does not tell, as in WebM
    if count < said:
        raise VideoFault("truncated", f"{count} frames of {said}")
    if (missing := _missing_bytes(path)) > 0:
        raise VideoFault("truncated", f"its last {missing} bytes are not there; {count} frames are")
    return Video(count, width, height)


@dataclasses.dataclass(frozen=True)
class _Turn:
    """From the frame as stored to the frame as shown: a transposition, then mirrors."""

    transposed: bool = False
    right_to_left: bool = False
    upside_down: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.transposed else (width, height)

    def upright(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) as shown."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        return turned[:: -1 if self.upside_down else 1, :: -1 if self.right_to_left else 1]


def _turn(frame: "VideoFrame") -> _Turn:
    """What the frame's display matrix asks for; VideoFault if that is no quarter turn."""
    a, b, c, d = _display_matrix(frame)
    straight, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, across) > TILT * max(straight, across):
        raise VideoFault("unreadable", "its frames are to be shown aslant; only quarter turns and mirrors are read")
    if across > straight:
        return _Turn(transposed=True, right_to_left=c < 0, upside_down=b < 0)
    return _Turn(right_to_left=a < 0, upside_down=d < 0)


def _display_matrix(frame: "VideoFrame") -> tuple[float, float, float, float]:
    """(a, b, c, d), which bring a stored place (x, y) to the shown one (a x + c y, b x + d y)."""
    from av.sidedata.sidedata import Type

    try:
        data: Any = frame.side_data  # whose stub is another class's
        found = data[Type.DISPLAYMATRIX]
    except KeyError:
        return 1.0, 0.0, 0.0, 1.0
    except ValueError:  # beside it lies data of a kind that PyAV has no name for; then the angle alone is to be had
        angle = math.radians(frame.rotation)
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    (a, b), (c, d) = np.frombuffer(memoryview(found), np.int32).reshape(3, 3)[:2, :2].tolist()
    return a, b, c, d


def _missing_bytes(path: Path) -> int:
    """By how much a Matroska or WebM file is shorter than its segment says (RFC 8794, RFC 9559); 0 for others."""
    with path.open("rb") as source:
        head = source.read(256)
    if not head.startswith(EBML) or len(head) == len(EBML):
        return 0
    size, start = _ebml_size(head, len(EBML))
    segment = start + size
    if head[segment : segment + 4] != SEGMENT or len(head) == segment + 4:
        return 0
    size, start = _ebml_size(head, segment + len(SEGMENT))
    return start + size - path.stat().st_size


def _ebml_size(head: bytes, place: int) -> tuple[int, int]:
    """The size of an element's content, and where that begins; 0 for a size that is not told."""
    width = 9 - head[place].bit_length()  # bytes of the size: one more than its leading zero bits
    bits = 7 * width
    size = int.from_bytes(head[place : place + width], "big") & ((1 << bits) - 1)
    return 0 if size == (1 << bits) - 1 else size, place + width


def read_frames(path: Path, wanted: NDArray[np.int64] | None, short_side: int | None = None) -> Pixels:
    """The frames at the ascending places `wanted` (K,), or all of them: (K, H, W, 3) uint8 RGB, upright.

    With `short_side` the shorter side becomes that many pixels, bilinear. Frames that are not wanted are decoded and
    not converted; nothing after the last wanted one is decoded. VideoFault if the file ends before it.
    """
    last, held = None if wanted is None else int(wanted[-1]), 0
    places = None if wanted is None else set(wanted.tolist())
    chosen: list[VideoFrame] = []
    with opened(path) as container:
        for place, frame in enumerate(container.decode(video=0)):
            if places is None or place in places:
                chosen.append(frame)
                held += 3 * frame.width * frame.height
                if held > LARGEST_HELD:
                    raise VideoFault("unreadable", f"more than {LARGEST_HELD} bytes of frames, too many to be held")
            if place == last:
                break
        else:
            if last is not None:
                raise VideoFault("truncated", f"frame {last} is not there any more")
    if not chosen:
        raise VideoFault("truncated", "no frame in it")
    width, height = _turn(chosen[0]).size(chosen[0].width, chosen[0].height)
    return _to_rgb(chosen, *scaled_size(width, height, short_side))


def _to_rgb(frames: "list[VideoFrame]", width: int, height: int) -> Pixels:
    """(K, height, width, 3) uint8; all at one go, for code and tables are at hand after the first frame."""
    convert = _converter()
    pixels = np.empty((len(frames), height, width, 3), np.uint8)
    for place, frame in enumerate(frames):
        turn = _turn(frame)
        wide, high = turn.size(width, height)  # as stored
        plane = convert(frame, wide, high, "rgb24", interpolation="BILINEAR", threads=1).planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        pixels[place] = turn.upright(rows[:high, : 3 * wide].reshape(high, wide, 3))
    return pixels


@functools.cache
def _converter() -> "Callable[..., VideoFrame]":
    """One a process: it keeps its tables while frames stay of one size, which costs more than a frame to make."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter().reformat


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height with the shorter side at `short_side`, the shape kept."""
    if short_side is None or min(width, height) == short_side:
        return width, height
    share = short_side / min(width, height)
    return max(round(width * share), short_side), max(round(height * share), short_side)
