"""Which kind of file an upload is, by its first bytes: what a client calls it is never used.

A file is only handed to a reader whose mark it bears. So text that asks FFmpeg to open other files (playlists, lists of
files) reaches no reader at all.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path

HEAD = 4096  # bytes that are looked at
EBML = b"\x1a\x45\xdf\xa3"
ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # that an MP4 or MOV file may begin with

CLIPS = (".webm", ".mp4", ".avi", ".gif", ".npy", ".npz")
TABLES = (".parquet", ".npy", ".npz", ".safetensors")
LABELS = (*TABLES, ".csv")
NAMES = {
    ".webm": "WebM or MKV", ".mp4": "MP4 or MOV", ".avi": "AVI", ".gif": "GIF", ".npy": "NPY", ".npz": "NPZ",
    ".parquet": "Parquet", ".safetensors": "safetensors", ".csv": "CSV",
}


def _text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # a letter of several bytes, cut by the end of the head
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", head)


MARKS: dict[str, Callable[[bytes], bool]] = {  # in the order in which they are tried
    ".webm": lambda head: head.startswith(EBML),
    ".mp4": lambda head: head[4:8] in ISO_BOXES,
    ".avi": lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ",
    ".gif": lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    ".npy": lambda head: head.startswith(b"\x93NUMPY"),
    ".npz": lambda head: head.startswith(b"PK\x03\x04"),
    ".parquet": lambda head: head.startswith(b"PAR1"),
    ".safetensors": lambda head: len(head) > 8 and head[8:9] == b"{" and not any(head[5:8]),
    ".csv": _text,
}


def kind_of_upload(head: bytes, allowed: Collection[str]) -> str | None:
    """The suffix that readers know a file by, one of `allowed`; None for any other file."""
    return next((suffix for suffix, fits in MARKS.items() if suffix in allowed and fits(head)), None)


def listed(allowed: Collection[str]) -> str:
    """The kinds in words."""
    names = [NAMES[suffix] for suffix in allowed]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def size_of_gif(path: Path) -> tuple[int, int]:
    """Width and height in pixels that a GIF's head names; (0, 0) where it breaks off."""
    with path.open("rb") as source:
        head = source.read(10)
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
