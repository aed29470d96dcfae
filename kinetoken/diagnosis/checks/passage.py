"""What one pass over all rows of codes shows that counts by code do not: rows of code 0 only, agreement of neighbours.

Memory does not grow with the number of rows.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int32]

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
        self._constant(deep.reshape(len(deep), -1, len(self.zero)))
        for axis in range(3):
            equal, pairs = neighbours(deep, axis)
            self.equal[axis] += equal.sum()
            self.pairs[axis] += pairs.sum()
        self.rows += len(codes)

    def _constant(self, codes: Places) -> None:
        there = codes >= 0
        zeros = (codes == np.array(self.zero)) & there
        count, total = zeros.sum((1, 2)), there.sum((1, 2))
        zero = count == total
        same = ((codes == codes[:, :1]) | ~there).all((1, 2)) & ~zero
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
    first, second = (np.moveaxis(codes, axis + 1, 1)[:, part] for part in (slice(None, -1), slice(1, None)))
    there = (first >= 0) & (second >= 0)
    equal = (first == second) & there
    return equal.sum((2, 3, 4)), there.sum((2, 3, 4))
