"""Where the page's numbers come from: commit, parameters, versions, seeds, machine, and the time of each stage.

All of it is read from the working folder where the page is built; what is not there is left out. Times come from
`run_info/`, which git and DVC do not hold: a stage whose outputs came from either has none.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torchvision", "timm", "numpy", "scikit-learn", "pyarrow", "vector-quantize-pytorch", "dvc", "altair",
)
CODE = ("kinetoken", "stages", "dvc.yaml", "params.yaml", "requirements.txt")
OWN = "build_report"  # its own time is not known while the page is written
GIT_SECONDS = 10.0


@dataclass(frozen=True)
class StageTime:
    """A stage of the pipeline; seconds None: it did not run in this folder."""

    name: str
    seconds: float | None
    state: str = ""

    @property
    def shown(self) -> str:
        if self.seconds is None:
            return "not run here"
        return f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.1f} min"


@dataclass(frozen=True)
class Changed:
    """A parameter that differs from the committed file."""

    name: str
    committed: str
    here: str


@dataclass(frozen=True)
class Provenance:
    """Everything, ready to print; what is empty is not known."""

    commit: str = ""
    dirty: bool | None = None
    changed: list[Changed] = field(default_factory=list)
    seeds: str = ""
    versions: list[tuple[str, str]] = field(default_factory=list)
    machine: str = ""
    stages: list[StageTime] = field(default_factory=list)
    speeds: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> str:
        known = [one.seconds for one in self.stages if one.seconds is not None]
        return f"{sum(known) / 60:.1f} min" if known else ""

    def skipped(self, stage: str) -> bool:
        """Whether the stage is of the pipeline, other stages ran here, and it did not."""
        times = {one.name: one.seconds for one in self.stages}
        return any(seconds is not None for seconds in times.values()) and stage in times and times[stage] is None


def read_provenance(folder: Path, run_info: Path | None) -> Provenance:
    """Of the working folder; `run_info`: where stages left their times, None if nothing is to be known."""
    if run_info is None:
        return Provenance()
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--", *CODE) if commit else None
    here, committed = _params(_read(folder / "params.yaml")), _params(_git(folder, "show", "HEAD:params.yaml"))
    changed = [
        Changed(name, committed.get(name, "not there"), here.get(name, "not there"))
        for name in sorted(here.keys() | committed.keys()) if here.get(name) != committed.get(name)
    ] if here and committed else []
    seeds = {name.rpartition(".")[0]: value for name, value in here.items() if name.endswith(".seed")}
    return Provenance(
        (commit or "").strip(), None if status is None else bool(status.strip()), changed, _by_value(seeds),
        _versions(), _machine(), [_time(name, run_info) for name in _stages(folder, run_info)], _speeds(run_info),
    )


def _stages(folder: Path, run_info: Path) -> list[str]:
    """The pipeline's stages in order, one a dataset under foreach; without a dvc.yaml what left something."""
    import yaml

    text = _read(folder / "dvc.yaml")
    try:
        entries = (yaml.safe_load(text) or {}).get("stages", {}) if text else {}
    except yaml.YAMLError:
        entries = {}
    names = [label for name, entry in entries.items() for label in _labels(str(name), entry)]
    left = sorted(path.parent.name for path in run_info.glob("*/status.json"))
    return [name for name in names or left if name != OWN]


def _labels(name: str, entry: Any) -> list[str]:  # noqa: ANN401 - whatever stands in the file
    each = entry.get("foreach") if isinstance(entry, Mapping) else None
    return [f"{name}_{key}" for key in each] if isinstance(each, (Mapping, list)) else [name]


def _time(name: str, run_info: Path) -> StageTime:
    text = _read(run_info / name / "status.json")
    try:
        status = json.loads(text) if text else {}
        return StageTime(name, float(status["elapsed_s"]), str(status.get("state", "")))
    except (ValueError, KeyError, TypeError):
        return StageTime(name, None)


def _speeds(run_info: Path) -> list[tuple[str, str]]:
    """Measured seconds a clip, from the files that stages leave beside their times."""
    found = []
    for path in sorted(run_info.glob("*/seconds*.json")):
        try:
            content = dict(json.loads(_read(path) or "{}"))
        except (ValueError, TypeError):
            continue
        for name, seconds in sorted(content.items()):
            try:
                found.append((f"{path.parent.name}, {name}", _speed(seconds)))
            except (ValueError, KeyError, TypeError, ZeroDivisionError):
                continue
    return found


def _speed(seconds: Any) -> str:  # noqa: ANN401 - a number, or numbers by what was timed
    if not isinstance(seconds, Mapping):
        return f"{1000 * float(seconds):.2g} ms a clip"
    whole, early = float(seconds["whole_clip"]), float(seconds["until_decided"])
    times = f"{1000 * early:.2g} ms until decided, {1000 * whole:.2g} ms for whole clips"
    return f"{times}: {whole / early:.1f} times as fast"


def _params(text: str | None) -> dict[str, str]:
    """Dotted name → value as text; empty for what is no YAML mapping."""
    import yaml

    try:
        found = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        found = {}
    return dict(_leaves(found, ())) if isinstance(found, Mapping) else {}


def _leaves(node: Any, where: tuple[str, ...]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - of any kind
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, (*where, str(key)))
    else:
        yield ".".join(where), str(node)


def _by_value(seeds: Mapping[str, str]) -> str:
    """`0 (train_tokenizer, train_classifier); 1 (…)`."""
    groups: dict[str, list[str]] = {}
    for name, value in seeds.items():
        groups.setdefault(value, []).append(name)
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in sorted(groups.items()))


def _versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> str:
    import psutil

    text = _read(Path("/proc/cpuinfo")) or ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / 2**30
    parts = [platform.system(), platform.machine(), model, f"{os.cpu_count()} cores", f"{memory:.0f} GiB of memory"]
    return ", ".join(part for part in parts if part)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
