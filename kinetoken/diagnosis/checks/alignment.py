"""Do tokens lie where the pixels move? Under exchanged axes, mirrored ones, and other orders of flattening."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.chain import even_sample
from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.checks.order import ORDERS, rarity
from kinetoken.diagnosis.checks.passage import AXES
from kinetoken.diagnosis.finding import KEPT, LIKELY, Finding

Array = NDArray[np.float64]
Maps = NDArray[np.float32]  # (n, T', H', W')
Grid = tuple[int, int, int]

CLIPS = 512  # that are compared
LEAST_CLIPS = 16  # whose maps are not flat
MATCHES = 0.15  # correlation of the maps that another arrangement must reach
BETTER = 1.5  # times that of the codes as they stand
CLEARLY = 0.05  # and by how much more
SURE = 5.0  # standard errors over clips
FLAT = 1e-9


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """Another way to lay tokens out on the grid: its name, and the place (P,) that each place is read from."""

    name: str
    swap: bool  # are axes exchanged or mirrored, not read in another order
    places: NDArray[np.int64]

    def of(self, maps: Maps) -> Maps:
        return maps.reshape(len(maps), -1)[:, self.places].reshape(maps.shape)

    @property
    def moved(self) -> float:
        """Share of the tokens that it puts elsewhere."""
        return float((self.places != np.arange(len(self.places))).mean())


def arrangements(grid: Grid) -> Iterator[Arrangement]:
    """Exchanges of axes that keep the grid's shape, with all mirrorings, and all orders of flattening; each once."""
    rows = np.arange(int(np.prod(grid))).reshape(grid)
    seen = {rows.tobytes()}
    for axes, mirrored in itertools.product(itertools.permutations(range(3)), _subsets(grid)):
        if tuple(grid[axis] for axis in axes) != grid:
            continue
        found = np.flip(rows.transpose(axes), mirrored)
        if found.tobytes() not in seen:
            seen.add(found.tobytes())
            yield Arrangement(_exchange(axes, mirrored), True, found.ravel())
    for order in ORDERS:
        places = order.places(grid)
        if places.reshape(grid).tobytes() not in seen:
            seen.add(places.reshape(grid).tobytes())
            yield Arrangement(f"read as flattened in the order {order}", False, places)


def _subsets(grid: Grid) -> list[tuple[int, ...]]:
    long = [axis for axis in range(3) if grid[axis] > 1]
    return [part for count in range(len(long) + 1) for part in itertools.combinations(long, count)]


def _exchange(axes: tuple[int, ...], mirrored: tuple[int, ...]) -> str:
    exchanged = [AXES[axis] for place, axis in enumerate(axes) if axis != place]
    said = [f"{' and '.join(sorted(exchanged, key=AXES.index))} exchanged"] if exchanged else []
    return ", ".join([*said, *(f"{AXES[axis]} reversed" for axis in mirrored)])


@dataclasses.dataclass(frozen=True)
class Match:
    """How maps match as they stand and in the arrangement that matches best: correlations over clips.

    gain, error: of the other over the plain one, the mean over clips and its standard error.
    """

    arrangement: Arrangement
    plain: float
    other: float
    gain: float
    error: float
    clips: int


def better_match(first: Maps, second: Maps) -> Match | None:
    """The arrangement of the first maps under which they match the second clearly better; None as a rule."""
    part = even_sample(np.zeros(len(first), int), CLIPS)
    one, two = _standard(first[part]), _standard(second[part])
    varied = (one**2).any(1) & (two**2).any(1)
    one, two = one[varied], two[varied]
    if len(one) < LEAST_CLIPS:
        return None
    plain, best = (one * two).mean(1), None
    grid = first.shape[1], first.shape[2], first.shape[3]
    for arrangement in arrangements(grid):
        other = (one[:, arrangement.places] * two).mean(1)
        gain = other - plain
        error = float(gain.std() / np.sqrt(len(gain)))
        if best is None or gain.mean() > best.gain:
            best = Match(arrangement, float(plain.mean()), float(other.mean()), float(gain.mean()), error, len(one))
    if best is None or best.other < max(MATCHES, BETTER * best.plain) or best.gain < max(CLEARLY, SURE * best.error):
        return None
    return best


def _standard(maps: Maps) -> Array:
    """(n, P) with mean 0 and variance 1 within each clip; 0 where a map is flat."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    deviation = np.sqrt((flat**2).mean(1, keepdims=True))
    return np.asarray(np.divide(flat, deviation, out=np.zeros_like(flat), where=deviation > FLAT))


def codes_against_clips(facts: CodeFacts) -> Finding | None:
    """Tokens that differ from what is usual at their place, against the pixels that move."""
    sight = facts.sight
    if sight is None or sight.moving is None or sight.moving.shape[1:] != facts.tally.grid:
        return None
    found = better_match(rarity(facts.deep), sight.moving)
    return None if found is None else _finding(found, "codes", "rare codes and moving pixels")


def reconstructions_against_clips(facts: CodeFacts) -> Finding | None:
    """Reconstructions, cell by cell of the grid, against the clips."""
    sight = facts.sight
    if sight is None or sight.cells is None or sight.drawn_cells is None:
        return None
    found = better_match(_unusual(sight.drawn_cells), _unusual(sight.cells))
    return None if found is None else _finding(found, "reconstructions", "the cells of reconstructions and of clips")


def _unusual(cells: Maps) -> Maps:
    return np.asarray(cells - cells.mean(0), np.float32)


def _finding(found: Match, what: str, maps: str) -> Finding:
    how = found.arrangement
    return Finding(
        "axes swapped" if how.swap else "tokens out of place", KEPT, how.moved, LIKELY,
        f"With {how.name}, {maps} correlate by {found.other:.2f}; as they stand by {found.plain:.2f} (gain "
        f"{found.gain:.2f} ± {1.96 * found.error:.2f} over {found.clips} clips). {how.moved:.0%} of the tokens stand "
        f"at another place in the {what} than in the clips.",
        "One clip encoded and its codes' axes printed beside the clip's; or the same codes with the axes put right.",
        ("clips", what),
    )
