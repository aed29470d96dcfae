"""dvc.lock against the working tree: what is stale, and how to record an edit that changes no result.

After an edit to wording, a docstring or the like, DVC would rerun every stage that depends on the file.
This command runs the smoke profile twice, on the commit that dvc.lock was made from and on the working
tree; only if all outputs are the same bytes does it record the new code in dvc.lock.

    python -m tools.relock            # or: make relock
    python -m tools.relock --check    # only say what is stale
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml
from kinetoken.core.terminal import open_streams
from tools.imports import is_code
from tools.smoke import clone, differences, environment, git, run_all

ABSENT = ("deleted", "not in cache")  # an output that is not here says nothing against dvc.lock


def stale(root: Path) -> dict[str, dict[str, str]]:
    """Stage to {what: how it changed}, for every stage that dvc.lock does not describe as the tree stands.

    Cached outputs that are absent from workspace or cache (a fresh clone) are fine, here and as another
    stage's input; a changed or missing dependency, param, command, metric or plot is not.
    """
    lock = _read_lock(root)
    cached = _cached_outputs(root)
    found: dict[str, dict[str, str]] = {}
    for stage, entries in _status(root).items():
        for what, how in _changes(entries):
            if not (how in ABSENT and what in cached):
                found.setdefault(stage, {})[what] = how
    made = {out["path"]: out["md5"] for entry in lock.values() for out in entry.get("outs", [])}
    for stage, entry in lock.items():
        for dep in entry.get("deps", []):
            if made.get(dep["path"], dep["md5"]) != dep["md5"]:
                found.setdefault(stage, {})[dep["path"]] = "made anew since"
    return found


def relock(root: Path) -> list[str]:
    """Record changed code in dvc.lock if it changes no output of the smoke profile; the stages recorded.

    Raises UserError for anything else that is stale, and for outputs that differ, naming them.
    """
    _fingerprint(root)
    found = stale(root)
    others = [f"{stage}: {what} ({how})" for stage, changes in sorted(found.items()) for what, how in changes.items()
              if not is_code(what) or how in ABSENT]
    if others:
        raise UserError("more than code has changed, so results may; run make repro: " + "; ".join(others))
    if not found:
        return []
    base = _locked_commit(root, sorted({what for changes in found.values() for what in changes}))
    with tempfile.TemporaryDirectory(prefix="kinetoken-relock-") as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        clone(root, before, revision=base)
        clone(root, after)
        run_all([before, after])
        if different := [path for path in differences(before, after) if not is_code(path)]:
            raise UserError("this edit changes results; run make repro. Outputs that differ: " + "; ".join(different))
    _commit(root, sorted(found))
    return sorted(found)


def _fingerprint(root: Path) -> None:
    """Bring the hashes of the code up to date, where the project has them."""
    if (root / "stages" / "fingerprint_code.py").exists():
        command = [sys.executable, "-m", "stages.fingerprint_code", "--scripts", "stages", "--code", "code"]
        done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise UserError(done.stderr.strip())


def _locked_commit(root: Path, changed: list[str]) -> str:
    """The commit that dvc.lock was made from: the last that touched it, its code as the lock records it."""
    if git(root, "status", "--porcelain", "--", "dvc.lock").strip():
        raise UserError("dvc.lock has changes that are not committed; commit them with the code they came from first")
    base = git(root, "log", "-1", "--format=%H", "--", "dvc.lock").strip()
    recorded = {dep["path"]: dep["md5"] for entry in _read_lock(root).values() for dep in entry.get("deps", [])}
    for path in changed:
        hashed = recorded.get(path, ".dir")  # a folder's hash is DVC's own; the hashes of its scripts are compared
        if not hashed.endswith(".dir") and _md5_at(root, base, path) != hashed:
            raise UserError(f"{path} at {base[:10]} is not what dvc.lock was made from; run make repro")
    return base


def _md5_at(root: Path, revision: str, path: str) -> str:
    content = subprocess.run(["git", "show", f"{revision}:{path}"], cwd=root, env=environment(), capture_output=True)
    return hashlib.md5(content.stdout).hexdigest()


def _commit(root: Path, stages: list[str]) -> None:
    """`dvc commit --force` of these stages; outputs absent here keep what dvc.lock says of them."""
    from dvc.repo import Repo

    with chdir(root), Repo() as repo:  # DVC looks for a stage's name from the working directory
        for stage in stages:
            repo.commit(stage, force=True, allow_missing=True)


def _read_lock(root: Path) -> dict[str, dict[str, Any]]:
    if not (root / "dvc.lock").exists():
        return {}
    stages: dict[str, dict[str, Any]] = read_yaml(root / "dvc.lock")["stages"]
    return stages


def _status(root: Path) -> dict[str, list[Any]]:
    command = [str(Path(sys.executable).parent / "dvc"), "status", "--json", "dvc.yaml"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc status: {done.stderr.strip()}")
    status: dict[str, list[Any]] = json.loads(done.stdout)
    return status


def _changes(entries: list[Any]) -> Iterator[tuple[str, str]]:
    """DVC's nested report of one stage as (file, params.yaml:key or command; how it changed)."""
    for entry in entries:
        if isinstance(entry, str):
            yield "command", entry.removesuffix(" command")
            continue
        for changes in entry.values():
            for what, how in changes.items():
                if isinstance(how, dict):
                    yield from ((f"{what}:{key}", str(state)) for key, state in how.items())
                else:
                    yield what, how


def _cached_outputs(root: Path) -> set[str]:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return {out.def_path for out in repo.index.outs if out.use_cache}


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say what is stale; exit code 1 if anything is")
    options = parser.parse_args()
    root = Path.cwd()
    try:
        if options.check:
            found = stale(root)
            for stage, changes in sorted(found.items()):
                print(f"{stage}: " + ", ".join(f"{what} {how}" for what, how in changes.items()))
            return int(bool(found))
        stages = relock(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"dvc.lock: recorded {', '.join(stages)}" if stages else "dvc.lock is fresh: nothing to do")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
