"""What the doctor looks at: a bounded sample of clips at every known point of the chain, and counts over all of them.

A patient comes from the pipeline (`admission`) or from a user's own files (`intake`); either way one `doctor`
examines it. Everything but the codes may be missing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, Indices
from kinetoken.core.per_track import Ids, PerTrack
from kinetoken.diagnosis.chain import Painted, Tokens, bounded_latents
from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.probes import Labelled, Splits
from kinetoken.diagnosis.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Motion:
    """How the sampled clips' body moves, where that is known: points (N, T, 3) in m, frames a second, drawn constants.

    constants: one row a clip; columns such as gravity, path_radius and pitch, NaN where a law has none.
    """

    points: NDArray[np.float64]
    fps: float
    constants: "pd.DataFrame"


@dataclasses.dataclass
class Patient(PerTrack):
    """N sampled clips and what is known of them.

    tokens: at those points of CHAIN that are known, (N, T', H', W', D), and of clips their mean frame,
    STILL; codes (N, T', H', W'), of Q codebooks (N, T', H', W', Q) with a number of its own for each code of each
    codebook, below 0 where a row has ended; None if the table holds numbers that were never quantized, and then there
    is no tally either; mask (test clips, T', H', W'): tokens on what moves; recoded (N, T', H', W'): what the tokenizer
    itself makes of the clips; late_fall: see Measures; history: epochs and validation losses; real_vectors: are the
    tokens of codes the quantizer's own vectors, or made here or vectors of several codebooks side by side.
    """

    meta: CodesMeta
    track_id: Ids
    label: np.ndarray
    split: np.ndarray
    codes: Indices | None
    tokens: dict[str, Tokens]
    tally: Tally | None
    mask: NDArray[np.bool_] | None = None
    recoded: Indices | None = None
    painted: Painted | None = None
    motion: Motion | None = None
    history: tuple[tuple[float, float], ...] = ()
    late_fall: float | None = None
    real_vectors: bool = True
    moving: NDArray[np.bool_] | None = None  # (N, T', H', W'), tokens on what moves in all sampled clips
    pooled: bool = False  # are the codes used averaged over space, and to be judged so
    clips_a_class: int | None = None  # for training, of the class that has fewest, before the sample was drawn
    intake: Mapping[str, float] = dataclasses.field(default_factory=dict)  # numbers found while the codes were read
    vectors: NDArray[np.float32] | None = None  # (K, D) of all codes that are counted
    remade: Callable[[Indices], NDArray[np.float32]] | None = None  # the vectors of other codes, if made from codes
    unlabelled: bool = False  # were no labels given?
    unreadable: str = ""  # why no probe can be fitted; empty if one can
    notes: tuple[str, ...] = ()  # what was assumed or drawn
    facts: CodeFacts | None = None  # what the checks read; of a user's own files only
    all_rows: frozenset[int] | None = None  # measures.row_hashes of the table that these clips are a sample of
    decoded: Callable[[], Mapping[str, Tokens]] | None = None  # what is seen in reconstructions of all sampled clips
    decodes_these: bool = False  # are they known to be decoded from these very codes?
    bound: Callable[[Tokens], Tokens] | None = None  # latents (M, D) before rounding, where levels do not tell it

    def before_rounding(self, latents: Tokens) -> Tokens:
        """Latents (..., D) as the quantizer rounds them, on the scale of its codes; unchanged if nothing was quantized.
        """
        if self.codes is None:
            return latents
        if self.bound is not None:
            return self.bound(latents.reshape(-1, latents.shape[-1])).reshape(latents.shape)
        return bounded_latents(latents, self.meta.levels)

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.split == split)

    @property
    def depth(self) -> int:
        """Codebooks of a token."""
        return 1 if self.codes is None or self.codes.ndim == 4 else self.codes.shape[4]

    @property
    def over(self) -> str:
        """What codes are averaged over, in words."""
        return "space" if self.meta.grid[1] > 1 else "the sequence"

    def splits(self, point: str, tokens: Tokens | None = None) -> Splits:
        """Tokens at one point of CHAIN as a probe takes them, or other tokens of the same clips."""
        target, tokens = self.target, self.tokens[point] if tokens is None else tokens
        approximate = point == "codes" and self.remade is not None
        codes = self.codes if approximate else None
        train, val, test = (
            Labelled(tokens[rows], target[rows], None if codes is None else codes[rows])
            for rows in map(self.rows, SPLITS)
        )
        return Splits(train, val, test, len(self.classes), approximate)
