"""Clones of a toy project, the working tree's changes laid over them."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from tests.tools.conftest import repro
from tools.smoke import clone, differences, environment, git, run_all


def test_clone_holds_the_working_tree_and_leaves_it_alone(toy: Path, tmp_path: Path) -> None:
    (toy / "data/in.txt").write_text("changed ")
    (toy / "new.txt").write_text("new")
    (toy / "stages/count.py").unlink()
    (toy / "run_info/ignored.txt").write_text("x")
    before = git(toy, "status", "--porcelain")
    clone(toy, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert (copy / "data/in.txt").read_text() == "changed "
    assert (copy / "new.txt").exists()
    assert not (copy / "stages/count.py").exists() and not (copy / "run_info").exists()
    assert not (copy / "data/out.txt").exists() and not (copy / "dvc.lock").exists()
    assert (copy / "params.yaml").read_text() == "double:  # how\n  times: 2\n"
    assert git(copy, "status", "--porcelain") == ""
    assert git(toy, "status", "--porcelain") == before


def test_clone_of_a_revision(toy: Path, tmp_path: Path) -> None:
    (toy / "data/in.txt").write_text("changed ")
    clone(toy, tmp_path / "copy", revision="HEAD")
    assert (tmp_path / "copy/data/in.txt").read_text() == "word "


def test_only_its_own_clones_are_replaced(toy: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    with pytest.raises(UserError, match="no clone made by this command"):
        clone(toy, precious)
    clone(toy, tmp_path / "copy")
    (tmp_path / "copy/left.txt").write_text("x")
    clone(toy, tmp_path / "copy")
    assert not (tmp_path / "copy/left.txt").exists()


def test_missing_profile_is_named(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="profiles/none.yaml"):
        clone(toy, tmp_path / "copy", profile="profiles/none.yaml")


def test_differences_name_files(toy: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    clone(toy, one)
    (toy / "data/in.txt").write_text("longer word ")
    clone(toy, two)
    run_all([one, two])
    assert (one / "data/out.txt").read_text() == "word word "
    assert differences(one, two) == ["data/many/0.txt", "data/many/1.txt", "data/out.txt", "metrics/count.json"]
    assert differences(one, one) == []
    assert "up to date" in repro(one)


def test_a_failing_stage_shows_its_log(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy / "stages/count.py").write_text("raise SystemExit('no counting today')")
    clone(toy, tmp_path / "copy")
    with pytest.raises(UserError, match="dvc repro failed in .*copy; the end of its log stands above"):
        run_all([tmp_path / "copy"])
    assert "no counting today" in capsys.readouterr().err


def test_environment_binds_to_no_other_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("DVC_STAGE", "other")
    assert not {"GIT_DIR", "DVC_STAGE", "DVC_SITE_CACHE_DIR"} & environment().keys()
