"""Where a stage stands in the run it belongs to: "stage 5 of 19, about 20 min left".

Known from dvc.yaml (which stage reads what which other writes) and from the statuses under run_info (which stages are
done since the run began, and how long each took the last time). Stages that read nothing of what is made anew are not
counted, since DVC will skip them; what it skips because an input came out the same is found out only then.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REFERENCE = Path("profiles/stage_seconds.json")  # of a machine with 2 cores, for a first run


@dataclass(frozen=True)
class Place:
    """A stage's number among those of a run, and the seconds that it and the later ones took the last time."""

    number: int
    count: int
    left_s: float | None  # None: of some stage no time is known

    def __str__(self) -> str:
        left = "" if self.left_s is None else f", about {_rounded(self.left_s)} left"
        return f"stage {self.number} of {self.count}{left}"


def place(
    label: str, pipeline: Path, run_info: Path, began: float, reference: Path = REFERENCE
) -> Place | None:
    """The place of stage `label` in the run that began at Unix time `began`; None for what is no stage of `pipeline`.

    `run_info` is the folder with one folder a stage; `reference` holds seconds a stage of another machine's run.
    """
    try:
        readers = _readers(yaml.load(pipeline.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    if label not in readers:
        return None
    statuses = {name: _read(run_info / name / "status.json") for name in readers}
    done = {name for name, each in statuses.items() if name != label and _ended_since(each, began)}
    never = {name for name, each in statuses.items() if name != label and each.get("state") != "done"}
    ahead = (_downstream({label, *done}, readers) | never) - done - {label}
    return Place(len(done) + 1, len(done) + 1 + len(ahead), _seconds({label, *ahead}, done, statuses, _read(reference)))


def _ended_since(status: Mapping[str, Any], began: float) -> bool:
    return status.get("state") == "done" and float(status.get("started", 0.0)) >= began


def _seconds(
    ahead: set[str], done: set[str], statuses: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any]
) -> float | None:
    """What `ahead` took the last time here, or on the reference machine times how this one compares on `done`."""
    pairs = [(float(statuses[name]["elapsed_s"]), float(reference[name])) for name in done if name in reference]
    here, there = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (1.0, 1.0)
    slower = here / there if there > 0 else 1.0
    total = 0.0
    for name in ahead:
        seconds = statuses[name].get("last_s")
        if seconds is None and name not in reference:
            return None
        total += float(reference[name]) * slower if seconds is None else float(seconds)
    return total


def _readers(stages: Mapping[str, Any]) -> dict[str, set[str]]:
    """Label of each stage, foreach laid out (`render_videos_motion`), to the labels that read what it writes."""
    reads, writes = {}, {}
    for name, stage in stages.items():
        body = stage.get("do", stage)
        for key in stage.get("foreach", [""]):
            label = f"{name}_{key}" if key else name
            reads[label], writes[label] = (
                {path.replace("${key}", key) for part in parts for path in _paths(body.get(part, []))}
                for parts in (("deps",), ("outs", "metrics", "plots"))
            )
    return {
        label: {other for other, deps in reads.items() if any(_within(dep, outs) for dep in deps)}
        for label, outs in writes.items()
    }


def _paths(entries: Iterable[Any]) -> Iterable[str]:
    return (entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


def _within(dep: str, outs: Iterable[str]) -> bool:
    return any(dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/") for out in outs)


def _downstream(labels: set[str], readers: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(labels)
    while waiting:
        new = readers[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _rounded(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} min"
