"""One table of the first team's run and of each step that cures it, from what the stages measured.

Reads    params first_team; for each step the tokenizer's scores, the doctor's numbers and verdict, the heads' scores
Writes   in the study's folder metrics.json; plots/ steps.csv, accuracy.csv (one row a bar), table.md (also printed)

Alone    python -m studies.first_team.tell --params studies/first_team/params.yaml --section first_team
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.diagnosis.statement import read_statement
from studies.variants import ENDS, read_measured

PLOTS = Path("studies/first_team/plots")
CODES = "codes"
DISTANCES = ("pairwise", "means_least", "means_most")  # between averages of two clips, and of two classes
READINGS = {  # name in the table → name in metrics: what is read, and by whom
    "averaged, doctor": "averaged", "place kept, doctor": "place_kept",
    "averaged, head": "head_averaged", "place kept, head": "head_place_kept",
}


@dataclass(frozen=True)
class Step:
    """One run: what differs from the run that it is held against, and where it was measured."""

    name: str
    against: str  # the step that this one changes; its own name for the first
    change: str  # in words
    params: str  # what was changed, as it stands in the params
    tokenizer: str
    reads: Literal["codes", "features"]

    def __post_init__(self) -> None:
        if not self.name or not self.change:
            raise ValueError("a step needs a name and a change")


@dataclass(frozen=True)
class Story:
    """Section first_team."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            if step.name in seen:
                raise ValueError(f"steps: '{step.name}' comes twice")
            seen.add(step.name)
            if step.against not in seen:
                raise ValueError(f"steps: '{step.name}' changes '{step.against}', which does not come before it")


@dataclass(frozen=True)
class Paths:
    scores: Annotated[Path, Input("each tokenizer's reconstruction, <tokenizer>.csv")]
    steps: Annotated[Path, Input("of each step doctor.csv, verdict.json and heads.csv")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/first_team/metrics.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    rows: Annotated[Path, Output("one row a step")] = PLOTS / "steps.csv"
    accuracy: Annotated[Path, Output("one row a step and reading")] = PLOTS / "accuracy.csv"


@dataclass(frozen=True)
class Told:
    """What was measured of a step: numbers by name, shares in [0, 1] and dB; the verdict and what stands beside it."""

    step: Step
    numbers: dict[str, float]
    verdict: str
    beside: str

    def share(self, name: str) -> str:
        """A reading in per cent with its interval, empty where it was not made."""
        if name not in self.numbers:
            return ""
        value, low, high = (100 * self.numbers[key] for key in (name, f"{name}_ci95_low", f"{name}_ci95_high"))
        return f"{value:.1f} % ({low:.1f}–{high:.1f})"

    @property
    def distances(self) -> str:
        """Between the averages of two clips, and between those of two classes: root mean square a feature."""
        names = (f"averaged_distance_{name}" for name in DISTANCES)
        return "{:.3f}, {:.3f}–{:.3f}".format(*(self.numbers[name] for name in names))

    def decibel(self, name: str) -> str:
        """dB over the floor."""
        return f"{self.numbers[name]:.1f} ({self.numbers[f'{name}_floor']:.1f})"


def run(params: Story, paths: Paths, context: Context) -> None:
    import pandas as pd

    told = {step.name: measured(step, paths) for step in params.steps}
    write_metrics(paths.metrics, {
        name: {**one.numbers, "change": change} if (change := changes(one, told[one.step.against])) else one.numbers
        for name, one in told.items()
    })
    write_csv(paths.rows, pd.DataFrame([
        {"step": name, "change": one.step.change, "verdict": one.verdict, "beside": one.beside, **one.numbers}
        for name, one in told.items()
    ]))
    write_csv(paths.accuracy, pd.DataFrame([
        {"step": name, "reading": words, "accuracy": one.numbers[key]}
        for name, one in told.items() for words, key in READINGS.items() if key in one.numbers
    ]))
    text = markdown(told)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def measured(step: Step, paths: Paths) -> Told:
    """A step's numbers from what the stages wrote; the readings are of the test clips."""
    scores = (*(f"{measure}{end}" for measure in ("psnr_db", "foreground_psnr_db") for end in ("", "_floor")),
              "centroid_error_px", "missed_rate")
    numbers = _numbers(paths.scores / f"{step.tokenizer}.csv", "train_tokenizer", {name: name for name in scores})
    doctor = paths.steps / step.name / "doctor.csv"
    numbers |= _numbers(doctor, "diagnose_codes", {
        **_reading("averaged", "probe.codes_pooled"), **_reading("place_kept", "probe.codes"),
        "accuracy_floor": "probe.codes_floor", "accuracy_pixels": "probe.pixels",
    })
    heads = _reading("head_averaged", "pooling.spatial_mean.accuracy")
    if step.reads == CODES:
        heads |= _reading("head_place_kept", "pooling.soft_argmax.accuracy")
    numbers |= _numbers(paths.steps / step.name / "heads.csv", "train_classifier", heads)
    numbers |= _numbers(doctor, "diagnose_codes", {
        f"averaged_distance_{name}": f"distances.codes_pooled.{name}" for name in DISTANCES
    })
    cause, beside = read_verdict(paths.steps / step.name / "verdict.json")
    return Told(step, numbers, cause, beside)


def _numbers(path: Path, stage: str, wanted: dict[str, str]) -> dict[str, float]:
    """Numbers of a stage's table, each under its name here."""
    found = read_measured(path, stage, wanted.values())
    return {name: found[full] for name, full in wanted.items()}


def _reading(name: str, full: str) -> dict[str, str]:
    """An accuracy and its interval: name here → name in the table."""
    return {f"{name}{end}": f"{full}{end}" for end in ENDS}


def read_verdict(path: Path) -> tuple[str, str]:
    """The cause that the doctor named, and the causes that it named beside it, joined by commas."""
    statement = read_statement(path)
    return statement.cause, ", ".join(one.name for one in statement.findings)


def changes(one: Told, before: Told) -> dict[str, float]:
    """What a step added to dB, and to readings in points of 100, over the one that it changes; empty for the first."""
    if one is before:
        return {}
    found = {name: one.numbers[name] - before.numbers[name] for name in ("psnr_db", "foreground_psnr_db")}
    for name in READINGS.values():
        if name in one.numbers and name in before.numbers:
            found[f"{name}_points"] = 100 * (one.numbers[name] - before.numbers[name])
    return found


def markdown(told: dict[str, Told]) -> str:
    """The table: a row a step, floors in brackets beside dB, intervals beside shares."""
    lines = [
        "| step | changed | PSNR, dB (floor) | ball, dB (floor) | averages apart: clips, class means "
        "| averaged: head | averaged: doctor | place kept: head | place kept: doctor "
        "| the doctor says | and beside it |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in told.items():
        cells = (
            name.replace("_", " "), f"{one.step.change}: `{one.step.params}`", one.decibel("psnr_db"),
            one.decibel("foreground_psnr_db"), one.distances, one.share("head_averaged"), one.share("averaged"),
            one.share("head_place_kept"), one.share("place_kept"), one.verdict, one.beside,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    return run_stage(run, Story, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
