"""Commands of the pages that no other test runs, on tiny inputs, word for word (tools/documented.py lists them all)."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kinetoken.cli import app
from tests.support.two_revisions import commit, git
from tools.commands import Command, Project
from tools.docs_check import commands
from tools.documented import CHEAP, PAGES, PROOFS, Proof, proof_faults, proof_of
from tools.smoke import clone, environment

ROOT = Path(__file__).parents[1]
NAMES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
KNOWN = [each for path in NAMES for each in commands(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
         if isinstance(each, Command)]


def shown(program: str) -> list[str]:
    """The commands of a program that are to be run here, each once, without its name."""
    own = [each for each in KNOWN if (proof := proof_of(each)) and PAGES in proof.tests and each.words[0] == program]
    return sorted({shlex.join(each.words[1:]).replace("NAME", "classify") for each in own})


def codes(words: Sequence[str]) -> np.ndarray:
    """60 clips of codes, with the axes that a command names."""
    axes = words[words.index("--layout") + 1].split(",") if "--layout" in words else ["B", "T", "H", "W"]
    sizes = {"B": 60, "T": 2, "H": 2, "W": 2, "Q": 3}
    return np.random.default_rng(0).integers(0, 8, [sizes[axis] for axis in axes])


@pytest.mark.parametrize("line", shown("kinetoken"))
def test_a_command_of_the_pages_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    np.save("codes.npy", codes(words))
    np.savez("codes.npz", codes=codes(words))
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.stderr or found.exception
    assert found.stdout


def test_the_differences_of_two_branches_are_shown(tmp_path: Path) -> None:
    lines = shown("dvc")
    assert {line.split()[0] for line in lines} == {"metrics", "plots"}
    clone(ROOT, folder := tmp_path / "clone")
    git(folder, "switch", "--quiet", "--force-create", "main")
    git(folder, "switch", "--quiet", "--create", "short")
    metric = next(folder.glob("metrics/train_classifier/accuracy*.json"))
    metric.write_text(metric.read_text().replace('"value": ', '"value": 1'))
    commit(folder, "another number")
    env = environment(folder) | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for line in lines:
        done = subprocess.run(["dvc", *shlex.split(line)], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = "accuracy" if line.startswith("metrics") else '"data"' if "--json" in line else "index.html"
        assert said in done.stdout, line


def test_every_command_of_the_pages_has_an_entry_and_every_entry_a_command() -> None:
    assert list(proof_faults(KNOWN, Project(ROOT))) == []
    ran = [each for each in KNOWN if (proof := proof_of(each)) and proof.tests]
    assert len(ran) > 0.8 * len(KNOWN) and len({str(each) for each in ran}) >= 90


def test_a_new_command_and_a_stale_entry_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    new = Command("README.md:1", ("npm", "install"))
    named = Command("README.md:2", ("OMP_NUM_THREADS=1", "make", "smoke"))
    monkeypatch.setattr("tools.documented.PROOFS", (
        Proof("make smoke", (CHEAP,)), Proof("make gone", (CHEAP,)), Proof("make empty"),
        Proof("make none", ("tests/none.py::test_none",)),
    ))
    found = list(proof_faults([new, named], Project(ROOT)))
    assert [fault.partition(": ")[0] for fault in found] == ["README.md:1"] + 5 * ["tools/documented.py:0"]
    assert "no entry in tools/documented.py" in found[0] and "`make gone`: no page shows" in found[1]
    assert "neither a test nor a reason" in found[3] and "there is no test tests/none.py::test_none" in found[5]
    assert not any("make smoke" in fault for fault in found) and PROOFS
