"""A second extraction of the same clips, read beside the first and compared with it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.progress import Progress
from kinetoken.diagnosis.checks.repeat import Again, compared, together
from kinetoken.diagnosis.coding import Codes, CodesColumn
from kinetoken.diagnosis.columns import Source
from kinetoken.diagnosis.joining import Join, Rows, joined, read_rows
from kinetoken.diagnosis.layouts import Known


class Repeated:
    """The codes of a second extraction, matched to those of the first."""

    def __init__(self, path: Source, codes: Rows, layout: str | None, known: Known) -> None:
        """UserError for a file without codes, and for rows that do not belong to those of the first."""
        self.column = CodesColumn(path, layout, known)
        self.join: Join = joined(codes, read_rows(path, len(self.column), "rows of the second extraction"))

    def compared(self, first: CodesColumn, sample: NDArray[np.int64], progress: Progress) -> Again:
        """All rows where both files have the same order, else those of the sample; the first one's layout is both's.

        UserError for codes of another shape.
        """
        progress.phase("comparing two extractions", len(first), "clips")
        self.column.settle_as(first)
        if np.array_equal(self.join.rows, np.arange(len(self.column))) and len(first) == len(self.column):
            return compared(together(_watched(first, progress), self.column.batches()))
        mine, theirs = _picked(first, sample), _picked(self.column, self.join.rows[sample])
        return compared([(mine, theirs)], sample)


def _watched(column: CodesColumn, progress: Progress) -> Iterator[Codes]:
    for batch in column.batches():
        yield batch
        progress.advance(len(batch))


def _picked(column: CodesColumn, rows: NDArray[np.int64]) -> Codes:
    """Codes (n, places, Q) of these rows, in their order."""
    order, start, parts = np.argsort(rows, kind="stable"), 0, []
    ascending = rows[order]
    for batch in column.batches():
        first, last = np.searchsorted(ascending, [start, start + len(batch)])
        parts.append(batch[ascending[first:last] - start])
        start += len(batch)
    found = np.concatenate(parts)
    back = np.empty_like(found)
    back[order] = found
    return back

