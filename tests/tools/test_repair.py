"""`make verify REPAIR=1` moves what is damaged, puts good copies in its place, and leaves everything else."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from tests.support.toy_project import CACHE, cached, flip, hash_with_dvc, overwrite, record, remember, snapshot
from tests.tools.conftest import repro
from tools.integrity import examine, file_md5, open_project
from tools.repair import repair
from tools.smoke import git

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _state(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state database that the toy's own `dvc repro` uses."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(toy / ".dvc/tmp/site"))


def repaired(toy: Path) -> dict[str, str]:
    """Path of each damaged file to what was done about it."""
    with open_project(toy, exclusive=True) as project:
        done = repair(project, examine(project))
        return {finding.path.relative_to(toy).as_posix(): what for finding, what in done}


def damaged(toy: Path) -> list[str]:
    with open_project(toy) as project:
        found = examine(project).findings
        return [finding.path.relative_to(toy).as_posix() for finding in found if finding.kind == "damaged"]


def shelf(toy: Path) -> dict[str, bytes]:
    """Content of everything that was moved aside."""
    files = [path for path in (toy / ".damaged").rglob("*") if path.is_file()]
    return {path.relative_to(toy / ".damaged").as_posix(): path.read_bytes() for path in files}


@contextmanager
def only_changes(toy: Path, *names: str) -> Iterator[None]:
    """Every other file of the repository is the same, byte for byte, mode and time too."""
    def others() -> dict[str, tuple[int, int, str]]:
        apart = (*(str(toy / name) for name in names), str(toy / ".damaged"), str(toy / ".dvc/tmp"))
        return {path: state for path, state in snapshot(toy).items() if not path.startswith(apart) and state[2]}

    before = others()
    yield
    assert others() == before


# a good copy exists


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt"])
def test_output_from_the_cache(toy: Path, name: str) -> None:
    hash_with_dvc(toy)
    good, mode = (toy / name).read_bytes(), (toy / name).stat().st_mode
    flip(toy / name)
    bad = (toy / name).read_bytes()
    with only_changes(toy, name):
        assert repaired(toy) == {name: f"replaced from a good copy; the damaged one is now .damaged/1/{name}"}
    assert (toy / name).read_bytes() == good and (toy / name).stat().st_mode == mode
    assert shelf(toy) == {f"1/{name}": bad}
    assert damaged(toy) == []
    assert "up to date" in repro(toy)


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt"])
def test_object_from_the_workspace(toy: Path, name: str) -> None:
    good = (toy / name).read_bytes()
    path = cached(toy, file_md5(toy / name))
    inside = path.relative_to(toy).as_posix()
    flip(path)
    bad = path.read_bytes()
    with only_changes(toy, inside):
        assert repaired(toy)[inside].startswith("replaced")
    assert path.read_bytes() == good and path.stat().st_mode & 0o777 == 0o444
    assert shelf(toy) == {f"1/{inside}": bad}
    assert damaged(toy) == [] and "up to date" in repro(toy)


def test_listing_from_the_workspace(toy: Path) -> None:
    (listing,) = (path for path in (toy / CACHE).glob("*/*.dir") if b"3.txt" in path.read_bytes())
    good = listing.read_bytes()
    flip(listing)
    assert [what.split(";")[0] for what in repaired(toy).values()] == ["replaced from a good copy"]
    assert listing.read_bytes() == good and listing.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("how", ["copy", "hard link", "symbolic link"])
def test_object_and_output_from_a_second_output(toy: Path, how: str) -> None:
    """The same content lies in another output: both come from it."""
    output, path = toy / "data/out.txt", cached(toy, file_md5(toy / "data/out.txt"))
    shutil.copy(output, toy / "data/twin.txt")
    record(toy, "data/twin.txt", file_md5(output))
    good = output.read_bytes()
    flip(path)
    output.unlink()
    {"copy": shutil.copy, "hard link": os.link, "symbolic link": os.symlink}[how](path, output)
    repaired(toy)
    assert path.read_bytes() == output.read_bytes() == good
    assert damaged(toy) == []


# no good copy


@pytest.mark.parametrize("how", ["copy", "hard link", "symbolic link"])
def test_object_and_what_came_from_it_are_moved_and_made_again(toy: Path, how: str) -> None:
    output, path = toy / "data/out.txt", cached(toy, file_md5(toy / "data/out.txt"))
    good = output.read_bytes()
    flip(path)
    bad = path.read_bytes()
    output.unlink()
    {"copy": shutil.copy, "hard link": os.link, "symbolic link": os.symlink}[how](path, output)
    inside = path.relative_to(toy).as_posix()
    assert repaired(toy) == {name: f"moved to .damaged/1/{name}" for name in (inside, "data/out.txt")}
    assert not os.path.lexists(output) and not path.exists()
    assert shelf(toy)[f"1/{inside}"] == bad
    assert os.path.lexists(toy / ".damaged/1/data/out.txt")
    repro(toy)
    assert output.read_bytes() == good and path.exists() and damaged(toy) == []


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt"])
def test_object_without_output_is_moved_and_made_again(toy: Path, name: str) -> None:
    """Damaged in the cache and gone from the workspace: DVC alone would bring the damage back."""
    good, path = (toy / name).read_bytes(), cached(toy, file_md5(toy / name))
    flip(path)
    (toy / name).unlink()
    assert list(repaired(toy).values()) == [f"moved to .damaged/1/{path.relative_to(toy)}"]
    repro(toy)
    assert (toy / name).read_bytes() == good and path.exists() and damaged(toy) == []


def test_only_the_damaged_file_of_a_folder_is_moved(toy: Path) -> None:
    hash_with_dvc(toy)
    (toy / "data/many/note.txt").write_text("keep this")
    good = cached(toy, file_md5(toy / "data/many/3.txt"))
    flip(toy / "data/many/3.txt")
    good.rename(toy.parent / "gone")
    with only_changes(toy, "data/many/3.txt"):
        assert repaired(toy) == {"data/many/3.txt": "moved to .damaged/1/data/many/3.txt"}
    assert sorted(path.name for path in (toy / "data/many").iterdir()) == [
        "0.txt", "1.txt", "2.txt", "4.txt", "note.txt",
    ]


def test_extra_file_in_a_folder_is_the_users_own(toy: Path) -> None:
    note = toy / "data/many/note.txt"
    note.write_text("keep this")
    hash_with_dvc(toy)
    flip(note)
    with only_changes(toy):
        assert repaired(toy) == {}


def test_each_repair_has_a_folder_of_its_own(toy: Path) -> None:
    hash_with_dvc(toy)
    (toy / ".damaged/7").mkdir(parents=True)
    (toy / ".damaged/7/old.txt").write_text("moved before")
    flip(toy / "data/out.txt")
    repaired(toy)
    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    repaired(toy)
    assert list(shelf(toy)) and set(shelf(toy)) == {"7/old.txt", "8/data/out.txt", "9/data/out.txt"}


# what is never touched


def test_what_git_tracks(toy: Path) -> None:
    hash_with_dvc(toy)
    flip(toy / "metrics/count.json")
    with only_changes(toy):
        assert repaired(toy) == {"metrics/count.json": "not changed: git tracks it (git restore metrics/count.json)"}
    assert not (toy / ".damaged").exists()


def test_what_git_tracks_inside_a_cached_folder_or_the_cache(toy: Path) -> None:
    hash_with_dvc(toy)
    path = cached(toy, file_md5(toy / "data/many/2.txt"))
    git(toy, "add", "--force", "data/many/3.txt", str(path))
    flip(toy / "data/many/3.txt")
    flip(path)
    with only_changes(toy):
        assert all(what.startswith("not changed: git tracks it") for what in repaired(toy).values())
    assert len(damaged(toy)) == 2


def test_cache_outside_the_repository(toy: Path) -> None:
    shared = toy.parent / "shared"
    shutil.move(toy / ".dvc/cache", shared)
    (toy / ".dvc/config").write_text(f"[core]\n    analytics = false\n[cache]\n    dir = {shared}\n")
    path = shared / "files/md5" / cached(toy, file_md5(toy / "data/out.txt")).relative_to(toy / CACHE)
    flip(path)
    before = snapshot(shared)
    with only_changes(toy), open_project(toy, exclusive=True) as project:
        ((finding, what),) = repair(project, examine(project))
    assert finding.path == path and what == "not changed: it lies outside the repository"
    assert snapshot(shared) == before


@pytest.mark.parametrize("level", [".dvc/cache", f"{CACHE}/xx", "object"])
def test_cache_outside_through_a_link(toy: Path, level: str) -> None:
    path = cached(toy, file_md5(toy / "data/out.txt"))
    linked = {".dvc/cache": toy / level, f"{CACHE}/xx": path.parent, "object": path}[level]
    away = toy.parent / "away"
    shutil.move(linked, away)
    linked.symlink_to(away)
    flip(path)
    before = snapshot(toy.parent)
    assert list(repaired(toy).values()) == ["not changed: it lies outside the repository"]
    after = snapshot(toy.parent)
    assert {k: v for k, v in after.items() if ".dvc/tmp" not in k} == {
        k: v for k, v in before.items() if ".dvc/tmp" not in k
    }


def test_output_in_a_linked_folder_of_the_repository_is_judged_where_it_lies(toy: Path) -> None:
    (toy / "link").symlink_to("stages")
    record(toy, "link/count.py", "1" * 32)
    remember(toy, toy / "link/count.py")
    with only_changes(toy):
        assert repaired(toy)["link/count.py"].startswith("not changed: git tracks it")


def test_link_that_lies_outside_and_leads_back(toy: Path) -> None:
    away = toy.parent / "away"
    away.mkdir()
    (toy / "data/own.txt").write_text("a user's own")
    (away / "back.txt").symlink_to(toy / "data/own.txt")
    (toy / "data/link").symlink_to(away)
    record(toy, "data/link/back.txt", "1" * 32)
    remember(toy, toy / "data/link/back.txt")
    with only_changes(toy):
        assert repaired(toy) == {"data/link/back.txt": "not changed: it lies outside the repository"}
    assert (away / "back.txt").is_symlink()


def test_file_written_since_it_was_examined(toy: Path) -> None:
    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    with open_project(toy, exclusive=True) as project:
        examination = examine(project)
        overwrite(toy / "data/out.txt", b"just made")
        ((_, what),) = repair(project, examination)
    assert what == "not changed: it was written since"
    assert (toy / "data/out.txt").read_bytes() == b"just made"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_damaged_folder_that_is_none(toy: Path, kind: str) -> None:
    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    away = toy.parent / "away"
    away.mkdir()
    (toy / ".damaged").symlink_to(away) if kind == "link" else (toy / ".damaged").write_text("a file")
    with only_changes(toy), pytest.raises(UserError, match=r"\.damaged"):
        repaired(toy)
    assert list(away.iterdir()) == []


def test_while_dvc_runs(toy: Path) -> None:
    from dvc.repo import Repo
    from dvc.rwlock import rwlock

    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    before = (toy / "data/out.txt").read_bytes()
    with Repo(str(toy)) as repo:
        parent = toy / ".dvc/tmp"
        with repo.lock, pytest.raises(UserError, match="another DVC"):
            repaired(toy)
        with rwlock(str(parent), repo.fs, "a stage", [], [str(toy / "data/out.txt")], False):
            with pytest.raises(UserError, match="busy"):
                repaired(toy)
    assert (toy / "data/out.txt").read_bytes() == before


def test_failing_disk_is_told(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hash_with_dvc(toy)
    flip(toy / "data/out.txt")
    flip(toy / "data/many/3.txt")
    real = shutil.move

    def full(source: str, target: str) -> str:
        if source.endswith("out.txt"):
            raise OSError(28, "No space left on device")
        return str(real(source, target))

    monkeypatch.setattr(shutil, "move", full)
    done = repaired(toy)
    assert done["data/out.txt"] == "not changed: No space left on device"
    assert done["data/many/3.txt"].startswith("replaced")
    assert not list(toy.rglob(".partial-*"))


@pytest.mark.parametrize("name", [".gitignore", ".dvcignore"])
def test_what_is_moved_is_hidden_from_git_and_dvc(name: str) -> None:
    assert ".damaged" in {line.rstrip("/") for line in (ROOT / name).read_text().splitlines()}
