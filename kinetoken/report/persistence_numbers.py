"""Early decisions in numbers: which extractor is best, tables of all, controls, and the best for each budget."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinetoken.charts.parts import Cell, Line, Table
from kinetoken.report.headline import Unit, shown
from kinetoken.report.results import Results

STAGE = "detect_persistence"
REFERENCE = "reference"
NO_EXTRACTORS = (REFERENCE, "control")
CHANCE = 0.5  # as many tracks persist as do not
CONTROLS = (
    ("first_frame", "The candidate's first frame alone"),
    ("metadata", "Metadata, without the video: length, size, bytes, start, colour, light, depth"),
    ("shuffled_labels", "Trained on random labels, scored against the true ones"),
)
GROUPS = (("by_lifetime", "By lifetime"), ("by_law", "By law of motion"))
COLUMNS = (
    "Decisions right", "Stopped early", "Mean frame", "Compute saved", "Harmonic mean", "ECE", "Regret, points",
    "Attention relative to uniform", "Position error, px",
)
NONE = Cell("–")


@dataclass(frozen=True)
class Control:
    """A classifier that must be at chance; `at_chance` None: it has no interval."""

    name: str
    cell: Cell
    at_chance: bool | None


def extractors(results: Results) -> list[str]:
    """Those whose accuracy this run holds."""
    ends = [key.split(".") for key in results.metrics.get(STAGE, {})]
    return [key[0] for key in ends if key[1:] == ["accuracy"] and key[0] not in NO_EXTRACTORS]


def best_of(results: Results, names: Sequence[str]) -> str | None:
    """The extractor of least regret, or of highest harmonic mean where no regret is known."""
    for key, sign in (("regret", 1.0), ("harmonic_mean", -1.0), ("accuracy", -1.0)):
        known = {name: results.number(STAGE, f"{name}.{key}") for name in names}
        found = {name: sign * value for name, value in known.items() if value is not None}
        if found:
            return min(found, key=lambda name: found[name])
    return None


def controls(results: Results) -> list[Control]:
    """Each with its interval, and whether chance lies inside."""
    found = []
    for key, name in CONTROLS:
        ends = [results.number(STAGE, f"control.{key}.accuracy{end}") for end in ("", "_ci95_low", "_ci95_high")]
        value, low, high = ends
        if value is not None:
            inside = None if low is None or high is None else low <= CHANCE <= high
            found.append(Control(name, Cell(shown(value, "share"), _interval(low, high, "share")), inside))
    return found


def extractor_table(results: Results, names: Sequence[str]) -> Table | None:
    """A row an extractor, and the reference's."""
    best = best_of(results, names)
    lines = [_extractor_line(results, name, name == best and len(names) > 1) for name in names]
    if (right := results.number(STAGE, f"{REFERENCE}.accuracy")) is not None:
        lines.append(_reference_line(results, right))
    return Table("", COLUMNS, lines) if lines else None


def _extractor_line(results: Results, name: str, best: bool) -> Line:
    def cell(key: str, unit: Unit, below: str = "") -> Cell:
        low, high = (results.number(STAGE, f"{name}.{key}_ci95_{end}") for end in ("low", "high"))
        text = shown(results.number(STAGE, f"{name}.{key}"), unit, named=unit in ("share", "×"))
        return Cell(text, below or _interval(low, high, unit))

    return Line(name, [
        cell("accuracy", "share"), cell("early_stop_rate", "share"), _frame_cell(results, name),
        cell("compute_saved", "share"), cell("harmonic_mean", "of 1"),
        cell("ece", "", _beside(results, f"{name}.ece_floor", "ideal", 3)), cell("regret", "points"),
        cell("attention_ratio", "×", _beside(results, f"{name}.attention_ratio_untrained", "untrained", 2)),
        cell("place_px", "px", _beside(results, f"{name}.place_px_floor", "mean position", 2)),
    ], best)


def _reference_line(results: Results, right: float) -> Line:
    early = results.number(STAGE, f"{REFERENCE}.earliness")
    both = None if early is None else 2 * right * early / max(right + early, 1e-12)
    return Line("reference: the best rule on true positions", [
        Cell(shown(right, "share")), NONE, _frame_cell(results, REFERENCE), NONE, Cell(shown(both, "of 1")), NONE,
        Cell("0", "by definition"), NONE, NONE,
    ])


def _frame_cell(results: Results, name: str) -> Cell:
    mean = results.number(STAGE, f"{name}.mean_decision_frame")
    return Cell("–" if mean is None else f"{mean:.1f}")


def _beside(results: Results, key: str, name: str, digits: int) -> str:
    value = results.number(STAGE, key)
    return "" if value is None else f"{name} {value:.{digits}f}"


def _interval(low: float | None, high: float | None, unit: Unit) -> str:
    if low is None or high is None:
        return ""
    return " … ".join(shown(end, unit, named=False) for end in (low, high))


def groups(results: Results, names: Sequence[str]) -> list[Table]:
    """Accuracy and mean frame of tracks that live as long, and of those of the same law."""
    tables = []
    for part, title in GROUPS:
        found: dict[str, dict[str, float]] = {}  # band → extractor.key → number
        for key, value in results.metrics.get(STAGE, {}).items():
            name, *rest = key.split(".")
            if name in names and len(rest) == 3 and rest[0] == part:
                found.setdefault(rest[1], {})[f"{name}.{rest[2]}"] = value
        lines = [_group(band, numbers, names) for band, numbers in found.items()]
        if lines:
            tables.append(Table(title, [*names, "number"], lines))
    return tables


def _group(band: str, numbers: Mapping[str, float], names: Sequence[str]) -> Line:
    cells = []
    for name in names:
        frame = numbers.get(f"{name}.mean_decision_frame")
        below = "" if frame is None else f"at frame {frame:.1f}"
        cells.append(Cell(shown(numbers.get(f"{name}.accuracy"), "share"), below))
    tracks = next((value for key, value in numbers.items() if key.endswith(".tracks")), None)
    return Line(_band(band), [*cells, Cell("–" if tracks is None else f"{tracks:.0f}")])


def _band(name: str) -> str:
    """01-02 → 1–2 frames; to_the_end → to the end."""
    low, _, high = name.partition("-")
    if low.isdigit() and high.isdigit():
        return f"{int(low)}–{int(high)} frames"
    return name.replace("_", " ")


def budgets(results: Results) -> Table | None:
    """The most accurate extractor and rule for each number of frames that one may watch in the mean."""
    table = results.table(f"{STAGE}/budgets.csv", ("frames_at_most", "extractor", "accuracy", "rule", "frames"))
    if table is None or table.empty:
        return None
    return Table("", ("Best", "Accuracy", "By rule"), [_budget_line(row) for row in table.to_dict("records")])


def _budget_line(row: Mapping[Hashable, Any]) -> Line:
    if not isinstance(row["extractor"], str):
        return Line(f"{row['frames_at_most']:g}", (Cell("no extractor decides so early"), NONE, NONE))
    rule = Cell(row["rule"], f"{row['frames']:.1f} frames")
    return Line(f"{row['frames_at_most']:g}", (Cell(row["extractor"]), Cell(shown(row["accuracy"], "share")), rule))
