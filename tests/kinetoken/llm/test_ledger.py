"""The ledger keeps what was paid for, whatever ends the process, and refuses files that it did not write."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.llm.language_model import key_of
from kinetoken.llm.ledger import APPLICATION_ID, SCHEMA_VERSION, Attempt, Ledger, Stored
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.spending import Bill

ROOT = Path(__file__).parents[3]
SERVER = "http://127.0.0.1/v1"
NOBODY = 65534
KEYS = [key_of(f"request {row}") for row in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "answers.sqlite"


def fill(path: Path, rows: int = 3) -> None:
    """A closed ledger whose requests 0, 1, ... are answered by the bodies reply-0, reply-1, ..."""
    with Ledger(path) as book:
        for row in range(rows):
            attempt = book.begin(KEYS[row], f"request {row}", SERVER, 1.0)
            book.store(attempt, 200, b"reply-%d" % row, 0.5)
            book.settle(attempt, Outcome.ANSWERED, model="m", tokens=(3, 4), cost=0.25, state="answered")


def test_from_sending_to_the_end(path: Path) -> None:
    with Ledger(path) as book:
        assert book.find("k") is None
        attempt = book.begin("k", "{}", SERVER, 1.0)
        assert book.find("k") == Stored("in flight", None, None, None)
        book.store(attempt, 200, b"raw", 0.5)
        assert book.find("k") == Stored("in flight", None, b"raw", attempt)
        book.settle(attempt, Outcome.SCHEMA, model="m", tokens=(3, 4), cost=0.25, state="answered")
        assert book.find("k") == Stored("answered", Outcome.SCHEMA, b"raw", attempt)
        assert book.attempts(["k", "other"]) == [Attempt("k", 0.5, "schema violated", "m", 3, 4, 0.25, 1)]
    with Ledger(path) as book:
        assert book.find("k") == Stored("answered", Outcome.SCHEMA, b"raw", attempt)


@pytest.mark.parametrize(("status", "counts"), [(200, True), (201, True), (299, True), (429, False), (307, False)])
def test_only_a_success_has_a_body_to_be_read(status: int, counts: bool, path: Path) -> None:
    with Ledger(path) as book:
        attempt = book.begin("k", "{}", SERVER, 1.0)
        book.store(attempt, status, b"raw", 0.5)
        stored = book.find("k")
    assert stored == (Stored("in flight", None, b"raw", attempt) if counts else Stored("in flight", None, None, None))


def test_a_reply_of_an_earlier_attempt_is_not_taken_for_the_last(path: Path) -> None:
    with Ledger(path) as book:
        first = book.begin("k", "{}", SERVER, 1.0)
        book.store(first, 200, b"<html>", 0.5)
        book.settle(first, Outcome.NOT_JSON)
        assert book.find("k") == Stored("in flight", None, None, None)
        second = book.begin("k", "{}", SERVER, 1.0)
        assert book.find("k") == Stored("in flight", None, None, None)
        assert [each.outcome for each in book.attempts(["k"])] == ["no JSON", None]
        book.store(second, 200, b"{}", 0.5)
        assert book.find("k") == Stored("in flight", None, b"{}", second)


KILLED = """
import os, signal, sys
from pathlib import Path
from kinetoken.llm.ledger import Ledger
from kinetoken.llm.outcomes import Outcome
book = Ledger(Path(sys.argv[1]))
done = book.begin("done", "{}", "s", 1.0)
book.store(done, 200, b"paid for", 0.5)
book.settle(done, Outcome.ANSWERED, cost=0.25, state="answered")
unread = book.begin("unread", "{}", "s", 1.0)
book.store(unread, 200, b"paid for too", 0.5)
book.begin("sent", "{}", "s", 1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_survives_kill_9(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == -signal.SIGKILL
    with Ledger(path) as book:  # the lock went with its holder
        assert book.find("done") == Stored("answered", Outcome.ANSWERED, b"paid for", 1)
        assert book.find("unread") == Stored("in flight", None, b"paid for too", 2)
        assert book.find("sent") == Stored("in flight", None, None, None)
        assert book.spent(["done", "unread", "sent"]) == 2.25


def test_spent_counts_unknown_costs_in_full(path: Path) -> None:
    with Ledger(path) as book:
        known, unknown = book.begin("a", "{}", SERVER, 1.0), book.begin("a", "{}", SERVER, 10.0)
        book.begin("b", "{}", SERVER, 100.0)  # never heard of again
        book.begin("c", "{}", SERVER, 1000.0)
        assert book.spent(["a", "b"]) == 111.0
        book.settle(known, Outcome.ANSWERED, cost=0.25)
        book.settle(unknown, Outcome.TIMED_OUT)
        assert book.spent(["a", "b"]) == 110.25
        assert [each.cost_known for each in book.attempts(["a", "b"])] == [1, 0, 0]
        assert book.spent([]) == 0


def test_reopen_is_for_failed_rows_only(path: Path) -> None:
    with Ledger(path) as book:
        for key, state in (("failed", "failed"), ("kept", "failed"), ("answered", "answered")):
            attempt = book.begin(key, "{}", SERVER, 1.0)
            book.settle(attempt, Outcome.SERVER_ERROR, state=state)  # type: ignore[arg-type]
        book.reopen(["failed", "answered", "unknown"])
        assert book.find("failed") == Stored("in flight", None, None, None)
        assert book.find("kept") == Stored("failed", Outcome.SERVER_ERROR, None, None)
        assert book.find("answered") == Stored("answered", Outcome.SERVER_ERROR, None, None)
        assert book.find("unknown") is None


def test_a_change_that_fails_leaves_nothing_of_it(path: Path) -> None:
    with Ledger(path) as book:
        with pytest.raises(UserError, match="answers.sqlite: .*NOT NULL.*; what was stored before is still there"):
            book.begin("k", "{}", None, 1.0)  # type: ignore[arg-type]  # the row of `requests` was written before
        assert book.find("k") is None
        book.begin("k", "{}", SERVER, 1.0)


# --- one at a time ---------------------------------------------------------------------------------------------------

def test_the_lock_names_its_holder(path: Path) -> None:
    holder = rf"process {os.getpid()} \(since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"
    with Ledger(path) as book:
        book.begin("k", "{}", SERVER, 1.0)
        with pytest.raises(UserError, match=f"^{re.escape(str(path))}: {holder} is asking into this ledger"):
            Ledger(path)
        with Ledger(path, read_only=True) as reader:
            assert reader.find("k") == Stored("in flight", None, None, None)
            with pytest.raises(UserError, match="readonly"):
                reader.begin("k", "{}", SERVER, 1.0)
    with Ledger(path) as book:
        assert book.find("k") == Stored("in flight", None, None, None)


def test_a_file_that_is_refused_is_not_kept_locked(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("no ledger")
    for _ in range(2):
        with pytest.raises(UserError, match="not a ledger"):
            Ledger(path)
    path.unlink()
    fill(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/answers.sqlite: a ledger cannot be written there"):
        Ledger(tmp_path / "file" / "answers.sqlite")


# --- other files -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("content", [b"track_id,equation\n1,t\n" * 300, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_unharmed(content: bytes, read_only: bool, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match="answers.sqlite: .*not a ledger"):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_of_another_application_is_refused_unharmed(read_only: bool, path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as rows:
        rows.execute("CREATE TABLE requests (key TEXT)")
    content = path.read_bytes()
    with pytest.raises(UserError, match="answers.sqlite: a database, but not a ledger of this project"):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [False, True])
def test_a_ledger_of_another_schema_is_refused_unharmed(read_only: bool, path: Path) -> None:
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as rows:
        rows.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    content = path.read_bytes()
    says = f"a ledger of schema {SCHEMA_VERSION + 1}, and .* keeps schema {SCHEMA_VERSION}; use the version that wrote"
    with pytest.raises(UserError, match=says):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_ledger_but_is_none_to_be_read(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(UserError, match="not a ledger"):
        Ledger(path, read_only=True)
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as rows:
        assert rows.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert rows.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    for read_only in (False, True):
        with pytest.raises(UserError, match="answers.sqlite: not a ledger that can be opened"):
            Ledger(path, read_only=read_only)


# --- reading alone ---------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A folder that anyone may read, to be made unwritable by the test."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def seal(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def test_reading_in_a_folder_where_nothing_can_be_written(sealed: Path) -> None:
    fill(sealed / "answers.sqlite")
    seal(sealed)
    before = sorted(sealed.iterdir())
    with as_nobody():
        with pytest.raises(OSError):
            (sealed / "new").touch()
        with Ledger(sealed / "answers.sqlite", read_only=True) as book:
            assert book.find(KEYS[2]) == Stored("answered", Outcome.ANSWERED, b"reply-2", 3)
        with pytest.raises(UserError, match=f"{sealed}/answers.sqlite: .*cannot be written"):
            Ledger(sealed / "answers.sqlite")
    assert sorted(sealed.iterdir()) == before


def test_a_copy_of_a_ledger_in_use_is_not_read_without_its_end(sealed: Path, path: Path) -> None:
    with Ledger(path) as book:
        book.begin("k", "{}", SERVER, 1.0)
        for name in ("answers.sqlite", "answers.sqlite-wal"):
            shutil.copy(path.with_name(name), sealed / name)
    seal(sealed)
    with as_nobody(), pytest.raises(UserError, match="answers.sqlite: .*-wal"):
        Ledger(sealed / "answers.sqlite", read_only=True)


# --- damage ----------------------------------------------------------------------------------------------------------

def look(path: Path) -> list[Stored | None]:
    with Ledger(path, read_only=True) as book:
        assert book.spent(KEYS) == Bill.of(40, book.attempts(KEYS), 0).cost
        return [book.find(key) for key in KEYS]


def test_a_damaged_page_is_reported(path: Path) -> None:
    fill(path, 40)
    content = path.read_bytes()
    pages = len(content) // 4096
    assert pages >= 4
    for page in range(1, pages):
        path.write_bytes(content[: page * 4096] + b"\xa5" * 64 + content[page * 4096 + 64 :])
        with pytest.raises(UserError, match="answers.sqlite: .*(damaged|malformed)"):
            look(path)
    path.write_bytes(content[: 4096 * (pages - 1)])
    with pytest.raises(UserError, match="answers.sqlite: .*(damaged|malformed)"):
        look(path)


def test_a_flipped_bit_is_reported_or_did_no_harm(path: Path) -> None:
    fill(path, 40)
    content, sound = path.read_bytes(), look(path)
    draw = np.random.default_rng(3)
    reported = 0
    for place in range(0, len(content), 23):
        flipped = content[place] ^ (1 << int(draw.integers(8)))
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        try:
            found = look(path)
        except UserError:
            reported += 1
            continue
        for was, now in zip(sound, found, strict=True):
            assert was is not None
            assert now is None or now == was or now.raw is None, "another reply"
    assert reported > 20


def test_a_flipped_bit_of_a_reply_is_reported(path: Path) -> None:
    fill(path)
    content = path.read_bytes()
    assert content.count(b"reply-1") == 1
    path.write_bytes(content.replace(b"reply-1", b"reply-3"))
    with Ledger(path) as book:
        assert book.find(KEYS[0]) == Stored("answered", Outcome.ANSWERED, b"reply-0", 1)
        with pytest.raises(UserError, match="answers.sqlite: damaged: .*attempt 2.*bring a copy back"):
            book.find(KEYS[1])


def test_an_attempt_that_is_lost_to_its_row_is_reported(path: Path) -> None:
    fill(path)
    content, key = path.read_bytes(), KEYS[1].encode()
    reported = 0
    for found in re.finditer(key, content):  # in its request, in its attempt, and in the index of attempts
        path.write_bytes(content[: found.start()] + b"x" + content[found.start() + 1 :])
        try:
            Ledger(path).close()
        except UserError as told:
            reported += "damaged or not a ledger" in str(told)
    assert reported == 3
