"""WebDataset shards: tar files whose members with one stem are one clip, read in order and never unpacked.

`000017.codes.npy`, `000017.cls` and `000017.json` are the codes, the label and further values of the clip `000017`.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError
from kinetoken.diagnosis.formats import Array, Values, _named, padded, reading

KEY = "sample_id"  # the column that the stems of the members become
PLAIN = {"cls": "class", "label.txt": "label", "class.txt": "class", "split.txt": "split"}
ARRAYS = ("npy", "npz", "pth", "pt")


def is_shards(path: Path) -> bool:
    """Is it a tar file, or a folder with some?"""
    return path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar")))


def shards_of(path: Path) -> list[Path]:
    """The tar files in order. UserError if there is none."""
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    for shard in shards:
        require_file(shard)
    return shards


def samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each clip's key and its members by extension, in order."""
    for shard in shards_of(path):
        with reading(shard, "tar"), tarfile.open(shard, "r:*") as archive:
            _require_end(shard)
            key, held = "", dict[str, bytes]()
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                here = f"{folder}/{stem}" if folder else stem
                if held and here != key:
                    yield key, held
                    held = {}
                stream = archive.extractfile(member)
                assert stream is not None
                key, held[extension.lower()] = here, stream.read()
            if held:
                yield key, held


def _require_end(shard: Path) -> None:
    """ValueError for a plain tar file without the zeros that end one: `tarfile` reads a cut file in silence."""
    with shard.open("rb") as stream:
        head = stream.read(tarfile.BLOCKSIZE)
        stream.seek(max(0, shard.stat().st_size - tarfile.BLOCKSIZE))
        if head[257:262] == b"ustar" and any(stream.read()):
            raise ValueError("it ends early")


def fields_of(where: str, held: Mapping[str, bytes]) -> dict[str, Any]:
    """A clip's values by name: arrays, text and numbers; members of other kinds, pickles among them, are left out."""
    found: dict[str, Any] = {}
    for extension, content in held.items():
        name, _, kind = extension.rpartition(".")
        with reading(where, kind):
            if kind in ARRAYS:
                found |= {name or key: values for key, values in _arrays(kind, content, where).items()}
            elif kind == "json":
                loaded = json.loads(content)
                found |= loaded if isinstance(loaded, dict) and not name else {name or "json": loaded}
            elif extension in PLAIN:
                found[PLAIN[extension]] = content.decode().strip()
    return found


def _arrays(kind: str, content: bytes, where: str) -> Mapping[str, Values]:
    if kind in ("pt", "pth"):
        import torch

        return _named(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), where)
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    return {"array": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}


class Shards:
    """The clips of WebDataset shards: one pass finds the names, the number of clips and the columns of one value."""

    def __init__(self, path: Path) -> None:
        self.path, self.length = path, 0
        self.wide: list[str] = []
        self.longest: dict[str, int] = {}
        self.shortest: dict[str, int] = {}
        single: dict[str, list[Any]] = {}
        for key, held in samples(path):
            for name, value in {KEY: key, **fields_of(f"{path}: sample {key}", held)}.items():
                if isinstance(value, list | np.ndarray) and np.ndim(value):
                    self._see(name, len(value))
                elif not isinstance(value, dict):
                    single.setdefault(name, []).append(value)
            self.length += 1
        if not self.length:
            raise UserError(f"{path}: holds no samples")
        self.single = {name: np.array(values) for name, values in single.items() if len(values) == self.length}

    def _see(self, name: str, length: int) -> None:
        if name not in self.wide:
            self.wide.append(name)
        self.longest[name] = max(length, self.longest.get(name, 0))
        self.shortest[name] = min(length, self.shortest.get(name, length))

    def batches(self, name: str, count: int) -> Iterator[Array]:
        """One array a clip, `count` clips at a time. UserError for clips without one, or of different shape."""
        rows: list[Array] = []
        for key, held in samples(self.path):
            fields = fields_of(f"{self.path}: sample {key}", held)
            if name not in fields:
                raise UserError(f"{self.path}: sample {key} has no {name}")
            rows.append(np.asarray(fields[name]))
            if len(rows) == count:
                yield self._together(rows, name)
                rows = []
        if rows:
            yield self._together(rows, name)

    def _together(self, rows: list[Array], name: str) -> Array:
        longest = self.longest[name]
        if self.shortest[name] == longest:
            return padded(rows, self.path)
        full = padded([*rows, np.zeros((longest, *rows[0].shape[1:]), rows[0].dtype)], self.path)
        return full[:-1]
