"""Counts of codes that grow batch by batch, in memory that does not grow with the number of clips.

Clips fall at random into `GROUPS` groups, so that spreads over clips can be had from sums: a bootstrap over
groups is one over clips whose members stay together.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.usage import Usage, fsq_digits, usage_of

if TYPE_CHECKING:
    import pandas as pd

Counts = NDArray[np.int64]
Indices = NDArray[np.int32]
Mask = NDArray[np.bool_]

GROUPS = 32
WINDOW = 16384  # tokens in a row over which usage is counted, so that tables of different length compare
MOST_CELLS = 2**24  # of one table of counts (128 MiB); a larger one is not made


@dataclasses.dataclass
class Tally:
    """Counts over clips of a grid (T', H', W') with a codebook of K codes; `classes` 0 where labels are unknown.

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

    def __post_init__(self) -> None:
        size, places = self.codebook_size, int(np.prod(self.grid))
        self.groups, self.foreground = np.zeros((2, GROUPS, size), np.int64)
        self.masked = np.zeros(places, np.int64)
        self.positions = np.zeros((places, size), np.int64) if places * size <= MOST_CELLS else None
        cells = 2 * size * self.classes
        self.joint = np.zeros((2, size, self.classes), np.int64) if 0 < cells <= MOST_CELLS else None
        self.windows: list[Usage] = []
        self._window, self._filled = np.zeros(size, np.int64), 0
        self._rng, self._mask_rng = np.random.default_rng(self.seed).spawn(2)

    def add(self, codes: Indices, target: NDArray[np.int64] | None = None) -> None:
        """Count clips (n, T', H', W'), with their classes (n,) if they are known."""
        flat = codes.reshape(len(codes), -1).astype(np.int64)
        size, group = self.codebook_size, self._rng.integers(0, GROUPS, len(codes))
        self.groups += _table(flat + size * group[:, None], self.groups.shape)
        if self.positions is not None:
            self.positions += _table(flat + size * np.arange(flat.shape[1]), self.positions.shape)
        if self.joint is not None and target is not None:
            cell = (flat + size * (group % 2)[:, None]) * self.classes + target[:, None]
            self.joint += _table(cell, self.joint.shape)
        self._slide(flat.ravel())
        self.clips += len(codes)

    def add_foreground(self, codes: Indices, mask: Mask) -> None:
        """Count the tokens of clips (n, T', H', W') that lie on what moves: of all clips or of a sample."""
        flat, ball = codes.reshape(len(codes), -1).astype(np.int64), mask.reshape(len(codes), -1)
        group = self._mask_rng.integers(0, GROUPS, len(codes))
        self.foreground += _table((flat + self.codebook_size * group[:, None])[ball], self.foreground.shape)
        self.masked += ball.sum(0)
        self.masked_clips += len(codes)

    def _slide(self, tokens: Counts) -> None:
        while len(tokens):
            part, tokens = np.split(tokens, [WINDOW - self._filled])
            self._window += np.bincount(part, minlength=self.codebook_size)
            self._filled += len(part)
            if self._filled == WINDOW:
                self.windows.append(usage_of(self._window))
                self._window, self._filled = np.zeros_like(self._window), 0

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


def by_position(tally: Tally) -> "pd.DataFrame":
    """One row a place: slice, row, column, perplexity, usage, top1_share, foreground_share; empty if not counted."""
    import pandas as pd

    columns = ["slice", "row", "column", "perplexity", "usage", "top1_share", "foreground_share"]
    if tally.positions is None:
        return pd.DataFrame(columns=columns)
    rows = []
    for place, (slice_, row, column) in enumerate(np.ndindex(*tally.grid)):
        found = usage_of(tally.positions[place])
        share = float(tally.masked[place] / max(tally.masked_clips, 1))
        rows.append((slice_, row, column, found.perplexity, found.usage, found.top1_share, share))
    return pd.DataFrame(rows, columns=columns)


def level_histograms(tally: Tally, levels: tuple[int, ...]) -> "pd.DataFrame":
    """Share of tokens at each level of each FSQ channel: channel, level, share, share_foreground; empty without."""
    import pandas as pd

    everywhere, ball = (counts.sum(0) for counts in (tally.groups, tally.foreground))
    digits = fsq_digits(np.arange(tally.codebook_size, dtype=np.int32), levels)  # (K, L)
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
    digits = fsq_digits(np.arange(tally.codebook_size, dtype=np.int32), levels)
    rows = []
    for channel, count in enumerate(levels):
        seen = tally.positions @ np.eye(count, dtype=np.int64)[digits[:, channel]]  # (P, levels)
        places = np.ndindex(*tally.grid)
        rows += [(*place, channel, usage_of(found).perplexity) for place, found in zip(places, seen, strict=True)]
    return pd.DataFrame(rows, columns=columns)
