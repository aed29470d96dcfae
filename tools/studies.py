"""The studies: what stands, what is stale, and how one is run. `tools/pages.py` puts their tables into pages.

Studies are pipelines of a DVC repository of their own, `studies/`, so that `dvc repro`, `dvc status` and the like speak
of the default pipeline alone. A study that ran says which commit made it (`made_from.json`); it is stale when the code
of a script that it runs has changed since, or when it ran before its lock file was kept.

    python -m tools.studies                       # all of them: asked what, made from which commit, stale or not
    python -m tools.studies run NAME [STAGE]      # or: make study NAME=...
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.core.artifacts import write_json
from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml
from kinetoken.core.terminal import open_streams
from tools.fingerprints import fingerprint
from tools.smoke import environment, git


@dataclass(frozen=True)
class Study:
    """One study and what is known of its results."""

    name: str
    asks: str
    commit: str | None  # that made the results; None: it never ran
    changed: tuple[str, ...]  # scripts whose code has changed since, or all of them where that was not kept

    @property
    def state(self) -> str:
        if self.commit is None:
            return "never run"
        return f"stale: code of {len(self.changed)} scripts changed since" if self.changed else "fresh"

    @property
    def source(self) -> str:
        """A sentence for pages that quote it."""
        since = " Code that it runs has changed since." if self.changed else ""
        return f"Made by the code of commit `{self.commit}`.{since}"


def names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in (root / "studies").glob("*/dvc.yaml"))


def read_study(name: str, root: Path) -> Study:
    """UserError for a name that no study has."""
    folder = root / "studies" / name
    if name not in names(root):
        raise UserError(f"no study '{name}'; there are {', '.join(names(root))}")
    made = folder / "made_from.json"
    commit = json.loads(made.read_text(encoding="utf-8"))["commit"] if made.exists() else None
    asks = (folder / "dvc.yaml").read_text(encoding="utf-8").splitlines()[0].lstrip("# ").split(" make study")[0]
    return Study(name, asks, commit, tuple(_changed(folder, root)))


def _changed(folder: Path, root: Path) -> Iterator[str]:
    """The scripts of a study whose code is not that which its lock file recorded."""
    recorded = dict(_recorded_code(folder))
    for script in sorted(_scripts(folder)):
        now = hashlib.md5(f"{fingerprint(script, root)}\n".encode()).hexdigest()
        if recorded.get(script) != now:
            yield script


def _scripts(folder: Path) -> set[str]:
    """The scripts that the stages of a study run, as paths from the project's folder."""
    stages: dict[str, Any] = read_yaml(folder / "dvc.yaml")["stages"]
    deps = (dep for stage in stages.values() for dep in stage.get("do", stage).get("deps", []))
    return {script for dep in deps if isinstance(dep, str) and (script := _script_of(dep))}


def _recorded_code(folder: Path) -> Iterator[tuple[str, str]]:
    lock = folder / "dvc.lock"
    for entry in (read_yaml(lock)["stages"] if lock.exists() else {}).values():
        for dep in entry.get("deps", []):
            if script := _script_of(dep["path"]):
                yield script, dep["md5"]


def _script_of(dep: str) -> str | None:
    """`../code/stages/train_x.txt` → `stages/train_x.py`; None for what is no hash of code."""
    return f"{dep.removeprefix('../code/').removesuffix('.txt')}.py" if dep.startswith("../code/") else None


def run(name: str, stage: str | None, root: Path) -> None:
    """Run a study, or one stage of it and what that needs; a whole one notes the commit that made it.

    UserError for inputs that the default pipeline has still to make, and for a study that fails.
    """
    read_study(name, root)
    if absent := sorted(path for path in _inputs(root / "studies" / name) if not (root / path).exists()):
        raise UserError(f"studies/{name} reads {', '.join(absent)}: run make repro first")
    for target in ("dvc.yaml", f"{name}/dvc.yaml" + (f":{stage}" if stage else "")):
        command = [str(Path(sys.executable).parent / "dvc"), "repro", target]
        if subprocess.run(command, cwd=root / "studies", env=environment()).returncode:
            raise UserError(f"studies/{name} failed; make study NAME={name} continues where it stopped")
    if stage is None:
        clean = not git(root, "status", "--porcelain", "--", "kinetoken", "stages", f"studies/{name}/*.py").strip()
        commit = git(root, "rev-parse", "--short=7", "HEAD").strip()
        write_json(root / "studies" / name / "made_from.json", {"commit": commit, "uncommitted_changes": not clean})


def _inputs(folder: Path) -> set[str]:
    """What a study reads of the default pipeline, as paths from the project's folder."""
    stages: dict[str, Any] = read_yaml(folder / "dvc.yaml")["stages"]
    deps = (dep for stage in stages.values() for dep in stage.get("do", stage).get("deps", []))
    return {dep.removeprefix("../../") for dep in deps if isinstance(dep, str) and dep.startswith("../../")}


def show(root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("study", "asks", "made from", "state")
    for study in (read_study(name, root) for name in names(root)):
        table.add_row(study.name, study.asks, study.commit or "–", study.state)
    Console().print(table)


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    running = commands.add_parser("run", help="run one")
    running.add_argument("name")
    running.add_argument("stage", nargs="?")
    options = parser.parse_args()
    root = Path.cwd()
    try:
        if options.command == "run":
            run(options.name, options.stage, root)
        else:
            show(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
