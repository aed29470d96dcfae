"""`make verify` tells damage from difference and changes nothing; what users lost once, they keep."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.toy_project import cached, flip, hash_with_dvc, overwrite, record, remember, snapshot
from tests.tools.conftest import repro
from tools.smoke import dvc_process, git
from tools.verify import main

ROOT = Path(__file__).parents[2]
Verify = Callable[..., tuple[int, list[str]]]
both = pytest.mark.parametrize("words", [(), ("--repair",)], ids=["verify", "repair"])


@pytest.fixture
def verify(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Run the command in the toy project: exit code and the lines it printed."""
    monkeypatch.chdir(toy)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(toy / ".dvc/tmp/site"))

    def run(*words: str) -> tuple[int, list[str]]:
        code = main(list(words))
        return code, "".join(capsys.readouterr()).splitlines()

    return run


@pytest.fixture
def outside(toy: Path) -> Path:
    """A folder beside the repository with a user's work in it."""
    folder = toy.parent / "outside"
    (folder / "deep").mkdir(parents=True)
    for name in ("thesis.txt", "deep/photo.bin"):
        (folder / name).write_text(f"{name}, years of work")
    return folder


@both
def test_sound_project(toy: Path, verify: Verify, words: tuple[str, ...]) -> None:
    before = snapshot(toy)
    assert verify(*words) == (0, ["no damage: every output in the workspace and every cache object was checked"])
    assert snapshot(toy) == before


# what differs, and is nobody's damage


def assert_differs(toy: Path, verify: Verify, *expected: str) -> None:
    """Plain and with --repair: exit code 0, one line for each, not a byte changed."""
    before = snapshot(toy)
    for words in ((), ("--repair",)):
        code, lines = verify(*words)
        assert code == 0, lines
        told = [line for line in lines if line.startswith("differs from dvc.lock: ")]
        assert sorted(told) == sorted(f"differs from dvc.lock: {line}" for line in expected)
        assert not any(line.startswith("damaged") for line in lines)
        assert snapshot(toy) == before


def test_retrained_outside_dvc(toy: Path, verify: Verify) -> None:
    """`python -m stages.double` by hand writes new outputs, in place and of the recorded size."""
    hash_with_dvc(toy)
    shutil.rmtree(toy / "data/many")
    (toy / "data/in.txt").write_text("Word ")
    subprocess.run([sys.executable, "-m", "stages.double"], cwd=toy, check=True)
    assert_differs(toy, verify, "data/out.txt (its content)", "data/many (5 changed: 0.txt, 1.txt, 2.txt, …)")


def test_lock_of_another_revision(toy: Path, verify: Verify) -> None:
    (toy / "data/in.txt").write_text("another ")
    repro(toy)
    git(toy, "checkout", "HEAD", "--", "dvc.lock")
    assert_differs(
        toy, verify,
        "data/out.txt (its content)",
        "data/many (5 changed: 0.txt, 1.txt, 2.txt, …)",
        "metrics/count.json (its content; git tracks it)",
    )


def test_another_branch_without_its_outputs(toy: Path, verify: Verify) -> None:
    """`git switch` changes dvc.lock; the outputs stay those of the branch before until `dvc checkout`."""
    git(toy, "switch", "--create", "other")
    (toy / "data/in.txt").write_text("another ")
    repro(toy)
    git(toy, "commit", "--all", "--message", "other")
    git(toy, "switch", "-")
    assert_differs(toy, verify, "data/out.txt (its content)", "data/many (5 changed: 0.txt, 1.txt, 2.txt, …)")


def test_changed_lock_is_told(toy: Path, verify: Verify) -> None:
    (toy / "data/in.txt").write_text("another ")
    repro(toy)
    assert verify()[0] == 0 and not any("git diff dvc.lock" in line for line in verify()[1])
    shutil.copy(toy / "data/in.txt", toy / "data/out.txt")
    assert any("git diff dvc.lock" in line for line in verify()[1])


def test_extra_and_missing_files_in_a_folder(toy: Path, verify: Verify) -> None:
    hash_with_dvc(toy)
    (toy / "data/many/note.txt").write_text("keep this")
    (toy / "data/many/3.txt").unlink()
    assert_differs(toy, verify, "data/many (1 extra: note.txt; 1 missing: 3.txt)")


def test_folder_whose_listing_is_gone(toy: Path, verify: Verify) -> None:
    for listing in (toy / ".dvc/cache/files/md5").glob("*/*.dir"):
        listing.unlink()
    (toy / "data/many/note.txt").write_text("keep this")
    assert_differs(toy, verify, "data/many (its content; the cache has no list of its files)")


def test_file_where_a_folder_was_recorded(toy: Path, verify: Verify) -> None:
    shutil.rmtree(toy / "data/many")
    (toy / "data/many").write_text("one file")
    (toy / "data/out.txt").unlink()
    (toy / "data/out.txt").mkdir()
    assert_differs(
        toy, verify, "data/out.txt (a folder, recorded as a file)", "data/many (a file, recorded as a folder)"
    )


def test_edit_that_dvc_has_seen(toy: Path, verify: Verify) -> None:
    overwrite(toy / "data/out.txt", (toy / "data/out.txt").read_bytes().upper())
    hash_with_dvc(toy)
    assert_differs(toy, verify, "data/out.txt (its content)")


def test_without_dvcs_state_nothing_is_called_damage(toy: Path, verify: Verify) -> None:
    flip(toy / "data/out.txt")
    assert_differs(toy, verify, "data/out.txt (its content)")


def test_what_dvcignore_hides_is_nothing(toy: Path, verify: Verify) -> None:
    (toy / ".dvcignore").write_text("run_info\n*.bak\n__pycache__\n")
    (toy / "data/many/__pycache__").mkdir()
    (toy / "data/many/__pycache__/x.pyc").write_text("x")
    (toy / "data/many/0.txt.bak").write_text("x")
    assert verify() == (0, ["no damage: every output in the workspace and every cache object was checked"])


def test_hidden_output_is_nothing(toy: Path, verify: Verify) -> None:
    (toy / ".dvcignore").write_text("run_info\n/data/many\n/data/out.txt\n")
    (toy / "data/many/note.txt").write_text("x")
    (toy / "data/out.txt").write_text("x")
    assert verify()[0] == 0 and len(verify()[1]) == 1


@both
def test_absent_outputs_are_nothing(toy: Path, verify: Verify, words: tuple[str, ...]) -> None:
    (toy / "data/out.txt").unlink()
    assert verify(*words)[0] == 0


# damage


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt", "metrics/count.json"])
def test_changed_bytes_of_an_unchanged_file_are_damage(toy: Path, verify: Verify, name: str) -> None:
    hash_with_dvc(toy)
    flip(toy / name)
    before = snapshot(toy)
    code, lines = verify()
    assert code == 1
    assert [line.split(" (")[0] for line in lines[:-1]] == [f"damaged: {name}"]
    assert snapshot(toy) == before


def test_findings_as_data(toy: Path, verify: Verify) -> None:
    code, lines = verify("--json")
    assert code == 0 and json.loads("\n".join(lines))["sound"] is True
    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    code, lines = verify("--json")
    found = json.loads("\n".join(lines))
    assert code == 1 and not found["sound"]
    assert [(one["kind"], one["path"]) for one in found["findings"]] == [("damaged", "data/out.txt")]


def test_damage_after_dvcs_own_run(toy: Path, verify: Verify) -> None:
    """What `dvc repro` and `dvc checkout` leave in the state database is enough to prove damage."""
    (toy / "data/in.txt").write_text("another ")
    repro(toy)
    flip(toy / "data/out.txt")
    shutil.rmtree(toy / "data/many")
    assert dvc_process(toy, "checkout", "--quiet", "data/many").wait() == 0
    flip(toy / "data/many/3.txt")
    code, lines = verify()
    assert code == 1
    assert sorted(line.split(" (")[0] for line in lines[:-1]) == ["damaged: data/many/3.txt", "damaged: data/out.txt"]


def test_damaged_file_and_a_note_in_one_folder(toy: Path, verify: Verify) -> None:
    hash_with_dvc(toy)
    flip(toy / "data/many/3.txt")
    (toy / "data/many/note.txt").write_text("keep this")
    code, lines = verify()
    assert code == 1 and len(lines) == 4
    assert lines[0].startswith("damaged: data/many/3.txt (")
    assert lines[1] == "differs from dvc.lock: data/many (1 extra: note.txt)"


@pytest.mark.parametrize("how", ["copy", "hard link", "symbolic link"])
def test_output_from_a_damaged_object(toy: Path, verify: Verify, how: str) -> None:
    """DVC's state knows nothing of it: the object alone proves it."""
    output = toy / "data/out.txt"
    damaged = cached(toy, _md5(output))
    flip(damaged)
    output.unlink()
    {"copy": shutil.copy, "hard link": os.link, "symbolic link": os.symlink}[how](damaged, output)
    before = snapshot(toy)
    code, lines = verify()
    assert code == 1
    assert lines[0] == f"damaged: {damaged.relative_to(toy)} (its bytes do not hash to its name)"
    assert lines[1] == "damaged: data/out.txt (the bytes of a damaged cache object)"
    assert snapshot(toy) == before


def test_damaged_listing(toy: Path, verify: Verify) -> None:
    (listing,) = (path for path in (toy / ".dvc/cache/files/md5").glob("*/*.dir") if b"3.txt" in path.read_bytes())
    flip(listing)
    code, lines = verify()
    assert code == 1
    assert lines[0] == f"damaged: {listing.relative_to(toy)} (its bytes do not hash to its name)"
    assert len(lines) == 2


# locks that DVC did not write


def hostile(toy: Path) -> list[str]:
    """Paths that a lock must not name; the last few exist only through symbolic links made here."""
    (toy / "up").symlink_to("..")
    (toy / "here").symlink_to(".")
    (toy / "to_git").symlink_to(".git")
    (toy / "data/thesis").symlink_to(toy.parent / "outside/thesis.txt")
    (toy / "data/away").symlink_to(toy.parent / "outside")
    (toy / "circle").symlink_to("circle")
    return [
        ".", "./", "", "/", "..", "../", "../outside", "../outside/thesis.txt", "data/../../outside/thesis.txt",
        "data/..", str(toy.parent / "outside"), str(toy / "data/in.txt"), f"//{toy}", "nul\0byte", "\ud800", "x" * 5000,
        ".git", ".git/config", ".GIT/config", "./.git/HEAD", "sub/.git", ".dvc", ".dvc/config", ".dvc/cache",
        ".damaged",
        "up", "here", "here/.git/config", "to_git", "to_git/HEAD",
    ]


LINKED = ["data/thesis", "data/away", "data/away/thesis.txt", "data/away/deep", "data/away/deep/photo.bin",
          "up/outside/thesis.txt", "here/data/in.txt", "circle", "circle/x"]


def test_hostile_paths_are_refused_by_name(toy: Path, verify: Verify, outside: Path) -> None:
    for path in (paths := hostile(toy)):
        record(toy, path, "1" * 32)
    before = snapshot(toy, outside)
    for words in ((), ("--repair",)):
        code, lines = verify(*words)
        assert code == 1
        told = [line for line in lines if line.startswith("not checked: ")]
        assert len(told) == len(paths), "\n".join(lines)
        assert snapshot(toy, outside) == before


@pytest.mark.parametrize("folder", [False, True], ids=["as a file", "as a folder"])
def test_nothing_hostile_is_touched_though_damage_is_proved(
    toy: Path, verify: Verify, outside: Path, folder: bool
) -> None:
    """Every file that such a path reaches is one that DVC remembers with other content."""
    paths = [*hostile(toy), *LINKED]
    for path in paths:
        record(toy, path, "1" * 32 + ".dir" * folder)
    reached = [*outside.rglob("*.*"), toy / ".git/config", toy / ".git/HEAD", toy / ".dvc/config", toy / "data/in.txt"]
    remember(toy, *reached, *(toy / path for path in LINKED if (toy / path).is_file()))
    before = snapshot(toy, outside)
    for words in ((), ("--repair",)):
        code, lines = verify(*words)
        assert code == 1
        (thesis,) = (line for line in lines if line.startswith("damaged: data/away/thesis.txt ("))
        assert "outside the repository" in thesis
        assert snapshot(toy, outside) == before


def test_terminal_codes_in_a_path_are_not_printed(toy: Path, verify: Verify) -> None:
    record(toy, "../\x1b[2J\nsound", "1" * 32)
    (line,) = (line for line in verify()[1] if line.startswith("not checked: "))
    assert "\\x1b[2J\\nsound" in line


@both
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [unclosed", "not valid YAML"),
        ("<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n", "not valid YAML"),
        ("", "no 'stages'"),
        ("schema: '2.0'\n", "no 'stages'"),
        ("- a list\n", "no 'stages'"),
        ("stages: [1, 2]\n", "no 'stages'"),
        ("stages: {double: text}\n", "stage double"),
        ("stages: {double: {outs: {path: data/out.txt}}}\n", "stage double"),
        ("stages: {double: {outs: [data/out.txt]}}\n", "stage double"),
        ("stages: {double: {outs: [{md5: 0}]}}\n", "stage double"),
        ("stages: {double: {outs: [{path: [data]}]}}\n", "stage double"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_lock(
    toy: Path, verify: Verify, words: tuple[str, ...], text: str | None, message: str
) -> None:
    (toy / "dvc.lock").unlink()
    if text is not None:
        (toy / "dvc.lock").write_text(text)
    flip(cached(toy, _md5(toy / "data/out.txt")))
    before = snapshot(toy)
    code, lines = verify(*words)
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("error: ") and "dvc.lock" in lines[0] and message in lines[0]
    assert snapshot(toy) == before


@both
@pytest.mark.parametrize("md5", [None, "", "../../../../outside/thesis.txt", "1" * 31, "1" * 32 + ".DIR"])
def test_entry_without_md5(toy: Path, verify: Verify, words: tuple[str, ...], md5: str | None) -> None:
    record(toy, "data/in.txt", md5)
    before = snapshot(toy)
    code, lines = verify(*words)
    assert code == 1
    assert lines[0] == "not checked: data/in.txt (dvc.lock records no md5 of it)"
    assert snapshot(toy) == before


def test_no_dvc_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert "no DVC repository" in capsys.readouterr().err


@both
def test_pipe_in_place_of_an_output(toy: Path, verify: Verify, words: tuple[str, ...]) -> None:
    """Reading one would wait for ever."""
    (toy / "data/out.txt").unlink()
    os.mkfifo(toy / "data/out.txt")
    code, lines = verify(*words)
    assert code == 1
    assert lines[0] == "not checked: data/out.txt (neither a file nor a folder)"


def test_make_repairs_only_on_a_second_word() -> None:
    def commands(*words: str) -> str:
        done = subprocess.run(["make", "-n", "-o", "setup", "verify", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout

    assert "tools.verify" in commands() and "--repair" not in commands()
    assert "--repair" not in commands("REPAIR=0")
    assert "tools.verify --repair" in commands("REPAIR=1")


def _md5(path: Path) -> str:
    from tools.integrity import file_md5

    return file_md5(path)
