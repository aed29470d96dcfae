"""Checks of the order of tokens and rows: neighbours on the grid, chunks of time, other orders of axes, drift."""

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.chain import even_sample
from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.checks.passage import AXES, neighbours
from kinetoken.diagnosis.finding import KEPT, LIKELY, POSSIBLE, USE, Finding

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Grid = tuple[int, int, int]

CLIPS = 512  # of the sample that orders are tried on
SURE = 5.0  # standard errors over clips that a difference must exceed
SMOOTH = 0.1  # correlation of neighbours that another order must reach
SMOOTHER = 0.05  # correlation of neighbours by which another order must exceed the one that the codes have
FLAT = 1e-9  # variance of a map without any pattern
LEAST_CLIPS = 16
DIP = 0.2  # share of the other neighbours' agreement that must be missing between chunks
TENTH = 0.1
DRAWS = 39
DRIFTED = 0.05  # total variation above what clips in any order show
LEAST_DRIFTING = 20  # clips in each tenth


@dataclasses.dataclass(frozen=True)
class Drift:
    """Total variation between codes of the first and the last tenth of the file, of clips with equal labels.

    chance: its mean if the clips are dealt anew; most: its greatest of DRAWS such; clips: in both tenths together.
    """

    variation: float
    chance: float
    most: float
    clips: int

    @property
    def excess(self) -> float:
        return self.variation - self.chance


def drift(facts: CodeFacts) -> Drift | None:
    """The drift over the file by the sampled clips; None if there are too few in a tenth that share a label."""
    total = facts.passage.rows
    first, last = facts.rows < TENTH * total, facts.rows >= (1 - TENTH) * total
    both = [np.isin(facts.label, facts.label[part]) for part in (first, last)]
    kept = np.flatnonzero((first | last) & both[0] & both[1])
    early = first[kept]
    if min(early.sum(), (~early).sum()) < LEAST_DRIFTING:
        return None
    group = np.unique(facts.label[kept], return_inverse=True)[1]
    flat = facts.codes[kept].reshape(len(kept), -1)
    seen, places = np.unique(flat, return_inverse=True)
    cells = places.reshape(flat.shape) + len(seen) * group[:, None]
    shape = (int(group.max()) + 1, len(seen))
    weight = np.bincount(group) / len(group)
    rng, values = np.random.default_rng(facts.seed), []
    there = flat >= 0
    for draw in range(DRAWS + 1):
        dealt = early if draw == 0 else _dealt(early, group, rng)
        values.append(_variation(cells, there, dealt, shape, weight))
    return Drift(values[0], float(np.mean(values[1:])), max(values[1:]), len(kept))


def _dealt(
    early: NDArray[np.bool_], group: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which clips (n,) are early, dealt anew within each group."""
    found = early.copy()
    for each in range(int(group.max()) + 1):
        found[group == each] = rng.permutation(early[group == each])
    return found


def _variation(
    cells: NDArray[np.int64], there: NDArray[np.bool_], early: NDArray[np.bool_], shape: tuple[int, int], weight: Array
) -> float:
    """Total variation of codes between early and late clips, averaged over groups by weight."""
    share = []
    for part in (early, ~early):
        count = np.bincount(cells[part][there[part]], minlength=shape[0] * shape[1]).reshape(shape)
        share.append(count / np.maximum(count.sum(1, keepdims=True), 1))
    return float((np.abs(share[0] - share[1]).sum(1) / 2 * weight).sum())


def drifts(facts: CodeFacts, found: Drift | None) -> Finding | None:
    """Codes of the file's last tenth distributed otherwise than those of the first."""
    if found is None or found.excess < DRIFTED or found.variation <= found.most:
        return None
    labelled = len(np.unique(facts.label)) > 1
    like = " with the same labels" if labelled else ""
    return Finding(
        "drift over the file", USE, 0.0, POSSIBLE,
        f"Between the first and the last tenth of the rows, of clips{like}, {found.variation:.1%} of the tokens have "
        f"another code (total variation); for {found.clips} such clips dealt at random it is {found.chance:.1%}, at "
        f"most {found.most:.1%} in {DRAWS} draws. Either the rows are sorted by what they show, or the tokenizer "
        "changed while the codes were extracted (batch statistics, a codebook that is still updated).",
        "A second extraction of the same clips in another order (--again).", ("drift",),
    )


def neighbour_numbers(facts: CodeFacts) -> dict[str, float]:
    """time, rows and columns: share of neighbours with the same code; floor: by the codes' frequencies alone."""
    numbers: dict[str, float] = {}
    floor = marginal(facts)
    for name, value in zip(AXES, facts.passage.agreement.tolist(), strict=True):
        if not np.isnan(value):
            numbers |= {name: value, f"{name}_floor": floor, f"{name}_ceiling": 1.0}
    return numbers


def marginal(facts: CodeFacts) -> float:
    """Share of pairs of tokens of a codebook with equal codes, if they were drawn by their frequency alone."""
    ends = np.cumsum(facts.tally.sizes).tolist()
    counts = [facts.tally.counts[end - size : end] for end, size in zip(ends, facts.tally.sizes, strict=True)]
    return float(np.mean([((one / one.sum()) ** 2).sum() for one in counts if one.sum()]))


def chunked(facts: CodeFacts) -> Finding | None:
    """Agreement over time that dips after every so many slices: clips cut, encoded apart, and put together."""
    slices = facts.tally.grid[0]
    if slices < 6 or len(facts.rows) < LEAST_CLIPS:
        return None
    equal, pairs = neighbours(facts.deep, 0)
    share = equal / np.maximum(pairs, 1)  # (n, T' − 1)
    for length in range(2, slices // 2 + 1):
        seam = np.arange(1, slices) % length == 0
        mean = share.mean(0)
        if seam.sum() < 2 or seam.all() or mean[seam].max() >= mean[~seam].min():
            continue
        gap = share[:, ~seam].mean(1) - share[:, seam].mean(1)
        error = gap.std() / np.sqrt(len(gap))
        if gap.mean() > DIP * mean[~seam].mean() and gap.mean() > SURE * max(error, 1e-9):
            return Finding(
                "encoded in chunks", USE, 0.0, LIKELY,
                f"After every {length} of {slices} time slices fewer tokens stay the same: {mean[seam].mean():.1%} "
                f"across these seams, {mean[~seam].mean():.1%} elsewhere ({gap.mean():.1%} ± {1.96 * error:.1%}). The "
                f"clips were cut into chunks of {length} slices, encoded apart and put together.",
                "Codes of the whole clips at once, if the tokenizer takes them.", ("neighbours.time",),
            )
    return None


@dataclasses.dataclass(frozen=True)
class Order:
    """An order of the axes that rows may have been flattened in, before they were read as time, rows, columns."""

    axes: tuple[int, int, int]

    def __str__(self) -> str:
        return ", ".join(AXES[axis] for axis in self.axes)

    def read(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Rows (n, T', H', W', …) read as they were flattened."""
        grid, rest = values.shape[1:4], values.shape[4:]
        flattened = values.reshape(len(values), *(grid[axis] for axis in self.axes), *rest)
        back = np.argsort(self.axes)
        return np.moveaxis(flattened, [1 + int(place) for place in back], [1, 2, 3])

    def places(self, grid: Grid) -> NDArray[np.int64]:
        """(P,) for each place of the grid the place of the row that it is read from."""
        rows = np.arange(int(np.prod(grid))).reshape(1, *grid)
        return np.asarray(self.read(rows).ravel(), np.int64)


ORDERS = tuple(Order((a, b, c)) for a, b, c in itertools.permutations(range(3)) if (a, b, c) != (0, 1, 2))


def rarity(codes: NDArray[np.int32]) -> Floats:
    """How rare each token's code is at its place, in bits, (n, T', H', W', Q) → (n, T', H', W'), summed over codebooks.

    At its place, so that a background that stands still is as common as any; 0 where there is no code.
    """
    flat = codes.reshape(len(codes), -1)
    seen, index = np.unique(flat, return_inverse=True)
    cell = index.reshape(flat.shape) + len(seen) * np.arange(flat.shape[1])
    _, inverse, count = np.unique(cell, return_inverse=True, return_counts=True)
    bits = np.log2(len(codes)) - np.log2(count[inverse].reshape(flat.shape))
    return np.asarray(np.where(flat >= 0, bits, 0).reshape(codes.shape).sum(-1), np.float32)


def smoothness(values: Floats) -> Array:
    """(n,) correlation of neighbours on the grid, averaged over its axes, of maps (n, T', H', W'); NaN of flat maps."""
    centred = values - values.mean((1, 2, 3), keepdims=True)
    variance = (centred**2).mean((1, 2, 3))
    found = []
    for axis in (1, 2, 3):
        if values.shape[axis] > 1:
            first, second = np.moveaxis(centred, axis, 1)[:, :-1], np.moveaxis(centred, axis, 1)[:, 1:]
            found.append((first * second).mean((1, 2, 3)))
    scale = np.where(variance > FLAT, variance, np.nan)
    return np.asarray(np.mean(found, 0) / scale, np.float64)


def flattened_otherwise(facts: CodeFacts) -> Finding | None:
    """Codes whose rare tokens lie together only if rows are read in another order of axes.

    What moves covers neighbouring tokens, so a map of how rare each code is at its place is smooth in the true order.
    """
    grid = facts.tally.grid
    if sum(size > 1 for size in grid) < 2 or len(facts.rows) < LEAST_CLIPS:
        return None
    codes = facts.deep[even_sample(np.zeros(len(facts.rows), int), CLIPS)]
    values = rarity(codes)
    plain, equal = smoothness(values), _agreement(codes)
    best: tuple[float, float, Order, float] | None = None
    for order in ORDERS:
        other = np.asarray(order.read(values), np.float32)
        if np.array_equal(order.places(grid), np.arange(np.prod(grid))):
            continue
        gain = smoothness(other) - plain
        gain = gain[np.isfinite(gain)]
        if len(gain) < LEAST_CLIPS or _agreement(np.asarray(order.read(codes), np.int32)) < equal:
            continue
        error = float(gain.std() / np.sqrt(len(gain)))
        smooth = float(np.nanmean(plain)) + gain.mean() > SMOOTH
        if smooth and gain.mean() > max(SMOOTHER, SURE * error) and (best is None or gain.mean() > best[0]):
            best = float(gain.mean()), error, order, _moved(order.places(grid))
    if best is None:
        return None
    gain_, error, order, moved = best
    before = float(np.nanmean(plain))
    return Finding(
        "tokens out of place", KEPT, moved, POSSIBLE,
        f"Rare codes lie together if rows are read as flattened in the order {order}: neighbours then correlate by "
        f"{before + gain_:.2f}, as they stand by {before:.2f} (gain {gain_:.2f} ± {1.96 * error:.2f} over clips). So "
        f"{moved:.0%} of the tokens stand at another place than the grid says.",
        "The clips (--clips): what moves there shows where each token belongs.",
        ("neighbours.time", "neighbours.rows", "neighbours.columns"),
    )


def _moved(places: NDArray[np.int64]) -> float:
    return float((places != np.arange(len(places))).mean())


def _agreement(codes: NDArray[np.int32]) -> float:
    """Share of equal neighbours, averaged over the axes of codes (n, T', H', W', Q)."""
    found = [neighbours(codes, axis) for axis in range(3) if codes.shape[axis + 1] > 1]
    return float(np.mean([equal.sum() / max(pairs.sum(), 1) for equal, pairs in found]))
