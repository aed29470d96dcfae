"""Decoded clips on disk: a folder that never holds more than its limit, the least recently read leaving first.

An entry is written beside its place and moved there whole; each frame carries its checksum, so an entry that a crash
or a bad disk left damaged is dropped and the clip decoded again. Any number of processes may read and write: sizes
are counted under one file lock, which the kernel frees when its holder dies.
"""

import fcntl
import os
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

MAGIC = b"KTCLIP01"
SLACK = 0.1  # share of the limit that an eviction frees beyond what is needed, so that it is seldom


class ClipCache:
    """Clips (T, H, W, 3) uint8 by key (a file name without dots), in `folder`, of at most `limit` bytes in all."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._full_disk = False
        folder.mkdir(parents=True, exist_ok=True)
        with self._counted() as total:
            self._drop_abandoned()
            total[0] = self._evict(limit)

    def read(self, key: str, wanted: NDArray[np.int64]) -> Pixels | None:
        """The frames at `wanted` (K,) as (K, H, W, 3); None if the clip is not here or not whole."""
        path = self._path(key)
        try:
            with path.open("rb", buffering=0) as source:
                frames = _read_frames(source.fileno(), wanted)
            os.utime(path)  # last use, for the order of eviction
        except FileNotFoundError:
            return None
        except (OSError, ValueError, IndexError):
            path.unlink(missing_ok=True)
            return None
        return frames

    def write(self, key: str, pixels: Pixels) -> None:
        """Keep the clip, at the cost of those that were not read for longest; a disk that is full ends the keeping."""
        content = _pack(pixels)
        if len(content) > self.limit or self._full_disk:
            return
        partial = self.folder / f".{key}.{os.getpid()}.{threading.get_ident()}.partial"
        try:
            with partial.open("wb") as sink:
                fcntl.flock(sink, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that its writer lives
                sink.write(content)
                sink.flush()
                self._admit(partial, self._path(key), len(content))
        except FileNotFoundError:
            return  # swept away between being made and being locked: the clip is kept the next time
        except OSError as error:
            self._full_disk = True
            warnings.warn(f"{self.folder}: decoded clips are no longer kept: {error}", stacklevel=2)
        finally:
            partial.unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def _admit(self, partial: Path, path: Path, size: int) -> None:
        with self._counted() as total:
            if path.exists():
                return  # another process was first
            if total[0] + size > self.limit:
                total[0] = self._evict(int(max(self.limit * (1 - SLACK) - size, 0)))
            total[0] += size
            os.replace(partial, path)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.clip"

    def _entries(self) -> list[tuple[int, int, str]]:
        """(time of last use, bytes, path) of each entry."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".clip"):
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        found.append((stat.st_mtime_ns, stat.st_size, entry.path))
        return found

    def _evict(self, target: int) -> int:
        """Drop the least recently used until at most `target` bytes are left; how many those are."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= target:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
        return total

    def _drop_abandoned(self) -> None:
        """Remove what killed writers left: files whose lock nobody holds."""
        for path in self.folder.glob(".*.partial"):
            with suppress(OSError), path.open("rb") as partial:
                fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """The bytes of all entries as a list of one, to be changed, with the lock held."""
        with (self.folder / ".lock").open("a+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.seek(0)
            text = handle.read()
            total = [int(text) if text.isdecimal() else self.size()]
            yield total
            handle.truncate(0)
            handle.write(str(total[0]))


def _pack(pixels: Pixels) -> bytes:
    """MAGIC, T, H, W, a CRC-32 of each frame, a CRC-32 of all that, then the frames."""
    content = np.ascontiguousarray(pixels)
    sums = [zlib.crc32(frame) for frame in content]
    head = MAGIC + np.array([*content.shape[:3], *sums], "<u4").tobytes()
    return head + np.array([zlib.crc32(head)], "<u4").tobytes() + content.tobytes()


def _read_frames(source: int, wanted: NDArray[np.int64]) -> Pixels:
    start = os.pread(source, len(MAGIC) + 12, 0)
    if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 12:
        raise ValueError("not a cached clip")
    count, height, width = (int(n) for n in np.frombuffer(start, "<u4", offset=len(MAGIC)))
    length = len(MAGIC) + 12 + 4 * count
    head = os.pread(source, length + 4, 0)
    if len(head) < length + 4 or zlib.crc32(head[:length]) != int(np.frombuffer(head[length:], "<u4")[0]):
        raise ValueError("damaged head")
    sums = np.frombuffer(head[:length], "<u4", offset=len(start))
    size = height * width * 3
    frames = np.empty((len(wanted), height, width, 3), np.uint8)
    for place, frame in enumerate(wanted.tolist()):
        if os.preadv(source, [frames[place].reshape(-1)], length + 4 + frame * size) != size:
            raise ValueError("cut short")
        if zlib.crc32(frames[place]) != sums[frame]:
            raise ValueError("damaged frame")
    return frames
