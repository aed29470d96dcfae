"""Outputs of a command: whole or not at all, and nothing written over unless that is asked for."""

import subprocess
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.outputs import require_free, written_whole


def fill(folder: Path, text: str, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_file_appears_whole_with_the_folders_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with written_whole(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path, force=True) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_written_over_keeps_files_of_other_names(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old", "a", "mine", "deep/mine")
    with pytest.raises(UserError, match="out exists"), written_whole(out, folder=True):
        raise AssertionError("not to be entered")
    with written_whole(out, folder=True, force=True) as partial:
        fill(partial, "new", "a", "deep/b")
    found = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert found == {"a": "new", "deep/b": "new", "deep/mine": "old", "mine": "old"}
    assert list(tmp_path.iterdir()) == [out]


def test_what_killed_processes_left_of_the_same_output_goes(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    fill(tmp_path, "half", f".partial-{ended.pid}-out/a", f".partial-{ended.pid}-other", ".partial-1-out", "out.txt")
    with written_whole(tmp_path / "out", folder=True) as partial:
        fill(partial, "new", "a")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out", f".partial-{ended.pid}-other", ".partial-1-out", "out.txt"}, "process 1 lives"


def test_an_empty_folder_is_free_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with written_whole(tmp_path / "out", folder=True) as partial:
        fill(partial, "new", "a")
    assert (tmp_path / "out" / "a").read_text() == "new"


@pytest.mark.parametrize(("name", "folder", "message"), [
    ("file", False, "file exists; choose another place, or write over it with --force"),
    ("file", True, "file is a file, the output is a folder"),
    ("folder", False, "folder is a folder, the output is a file"),
    ("file/in", False, "file is a file, so .*in cannot be made"),
])
def test_places_that_are_not_free(tmp_path: Path, name: str, folder: bool, message: str) -> None:
    fill(tmp_path, "old", "file", "folder/a")
    with pytest.raises(UserError, match=message):
        require_free(tmp_path / name, folder=folder)
    require_free(tmp_path / "new" / "place", folder=folder)
