"""Run the stages of a DVC pipeline side by side: a stage begins when all that it reads has been made.

`dvc repro` runs one stage after another, and a second one beside it is refused by DVC's lock. Here each stage is a
`dvc --wait-for-lock repro --single-item` of its own: DVC decides whether it has to run, holds its locks while it looks
and records, and lets go of them while the stage works. Of the stages that are ready the one with the longest way to the
end of the pipeline begins first, by the seconds that stages took the last time, where they are known.

What the stages write is the same as one after another, if it does not depend on what runs beside them.

A stage that fails keeps those that read from it from running; the others end. Ctrl-C ends all of them.

    python -m tools.jobs --jobs 2 [--seconds profiles/stage_seconds.json] [STAGE ...] [OPTIONS OF DVC REPRO]
    # or: make repro JOBS=2
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Graph = Mapping[str, frozenset[str]]  # stage to the stages whose outputs it reads
Run = Callable[[str], int]  # a stage's exit status

INTERRUPTED = 130


@dataclass
class Outcome:
    """How the stages ended: exit status of those that ran, in the order in which they ended; those that did not."""

    status: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # to the stage that failed

    @property
    def failed(self) -> list[str]:
        return [name for name, status in self.status.items() if status]


def pipeline(root: Path, targets: Sequence[str] = ()) -> dict[str, frozenset[str]]:
    """The stages of root's dvc.yaml, or those that `targets` need, foreach laid out; ValueError for an unknown one."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        home = str(root.resolve() / "dvc.yaml")
        stages = [stage for stage in repo.index.stages if getattr(stage, "path", None) == home]
        graph = {
            stage.name: frozenset(other.name for other in repo.index.graph.successors(stage) if other in stages)
            for stage in stages
        }
    if unknown := [target for target in targets if target not in graph]:
        raise ValueError(f"no stage {', '.join(unknown)} in {home}; there are: {', '.join(graph)}")
    return {name: graph[name] for name in (needed(graph, targets) if targets else graph)}


def needed(graph: Graph, targets: Sequence[str]) -> set[str]:
    """The targets and all that they are made from."""
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def ways(graph: Graph, seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the pipeline, with nothing to wait for.

    A stage of unknown time counts as the mean of the others.
    """
    usual = sum(seconds.values()) / len(seconds) if seconds else 1.0
    readers: dict[str, set[str]] = {name: set() for name in graph}
    for name, made_from in graph.items():
        for other in made_from:
            readers[other].add(name)
    found: dict[str, float] = {}

    def way(name: str) -> float:
        if name not in found:
            found[name] = seconds.get(name, usual) + max(map(way, readers[name]), default=0.0)
        return found[name]

    for name in graph:
        way(name)
    return found


def run_all(graph: Graph, jobs: int, run: Run, seconds: Mapping[str, float] | None = None) -> Outcome:
    """Run every stage, at most `jobs` at once, none before all that it reads from has ended well."""
    outcome, order = Outcome(), ways(graph, seconds or {})
    waiting, running = set(graph), dict[Future[int], str]()
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for name in sorted(waiting, key=lambda name: (-order[name], name)):
                made_from = graph[name]
                cause = next((outcome.skipped.get(each, each) for each in sorted(made_from)
                              if outcome.status.get(each) or each in outcome.skipped), None)
                if cause is not None:
                    waiting.discard(name)
                    outcome.skipped[name] = cause
                elif len(running) < jobs and all(outcome.status.get(each) == 0 for each in made_from):
                    waiting.discard(name)
                    running[pool.submit(run, name)] = name
            if not running:
                continue  # what was skipped may keep others from running
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome.status[running.pop(future)] = future.result()
    return outcome


class Processes:
    """`dvc repro` of single stages; after `stop` none begins and those that run are interrupted."""

    def __init__(self, root: Path, options: Sequence[str] = ()) -> None:
        self.root, self.options = root, tuple(options)
        self.stopped, self._lock, self._running = False, threading.Lock(), set[subprocess.Popen[bytes]]()

    def run(self, name: str) -> int:
        """Exit status of the stage's process."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *self.options, name]
        with self._lock:
            if self.stopped:
                return INTERRUPTED
            # a group of its own: an interrupt at the terminal comes to it once, through `stop`
            process = subprocess.Popen(command, cwd=self.root, process_group=0)
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Interrupt every stage that runs, and the dvc that runs it."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                try:
                    os.killpg(process.pid, signal.SIGINT)
                except ProcessLookupError:
                    pass  # it has just ended


@contextmanager
def stopping(processes: Processes) -> Iterator[None]:
    """On SIGINT or SIGTERM stop the processes and wait for them, instead of leaving them behind."""
    before = {number: signal.signal(number, lambda *_: processes.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def known_seconds(path: Path | None, names: Graph) -> dict[str, float]:
    """From a JSON object of seconds, `render_videos_motion` for stage `render_videos@motion`; empty without one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {name: float(content[key]) for name in names if (key := name.replace("@", "_")) in content}
    except (OSError, ValueError, TypeError):
        return {}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="stages at once (default: 2)")
    parser.add_argument("--seconds", type=Path, help="JSON object: seconds that each stage took before")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="with what they need (default: all)")
    options, rest = parser.parse_known_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs: at least 1, is {options.jobs}")
    root, began = Path.cwd(), time.monotonic()
    try:
        graph = pipeline(root, options.stages)
    except ValueError as error:
        parser.error(str(error))
    processes = Processes(root, rest)
    with stopping(processes):
        outcome = run_all(graph, options.jobs, processes.run, known_seconds(options.seconds, graph))
    if processes.stopped:
        print("jobs: interrupted; what had ended is recorded", file=sys.stderr)
        return INTERRUPTED
    for name in outcome.failed:
        kept = [other for other, cause in outcome.skipped.items() if cause == name]
        print(f"jobs: {name} failed" + (f"; not run: {', '.join(kept)}" if kept else ""), file=sys.stderr)
    print(f"jobs: {len(outcome.status)} stages in {time.monotonic() - began:.0f} s, {options.jobs} at once")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
