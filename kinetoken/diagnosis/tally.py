"""Counts of codes that grow batch by batch, in memory that does not grow with the number of clips.

Clips fall at random into `GROUPS` groups, so that spreads over clips can be had from sums: a bootstrap over
groups is one over clips whose members stay together.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.usage import Usage, fsq_digits, mean_usage, usage_of

if TYPE_CHECKING:
    import pandas as pd

Counts = NDArray[np.int64]
Indices = NDArray[np.int32]
Mask = NDArray[np.bool_]

GROUPS = 32
WINDOW = 16384  # tokens in a row over which usage is counted, so that tables of different length compare
MOST_CELLS = 2**24  # of one table of counts (128 MiB); a larger one is not made
MOST_BINS = 64 * 64  # of the table of entries, for one codebook
MOST_ROWS = 2**16  # of the same table, for all codebooks together
LEAST_BINS = 64


@dataclasses.dataclass
class Tally:
    """Counts over clips of a grid (T', H', W') with a codebook of K codes; `classes` 0 where labels are unknown.

    Of Q codebooks the codes are numbered one codebook after the other, and K is the number of all; `sizes` (Q,) says
    how many are counted of each, `declared` (Q,) how many each has, and `codes` (K,) which codes they are, where
    these are not 0 … size − 1. Codes below 0 are padding and not counted.

    groups (GROUPS, K): tokens by random group of clips; foreground (GROUPS, K): those under a mask;
    positions (P, K): by place of the grid; masked (P,): masked tokens at each place;
    joint (2, K, C): by code and class, in two random halves of the clips;
    windows: usage and perplexity of each full WINDOW of tokens, in the order of the clips.
    """

    grid: tuple[int, int, int]
    codebook_size: int
    classes: int
    seed: int
    clips: int = 0
    masked_clips: int = 0
    sizes: tuple[int, ...] = ()
    declared: tuple[int, ...] = ()
    codes: Counts = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        size, places = self.codebook_size, int(np.prod(self.grid))
        self.sizes = self.sizes or (size,)
        self.declared = self.declared or self.sizes
        if not len(self.codes):
            self.codes = np.concatenate([np.arange(each) for each in self.sizes])
        self.groups, self.foreground = np.zeros((2, GROUPS, size), np.int64)
        self.masked = np.zeros(places, np.int64)
        self.positions = np.zeros((places, size), np.int64) if places * size <= MOST_CELLS else None
        cells = 2 * size * self.classes
        self.joint = np.zeros((2, size, self.classes), np.int64) if 0 < cells <= MOST_CELLS else None
        self.windows: list[Usage] = []
        self._window, self._filled = np.zeros(size, np.int64), 0
        self._rng, self._mask_rng = np.random.default_rng(self.seed).spawn(2)

    def add(self, codes: Indices, target: NDArray[np.int64] | None = None) -> None:
        """Count clips (n, T', H', W') or (n, T', H', W', Q), with their classes (n,) if they are known."""
        flat = codes.reshape(len(codes), -1).astype(np.int64)
        there = flat >= 0
        size, group = self.codebook_size, self._rng.integers(0, GROUPS, len(codes))
        self.groups += _table((flat + size * group[:, None])[there], self.groups.shape)
        if self.positions is not None:
            places = np.arange(flat.shape[1]) // self.depth
            self.positions += _table((flat + size * places)[there], self.positions.shape)
        if self.joint is not None and target is not None:
            cell = (flat + size * (group % 2)[:, None]) * self.classes + target[:, None]
            self.joint += _table(cell[there], self.joint.shape)
        self._slide(flat[there])
        self.clips += len(codes)

    def add_foreground(self, codes: Indices, mask: Mask) -> None:
        """Count the tokens of clips that lie on what moves (n, T', H', W'): of all clips or of a sample."""
        flat, ball = codes.reshape(len(codes), -1).astype(np.int64), mask.reshape(len(codes), -1)
        group = self._mask_rng.integers(0, GROUPS, len(codes))
        counted = np.repeat(ball, self.depth, axis=1) & (flat >= 0)
        self.foreground += _table((flat + self.codebook_size * group[:, None])[counted], self.foreground.shape)
        self.masked += ball.sum(0)
        self.masked_clips += len(codes)

    def _slide(self, tokens: Counts) -> None:
        while len(tokens):
            part, tokens = np.split(tokens, [WINDOW - self._filled])
            self._window += np.bincount(part, minlength=self.codebook_size)
            self._filled += len(part)
            if self._filled == WINDOW:
                self.windows.append(self.usage(self._window))
                self._window, self._filled = np.zeros_like(self._window), 0

    @property
    def depth(self) -> int:
        """Q, the number of codebooks."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """The entries of one codebook, the largest."""
        return max(self.declared)

    def codebooks(self, counts: NDArray[np.int64] | NDArray[np.float64]) -> list[Usage | None]:
        """Usage of each codebook by counts (K,); None of one that was never seen."""
        ends = np.cumsum(self.sizes).tolist()
        parts = [counts[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]
        return [
            usage_of(part, size) if part.sum() > 0 else None for part, size in zip(parts, self.declared, strict=True)
        ]

    def usage(self, counts: NDArray[np.int64] | NDArray[np.float64]) -> Usage:
        """Usage by counts (K,), of several codebooks their mean. ValueError if nothing was seen."""
        found = [one for one in self.codebooks(counts) if one is not None]
        if not found:
            raise ValueError("no token was counted")
        return found[0] if self.depth == 1 else mean_usage(found)

    @property
    def counts(self) -> Counts:
        """(K,) how often each code was seen."""
        return np.asarray(self.groups.sum(0))

    @property
    def has_foreground(self) -> bool:
        """Was any token under a mask?"""
        return bool(self.masked.any())

    @property
    def foreground_share(self) -> float:
        return float(self.masked.sum() / max(self.masked_clips * len(self.masked), 1))


def _table(cells: Counts, shape: tuple[int, ...]) -> Counts:
    return np.bincount(cells.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def by_codebook(tally: Tally) -> "pd.DataFrame":
    """One row a codebook: codebook (from 1), size, and usage, perplexity, dead_codes and the rest; empty for one only.

    A codebook without codes has usage 0.
    """
    import pandas as pd

    if tally.depth == 1:
        return pd.DataFrame()
    none = Usage(0.0, 0.0, 0.0, 0.0, 0, 0)
    return pd.DataFrame([
        {"codebook": place + 1, "size": size, **dataclasses.asdict(found or dataclasses.replace(none, dead_codes=size))}
        for place, (size, found) in enumerate(zip(tally.declared, tally.codebooks(tally.counts), strict=True))
    ])


def by_entry(tally: Tally) -> "pd.DataFrame":
    """How often each entry of each codebook occurs; of a large codebook, bins of entries that follow each other.

    codebook: from 1; entry: the first of the bin; entries: how many the bin has, 1 where nothing was binned; used: how
    many of these occur; count: their tokens. A codebook has at most MOST_BINS rows, all together about MOST_ROWS.
    """
    import pandas as pd

    most = min(MOST_BINS, max(MOST_ROWS // tally.depth, LEAST_BINS))
    parts, end, every = [], 0, tally.counts
    for book, (counted, declared) in enumerate(zip(tally.sizes, tally.declared, strict=True)):
        counts, codes = (values[end : end + counted] for values in (every, tally.codes))
        end += counted
        width = -(-declared // most)
        bins = -(-declared // width)
        place = np.minimum(codes // width, bins - 1)
        first = [width * one for one in range(bins)]
        parts.append(pd.DataFrame({
            "codebook": book + 1, "entry": first, "entries": [min(width, declared - one) for one in first],
            "used": np.bincount(place[counts > 0], minlength=bins),
            "count": np.bincount(place, counts, bins).astype(np.int64),
        }))
    return pd.concat(parts, ignore_index=True)


def by_position(tally: Tally) -> "pd.DataFrame":
    """One row a place: slice, row, column, perplexity, usage, top1_share, foreground_share; empty if not counted."""
    import pandas as pd

    columns = ["slice", "row", "column", "perplexity", "usage", "top1_share", "foreground_share"]
    if tally.positions is None:
        return pd.DataFrame(columns=columns)
    rows = []
    for place, (slice_, row, column) in enumerate(np.ndindex(*tally.grid)):
        seen = tally.positions[place]
        found = tally.usage(seen) if seen.any() else Usage(0.0, 0.0, 0.0, 0.0, 0, 0)
        share = float(tally.masked[place] / max(tally.masked_clips, 1))
        rows.append((slice_, row, column, found.perplexity, found.usage, found.top1_share, share))
    return pd.DataFrame(rows, columns=columns)


def level_histograms(tally: Tally, levels: tuple[int, ...]) -> "pd.DataFrame":
    """Share of tokens at each level of each FSQ channel: channel, level, share, share_foreground; empty without."""
    import pandas as pd

    everywhere, ball = (counts.sum(0) for counts in (tally.groups, tally.foreground))
    digits = fsq_digits(tally.codes, levels)  # (K, L)
    rows = []
    for channel, count in enumerate(levels):
        whole, seen = (np.bincount(digits[:, channel], counts, minlength=count) for counts in (everywhere, ball))
        shares = whole / whole.sum(), seen / max(seen.sum(), 1)
        rows += [(channel, level, shares[0][level], shares[1][level]) for level in range(count)]
    return pd.DataFrame(rows, columns=["channel", "level", "share", "share_foreground"])


def levels_by_position(tally: Tally, levels: tuple[int, ...]) -> "pd.DataFrame":
    """How evenly each place uses each FSQ channel: slice, row, column, channel, perplexity (1 … its levels)."""
    import pandas as pd

    columns = ["slice", "row", "column", "channel", "perplexity"]
    if tally.positions is None or not levels:
        return pd.DataFrame(columns=columns)
    digits = fsq_digits(tally.codes, levels)
    rows = []
    for channel, count in enumerate(levels):
        seen = tally.positions @ np.eye(count, dtype=np.int64)[digits[:, channel]]  # (P, levels)
        places = np.ndindex(*tally.grid)
        rows += [
            (*place, channel, usage_of(found).perplexity if found.any() else 0.0)
            for place, found in zip(places, seen, strict=True)
        ]
    return pd.DataFrame(rows, columns=columns)
