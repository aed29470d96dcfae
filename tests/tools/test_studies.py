"""What stands of the studies, what is stale, and how one is run: a toy project with one study."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from kinetoken.core.errors import UserError
from tools import studies
from tools.fingerprints import fingerprint
from tools.smoke import git

FILES = {
    "studies/__init__.py": "",
    "studies/toy/__init__.py": "",
    "studies/toy/tell.py": """\
import pathlib
folder = pathlib.Path("studies/toy/plots")
folder.mkdir(exist_ok=True)
(folder / "table.md").write_text("| a |\\n|---|\\n| " + pathlib.Path("data/in.txt").read_text().strip() + " |\\n")
""",
    "studies/toy/dvc.yaml": """\
# What a toy is worth. make study NAME=toy
stages:
  tell:
    cmd: cd ../.. && python -m studies.toy.tell
    deps: [../code/studies/toy/tell.txt, ../../data/in.txt]
    outs: [plots/table.md: {cache: false}]
""",
    "studies/dvc.yaml": """\
stages:
  fingerprint_studies:
    cmd: mkdir -p code/studies/toy && cd .. && python fingerprints.py > studies/code/studies/toy/tell.txt
    always_changed: true
    outs: [code/studies]
""",
    "studies/.dvc/config": "[core]\n    analytics = false\n",
    "studies/.dvc/.gitignore": "/tmp\n/cache\n",
    ".gitignore": "/studies/code/\n",
    "data/in.txt": "5\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "fingerprints.py").write_text(f"print({fingerprint('studies/toy/tell.py', tmp_path)!r})\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "-m", "toy")
    return tmp_path


def test_a_run_notes_its_commit_and_is_fresh(project: Path) -> None:
    assert studies.read_study("toy", project).state == "never run"
    studies.run("toy", None, project)
    found = studies.read_study("toy", project)
    assert (found.asks, found.state) == ("What a toy is worth.", "fresh")
    assert found.commit == git(project, "rev-parse", "--short=7", "HEAD").strip()
    assert not json.loads((project / "studies/toy/made_from.json").read_text())["uncommitted_changes"]
    lock = yaml.safe_load((project / "studies/toy/dvc.lock").read_text())["stages"]["tell"]["deps"]
    code = f"{fingerprint('studies/toy/tell.py', project)}\n".encode()
    assert {dep["path"]: dep["md5"] for dep in lock}["../code/studies/toy/tell.txt"] == hashlib.md5(code).hexdigest()


def test_a_study_whose_lock_is_gone_or_older_is_stale(project: Path) -> None:
    studies.run("toy", None, project)
    lock = project / "studies/toy/dvc.lock"
    text = lock.read_text()
    lock.write_text(text.replace(hashlib.md5(b"5\n").hexdigest(), "0" * 32))
    assert studies.read_study("toy", project).state == "fresh", "data are not its code"
    code = hashlib.md5(f"{fingerprint('studies/toy/tell.py', project)}\n".encode()).hexdigest()
    lock.write_text(text.replace(code, "0" * 32))
    assert studies.read_study("toy", project).changed == ("studies/toy/tell.py",)
    lock.unlink()
    assert studies.read_study("toy", project).state == "stale: code of 1 scripts changed since"


def test_what_the_pipeline_has_still_to_make_is_named(project: Path) -> None:
    (project / "data/in.txt").unlink()
    with pytest.raises(UserError, match="studies/toy reads data/in.txt: run make repro first"):
        studies.run("toy", None, project)
    assert not (project / "studies/toy/made_from.json").exists()


def test_a_study_that_fails_is_not_made(project: Path) -> None:
    (project / "studies/toy/tell.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UserError, match="failed; make study"):
        studies.run("toy", None, project)
    assert studies.read_study("toy", project).commit is None


def test_strangers_are_refused_by_name(project: Path) -> None:
    with pytest.raises(UserError, match="no study 'none'; there are toy"):
        studies.run("none", None, project)
