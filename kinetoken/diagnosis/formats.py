"""One small reader for each kind of array file: arrays by name, read lazily where the format can.

Nothing is unpickled: NumPy files are read with `allow_pickle=False`, PyTorch files with `weights_only=True`. Whatever
a damaged or hostile file makes a reader raise ends as one UserError that names the file. Tables (Parquet, Arrow) are
read by `tables`, WebDataset shards by `shards`.
"""

import dataclasses
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

LITTLE = 1 << 26  # bytes that any machine has
PICKLED = "holds Python objects (rows of different length?), which are not read because unpickling them can run code"


class Values(Protocol):
    """(N, …) values of which a range of rows can be read: an array, or one that stays in its file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...  # noqa: ANN401 - numpy's

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Any: ...  # noqa: ANN401 - what numpy makes an array of


@contextmanager
def reading(path: object, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file of this kind is read into one UserError that names it."""
    try:
        yield
    except (UserError, ModuleNotFoundError):
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except MemoryError:
        raise UserError(f"{path}: damaged {kind} file: it asks for more memory than there is") from None
    except Exception as error:  # parsers of damaged bytes raise anything: struct, zlib, tokenizer, runtime errors
        if "allow_pickle" in str(error) or "Python objects" in str(error) or "pickle" in str(error).lower():
            raise UserError(f"{path}: {PICKLED}; save plain arrays of one shape a row") from None
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not a readable {kind} file: {first}") from None


def arrays_of(path: Path) -> Mapping[str, Values]:
    """The arrays of a file by name; one that has no name is called `array`. UserError if the file is unreadable."""
    if not path.is_dir():
        require_file(path)
    kind, reader = READERS.get(path.suffix, ("NPY or NPZ", _numpy))
    with reading(path, kind):
        return reader(path)


def _numpy(path: Path) -> Mapping[str, Values]:
    """An NPY file mapped from disk; the members of an NPZ file, each read when it is used."""
    if path.is_dir():
        raise UserError(f"{path}: a folder of no known kind: expected a Hugging Face dataset, .zarr, or .tar shards")
    if zipfile.is_zipfile(path):
        return _npz(path)
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError("neither an array nor a ZIP archive of arrays")
    return {"array": found}


def _npz(path: Path) -> Mapping[str, Values]:
    found: dict[str, Values] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as stream:
                    shape, fortran, dtype = _header(stream)
                member = Member(path, name, shape, dtype)
                whole = fortran or len(shape) < 2 or dtype.hasobject
                found[name.removesuffix(".npy")] = member.whole() if whole and not dtype.hasobject else member
    return found


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:  # noqa: ANN401 - a binary file
    """Shape, order and type of an NPY stream, which is left at its first value."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if not all(0 <= size < 2**62 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, fortran, dtype


@dataclasses.dataclass(frozen=True)
class Member:
    """An array of an NPZ file, decompressed from its start a range of rows at a time."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def whole(self) -> Array:
        """All of it in memory."""
        self._require_room(len(self) if self.shape else 1)
        with reading(self.path, "NPZ"), zipfile.ZipFile(self.path) as archive, archive.open(self.name) as stream:
            found = np.lib.format.read_array(stream, allow_pickle=False)
            stream.read(1)  # the end, where the checksum is compared
            return np.asarray(found)

    def _require_room(self, rows: int) -> None:
        """UserError unless so many rows fit into the memory that is free."""
        asked = rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        if asked > LITTLE and asked > psutil.virtual_memory().available:
            raise UserError(
                f"{self.path}: '{self.name.removesuffix('.npy')}' is {asked} bytes once decompressed, more memory than "
                "is free; save it as NPY, which stays in its file"
            )

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(len(self))
        return next(iter(self._parts(start, stop)), np.empty((0, *self.shape[1:]), self.dtype))

    def parts(self, count: int) -> Iterator[Array]:
        """All rows in order, `count` at a time."""
        return self._parts(0, len(self), count)

    def _parts(self, start: int, stop: int, count: int | None = None) -> Iterator[Array]:
        if self.dtype.hasobject:
            raise UserError(f"{self.path}: '{self.name.removesuffix('.npy')}' {PICKLED}")
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._require_room(min(count or stop, stop - start))
        with reading(self.path, "NPZ"), zipfile.ZipFile(self.path) as archive, archive.open(self.name) as stream:
            _header(stream)
            for _ in range(start):
                stream.read(size)
            while start < stop:
                wanted = min(count or stop, stop - start)
                content = stream.read(size * wanted)
                if len(content) < size * wanted:
                    raise ValueError(f"'{self.name}' ends early")
                yield np.frombuffer(content, self.dtype).reshape(wanted, *self.shape[1:])
                start += wanted
            if stop == len(self):
                stream.read(1)


def _torch(path: Path) -> Mapping[str, Values]:
    """Tensors of a file by `torch.save`: one, or by name; mapped from disk where its format allows."""
    import torch

    content: Any
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions of the format: errors say what matters
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, ValueError):  # the old format cannot be mapped
            content = torch.load(path, map_location="cpu", weights_only=True)
    return _named(content, path)


def _named(content: object, path: object) -> Mapping[str, Values]:
    if not isinstance(content, Mapping):
        return {"array": _values(content, path)}
    return {str(name): _values(value, path) for name, value in content.items() if _is_data(value)}


def _is_data(value: object) -> bool:
    import torch

    return isinstance(value, list | tuple | np.ndarray) or (isinstance(value, torch.Tensor) and value.ndim > 0)


def _values(value: object, path: object) -> Array:
    """A tensor or a list as an array; tensors of unequal length are filled up with PADDING."""
    import torch

    if isinstance(value, torch.Tensor):
        return plain(value)
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list | tuple):
        raise UserError(f"{path}: expected tensors, found {type(value).__name__}; save a tensor, or tensors by name")
    if value and all(isinstance(row, torch.Tensor) for row in value):
        return padded([plain(row) for row in value], path)
    found = np.asarray(value)
    if found.dtype == object:
        raise UserError(f"{path}: holds lists of mixed or unequal rows; save tensors")
    return found


def plain(tensor: "torch.Tensor") -> Array:
    """A tensor's values; types that NumPy lacks become float32."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16 or str(tensor.dtype).startswith("torch.float8"):
        tensor = tensor.float()
    return np.asarray(tensor.resolve_conj().resolve_neg().numpy())


PADDING = -1  # of rows that end before the longest does


def padded(rows: list[Array], path: object) -> Array:
    """(N, longest, …) of rows (length, …), which may differ in length only; whole numbers are filled up with PADDING.

    Raises UserError for rows of different shape otherwise, and for numbers with fractions.
    """
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    if any(row.ndim == 0 or row.shape[1:] != rows[0].shape[1:] for row in rows) or \
            not all(np.issubdtype(row.dtype, np.integer) for row in rows):
        raise UserError(f"{path}: rows of different shape")
    found = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), PADDING, np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def _safetensors(path: Path) -> Mapping[str, Values]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # mapped from disk
        found = {name: plain(file.get_tensor(name)) for name in file.keys()}
    return {"array": next(iter(found.values()))} if set(found) == {"tensor"} else found


class Kept:
    """An array that stays in its file and is read by ranges of rows; every fault names the file."""

    def __init__(self, path: Path, kind: str, values: Values) -> None:
        self.path, self.kind, self.values = path, kind, values
        self.shape, self.dtype, self.ndim = tuple(values.shape), np.dtype(values.dtype), len(values.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        with reading(self.path, self.kind):
            return np.asarray(self.values[rows])


def _hdf5(path: Path) -> Mapping[str, Values]:
    """The datasets of an HDF5 file, of all its groups, by the last part of their names."""
    import h5py

    found: dict[str, Values] = {}
    file = h5py.File(path, "r")

    def take(name: str, item: Any) -> None:  # noqa: ANN401 - h5py's
        if isinstance(item, h5py.Dataset) and item.ndim:
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name.rpartition("/")[2]] = as_text(item.asstr()[...]) if text else _kept(path, "HDF5", item)

    file.visititems(take)
    return found


def _zarr(path: Path) -> Mapping[str, Values]:
    import zarr

    content: Any = zarr.open(str(path), mode="r")
    if not hasattr(content, "arrays"):
        return {"array": _kept(path, "Zarr", content)}
    return {str(name): _kept(path, "Zarr", values) for name, values in content.arrays() if values.ndim}


def _kept(path: Path, kind: str, values: Any) -> Values:  # noqa: ANN401 - of h5py or zarr
    """Numbers stay in the file; a column of text or of one value a row is read."""
    if np.dtype(values.dtype).kind in "OUSTV":
        return as_text(np.asarray(values[:]))
    return np.asarray(values[:]) if values.ndim == 1 else Kept(path, kind, values)


def as_text(values: Iterable[Any]) -> Array:
    """(N,) text, of text or of bytes; empty where it is missing."""
    decoded = (one.decode(errors="replace") if isinstance(one, bytes) else one for one in values)
    return np.array(["" if one is None else str(one) for one in decoded], np.str_)


READERS: Mapping[str, tuple[str, Callable[[Path], Mapping[str, Values]]]] = {
    ".npy": ("NPY or NPZ", _numpy), ".npz": ("NPY or NPZ", _numpy),
    ".pt": ("PyTorch", _torch), ".pth": ("PyTorch", _torch),
    ".safetensors": ("safetensors", _safetensors), ".h5": ("HDF5", _hdf5), ".hdf5": ("HDF5", _hdf5),
    ".zarr": ("Zarr", _zarr),
}
