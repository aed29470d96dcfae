"""Full disks, files that may not be read or written, streams that take nothing: one sentence, and work that goes on."""

import subprocess
from pathlib import Path

import pytest

from tests.support.fault_stage import Stage, small_disk, without_rights

OUTPUTS = ["metrics/letters.json", "out/parts/part-0", "out/parts/part-1", "out/table.csv"]


def error_lines(said: str) -> list[str]:
    assert "Traceback" not in said, said
    return [line for line in said.splitlines() if not line.startswith("letters: ")]


def test_full_notes_end_no_work(stage: Stage) -> None:
    """Every block of the disk under run_info is taken before the stage starts."""
    fill = ("sh", "-c", 'cat /dev/zero > run_info/full 2> said; exec "$@"', "sh")
    done = stage.run("--words", "2000", before=(*small_disk("run_info", "16k"), *fill))
    assert done.returncode == 0, done.stderr
    assert "letters: no status is written: run_info/letters: No space left on device" in done.stderr
    assert sorted(stage.files()) == OUTPUTS


def test_a_full_disk_under_the_outputs_is_one_sentence(stage: Stage) -> None:
    (stage.folder / "in.txt").write_text("x" * 40_000)
    done = stage.run(before=small_disk("out", "64k"))
    (line,) = error_lines(done.stderr)
    assert done.returncode == 1 and line.startswith("error: letters: the disk is full"), line


def test_too_little_memory_is_one_sentence(stage: Stage) -> None:
    stage.run()
    (stage.folder / "params.yaml").write_text("letters:\n  size: 2000000000\n")
    done = stage.run(before=("sh", "-c", 'ulimit -v 4000000; exec "$@"', "sh"))
    (line,) = error_lines(done.stderr)
    assert done.returncode == 1 and line.startswith("error: letters: not enough memory"), line
    assert set(stage.files().values()) == {"old old "}


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", ">/dev/full 2>&1", ">&- 2>&- <&-", "2>&1 | true"])
@pytest.mark.parametrize("words", ["--words 300", "--text none.txt"])
def test_streams_that_take_nothing(stage: Stage, end: str, words: str) -> None:
    line = f'trap "" PIPE; {{ {" ".join(stage.command())} {words}; echo $? > code; }} {end}'
    subprocess.run(["sh", "-c", line], cwd=stage.folder, env=stage.environment(), timeout=120)
    assert (stage.folder / "code").read_text() == ("1\n" if "none" in words else "0\n")
    assert sorted(stage.files()) == ([] if "none" in words else OUTPUTS)
    log = (stage.folder / "run_info/letters/log.txt").read_text()
    assert ("no such file or folder" if "none" in words else "letters: word 299") in log
    assert "Traceback" not in log


def _closed(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.mkdir()
    path.chmod(0o000 if path.is_file() else 0o555)


def _empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


@pytest.mark.parametrize("place", ["in.txt", "params.yaml", "out", "metrics", "run_info", "run_info/letters/lock"])
def test_what_may_not_be_read_or_written(stage: Stage, place: str) -> None:
    if place.endswith("lock"):
        _empty(stage.folder / place)
    _closed(stage.folder / place)
    done = stage.run(before=without_rights())
    (line,) = error_lines(done.stderr)
    assert done.returncode == 1 and line.startswith("error: letters: ") and place in line, line
    assert stage.files() == {}


@pytest.mark.parametrize("place", ["out", "run_info", "run_info/letters"])
def test_a_file_where_a_folder_is_needed(stage: Stage, place: str) -> None:
    _empty(stage.folder / place)
    done = stage.run()
    (line,) = error_lines(done.stderr)
    assert done.returncode == 1 and line.startswith(f"error: letters: a file where a folder is needed ({place}"), line
    assert (stage.folder / place).is_file(), "what lies there is the user's"


@pytest.mark.parametrize("place", ["run_info/letters/lock", "in.txt"])
def test_a_folder_where_a_file_is_needed(stage: Stage, place: str) -> None:
    (stage.folder / place).unlink(missing_ok=True)
    (stage.folder / place).mkdir(parents=True)
    done = stage.run()
    (line,) = error_lines(done.stderr)
    assert done.returncode == 1 and line.startswith(f"error: letters: a folder where a file is needed ({place})"), line
    assert (stage.folder / place).is_dir(), "what lies there is the user's"


@pytest.mark.parametrize("place", ["run_info/letters/log.txt", "run_info/letters/status.json"])
def test_notes_that_cannot_be_kept_end_no_work(stage: Stage, place: str) -> None:
    (stage.folder / place).mkdir(parents=True)
    done = stage.run()
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert sorted(stage.files()) == OUTPUTS


def test_an_empty_lock_file_is_no_lock(stage: Stage) -> None:
    _empty(stage.folder / "run_info/letters/lock")
    assert stage.run().returncode == 0
