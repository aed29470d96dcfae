"""One hash a script, and what is refused."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import NoParams
from kinetoken.core.stage import Context
from stages.fingerprint_code import Paths, main, run
from tools.fingerprints import fingerprint

ROOT = Path(__file__).parents[2]


def test_each_script_of_a_folder_has_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run(NoParams(), Paths(code=tmp_path / "code"), Context.silent())
    written = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "code").glob("*.txt")}
    assert set(written) == {path.stem for path in Path("stages").glob("*.py")} - {"__init__"}
    assert written["train_position"] == fingerprint("stages/train_position.py") + "\n"
    assert len(set(written.values())) == len(written)


def test_scripts_of_folders_below_keep_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run(NoParams(), Paths(Path("studies"), tmp_path / "code"), Context.silent())
    assert (tmp_path / "code/pooling/compare.txt").is_file()


def test_a_folder_with_no_scripts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no scripts"):
        run(NoParams(), Paths(tmp_path, tmp_path / "code"), Context.silent())


def test_code_that_is_no_python_leaves_no_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/broken.py").write_text("x =\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fingerprint_code"])
    assert main() == 1
    assert "broken.py:1" in capsys.readouterr().err and not (tmp_path / "code").exists()
