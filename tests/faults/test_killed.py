"""kill -9: of a stage at work, of its dvc, among its last moves, of a profile being laid over params."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kinetoken.core.errors import UserError
from tests.support.fault_stage import ROOT, Stage, ended, number_in, until

NEW = {
    "out/parts/part-0": "new new ", "out/parts/part-1": "new new ", "out/table.csv": "new new ",
    "metrics/letters.json": "new new ",
}
OLD = {name: text.replace("new", "old") for name, text in NEW.items()}


def test_workers_end_with_their_stage_and_a_rerun_is_let_in(stage: Stage) -> None:
    first = subprocess.Popen(stage.command("--wait", "60"), cwd=stage.folder, env=stage.environment())
    workers = [number_in(stage.folder / f"worker-{n}") for n in range(2)]
    first.kill()  # not waited for: the lock names a process that is a zombie still
    again = stage.run()
    first.wait()
    assert (again.returncode, "already running" in again.stderr) == (0, False), again.stderr
    assert until(lambda: all(map(ended, workers)), 5)
    assert stage.files() == OLD, "nothing that the killed run left half-written stays"


def test_a_worker_that_is_killed_is_one_sentence(stage: Stage) -> None:
    stage.run()
    (stage.folder / "worker-0").unlink()
    first = subprocess.Popen(
        stage.command("--wait", "60"), cwd=stage.folder, env=stage.environment(), stderr=subprocess.PIPE, text=True
    )
    os.kill(number_in(stage.folder / "worker-0"), signal.SIGKILL)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1 and "Traceback" not in said
    assert "a worker process was ended, perhaps by the system for lack of memory" in said
    assert stage.files() == OLD


@pytest.mark.skipif(psutil.Process(1).name().startswith("python"), reason="orphans become children of a Python program")
def test_dvc_killed_while_the_stage_imports(stage: Stage) -> None:
    (stage.folder / "dvc").write_text(
        f"import subprocess\nsubprocess.run(['/bin/sh', '-c', '{sys.executable} letters.py 2> said; echo $? > code'])\n"
    )
    dvc = subprocess.Popen(
        [sys.executable, "dvc", "repro"], cwd=stage.folder, env=stage.environment(DVC_STAGE="letters", SLOW_IMPORT="1")
    )
    number_in(stage.folder / "importing")
    dvc.kill()
    dvc.wait()
    code = stage.folder / "code"
    assert until(lambda: code.exists() and code.read_text() != "")
    assert code.read_text() == "1\n"
    assert (stage.folder / "said").read_text() == "error: letters: the dvc that started this stage has ended\n"
    assert stage.files() == {}


@pytest.mark.parametrize("move", range(1, 7))
def test_among_the_last_moves_old_and_new_outputs_are_never_mixed(stage: Stage, move: int) -> None:
    assert stage.run().returncode == 0
    (stage.folder / "in.txt").write_text("new ")
    killed = stage.run(KILLED_AT_MOVE=str(move))
    assert killed.returncode == -signal.SIGKILL
    left = {name: text for name, text in stage.files().items() if "/.partial-" not in name}
    assert left.items() <= OLD.items() or left.items() <= NEW.items()
    assert stage.run().returncode == 0
    assert stage.files() == NEW


@pytest.mark.parametrize("fails", [2, 5])
def test_a_move_that_fails_leaves_all_old_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    from kinetoken.core.stage import _move

    places = [tmp_path / name for name in ("a", "b", "c")]
    partial = [tmp_path / f".partial-{place.name}" for place in places]
    for place, new in zip(places, partial, strict=True):
        place.write_text("old")
        new.write_text("new")
    replace, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == fails:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="No space"):
        _move(dict(zip(partial, places, strict=True)))
    assert [place.read_text() for place in places] == ["old"] * 3
    assert not list(tmp_path.glob("*.before"))


@pytest.mark.parametrize("where", ["os.replace", "pathlib.Path.write_text", "io.StringIO.getvalue"])
def test_a_profile_half_laid_over_params_leaves_the_old_ones(tmp_path: Path, where: str) -> None:
    (tmp_path / "params.yaml").write_text("a:\n  b: 1  # one\n")
    (tmp_path / "profile.yaml").write_text("a:\n  b: 2\n")
    module, _, name = where.rpartition(".")
    owner = {"os": "os", "pathlib.Path": "pathlib.Path", "io.StringIO": None}[module]
    program = "import io, os, pathlib, signal, sys\nfrom kinetoken.core import params\n"
    if owner is None:
        program += (
            "class Dying(io.StringIO):\n"
            "    def getvalue(self): os.kill(os.getpid(), signal.SIGKILL)\n"
            "io.StringIO = Dying\n"
        )
    else:
        program += f"{owner}.{name} = lambda *words, **more: os.kill(os.getpid(), signal.SIGKILL)\n"
    program += "params.overlay('profile.yaml', 'params.yaml')\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "params.yaml").read_text() == "a:\n  b: 1  # one\n"
    done = subprocess.run(
        [sys.executable, "-m", "kinetoken.core.params", "overlay", "profile.yaml"], cwd=tmp_path, env=environment
    )
    assert done.returncode == 0 and (tmp_path / "params.yaml").read_text() == "a:\n  b: 2  # one\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "profile.yaml"], "nothing is left over"


def test_a_lock_whose_holder_is_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a shared disk: its number is that of no process here."""
    from kinetoken.core import stage

    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "lock").write_text(str(gone.pid))
    monkeypatch.setattr(stage, "ORPHAN_GRACE_SECONDS", 0.3)
    with open(tmp_path / "lock", "a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"letters is locked by process {gone.pid}, which is not here"):
            with stage._only_one(tmp_path / "lock", "letters"):
                pass
