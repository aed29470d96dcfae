"""What the checks read: plain data about a table of codes and the files beside it, all but the counts optional."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.checks.passage import Passage
from kinetoken.diagnosis.checks.repeat import Again
from kinetoken.diagnosis.history import UsageCurve
from kinetoken.diagnosis.tally import Tally

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Holes:
    """Latents with NaN or infinite values among `clips` sampled ones.

    rows: the first of their rows in the file of latents; count: how many; codes: the codes of their tokens, of the
    codebook's own numbering, with how often each occurs, the commonest first.
    """

    clips: int
    count: int
    rows: tuple[int, ...]
    codes: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Sight:
    """What clips and reconstructions show, on the codes' grid.

    moving (n, T', H', W'): share of each cell's pixels that move, of the sampled clips; None of an unknown grid.
    cells, drawn_cells (k, T', H', W'): mean grey in [0, 1] of each cell of clips and of their reconstructions;
    errors, energy (k, T): of each frame, the mean squared error of the reconstruction, and the mean square of the
    clip's difference from all clips' mean; black, white: the scale that the clips' values were read on.
    """

    moving: Floats | None = None
    cells: Floats | None = None
    drawn_cells: Floats | None = None
    errors: NDArray[np.float64] | None = None
    energy: NDArray[np.float64] | None = None
    black: float | None = None
    white: float | None = None


@dataclasses.dataclass(frozen=True)
class CodeFacts:
    """Everything that the checks may read.

    tally, passage: over all rows; rows (n,): the file's row of each sampled clip, ascending; codes (n, T', H', W') or
    (n, T', H', W', Q): theirs, below 0 where there is none; label (n,): theirs, empty text where unknown;
    levels: of FSQ; quantizer: its name; vectors: the codebook as given, a table (K, D) for each codebook;
    latents (n, T', H', W', D), code_vectors of the same shape: only where these are the quantizer's own;
    curve: usage while training; again: a second extraction; sight: what clips and reconstructions show.
    """

    tally: Tally
    passage: Passage
    rows: NDArray[np.int64]
    codes: NDArray[np.int32]
    label: NDArray[np.str_]
    levels: tuple[int, ...] = ()
    quantizer: str = "unknown"
    vectors: tuple[Floats, ...] = ()
    latents: Floats | None = None
    code_vectors: Floats | None = None
    holes: Holes | None = None
    curve: UsageCurve | None = None
    again: Again | None = None
    sight: Sight | None = None
    seed: int = 7

    @property
    def deep(self) -> NDArray[np.int32]:
        """The sampled codes (n, T', H', W', Q)."""
        return self.codes.reshape(len(self.codes), *self.tally.grid, self.tally.depth)
