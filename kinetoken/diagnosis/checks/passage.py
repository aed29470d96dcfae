"""What one pass over all rows of codes shows that counts by code do not: rows of code 0 only, agreement of neighbours.

Memory does not grow with the number of rows.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int32]

SOME = 7  # places of a row that are looked at first
AXES = ("time", "rows", "columns")


@dataclasses.dataclass
class Passage:
    """Sums over rows of codes on a grid (T', H', W'), fed batch by batch in the order of the file.

    `zero` (Q,): the place of code 0 of each codebook, −1 where code 0 was never seen.

    rows: all so far; zero_rows: those whose every code is 0; other_constant_rows: those of one other code throughout;
    tail: the first row of the zero rows that the file ends with; other_zeros, other_tokens: tokens of code 0, and all,
    in rows that are not zero rows; most_zeros: the largest share of code 0 in such a row;
    equal, pairs (3,): neighbours along time, rows and columns that hold the same code, and all such pairs.
    """

    grid: tuple[int, int, int]
    zero: tuple[int, ...]
    rows: int = 0
    zero_rows: int = 0
    other_constant_rows: int = 0
    tail: int = 0
    other_zeros: int = 0
    other_tokens: int = 0
    most_zeros: float = 0.0
    equal: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(3, np.int64))
    pairs: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, codes: Places) -> None:
        """Rows (n, T', H', W') or (n, T', H', W', Q) as `Coding.places` gives them, below 0 where there is none."""
        deep = codes.reshape(len(codes), *self.grid, len(self.zero))
        padded = bool((codes < 0).any())
        self._constant(deep.reshape(len(deep), -1, len(self.zero)), padded)
        for axis in range(3):
            if padded:
                equal, pairs = (each.sum() for each in neighbours(deep, axis))
            else:
                first, second = _shifted(deep, axis)
                equal, pairs = np.count_nonzero(first == second), first.size
            self.equal[axis] += equal
            self.pairs[axis] += pairs
        self.rows += len(codes)

    def _constant(self, codes: Places, padded: bool) -> None:
        zeros = (codes == np.array(self.zero, np.int32)) & (codes >= 0)
        count = np.count_nonzero(zeros, axis=(1, 2))
        total = np.count_nonzero(codes >= 0, axis=(1, 2)) if padded else np.full(len(codes), codes[0].size)
        zero = count == total
        some = codes[:, :: max(codes.shape[1] // SOME, 1)]
        maybe = np.flatnonzero(((some == codes[:, :1]) | (some < 0)).all((1, 2)) & ~zero)  # few: the rest varies here
        same = ((codes[maybe] == codes[maybe, :1]) | (codes[maybe] < 0)).all((1, 2))
        if not zero.all():
            self.tail = self.rows + int(np.flatnonzero(~zero)[-1]) + 1
            self.most_zeros = max(self.most_zeros, float((count / total)[~zero].max()))
        self.zero_rows += int(zero.sum())
        self.other_constant_rows += int(same.sum())
        self.other_zeros += int(count[~zero].sum())
        self.other_tokens += int(total[~zero].sum())

    @property
    def agreement(self) -> NDArray[np.float64]:
        """(3,) share of neighbours along each axis that hold the same code; NaN along an axis of one place."""
        return np.asarray(np.divide(self.equal, self.pairs, out=np.full(3, np.nan), where=self.pairs > 0))


def neighbours(codes: Places, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbours along an axis 0 … 2 of the grid with equal codes, and all: sums by clip and place on that axis.

    codes (n, T', H', W', Q) → two of (n, places − 1).
    """
    first, second = (np.moveaxis(part, axis + 1, 1) for part in _shifted(codes, axis))
    there = (first >= 0) & (second >= 0)
    equal = (first == second) & there
    return equal.sum((2, 3, 4)), there.sum((2, 3, 4))


def _shifted(codes: Places, axis: int) -> tuple[Places, Places]:
    """All but the last and all but the first place along an axis 0 … 2 of the grid."""
    before = (slice(None),) * (axis + 1)
    return codes[(*before, slice(None, -1))], codes[(*before, slice(1, None))]
