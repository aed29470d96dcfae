"""The command: what it prints, what it writes, and what it says of input that it cannot use."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from kinetoken.cli import app
from kinetoken.core.version import __version__
from kinetoken.diagnosis import api
from tests.kinetoken.diagnosis.test_doctor import PARAMS, clips_of, moving
from tests.support.action_set import break_clips

ROOT = Path(__file__).parents[2]


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def commands(group: Any = None, names: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every sub-command."""
    group = group or get_command(app)
    found = []
    for name, command in group.commands.items():
        words = (*names, name)
        found += commands(command, words) if hasattr(command, "commands") else [words]
    return found


@pytest.fixture
def codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with codes.npz and clips.npy, and probes that train for seconds."""
    monkeypatch.setattr(api, "DEFAULT", PARAMS)
    values, label = moving()
    np.savez(tmp_path / "codes.npz", codes=values, label=label)
    np.save(tmp_path / "clips.npy", clips_of(values))
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up checkout, entered from a folder inside, whose programs print their words and where they run."""
    root = tmp_path / "checkout"
    for folder in ("stages", "tools", "kinetoken/deep", ".venv/bin"):
        (root / folder).mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages:\n  draw: {cmd: a}\n  train: {foreach: [b], do: {cmd: b}}\n")
    for name in ("dvc", "python"):
        program = root / ".venv/bin" / name
        program.write_text('#!/bin/sh\necho "$(basename "$0") $@ in $(pwd)"\nexit 3\n')
        program.chmod(0o755)
    monkeypatch.chdir(root / "kinetoken/deep")
    return root


def test_every_sub_command_has_an_example_in_its_help() -> None:
    assert {("diagnose",), ("actions", "check"), ("run",), ("watch",), ("verify",)} <= set(commands())
    for words in commands():
        shown = call(*words, "--help")
        assert shown.exit_code == 0, words
        assert re.search(rf"^ +kinetoken {' '.join(words)}\b", shown.output, re.MULTILINE), words


def test_version_and_help() -> None:
    assert call("--version").output == f"kinetoken {__version__}\n"
    assert "diagnose" in call("--help").output


def test_help_and_version_import_nothing_heavy() -> None:
    code = "import sys, kinetoken.cli; print([m for m in ('torch', 'numpy', 'pandas', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_diagnose_writes_text_json_and_a_page_that_asks_for_nothing(codes: Path) -> None:
    pd.DataFrame({"epoch": range(1, 9), "val_loss": np.linspace(1, 0.2, 8)}).to_csv(codes / "h.csv", index=False)
    out = codes / "new" / "report"
    given = ("diagnose", codes / "codes.npz", "--history", codes / "h.csv", "--threads", "1")
    done = call(*given, "--out", out, "--json", "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    shown = json.loads(done.stdout)
    assert shown == json.loads((out / "report.json").read_text())
    assert shown["verdict"]["healthy"] is True and shown["numbers"]["late_fall"] == pytest.approx(0.142857)
    html = (out / "report.html").read_text()
    assert html.count("<svg") >= 4 + 4 + 1  # four slices, four views, the training curve
    assert not re.search(r'(src|href)="(?!data:)', html) and "url(" not in html and "http://" not in html
    assert (out / "report.md").read_text().startswith("# Verdict: healthy")
    again = call(*given, "--out", codes / "again")
    assert again.exit_code == 0 and again.stdout.startswith("# Verdict: healthy") and "written to" in again.stderr
    assert all((codes / "again" / file.name).read_bytes() == file.read_bytes() for file in out.iterdir())
    refused = call(*given, "--out", out)
    assert refused.exit_code == 1 and f"{out} exists" in refused.stderr and refused.stdout == ""


@pytest.mark.parametrize(("words", "message"), [
    (("diagnose", "absent.npz"), "error: diagnose: absent.npz: no such file"),
    (("diagnose", "codes.npz", "--clips", "absent.npy"), "error: diagnose: absent.npy: no such file"),
    (("diagnose", "codes.npz", "--again", "absent.npy"), "error: diagnose: absent.npy: no such file"),
    (("diagnose", "codes.npz", "--params", "absent.yaml"), "error: diagnose: absent.yaml: no such file"),
    (("diagnose", "codes.npz", "--out", "clips.npy", "--force"), "clips.npy is a file, the output is a folder"),
    (("actions", "check", "absent"), "error: actions: absent"),
    (("actions", "check", "absent", "--report", "clips.npy"), "clips.npy exists"),
    (("run", "draw"), "is not in a checkout of the Kinetoken repository"),
    (("watch",), "is not in a checkout"),
    (("verify",), "is not in a checkout"),
])
def test_bad_input_is_one_message_and_exit_code_1(
    codes: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(codes)
    before = sorted(codes.rglob("*"))
    done = call(*words, *(("--quiet",) if words[0] in ("diagnose", "actions") else ()))
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
    assert sorted(codes.rglob("*")) == before


def test_unforeseen_errors_of_the_disk_are_one_message_too(codes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("kinetoken.diagnosis.page.write_report", full)
    done = call("diagnose", codes / "codes.npz", "--out", codes / "report", "--quiet")
    assert done.exit_code == 1 and done.stderr == "error: diagnose: somewhere: No space left on device\n"
    assert not list(codes.glob("*report*")) and not list(codes.glob(".partial*"))


def test_a_missing_package_is_named_with_its_extra(codes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'timm.layers'", name="timm.layers")

    monkeypatch.setattr(api, "diagnose", absent)
    done = call("diagnose", codes / "codes.npz")
    assert done.exit_code == 1 and "timm" in done.stderr and "pip install 'kinetoken[pipeline]'" in done.stderr


def test_actions_check(own_folder: Path, tmp_path: Path) -> None:
    whole = call("actions", "check", own_folder, "--quiet")
    assert whole.exit_code == 0 and "every clip is whole" in whole.stdout and "68 clips, 14 classes" in whole.stdout
    broken, report = break_clips(own_folder), tmp_path / "new" / "broken.csv"
    done = call("actions", "check", own_folder, "--json", "--report", report, "--quiet")
    assert done.exit_code == 1 and {one["id"] for one in json.loads(done.stdout)["broken"]} == set(broken)
    assert len(report.read_text().splitlines()) == 5
    report.write_text("mine")
    assert call("actions", "check", own_folder, "--report", report, "--quiet").exit_code == 1
    assert report.read_text() == "mine"
    call("actions", "check", own_folder, "--report", report, "--quiet", "--force")
    assert len(report.read_text().splitlines()) == 5


@pytest.mark.parametrize(("words", "shown"), [
    (("run", "draw", "train@b"), "dvc repro draw train@b"),
    (("run",), "dvc repro"),
    (("watch", "--once"), "python -m tools.watch --once"),
    (("verify", "--repair", "--json"), "python -m tools.verify --repair --json"),
])
def test_in_a_checkout_its_own_programs_run_in_its_folder(checkout: Path, words: tuple[str, ...], shown: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "kinetoken", *words], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.returncode) == (f"{shown} in {checkout.resolve()}\n", 3)


def test_in_a_checkout_what_is_missing_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("run", "drew")
    assert done.exit_code == 1 and "no stage 'drew'; there are draw, train" in done.stderr
    (checkout / ".venv/bin/dvc").unlink()
    monkeypatch.setattr(sys, "executable", str(checkout / "nowhere/python"))
    monkeypatch.setenv("PATH", str(checkout))
    done = call("run", "draw")
    assert done.exit_code == 1 and "dvc is not installed; run make setup in" in done.stderr


def test_as_a_process_of_its_own(codes: Path) -> None:
    words = [sys.executable, "-m", "kinetoken", "diagnose", "absent.npz", "--clips", "x"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=codes, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: diagnose: absent.npz: no such file\n")
