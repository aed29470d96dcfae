"""The tables of results that pages show, made from what the default run and the studies left.

Names, baselines, upper bounds and targets are those of `kinetoken.report.headline`, which `make metrics` and the report
use too; `kinetoken.report.headline_words` adds what each measures.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params, read_yaml
from kinetoken.core.schedule import REFERENCE
from kinetoken.report.headline import BuildReport, Row, Unit, chain, headline_rows, shown
from kinetoken.report.headline_words import GROUPS, WORDS
from kinetoken.report.results import Results, read_results
from tools import studies

NONE = "–"
UNITS = ("share", "dB", "px", "%", "×", "points", "of 1")
FAULT_INJECTION = "studies/ward/metrics.json"
MADE_ELSEWHERE = "studies/patients/metrics.json"

MOST_IMPORTANT = (
    "train_tokenizer.centroid_error_px",
    "train_classifier.accuracy",
    "train_classifier.pooling.cell_mean.accuracy",
    "train_predictor.transformer.centroid_error_px",
    "train_generator.masked.class_match",
    "train_generator.masked.lawful",
    "describe_motion.equation_correct",
)
BEYOND = (  # measured, on test clips, on clips outside of the training ranges
    ("Ball position from codes, error in px", "train_position.error_px", "train_position.ood.error_px"),
    ("Ball depth from codes, error in %", "train_position.error_depth_percent",
     "train_position.ood.error_depth_percent"),
    ("Predicted ball position (LSTM), error in px", "train_predictor.lstm.centroid_error_px",
     "train_predictor.lstm.ood_centroid_error_px"),
    ("Predicted ball position (transformer), error in px", "train_predictor.transformer.centroid_error_px",
     "train_predictor.transformer.ood_centroid_error_px"),
)
EXTRACTORS = ("transformer", "magvit", "i3d_causal", "slowfast_causal")
EARLY: tuple[tuple[str, str, Unit | None], ...] = (  # measured, key, unit; None: a plain number
    ("decisions right", "accuracy", "share"),
    ("decided before the last frame", "early_stop_rate", "share"),
    ("frames read before the decision, mean", "mean_decision_frame", None),
    ("compute saved", "compute_saved", "share"),
    ("harmonic mean of accuracy and earliness", "harmonic_mean", "of 1"),
    ("calibration error", "ece", ""),
    ("regret", "regret", "points"),
    ("attention on the candidate relative to equal weights", "attention_ratio", "×"),
    ("candidate position, error", "place_px", "px"),
    ("simple rule (stop at confidence 0.9): decisions right", "rule.confidence.accuracy", "share"),
    ("… frames read before the decision, mean", "rule.confidence.mean_decision_frame", None),
)


@dataclass(frozen=True)
class Source:
    """What tables are made from: the project's folder, the numbers of its default run, and the headlines in order."""

    root: Path
    results: Results
    rows: Sequence[Row]

    def row(self, name: str) -> Row:
        """UserError for a headline that this run does not hold."""
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise UserError(f"{name}: no such headline in plots/; run make repro first")
        return found

    def number(self, name: str) -> float | None:
        """Of a dotted name that begins with the stage; None where this run does not hold it."""
        stage, _, key = name.partition(".")
        return self.results.number(stage, key)

    def numbers(self, stage: str) -> Mapping[str, float]:
        """UserError for a stage that left none."""
        if stage not in self.results.metrics:
            raise UserError(f"{stage}: no numbers in plots/; run make repro first")
        return self.results.metrics[stage]


def read_source(root: Path) -> Source:
    """UserError for a project without numbers, naming a damaged file."""
    results = read_results(root / "plots")
    targets = load_params(root / "params.yaml", "build_report", BuildReport).marks
    return Source(root, results, headline_rows(results, targets))


def result_table(name: str, source: Source) -> str:
    """A Markdown table by its name; UserError naming those that there are."""
    if name not in TABLES:
        raise UserError(f"no table of results '{name}'; there are {', '.join(sorted(TABLES))}")
    return TABLES[name](source)


def value(name: str, form: str, source: Source) -> str:
    """One number for a sentence: of a stage (`train_tokenizer.psnr_db`), of params.yaml (`params.…`), or `minutes`.

    `form` is a unit or a number of digits (`.2f`); without one the number stands as it is recorded. UserError for a
    name or a form that is not known.
    """
    if name == "minutes":
        return str(minutes(source.root))
    if form and form not in UNITS and not re.fullmatch(r"\.\d+f", form):
        raise UserError(f"{name}: no unit '{form}'; there are {', '.join(UNITS)}, or digits such as .2f")
    param = name.startswith("params.")
    found = _param(name.removeprefix("params."), source.root) if param else source.number(name)
    if found is None:
        raise UserError(f"no number '{name}' among the stages' numbers or in params.yaml")
    if form in UNITS:
        return shown(found, form)  # type: ignore[arg-type]
    return f"{found:,{form}}"


def minutes(root: Path) -> int:
    """What all stages of the committed run took together, rounded up."""
    return math.ceil(sum(_stage_seconds(root).values()) / 60)


def _param(name: str, root: Path) -> float | None:
    node: Any = read_yaml(root / "params.yaml")
    for key in name.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, int | float) else None


def _stage_seconds(root: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((root / REFERENCE).read_text(encoding="utf-8"))
    return found


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines)


def _beside(number: str, words: str) -> str:
    """A number and what it is of."""
    return NONE if number == NONE else f"{number} ({words})" if words else number


def _headline(source: Source) -> str:
    rows = []
    for row in map(source.row, MOST_IMPORTANT):
        words = WORDS[row.name]
        rows.append([
            f"**{row.title}.** {words.measured}", f"**{row.value}**", row.interval, _beside(row.floor, words.baseline),
            _beside(row.ceiling, words.upper_bound),
        ])
    return markdown(["measured on held-out test clips", "result", "95 % interval", "baseline", "upper bound"], rows)


def _all(source: Source) -> str:
    rows, stage = [], ""
    for row in source.rows:
        if row.name not in WORDS:
            raise UserError(f"kinetoken/report/headline_words.py does not say what the headline {row.name} measures")
        if (now := row.name.partition(".")[0]) != stage:
            rows.append([f"*{GROUPS.get(now, now)}* (`{now}`)", *[""] * 5])
            stage = now
        words = WORDS[row.name]
        met = {True: ": met", False: ": **missed**", None: ""}[row.met]
        rows.append([
            f"**{row.title}.** {words.measured}", f"**{row.value}**", row.interval, _beside(row.floor, words.baseline),
            _beside(row.ceiling, words.upper_bound), f"{row.mark}{met}",
        ])
    return markdown(["measured", "result", "95 % interval", "baseline", "upper bound", "target"], rows)


def _chain(source: Source) -> str:
    rows = [
        [link.name, link.about, f"**{shown(link.value, 'share')}**", _interval(link.low, link.high),
         shown(link.floor, "share")]
        for link in chain(source.results)
    ]
    return markdown(["input of the probes", "what it is", "accuracy", "95 % interval", "baseline"], rows)


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return NONE
    return f"{shown(low, 'share', named=False)} … {shown(high, 'share')}"


def _by_slices(source: Source) -> str:
    numbers = source.numbers("train_classifier")
    found = (re.fullmatch(r"prefix\.(\d+)\.accuracy", key) for key in numbers)
    counts = sorted(int(match[1]) for match in found if match)
    rows = [
        [f"{count} of {counts[-1]}", f"**{shown(numbers[f'prefix.{count}.accuracy'], 'share')}**",
         _interval(*(numbers.get(f"prefix.{count}.accuracy_ci95_{end}") for end in ("low", "high")))]
        for count in counts
    ]
    return markdown(["time slices seen", "accuracy", "95 % interval"], rows)


def _prediction_by_class(source: Source) -> str:
    numbers = source.numbers("train_predictor")
    begin, end = "transformer.per_class.", ".centroid_error_px"
    classes = [key[len(begin):-len(end)] for key in numbers if key.startswith(begin) and key.endswith(end)]
    rows = [
        [name, *(shown(numbers.get(f"{key}.per_class.{name}.{what}"), "px") for key, what in (
            ("lstm", "centroid_error_px"), ("transformer", "centroid_error_px"),
            ("transformer", "centroid_error_px_floor")))]
        for name in sorted(classes)
    ]
    return markdown(["class", "LSTM", "transformer", "best baseline for that class"], rows)


def _beyond_training(source: Source) -> str:
    rows = [[title, *(_plain(source.number(name), 2) for name in names)] for title, *names in BEYOND]
    return markdown(["measured", "test clips", "clips outside the training ranges"], rows)


def _early_decisions(source: Source) -> str:
    stage = "detect_persistence"
    chosen = [name for name in EXTRACTORS if source.number(f"{stage}.{name}.accuracy") is not None]
    targets = {row.name: row.mark for row in source.rows}
    rows = []
    for title, key, unit in EARLY:
        each = (source.number(f"{stage}.{name}.{key}") for name in (*chosen, "reference"))
        target = targets.get(f"{stage}.transformer.{key}", NONE)
        rows.append([title, *(_plain(one, 1) if unit is None else shown(one, unit) for one in each), target])
    return markdown(["", *(f"`{name}`" for name in chosen), "best rule on true positions", "target"], rows)


def _plain(number: float | None, digits: int) -> str:
    return NONE if number is None else f"{number:.{digits}f}"


def _time(source: Source) -> str:
    seconds, stages = _stage_seconds(source.root), read_yaml(source.root / "dvc.yaml")["stages"]
    rows = []
    for name, stage in stages.items():
        took = sum(seconds[f"{name}_{key}" if key else name] for key in stage.get("foreach", [""]))
        rows.append([f"`{name}`", f"{took:.0f}"])
    whole = f"{sum(seconds.values()):,.0f} ({minutes(source.root)} minutes)"
    return markdown(["stage", "seconds"], [*rows, ["all stages", whole]])


def _studies(source: Source) -> str:
    found = (studies.read_study(name, source.root) for name in studies.names(source.root))
    rows = [
        [f"`{study.name}`", NONE if study.commit is None else f"`{study.commit}`", "yes" if study.changed else "no"]
        for study in found
    ]
    return markdown(["study", "results made by commit", "its code changed since"], rows)


def _fault_injection(source: Source) -> str:
    path = source.root / FAULT_INJECTION
    metrics: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    faults, healthy, cures = metrics["scoring"]["faults"], metrics["scoring"]["healthy"], metrics["cures"]["severity"]
    rows = [
        ["causes with faults that cost at least 5 points of accuracy", f"**{faults['causes_counted']}**", NONE],
        ["of those faults, named correctly", f"**{faults['named_right']} of {faults['runs']}**",
         _interval(*(faults[f"named_right_share_ci95_{end}"] for end in ("low", "high")))],
        ["healthy runs that were called faulty", f"**{healthy['false_alarms']} of {healthy['runs']}**",
         _interval(*(healthy[f"false_alarms_share_ci95_{end}"] for end in ("low", "high")))],
        ["faults whose prescribed cure restores the codes to within 2 points",
         f"**{cures['within_2_points']} of {cures['runs']}**",
         _interval(*(cures[f"within_2_points_share_ci95_{end}"] for end in ("low", "high")))],
    ]
    return markdown(["", "result", "95 % interval"], rows)


def _made_elsewhere(source: Source) -> str:
    metrics: Mapping[str, Any] = json.loads((source.root / MADE_ELSEWHERE).read_text(encoding="utf-8"))
    rows = []
    for words, group, count, of in (
        ("right headline, of faults and of codes with nothing to compare", "scored", "named_right", "cases"),
        ("faults that cost at least 5 points, called healthy", "scored", "false_healthy", "faults_of_5_points"),
        ("sound codes called faulty", "healthy", "false_alarms", "cases"),
    ):
        scoring, setting = metrics[group], metrics["set"][group]
        ends = (scoring[f"{count}_share_ci95_{end}"] for end in ("low", "high"))
        rows.append([
            words, f"**{scoring[count]} of {scoring[of]}**", _interval(*ends), f"{setting[count]} of {setting[of]}",
        ])
    return markdown(["", "scored half", "95 % interval", "half that thresholds were set on"], rows)


TABLES: dict[str, Callable[[Source], str]] = {
    "headline": _headline,
    "all": _all,
    "chain": _chain,
    "by_slices": _by_slices,
    "prediction_by_class": _prediction_by_class,
    "beyond_training": _beyond_training,
    "early_decisions": _early_decisions,
    "time": _time,
    "studies": _studies,
    "fault_injection": _fault_injection,
    "made_elsewhere": _made_elsewhere,
}
