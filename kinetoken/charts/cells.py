"""A codebook as a map: a cell an entry, the stronger the oftener it occurs, on a log scale; dead ones stand out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

STEPS = 8
FAINTEST = 0.16
MOST_COLUMNS = 64
WIDEST, LEAST_WIDTH = 28, 140  # pixels of one cell, and of a map


@dataclass(frozen=True)
class Shades:
    """Eight shades over the values from `low` to `high`, evenly in their logarithm."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> "Shades":
        """Shades for all values above 0."""
        there = [value for value in values if value > 0] or [1.0]
        return cls(min(there), max(there))

    def of(self, value: float) -> int:
        """0 for a value that never occurs, else the shade from 1 to STEPS."""
        if value <= 0:
            return 0
        span = math.log(self.high / self.low)
        place = math.log(value / self.low) / span if span > 0 else 1.0
        return 1 + min(max(int(place * STEPS), 0), STEPS - 1)

    def opacity(self, shade: int) -> float:
        return FAINTEST + (1 - FAINTEST) * (shade - 1) / (STEPS - 1)


def cell_map(values: Sequence[float], shades: Shades, label: str) -> Markup:
    """The values in rows from the top left, about as many rows as columns."""
    columns = min(max(math.ceil(math.sqrt(len(values))), 1), MOST_COLUMNS)
    rows = math.ceil(len(values) / columns)
    runs: dict[int, list[str]] = {}
    for row in range(rows):
        line = [shades.of(value) for value in values[row * columns : (row + 1) * columns]]
        for start, length, shade in _runs(line):
            runs.setdefault(shade, []).append(f"M{start} {row}h{length}v1h-{length}z")
    used = Markup('<path class="heat" fill-opacity="{:.2f}" d="{}"/>')
    dead = Markup('<path class="dead" d="{}"/>')
    drawn = [
        used.format(shades.opacity(shade), "".join(cells)) if shade else dead.format("".join(cells))
        for shade, cells in sorted(runs.items())
    ]
    seams = "".join(f"M{x} 0V{rows}" for x in range(1, columns)) + "".join(f"M0 {y}H{columns}" for y in range(1, rows))
    drawn.append(Markup('<path class="seams" stroke-width="{}" d="{}"/>').format(columns / 640, seams))
    frame = Markup('<svg class="cells" viewBox="0 0 {} {}" style="max-width:{}px" role="img" aria-label="{}">{}</svg>')
    return frame.format(columns, rows, max(columns * WIDEST, LEAST_WIDTH), label, Markup("").join(drawn))


def _runs(line: Sequence[int]) -> list[tuple[int, int, int]]:
    """Start, length and value of each stretch of equal values."""
    found: list[tuple[int, int, int]] = []
    for place, value in enumerate(line):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], found[-1][1] + 1, value)
        else:
            found.append((place, 1, value))
    return found
