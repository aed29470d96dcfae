"""Terminals whose encoding lacks letters: plain ones are shown, and no program ends over them."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinetoken.core import terminal
from tests.support.fault_stage import ROOT, Stage

ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
TOOLS = ["watch", "pages", "studies", "docs_check", "verify", "plots", "smoke", "relock"]


def said(stage: Stage, command: list[str], **more: str) -> str:
    done = subprocess.run(
        command, cwd=stage.folder, env=stage.environment(**more), capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode("latin-1")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_help_of_a_stage(stage: Stage, encoding: dict[str, str]) -> None:
    text = said(stage, stage.command("--help"), **encoding)
    assert ("64×64" if "latin-1" in encoding.values() else "64x64") in text and "parts ... and a table" in text


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_page_of_all_stages(stage: Stage, encoding: dict[str, str]) -> None:
    folder = stage.folder / "run_info/some"
    folder.mkdir(parents=True)
    status = {"stage": "some", "state": "running", "heartbeat": time.time(), "phase": "train …" * 80, "epoch": None,
              "total": None, "done": 0, "unit": "", "rate": None, "remaining_s": None, "metrics": {}, "reason": None,
              "place": "64×64"}
    (folder / "status.json").write_text(json.dumps(status))
    assert "running" in said(stage, [sys.executable, "-m", "tools.watch", "--once"], **encoding)


def test_the_help_of_every_tool(stage: Stage) -> None:
    """In one process: each main is asked for its help, on a stream of ASCII."""
    program = """
import importlib, io, sys
for name in sys.argv[1:]:
    tool = importlib.import_module(f"tools.{name}")
    tool.__doc__ = "64×64 … —"
    out = sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    sys.argv = [name, "--help"]
    try:
        tool.main()
    except SystemExit as end:
        assert end.code == 0, name
    out.flush()
    assert b"64x64 ... -" in out.buffer.getvalue(), name
"""
    said(stage, [sys.executable, "-c", program, *TOOLS])


def test_the_help_of_every_sub_command(stage: Stage) -> None:
    program = """
import io, sys
from typer.main import get_command
from kinetoken.cli import app

def ask(group, words):
    out = sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    try:
        get_command(app).main([*words, "--help"], prog_name="kinetoken")
    except SystemExit as end:
        assert end.code == 0, words
    out.flush()
    assert b"Usage" in out.buffer.getvalue(), words
    for name, command in getattr(group, "commands", {}).items():
        ask(command, [*words, name])

ask(get_command(app), [])
"""
    said(stage, [sys.executable, "-c", program])


def latin(monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Standard output, from now on; pytest lays its own over what a fixture sets."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.open_streams()
    return stream


def written(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    return stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_letters_that_an_encoding_lacks_have_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = latin(monkeypatch)
    print("× … – → ’ ² \U0001f3d0")
    assert written(stream) == b"\xd7 ... - -> ' \xb2 ?\n"


def test_json_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinetoken.commands import show

    content = {"class": "\U0001f3d0 …", "side": "64×64"}
    stream = latin(monkeypatch)
    show(content, "", as_json=True)
    assert json.loads(written(stream).decode("latin-1")) == content


def test_a_name_outside_the_encoding_in_an_error(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kinetoken", "diagnose", "gibt-es-nicht-…"], cwd=stage.folder,
        env=stage.environment(PYTHONIOENCODING="latin-1", PYTHONUTF8="1"), capture_output=True, timeout=120,
    )
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: diagnose: gibt-es-nicht-...")


def test_every_tool_with_a_main_is_asked() -> None:
    """Those left out print hashes, answers for programs, or names of stages only."""
    mains = {path.stem for path in Path(ROOT / "tools").glob("*.py") if "\ndef main(" in path.read_text()}
    assert mains - set(TOOLS) == {"fingerprints", "imports", "parsers", "jobs", "commands"} & mains
