"""A stage's process: flags, lock, outputs whole or not at all, exit codes, signals, the end of its parent."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinetoken.core.absence import why_absent
from kinetoken.core.errors import of_the_machine

ROOT = Path(__file__).parents[3]
SCRIPT = '''"""A stage for tests: repeats a text."""
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from kinetoken.core.absence import NotMeasured
from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context, Input, Output, run_stage

@dataclass(frozen=True)
class Repeat:
    times: Positive

@dataclass(frozen=True)
class Paths:
    text: Annotated[Path, Input("a text")] = Path("in.txt")
    extra: Annotated[Path, Input("used where it is one", optional=True)] = Path("in.txt")
    table: Annotated[Path, Output("a file")] = Path("out/table.csv")
    model: Annotated[Path, Output("a folder")] = Path("out/model")
    mode: Annotated[str, "how to end"] = "well"

def run(params: Repeat, paths: Paths, context: Context) -> None:
    context.progress.phase("repeating", params.times, "times")
    paths.table.write_text(paths.text.read_text() * params.times)
    if paths.mode == "forget":
        return
    paths.model.mkdir()
    (paths.model / "weights").write_text("w")
    context.checkpoints.mkdir(parents=True, exist_ok=True)
    (context.checkpoints / "state").write_text(str(context.hardware))
    if paths.mode == "nothing":
        raise NotMeasured("there is one class")
    if paths.mode == "bad":
        raise UserError("row 7 is bad")
    if paths.mode == "full":
        raise OSError(28, "No space left on device", "out/.partial-table.csv")
    if paths.mode == "full weights":
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    if paths.mode == "bug":
        raise RuntimeError("a bug")
    if paths.mode == "sleep":
        Path("started").write_text(str(os.getpid()))
        time.sleep(60)

if __name__ == "__main__":
    raise SystemExit(run_stage(run, Repeat, Paths, hardware="--hardware" in os.environ.get("STAGE", "")))
'''
HARDWARE = "hardware:\n  accelerator: cpu\n  devices: 1\n  strategy: auto\n  precision: auto\n  threads: 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "repeat.py").write_text(SCRIPT)
    (tmp_path / "params.yaml").write_text("repeat:\n  times: 2\nrepeat_other:\n  times: 3\n" + HARDWARE)
    (tmp_path / "in.txt").write_text("ab ")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "COV_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def stage(folder: Path, *flags: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "repeat.py", *flags], cwd=folder, env=environment(**more),
                          capture_output=True, text=True, timeout=60)


def started(folder: Path, command: list[str], **more: str) -> "subprocess.Popen[str]":
    """A stage that runs until it is ended, once it is in the middle of its work.

    Tests that a shell started in the background ignore SIGINT, and what they start would too.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=folder, env=environment(**more), stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert until(lambda: (folder / "started").exists() and (folder / "started").read_text() != "")
    return process


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return True


def status(folder: Path, label: str = "repeat") -> dict[str, Any]:
    return json.loads((folder / "run_info" / label / "status.json").read_text())


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_outputs_status_and_exit_code(folder: Path) -> None:
    done = stage(folder)
    assert (done.returncode, done.stderr) == (0, "repeat: repeating (2 times)\n")
    assert files(folder / "out") == ["model/weights", "table.csv"]
    assert (folder / "out/table.csv").read_text() == "ab ab "
    assert status(folder)["state"] == "done"
    assert not any((folder / ".ckpt").rglob("*")), "checkpoints are dropped once the outputs stand"


def test_flags_move_every_file_and_section(folder: Path) -> None:
    (folder / "mine.txt").write_text("x")
    (folder / "other.yaml").write_text("part:\n  of: {times: 4}\n")
    done = stage(folder, "--text", "mine.txt", "--table", "a/t.txt", "--model", "b", "--params", "other.yaml",
                 "--section", "part.of", "--run-info", "notes")
    assert done.returncode == 0, done.stderr
    assert (folder / "a/t.txt").read_text() == "xxxx" and (folder / "b/weights").exists()
    assert not (folder / "out").exists() and (folder / "notes/part_of/status.json").exists()


def test_help_tells_what_each_flag_is(folder: Path) -> None:
    done = stage(folder, "--help")
    assert done.returncode == 0
    for text in ("repeats a text", "--table", "a folder (default: out/model)", "how to end"):
        assert text in done.stdout


NUMBERED = '''"""A stage for tests: leaves a number."""
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from kinetoken.core.numbers import Headlines, write_numbers
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context, HeadlineFolder, NumbersTable, Output, run_stage

@dataclass(frozen=True)
class Repeat:
    times: Positive

@dataclass(frozen=True)
class Paths:
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/repeat.json")
    headlines: HeadlineFolder = Path("metrics/repeat")
    numbers: NumbersTable = Path("plots/repeat/numbers.csv")

def run(params: Repeat, paths: Paths, context: Context) -> None:
    write_numbers(paths, {"times": params.times}, Headlines(("times",)))

if __name__ == "__main__":
    raise SystemExit(run_stage(run, Repeat, Paths))
'''


@pytest.mark.parametrize(("flags", "left"), [
    ((), ["metrics/repeat.json", "metrics/repeat/times.json", "plots/repeat/numbers.csv"]),
    (("--metrics", "a/one.json"), ["a/one.csv", "a/one.json", "a/one/times.json"]),
    (("--metrics=a/one.json", "--numbers=b.csv", "--headlines=c"), ["a/one.json", "b.csv", "c/times.json"]),
    (("--numbers", "b.csv"), ["b.csv", "metrics/repeat.json", "metrics/repeat/times.json"]),
])
def test_numbers_go_beside_the_metrics_that_alone_are_given(
    folder: Path, flags: tuple[str, ...], left: list[str]
) -> None:
    (folder / "repeat.py").write_text(NUMBERED)
    before = files(folder)
    assert stage(folder, *flags).returncode == 0
    assert [file for file in files(folder) if file not in before and not file.startswith("run_info/")] == left
    refused = stage(folder, "--metrics", "plain")
    assert refused.returncode == 1 and "--metrics plain: name a .json file" in refused.stderr


def test_metrics_without_a_result_hold_a_number_and_the_table_beside_them_the_reason(folder: Path) -> None:
    """`dvc metrics show` prints every value of them, and a sentence makes its table as wide as itself."""
    measured = 'write_numbers(paths, {"times": params.times}, Headlines(("times",)))'
    script = NUMBERED.replace(measured, 'raise NotMeasured("there is one class")')
    (folder / "repeat.py").write_text(f"from kinetoken.core.absence import NotMeasured\n{script}")
    assert stage(folder).returncode == 0
    for name in ("metrics/repeat.json", "metrics/repeat/not_measured.json"):
        assert json.loads((folder / name).read_text()) == {"not_measured": 1}
    assert files(folder / "metrics") == ["repeat.json", "repeat/not_measured.json"]
    assert why_absent(folder / "plots/repeat/numbers.csv") == "there is one class"


@pytest.mark.parametrize("flags, params, message", [
    ((), "repeat:\n  times: 0\n", "params.yaml: repeat.times: must be >= 1, is 0"),
    ((), "repeat:\n  times: 2\n  more: 1\n", "params.yaml: repeat.more: unknown key; known are times"),
    ((), "repeat: {}\n", "params.yaml: repeat.times: missing"),
    (("--text", "none.txt"), "repeat:\n  times: 2\n", "--text none.txt: no such file or folder"),
    (("--mode", "bad"), "repeat:\n  times: 2\n", "row 7 is bad"),
])
def test_bad_input_is_one_message_and_nothing_written(
    folder: Path, flags: tuple[str, ...], params: str, message: str
) -> None:
    (folder / "params.yaml").write_text(params)
    done = stage(folder, *flags)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("repeat: ")]
    assert len(lines) == 1 and lines[0].startswith(f"error: repeat: {message}")
    assert files(folder / "out") == [] if (folder / "out").exists() else True
    assert status(folder)["state"] == "failed" and message in status(folder)["reason"]


@pytest.mark.parametrize("mode, said", [
    ("full", "the disk is full (out/.partial-table.csv); free some space"),
    ("full weights", "the disk is full; free some space"),
])
def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(folder: Path, mode: str, said: str) -> None:
    assert stage(folder).returncode == 0
    before = (folder / "out/table.csv").read_text()
    done = stage(folder, "--mode", mode)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    expected = f"error: repeat: {said}; earlier outputs are untouched, and the stage can be run again"
    assert done.stderr.splitlines()[-1] == expected
    assert (folder / "out/table.csv").read_text() == before and files(folder / "out") == ["model/weights", "table.csv"]


@pytest.mark.parametrize("error, said", [
    (PermissionError(13, "Permission denied", "data/x"),
     "not permitted to read or write (data/x); change its owner or mode"),
    (OSError(30, "Read-only"), "not permitted to read or write: [Errno 30] Read-only; change its owner or mode"),
    (MemoryError(), "not enough memory; close other programs, or make the batch smaller"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 5 bytes"),
     "not enough memory; close other programs, or make the batch smaller"),
])
def test_failures_of_the_machine_are_said_in_words(error: Exception, said: str) -> None:
    assert of_the_machine(error) == said


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("shape"), FileNotFoundError(2, "none", "a")])
def test_other_failures_keep_their_traceback(error: Exception) -> None:
    assert of_the_machine(error) is None


@pytest.mark.parametrize("mode, told", [("bug", "RuntimeError: a bug"), ("forget", "did not write out/model")])
def test_a_failure_keeps_the_outputs_of_before(folder: Path, mode: str, told: str) -> None:
    assert stage(folder).returncode == 0
    (folder / "in.txt").write_text("new")
    done = stage(folder, "--mode", mode)
    assert done.returncode == 1 and told in done.stderr
    assert (folder / "out/table.csv").read_text() == "ab ab "
    assert files(folder / "out") == ["model/weights", "table.csv"]
    assert status(folder)["state"] == "failed" and told in status(folder)["reason"]


def test_where_data_allow_no_result_every_output_says_why_and_later_stages_pass_it_on(folder: Path) -> None:
    done = stage(folder, "--mode", "nothing")
    assert done.returncode == 0 and "not measured: there is one class" in done.stderr
    assert files(folder / "out") == ["model/not_measured.json", "table.csv"]
    assert (folder / "out/table.csv").read_text() == "not_measured\nthere is one class\n"
    outputs = ("--table", "later/table.csv", "--model", "later/model")
    assert stage(folder, "--text", "out/table.csv", *outputs).returncode == 0
    assert json.loads((folder / "later/model/not_measured.json").read_text()) == {"not_measured": "there is one class"}
    assert stage(folder, "--extra", "out/model", *outputs).returncode == 0
    assert files(folder / "later") == ["model/weights", "table.csv"], "an optional input stops nothing"


def test_outputs_replace_those_of_before_whole(folder: Path) -> None:
    assert stage(folder).returncode == 0
    (folder / "out/model/stray").write_text("x")
    assert stage(folder).returncode == 0
    assert files(folder / "out") == ["model/weights", "table.csv"]


def test_hardware_is_read_only_by_stages_that_ask_for_it(folder: Path) -> None:
    (folder / "params.yaml").write_text("repeat:\n  times: 2\n")
    assert stage(folder).returncode == 0
    done = stage(folder, STAGE="--hardware")
    assert done.returncode == 1 and "no section 'hardware'" in done.stderr


def test_only_one_runs_at_a_time(folder: Path) -> None:
    first = started(folder, [sys.executable, "repeat.py", "--mode", "sleep"])
    try:
        second = stage(folder)
        assert second.returncode == 1
        assert second.stderr == f"error: repeat: repeat is already running here as process {first.pid}\n"
        assert status(folder)["state"] == "running", "the first one's status is left alone"
        other = stage(folder, "--section", "repeat_other", "--table", "t", "--model", "m")
        assert other.returncode == 0, "another dataset's run is no conflict"
    finally:
        first.kill()
        first.communicate()
    assert stage(folder).returncode == 0, "the lock dies with its holder"
    assert files(folder / "out") == ["model/weights", "table.csv"], "what the killed run left half-written is gone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(folder: Path, number: signal.Signals) -> None:
    process = started(folder, [sys.executable, "repeat.py", "--mode", "sleep"])
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in error and error.splitlines()[-1].startswith("error: repeat: ")
    assert not (folder / "out").exists() or files(folder / "out") == []
    assert status(folder)["state"] == "failed"


def test_it_ends_when_the_dvc_that_started_it_is_killed(folder: Path) -> None:
    (folder / "dvc").write_text(
        f"import subprocess\nsubprocess.run(['/bin/sh', '-c', '{sys.executable} repeat.py --mode sleep; true'])\n"
    )
    dvc = started(folder, [sys.executable, "dvc", "repro"], DVC_STAGE="repeat")
    work = psutil.Process(int((folder / "started").read_text()))
    assert work.is_running() and work.pid != dvc.pid
    dvc.kill()
    dvc.wait()
    assert until(lambda: ended(work), 15)
    assert until(lambda: status(folder)["state"] == "failed")
    assert status(folder)["reason"] == "Stopped: stopped by SIGTERM"
    assert not (folder / "out").exists() or files(folder / "out") == []


def test_checkpoints_are_bound_to_params_inputs_and_hardware(folder: Path) -> None:
    def key(**more: str) -> str:
        assert stage(folder, "--mode", "bug", **more).returncode == 1
        (found,) = (folder / ".ckpt").rglob("state")
        shutil.rmtree(folder / ".ckpt")
        return found.parent.name

    first = key()
    assert key() == first
    (folder / "in.txt").write_text("other")
    other_input = key()
    (folder / "params.yaml").write_text("repeat:\n  times: 3\n" + HARDWARE)
    other_params = key()
    other_hardware = key(STAGE="--hardware")
    (folder / "repeat.py").write_text(SCRIPT + "# edited\n")
    other_code = key(STAGE="--hardware")
    assert len({first, other_input, other_params, other_hardware, other_code}) == 5


def test_no_stage_imports_torch_to_show_its_help() -> None:
    """Only kinetoken.core.stage itself is checked here: eighteen processes start in a full run."""
    program = "import sys, kinetoken.core.stage; print([m for m in ('torch', 'pandas', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []


