"""Stages side by side: the order on made-up graphs, and real pipelines run one after another and at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetoken.core.artifacts import hash_path
from kinetoken.core.params import read_yaml
from tools.jobs import INTERRUPTED, known_seconds, needed, pipeline, run_all, ways
from tools.smoke import git

ROOT = Path(__file__).parents[2]
MEET = """\
import pathlib, sys, time
me, other = sys.argv[1:]
pathlib.Path(f"run_info/{me}").write_text("here")
deadline = time.monotonic() + 60
while not pathlib.Path(f"run_info/{other}").exists():
    if time.monotonic() > deadline:
        sys.exit(f"{me} waited for {other} in vain")
    time.sleep(0.05)
pathlib.Path(f"data/{me}.txt").write_text(me)
"""
PIPELINE = """\
stages:
  left:
    cmd: python stages/{script}.py left {left}
    deps: [stages/{script}.py]
    outs: [data/left.txt]
  right:
    cmd: python stages/{script}.py right {right}
    deps: [stages/{script}.py]
    outs: [data/right.txt]
  both:
    cmd: cat data/left.txt data/right.txt > data/both.txt
    deps: [data/left.txt, data/right.txt]
    outs: [data/both.txt]
"""


# ---- the order


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, frozenset[str]]:
    """Of up to eight stages, each reading from some before it."""
    names = [f"s{i}" for i in range(draw(st.integers(1, 8)))]
    return {name: frozenset(draw(st.sets(st.sampled_from(names[:i]))) if i else ()) for i, name in enumerate(names)}


@given(graphs(), st.integers(1, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_none_begins_before_what_it_reads_and_no_more_than_so_many_at_once(
    graph: dict[str, frozenset[str]], jobs: int, data: st.DataObject
) -> None:
    broken = data.draw(st.sets(st.sampled_from(sorted(graph))))
    lock, ended, running, most = threading.Lock(), set[str](), set[str](), 0

    def run(name: str) -> int:
        nonlocal most
        with lock:
            assert graph[name] <= ended - broken, name
            running.add(name)
            most = max(most, len(running))
        time.sleep(0.001)
        with lock:
            running.discard(name)
            ended.add(name)
        return int(name in broken)

    outcome = run_all(graph, jobs, run)
    lost = {name for name in graph if needed(graph, [name]) & broken - {name}}
    assert most <= jobs and set(outcome.status) == ended == set(graph) - lost
    assert set(outcome.skipped) == lost and set(outcome.failed) == broken - lost
    assert all(cause in broken and cause in needed(graph, [name]) for name, cause in outcome.skipped.items())


def test_the_longest_way_goes_first() -> None:
    graph = {name: frozenset(read) for name, read in {"a": "", "b": "", "c": "", "d": "b", "e": "d"}.items()}
    seconds = {"a": 5.0, "b": 1.0, "c": 2.0, "d": 3.0, "e": 4.0}
    assert ways(graph, seconds) == {"a": 5, "b": 8, "c": 2, "d": 7, "e": 4}
    order: list[str] = []
    run_all(graph, 1, lambda name: order.append(name) or 0, seconds)  # type: ignore[func-returns-value]
    assert order == ["b", "d", "a", "e", "c"]
    assert ways({"a": frozenset(), "new": frozenset("a")}, {"a": 3.0}) == {"a": 6, "new": 3}


def test_the_project_s_own_stages_are_all_known_and_in_reach() -> None:
    graph = pipeline(ROOT)
    labels = {f"{name}@{key}" if key else name for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items()
              for key in stage.get("foreach", [""])}
    assert set(graph) == labels and set(known_seconds(ROOT / "profiles/stage_seconds.json", graph)) == labels
    assert {"extract_codes@motion", "train_position"} <= graph["train_predictor"]
    assert set(pipeline(ROOT, ["train_tokenizer"])) == needed(graph, ["train_tokenizer"]) < labels
    with pytest.raises(ValueError, match="no stage nothing in"):
        pipeline(ROOT, ["nothing"])


def test_seconds_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    for text in ("", "[1]", '{"a": "x"}'):
        (tmp_path / "seconds.json").write_text(text)
        assert known_seconds(tmp_path / "seconds.json", {"a": frozenset()}) == {}
    assert known_seconds(None, {"a": frozenset()}) == known_seconds(tmp_path / "none", {"a": frozenset()}) == {}


# ---- real pipelines


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """A project whose stages left and right run a script of ours, and both joins them."""

    def make(name: str, script: str, text: str, left: str = "", right: str = "") -> Path:
        folder = tmp_path / name
        for part in ("stages", "data", "run_info", ".dvc"):
            (folder / part).mkdir(parents=True)
        (folder / "dvc.yaml").write_text(PIPELINE.format(script=script, left=left, right=right))
        (folder / f"stages/{script}.py").write_text(text)
        (folder / ".gitignore").write_text("run_info/\n/data/*.txt\n")
        (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
        (folder / ".dvc/.gitignore").write_text("/tmp\n/cache\n")
        git(folder, "init", "--quiet")
        return folder

    return make


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.Popen(
        [sys.executable, "-m", "tools.jobs", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    )


def finished(folder: Path, *arguments: str) -> tuple[int, str]:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def dvc(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
    ).stdout


def test_side_by_side_gives_what_one_after_another_gives(project: Callable[..., Path]) -> None:
    """Two stages that wait for one another end only if both run at once; lock and outputs are those of `dvc repro`."""
    together = project("together", "meet", MEET, "right", "left")
    status, output = finished(together, "--jobs", "2")
    assert status == 0 and "jobs: 3 stages in" in output, output
    assert (together / "data/both.txt").read_text() == "leftright"
    assert "up to date" in dvc(together, "status")
    alone = project("alone", "meet", MEET, "right", "left")
    for name in ("left", "right"):
        (alone / "run_info" / name).touch()  # nobody to wait for
    dvc(alone, "repro")
    assert read_yaml(alone / "dvc.lock") == read_yaml(together / "dvc.lock")  # in the order in which they ended
    assert hash_path(alone / "data") == hash_path(together / "data")
    status, output = finished(together, "--jobs", "2", "--force")
    assert status == 0 and output.count("Running stage") == 3, output


def test_a_failure_is_named_with_what_it_kept_from_running(project: Callable[..., Path]) -> None:
    text = "import pathlib, sys\nif sys.argv[2] == 'fail': sys.exit(3)\n"
    text += "pathlib.Path(f'data/{sys.argv[1]}.txt').write_text('x')\n"
    folder = project("failing", "half", text, "fail", "go")
    status, output = finished(folder)
    assert status == 1 and "jobs: left failed; not run: both" in output, output
    assert set(read_yaml(folder / "dvc.lock")["stages"]) == {"right"}
    (folder / "dvc.yaml").write_text((folder / "dvc.yaml").read_text().replace("left fail", "left go"))
    assert finished(folder)[0] == 0 and (folder / "data/both.txt").exists()
    status, output = finished(folder, "elsewhere")
    assert status == 2 and "no stage elsewhere" in output
    assert finished(folder, "--jobs", "0")[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_and_leaves_no_lock(project: Callable[..., Path], number: int) -> None:
    text = (
        "import os, pathlib, sys, time\npathlib.Path(f'run_info/{sys.argv[1]}').write_text(str(os.getpid()))\n"
        "time.sleep(0 if pathlib.Path('run_info/again').exists() else 300)\n"
        "pathlib.Path(f'data/{sys.argv[1]}.txt').write_text('x')\n"
    )
    folder = project("interrupted", "sleep", text)
    process, notes = start(folder, "--jobs", "2"), [folder / "run_info" / name for name in ("left", "right")]
    deadline = time.monotonic() + 60
    while not all(note.exists() and note.read_text() for note in notes):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and "jobs: interrupted" in output, output
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)
    (folder / "run_info/again").touch()
    assert finished(folder)[0] == 0 and (folder / "data/both.txt").read_text() == "xx"
