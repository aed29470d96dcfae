"""Which axis of a table of codes is which: said by the user (`--layout`), or guessed from the shape and said aloud.

A layout names the axes of the array in order, such as `B,T,H,W,Q`:

- B: clips, always first; T: time slices; H, W: rows and columns; N: places in one row (time × rows × columns, or
  rows × columns after T);
- Q: the codebooks of a residual or factorized quantizer;
- BITS: the bits of one code, the highest first (0/1, or −1/1 as LFQ has them); ONEHOT: one 1 among as many numbers as
  there are codes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.formats import PADDING

Array = NDArray[Any]
Grid = tuple[int, int, int]

PLACES = (("T", "H", "W"), ("H", "W"), ("T", "N"), ("N",), ("T",))  # what is left of a layout without B, Q and the last
WORDS = {"T": "time", "H": "rows", "W": "columns", "N": "places in one row", "Q": "codebooks", "BITS": "bits",
         "ONEHOT": "one-hot codes"}
KNOWN = "B,T,H,W  B,N  B,T,N  B,H,W  B,T, each also with Q after B or at the end, and with BITS or ONEHOT at the end"
MOST_CODEBOOKS = 32  # of a quantizer, for an axis to be taken for them
MOST_BITS = 62  # of a code that 64 bits can hold
SQUARE = 2  # an image is taken to be at most so many times as wide as high, or as high as wide


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of a row, in order and without B; `said` is what the report says of a layout that was guessed."""

    axes: tuple[str, ...]
    said: str = ""

    def __str__(self) -> str:
        return ",".join(("B", *self.axes))

    def grid(self, shape: Sequence[int], known: Grid | None, where: object) -> Grid:
        """(T', H', W') of rows of this shape; `known` is the grid that the user or the file says.

        UserError if the rows do not fit the known grid.
        """
        sizes = dict(zip(self.axes, shape, strict=True))
        places = tuple(axis for axis in self.axes if axis in "THWN")
        count = math.prod(sizes[axis] for axis in places)
        if known is not None:
            named = tuple(sizes[axis] for axis in places)
            if math.prod(known) != count or (places == ("T", "H", "W") and known != named):
                raise UserError(
                    f"{where}: rows of {' × '.join(map(str, named))} codes, but the grid "
                    f"{list(known)} needs {math.prod(known)} in this order"
                )
            return known
        if "N" in places:
            return sizes.get("T", 1), 1, sizes["N"]
        return sizes.get("T", 1), sizes.get("H", 1), sizes.get("W", 1)

    def codes(self, batch: Array, where: object, start: int) -> NDArray[np.int64]:
        """Codes (n, places, Q) of a batch of rows (n, …), PADDING where there is none; `start` is its first row.

        UserError for values that are no bits or not one-hot.
        """
        last = self.axes[-1]
        if last == "BITS":
            values = _packed(batch, where, start)
        elif last == "ONEHOT":
            values = _hot(batch, where, start)
        else:
            values = whole(batch, where, start)
        axes = [axis for axis in self.axes if axis not in ("BITS", "ONEHOT")]
        if "Q" in axes:
            values = np.moveaxis(values, 1 + axes.index("Q"), -1)
            return np.ascontiguousarray(values).reshape(len(values), -1, values.shape[-1])
        return values.reshape(len(values), -1, 1)


def whole(batch: Array, where: object, start: int) -> NDArray[np.int64]:
    """The same as int64. UserError for a code that is larger than that, naming its row."""
    if batch.dtype.kind in "uf" and batch.size and (high := batch >= 2.0**63).any():
        row = start + int(np.argmax(high.reshape(len(batch), -1).any(1)))
        raise UserError(f"{where}: row {row}: code {batch[high].flat[0]} is above 2^63 - 1")
    return batch.astype(np.int64)


def _packed(batch: Array, where: object, start: int) -> NDArray[np.int64]:
    """Bits (…, D) as indices (…), the highest bit first."""
    if batch.shape[-1] > MOST_BITS:
        raise UserError(f"{where}: codes of {batch.shape[-1]} bits; at most {MOST_BITS} can be counted")
    signed = bool((batch < 0).any())
    good = ((batch == 1) | (batch == (-1 if signed else 0))).reshape(len(batch), -1).all(1)
    if not good.all():
        raise UserError(f"{where}: row {start + int(np.argmin(good))} holds values that are no bits (0/1, or −1/1)")
    bits = (batch > 0).astype(np.int64)
    return np.asarray(bits @ (1 << np.arange(batch.shape[-1] - 1, -1, -1, dtype=np.int64)))


def _hot(batch: Array, where: object, start: int) -> NDArray[np.int64]:
    """One-hot codes (…, K) as indices (…); PADDING where nothing is hot."""
    binary = ((batch == 0) | (batch == 1)).reshape(len(batch), -1).all(1)
    hot = batch.sum(-1, dtype=np.int64)
    good = binary & (hot <= 1).reshape(len(batch), -1).all(1)
    if not good.all():
        raise UserError(f"{where}: row {start + int(np.argmin(good))} is not one-hot")
    return np.where(hot == 1, batch.argmax(-1), PADDING)


def parsed(text: str) -> Layout:
    """A layout as the user writes it. UserError for one that is none, with what there is."""
    axes = tuple(axis.strip().upper() for axis in text.replace("(", "").replace(")", "").split(",") if axis.strip())
    places = tuple(axis for axis in axes[1:] if axis in "THWN")
    inside = set(axes[1:]) <= set(WORDS) and len(set(axes)) == len(axes)
    coded = [axis for axis in axes if axis in ("BITS", "ONEHOT")]
    last = not coded or (len(coded) == 1 and axes[-1] == coded[0])
    if not axes or axes[0] != "B" or not inside or not last or places not in PLACES:
        raise UserError(f"--layout {text}: no layout of codes; known are {KNOWN}")
    return Layout(axes[1:])


@dataclasses.dataclass(frozen=True)
class Known:
    """What of the codes is known beside the table: the grid, the codebook's size, the quantizer's name."""

    grid: Grid | None = None
    codebook_size: int | None = None
    quantizer: str = "unknown"

    @property
    def residual(self) -> bool:
        return any(part in self.quantizer.lower() for part in ("rvq", "residual", "multi", "product", "factor"))


def guessed(first: Array, known: Known, where: object) -> Layout:
    """The layout of a table whose first rows are `first` (n, …). UserError where several fit, naming them."""
    shape = first.shape[1:]
    if len(shape) == 1:
        return Layout(("N",), "" if known.grid is not None else (
            f"The codes' rows are flat and no grid is known: each is taken as one row of {shape[0]} places. Give the "
            "grid in --config, or --layout B,T for a sequence over time."
        ))
    ending = _ending(first, known)
    inner = _places(shape[:-1] if ending else shape, known, where)
    axes = (*inner, *([ending] if ending else []))
    words = ", ".join(WORDS[axis] for axis in axes)
    sizes = " × ".join(map(str, shape))
    return Layout(axes, "" if axes == ("T", "H", "W") and known.grid is not None else (
        f"Rows of {sizes} are read as {Layout(axes)} ({words}); --layout overrules this."
    ))


def _ending(first: Array, known: Known) -> str:
    """BITS or ONEHOT if the last axis is that of one code's bits or of all codes, else nothing."""
    width, values = first.shape[-1], np.unique(first)
    if width < 2 or not np.isin(values, (-1, 0, 1)).all():
        return ""
    if set(values.tolist()) <= {0, 1} and width >= 3 and (first.sum(-1, dtype=np.int64) == 1).all():
        return "ONEHOT"
    binary = len(values) == 2 and 1 in values
    fits = known.codebook_size == 2 ** min(width, MOST_BITS)
    return "BITS" if binary and (first.ndim >= 5 or fits or -1 in values) else ""


def _places(shape: tuple[int, ...], known: Known, where: object) -> tuple[str, ...]:
    fitting = _fitting(shape, known)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        expected = ": no layout is known for them"
        if known.grid:
            expected = f" fit no layout of the grid {list(known.grid)}, which needs {math.prod(known.grid)} codes"
        raise UserError(f"{where}: rows of {' × '.join(map(str, shape))} codes{expected}; name the axes with --layout: "
                        f"{KNOWN}")
    options = " or ".join(str(Layout(one)) for one in fitting)
    raise UserError(
        f"{where}: rows of {' × '.join(map(str, shape))} codes fit several layouts; say which with --layout: {options}"
    )


def _fitting(shape: tuple[int, ...], known: Known) -> list[tuple[str, ...]]:
    """The layouts that rows of this shape may have."""
    if known.grid is not None:
        return _of_grid(shape, known.grid)
    if len(shape) == 1:
        return [("N",)]
    if len(shape) == 2:
        return _of_two(shape, known)
    if len(shape) == 3:
        few = shape[2] <= MOST_CODEBOOKS
        image = few and shape[2] < shape[0] == shape[1]
        if known.residual and few:
            return [("H", "W", "Q")] if image else [("T", "N", "Q")]
        return [("T", "H", "W"), ("H", "W", "Q")] if image else [("T", "H", "W")]
    return _of_four(shape) if len(shape) == 4 else []


def _of_four(shape: tuple[int, ...]) -> list[tuple[str, ...]]:
    """Codebooks first or last, told apart by which two axes make a square picture."""
    last, first = ("T", "H", "W", "Q"), ("Q", "T", "H", "W")
    if shape[0] > MOST_CODEBOOKS or shape[3] > MOST_CODEBOOKS:
        return [last] if shape[3] <= MOST_CODEBOOKS else [first] if shape[0] <= MOST_CODEBOOKS else []
    square_last, square_first = shape[1] == shape[2], shape[2] == shape[3]
    if square_last and square_first:
        return [last, first]
    return [first] if square_first else [last]


def _of_two(shape: tuple[int, ...], known: Known) -> list[tuple[str, ...]]:
    few = min(shape)
    if known.residual and few <= MOST_CODEBOOKS:
        return [("Q", "T")] if shape[0] < shape[1] else [("T", "Q")]
    if max(shape) <= SQUARE * few:
        return [("H", "W")]
    options: list[tuple[str, ...]] = [("H", "W"), ("T", "N")]
    return [*options, ("Q", "T") if shape[0] < shape[1] else ("T", "Q")] if few <= MOST_CODEBOOKS else options


def _of_grid(shape: tuple[int, ...], grid: Grid) -> list[tuple[str, ...]]:
    """The layouts of rows of this shape that hold the grid, without codebooks if that is possible."""
    found: dict[int | None, tuple[str, ...]] = {}
    for axes in PLACES:
        for place in (None, 0, len(axes)):
            full = axes if place is None else (*axes[:place], "Q", *axes[place:])
            if len(full) == len(shape) and _holds(dict(zip(full, shape, strict=True)), axes, grid):
                found.setdefault(place and 1 if place is not None else None, full)
    return [found[None]] if None in found else list(found.values())


def _holds(sizes: dict[str, int], axes: tuple[str, ...], grid: Grid) -> bool:
    slices, rows, columns = grid
    wanted = {
        ("T", "H", "W"): (slices, rows, columns), ("T", "N"): (slices, rows * columns),
        ("H", "W"): (rows, columns) if slices == 1 else None, ("N",): (slices * rows * columns,),
        ("T",): (slices,) if rows == columns == 1 else None,
    }[axes]
    return tuple(sizes[axis] for axis in axes) == wanted and sizes.get("Q", 1) <= MOST_CODEBOOKS


def stretched(grid: Grid, shape: Sequence[int], where: object) -> Grid:
    """The grid of rows that end at different times, the longest of this shape (time first or places in one row).

    UserError if no whole number of time slices fits.
    """
    one = grid[1] * grid[2]
    if len(shape) > 1:
        return shape[0], grid[1], grid[2]
    if shape[0] % one:
        raise UserError(f"{where}: the longest row has {shape[0]} codes, no multiple of the grid's {one} a time slice")
    return shape[0] // one, grid[1], grid[2]
