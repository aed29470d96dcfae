"""Uploads that are small enough to be read: what a file's head says, before memory is taken for what follows it."""

import math
import zipfile
from pathlib import Path

from kinetoken.core.errors import UserError
from kinetoken.inference.sources import ARRAY_SUFFIXES
from kinetoken.serving.kinds import EBML, size_of_gif
from kinetoken.serving.settings import MIB, Limits

EXPANDED = 512 * MIB  # bytes of arrays, once decompressed


class TooMuch(UserError):
    """Larger than a request may be."""


def require_small(path: Path, limits: Limits, *, clip: bool = True) -> None:
    """TooMuch for frames or arrays that are too large, UserError for a head that cannot be read.

    `clip`: a file of clips; else a table for the doctor, of which only the expanded size is bounded.
    """
    if path.suffix == ".npz":
        _require_small_archive(path)
    if not clip:
        return
    if path.suffix in ARRAY_SUFFIXES:
        _require_small_array(path, limits)
    elif path.suffix == ".gif" and max(size_of_gif(path)) > limits.max_side:
        raise _too_wide(path, *size_of_gif(path), limits)
    else:
        _require_small_video(path, limits)


def _require_small_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:  # no member gives more bytes than it says here
            expanded = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable NPZ file: {error}") from None
    if expanded > EXPANDED:
        raise TooMuch(f"{path}: {expanded} bytes once decompressed; at most {EXPANDED} are read")


def _require_small_array(path: Path, limits: Limits) -> None:
    from kinetoken.diagnosis.columns import stored_arrays

    for name, values in stored_arrays(path).items():
        if values.ndim < 4:
            continue
        height, width = values.shape[-3:-1]
        if max(height, width) > limits.max_side:
            raise _too_wide(path, width, height, limits)
        if values.shape[-4] > limits.max_frames:
            raise TooMuch(f"{path}: '{name}' has {values.shape[-4]} frames; at most {limits.max_frames} are read")
        if math.prod(values.shape) * values.dtype.itemsize > EXPANDED:
            raise TooMuch(f"{path}: '{name}' holds more than {EXPANDED} bytes, the most that are read")


def _require_small_video(path: Path, limits: Limits) -> None:
    """FFmpeg is told of the bound, too, so that it makes no picture that is larger while it looks at the file."""
    import av

    with path.open("rb") as source:
        kind = "matroska" if source.read(len(EBML)) == EBML else None
    bound = {"max_pixels": str(limits.max_side**2)}
    try:
        with av.open(str(path), format=kind, options=bound) as container:
            if not container.streams.video:
                raise UserError(f"{path}: not a whole video (unreadable: no video in it)")
            stream = container.streams.video[0]
            width, height, frames = stream.codec_context.width, stream.codec_context.height, stream.frames
    except UserError:
        raise
    except MemoryError:
        raise TooMuch(f"{path}: opening it needs more memory than one request may use") from None
    except Exception as error:  # parsers of damaged bytes raise anything
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: not a whole video (unreadable: {why})") from None
    if max(width, height) > limits.max_side:
        raise _too_wide(path, width, height, limits)
    if frames > limits.max_frames:
        raise TooMuch(f"{path}: {frames} frames; at most {limits.max_frames} are read")


def _too_wide(path: Path, width: int, height: int, limits: Limits) -> TooMuch:
    return TooMuch(f"{path}: frames of {width}×{height} pixels; at most {limits.max_side} a side are read")
