"""A small stage that faults are tried on: two worker processes write a part each, and a table is made of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = '''"""A stage for tests of faults: 64×64 letters in two parts … and a table."""
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.core.workers import worker_pool

@dataclass(frozen=True)
class Letters:
    size: Positive

@dataclass(frozen=True)
class Paths:
    text: Annotated[Path, Input("a text")] = Path("in.txt")
    parts: Annotated[Path, Output("a folder")] = Path("out/parts")
    table: Annotated[Path, Output("a file")] = Path("out/table.csv")
    metrics: Annotated[Path, Output("numbers")] = Path("metrics/letters.json")
    wait: Annotated[float, "seconds that a part takes"] = 0.0
    words: Annotated[int, "lines that are said"] = 1

def part(folder: Path, number: int, text: str, wait: float) -> int:
    Path(f"worker-{number}").write_text(str(os.getpid()))
    time.sleep(wait)
    (folder / f"part-{number}").write_text(text)
    return number

def run(params: Letters, paths: Paths, context: Context) -> None:
    text = paths.text.read_text() * params.size
    paths.parts.mkdir()
    context.progress.phase("parts", 2, "parts")
    for word in range(paths.words):
        context.progress.say(f"word {word}")
    with worker_pool(2) as pool:
        for _ in pool.map(part, [paths.parts] * 2, range(2), [text] * 2, [paths.wait] * 2):
            context.progress.advance()
    paths.table.write_text(text)
    paths.metrics.write_text(text)
    fatal = int(os.environ.get("KILLED_AT_MOVE", "0"))
    replace, moves = os.replace, []

    def replace_or_die(source, target):
        if str(source).startswith(("out/", "metrics/")):
            moves.append(source)
            if len(moves) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    if fatal:
        os.replace = replace_or_die

if __name__ == "__main__":
    if "SLOW_IMPORT" in os.environ:
        Path("importing").write_text(str(os.getpid()))
        time.sleep(1.0)
    raise SystemExit(run_stage(run, Letters, Paths))
'''


@dataclass(frozen=True)
class Stage:
    """The stage in a folder of its own."""

    folder: Path

    def command(self, *flags: str) -> list[str]:
        return [sys.executable, "letters.py", *flags]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "COV_", "PYTHONIOENCODING", "LC_"))}
        return {**kept, "PYTHONPATH": str(ROOT), **more}

    def run(self, *flags: str, before: tuple[str, ...] = (), **more: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end; `before` are words of a command that starts it."""
        return subprocess.run(
            [*before, *self.command(*flags)], cwd=self.folder, env=self.environment(**more), capture_output=True,
            text=True, timeout=120,
        )

    def files(self, *places: str) -> dict[str, str]:
        """Name → text of every file of these folders, hidden ones too; of the outputs' folders by default."""
        found = (path for place in places or ("out", "metrics") for path in (self.folder / place).rglob("*"))
        return {path.relative_to(self.folder).as_posix(): path.read_text() for path in found if path.is_file()}


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def ended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def number_in(path: Path) -> int:
    """The process that the file names, once it does."""
    assert until(lambda: path.exists() and path.read_text().isdecimal())
    return int(path.read_text())


def small_disk(place: str, size: str) -> tuple[str, ...]:
    """Words before a command that is to find a disk of `size` bytes at the folder `place`."""
    script = 'mkdir -p "$1" && mount -t tmpfs -o "size=$2" tmpfs "$1" && shift 2 && exec "$@"'
    words = ("unshare", "-m", "sh", "-c", script, "sh", place, size)
    try:
        done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode:
        pytest.skip("a small disk needs the right to mount one")
    return words


def without_rights() -> tuple[str, ...]:
    """Words before a command that is to be bound by the modes of files; root is not."""
    if os.geteuid():
        return ()
    words = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    try:
        done = subprocess.run([*words, "true"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no setpriv here")
    if done.returncode:
        pytest.skip("root's rights cannot be given up here")
    return words
