"""The whole pipeline with tiny params, in a local clone with the working tree's changes laid over it.

The clone has a DVC cache of its own, so neither the working tree nor its cache is touched, and it stays
for reading: metrics/, plots/ and plots/report.html inside it.

    python -m tools.smoke [--folder .smoke] [--profile profiles/smoke.yaml]
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.params import overlay, read_yaml
from kinetoken.core.terminal import open_streams

MARK = ".kinetoken-clone"  # only a folder that holds it is ever replaced
PROVENANCE = re.compile(rb'<section id="provenance">.*?</section>', re.DOTALL)


def clone(source: Path, folder: Path, *, revision: str | None = None, profile: str = "profiles/smoke.yaml") -> None:
    """Clone the repository `source` into `folder` and lay a profile over its params.yaml.

    The clone holds the working tree as it stands (changed, new and deleted files, ignored ones left
    out), or the given revision. It is committed there, so that `dvc exp run` has a baseline.
    """
    source, folder = source.resolve(), folder.resolve()
    if folder.exists():
        if not (folder / ".git" / MARK).exists():
            raise UserError(f"{folder}: exists and is no clone made by this command; remove it or name another")
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(folder.parent, "clone", "--quiet", "--no-checkout", str(source), str(folder))
    (folder / ".git" / MARK).touch()
    if revision is not None:
        git(folder, "checkout", "--quiet", "--detach", revision)
    else:
        _lay_over(source, folder)
    if not (folder / profile).is_file():
        raise UserError(f"{profile}: no such file in {revision or 'the working tree'}")
    overlay(folder / profile, folder / "params.yaml")
    (folder / "dvc.lock").unlink(missing_ok=True)  # of other params: it would only be read in vain
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", "tiny params")


def _lay_over(source: Path, folder: Path) -> None:
    """Copy every file that git tracks or would take in `source`, its present content."""
    listed = git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted(set(filter(None, listed.split("\0")))):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name, follow_symlinks=False)


def git(folder: Path, *words: str) -> str:
    """The output of a git command; UserError with git's own message if it fails."""
    identity = ["-c", "user.name=kinetoken", "-c", "user.email=kinetoken@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def environment(folder: Path | None = None) -> dict[str, str]:
    """This process's environment for commands in another repository: nothing that binds git or DVC to this one."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC_", "COV_", "COVERAGE_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env |= {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.hooksPath",
            "GIT_CONFIG_VALUE_0": os.devnull}
    if folder is not None:
        env["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc" / "tmp" / "site")
    return env


def dvc_process(folder: Path, *words: str, log: Path | None = None) -> "subprocess.Popen[str]":
    """Start `dvc` in the clone; its output, errors included, goes to `log` or this terminal."""
    command = [str(Path(sys.executable).parent / "dvc"), *words]
    if log is None:
        return subprocess.Popen(command, cwd=folder, env=environment(folder), text=True)
    with log.open("w", encoding="utf-8") as sink:
        return subprocess.Popen(
            command, cwd=folder, env=environment(folder), text=True, stdout=sink, stderr=subprocess.STDOUT
        )


def run_all(folders: Sequence[Path], words: Sequence[str] = ("repro",)) -> None:
    """Run `dvc` in several clones at once, each into its own `run_info/dvc.log`; UserError with a log's end."""
    logs = [folder / "run_info" / "dvc.log" for folder in folders]
    processes = []
    for folder, log in zip(folders, logs, strict=True):
        log.parent.mkdir(exist_ok=True)
        processes.append(dvc_process(folder, *words, log=log))
    codes = [process.wait() for process in processes]
    for folder, log, code in zip(folders, logs, codes, strict=True):
        if code:
            end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-30:])
            print(end, file=sys.stderr)
            raise UserError(f"dvc {' '.join(words)} failed in {folder}; the end of its log stands above")


def recorded_outputs(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(stage, recorded output) of everything in dvc.lock: path, md5, size; UserError if it is no lock of DVC."""
    path = root / "dvc.lock"
    lock = read_yaml(path)
    stages = lock.get("stages") if isinstance(lock, dict) else None
    if not isinstance(stages, dict):
        raise UserError(f"{path}: no 'stages' with a mapping in it, so no lock that DVC wrote; see git diff dvc.lock")
    for stage, entry in stages.items():
        outs = entry.get("outs", []) if isinstance(entry, dict) else None
        for out in outs if isinstance(outs, list) else [None]:
            if not isinstance(out, dict) or not isinstance(out.get("path"), str):
                raise UserError(f"{path}: stage {stage}: 'outs' must list entries with a 'path'; see git diff dvc.lock")
            yield stage, out


def output_hashes(root: Path) -> dict[str, str]:
    """Path to SHA-256 of every file of every recorded output, as it lies on the disk."""
    hashes: dict[str, str] = {}
    for _, out in recorded_outputs(root):
        path = root / out["path"]
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        hashes |= {file.relative_to(root).as_posix(): _hash(file) for file in files}
    return hashes


def _hash(file: Path) -> str:
    """Of a page without its provenance, which tells how long each stage took."""
    if file.suffix != ".html":
        return hash_path(file)
    return hashlib.sha256(PROVENANCE.sub(b"", file.read_bytes())).hexdigest()


def differences(one: Path, other: Path) -> list[str]:
    """Output files that differ between two clones or exist in only one, sorted."""
    left, right = output_hashes(one), output_hashes(other)
    return sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".smoke"))
    parser.add_argument("--profile", default="profiles/smoke.yaml")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        clone(Path.cwd(), options.folder, profile=options.profile)
        code = dvc_process(options.folder, "repro").wait()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if code == 0:
        print(f"smoke: all stages ran in {time.monotonic() - started:.0f} s; read {options.folder}/metrics, "
              f"{options.folder}/plots/report.html")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
