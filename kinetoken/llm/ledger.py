"""What a language model was asked and what it answered, in a file that outlives every run.

A row of `requests` is one canonical request, known by its SHA-256; each try at it is a row of `attempts`. An attempt
is written down before it is sent, its raw reply before anything reads it, each at once and on disk, so that a run
killed at any moment leaves at most the requests in flight to be asked again. SQLite keeps it (WAL), one process writes
it at a time: the lock is the kernel's own on a file beside it, so it goes with its holder, however that one ends.
"""

import contextlib
import dataclasses
import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, get_args

from kinetoken.core.errors import UserError
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.redaction import Redaction

State = Literal["in flight", "answered", "failed"]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4B544C4D  # "KTLM", in the file's header: any other file is no ledger
SCHEMA = """
CREATE TABLE requests (
    key TEXT PRIMARY KEY,             -- SHA-256 of the canonical request
    request TEXT NOT NULL,            -- the canonical request itself
    state TEXT NOT NULL CHECK (state IN ('in flight', 'answered', 'failed')),
    outcome TEXT                      -- of the row, once there is one
) WITHOUT ROWID;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL REFERENCES requests (key),
    server TEXT NOT NULL,             -- address without user, query and what looks like a key
    started REAL NOT NULL,            -- Unix time
    seconds REAL,                     -- from sending to the last byte
    status INTEGER,                   -- of the HTTP reply
    raw BLOB,                         -- its body as it came, the key struck out
    raw_crc INTEGER,                  -- CRC-32 of that: SQLite itself finds no damage within a value
    outcome TEXT,                     -- null: in flight, or not read yet
    model TEXT,                       -- that answered, by its own word
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cost REAL NOT NULL,               -- currency; before and without word of the server the most it can be
    cost_known INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX attempts_by_key ON attempts (key);
"""


@dataclasses.dataclass(frozen=True)
class Stored:
    """What the ledger knows of one request; `raw` is the body to be read, if one came with a status of 2xx."""

    state: State
    outcome: Outcome | None
    raw: bytes | None
    attempt: int | None  # the id of the attempt that brought `raw`


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One try, as the bill needs it."""

    key: str
    seconds: float | None
    outcome: str | None
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float
    cost_known: int  # 0 or 1


class Ledger:
    """The ledger at a path, made if there is none; a context manager.

    For writing, UserError if another process writes it: naming that one. For reading alone (`read_only`) the file
    must be there and no lock is taken. UserError for a file of another schema, or that is no ledger. What earlier runs
    stored passes `redaction` when it is read: they may have known less of how secrets look.
    """

    def __init__(self, path: Path, *, read_only: bool = False, redaction: Redaction | None = None) -> None:
        self.path = path
        self._redaction = redaction or Redaction()
        self._lock: IO[str] | None = None
        if read_only and not path.exists():
            raise UserError(f"{path}: no such ledger; 'mode: live' makes one by asking")
        if not read_only:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = _take_lock(path.with_name(path.name + ".lock"), path)
            except OSError as error:
                raise UserError(f"{path}: a ledger cannot be written there ({error.strerror})") from None
        try:
            self._rows = _open(path, read_only=read_only)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._rows.close()
        self._release()

    def find(self, key: str) -> Stored | None:
        """What is known of a request; None if it was never asked.

        A reply that came but was not read before its run ended counts as stored: state in flight, with `raw`.
        """
        with self._told():
            row = self._one("SELECT state, outcome FROM requests WHERE key = ?", key)
            if row is None:
                return None
            state, told = row[0], Outcome(row[1]) if row[1] else None
            if state not in get_args(State):
                raise ValueError(f"a request is {state!r}")
            last = self._one(
                "SELECT id, status, raw, raw_crc, outcome FROM attempts WHERE key = ? ORDER BY id DESC LIMIT 1", key
            )
            if last is None or last[1] is None or not 200 <= last[1] < 300:
                if told is Outcome.ANSWERED:
                    raise ValueError("an answer without its reply")
                return Stored(state, told, None, None)
            attempt, _, raw, crc, outcome = last
            if state != "answered" and not (state == "in flight" and outcome is None):
                return Stored(state, told, None, None)
            if not isinstance(raw, bytes) or zlib.crc32(raw) != crc:
                raise ValueError(f"the reply of attempt {attempt} is not what was stored")
            return Stored(state, told, self._redaction.body(raw), attempt)

    def begin(self, key: str, request: str, server: str, worst_cost: float) -> int:
        """Write down that the request is about to be sent: the attempt's id."""
        with self._change() as rows:
            rows.execute(
                "INSERT INTO requests (key, request, state) VALUES (?, ?, 'in flight') "
                "ON CONFLICT (key) DO UPDATE SET state = 'in flight', outcome = NULL", (key, request),
            )
            done = rows.execute(
                "INSERT INTO attempts (key, server, started, cost) VALUES (?, ?, ?, ?)",
                (key, server, time.time(), worst_cost),
            )
            return int(done.lastrowid or 0)

    def store(self, attempt: int, status: int, raw: bytes, seconds: float) -> None:
        """Keep the body of the reply as it came."""
        with self._change() as rows:
            rows.execute(
                "UPDATE attempts SET status = ?, raw = ?, raw_crc = ?, seconds = ? WHERE id = ?",
                (status, raw, zlib.crc32(raw), seconds, attempt),
            )

    def settle(
        self, attempt: int, outcome: Outcome, *, seconds: float | None = None, model: str | None = None,
        tokens: tuple[int, int] | None = None, cost: float | None = None, state: State = "in flight",
    ) -> None:
        """Record how an attempt ended, and with it how its row stands.

        `tokens` are those of prompt and completion; without `cost` the most that it can be stays written.
        """
        prompt, completion = tokens or (None, None)
        with self._change() as rows:
            rows.execute(
                "UPDATE attempts SET outcome = ?, seconds = COALESCE(?, seconds), model = ?, prompt_tokens = ?, "
                "completion_tokens = ?, cost = COALESCE(?, cost), cost_known = ? WHERE id = ?",
                (outcome.value, seconds, model, prompt, completion, cost, cost is not None, attempt),
            )
            rows.execute(
                "UPDATE requests SET state = ?, outcome = ? WHERE key = (SELECT key FROM attempts WHERE id = ?)",
                (state, None if state == "in flight" else outcome.value, attempt),
            )

    def judge_again(self, attempt: int, outcome: Outcome) -> None:
        """Record what a stored reply is by the rules of now."""
        with self._change() as rows:
            rows.execute("UPDATE attempts SET outcome = ? WHERE id = ?", (outcome.value, attempt))
            rows.execute(
                "UPDATE requests SET outcome = ? WHERE key = (SELECT key FROM attempts WHERE id = ?)",
                (outcome.value, attempt),
            )

    def reopen(self, keys: Iterable[str]) -> None:
        """Have rows that failed asked again by the next run."""
        with self._change() as rows:
            rows.executemany(
                "UPDATE requests SET state = 'in flight', outcome = NULL WHERE key = ? AND state = 'failed'",
                [(key,) for key in keys],
            )

    def attempts(self, keys: Iterable[str]) -> list[Attempt]:
        """Every attempt at these requests, in order of sending."""
        wanted = set(keys)
        found = self._all(
            "SELECT key, seconds, outcome, model, prompt_tokens, completion_tokens, cost, cost_known FROM attempts "
            "ORDER BY id"
        )
        with self._told():
            attempts = [_attempt(*row) for row in found if row[0] in wanted]
        shown = {each.model: self._redaction.text(each.model) for each in attempts if each.model}
        return [dataclasses.replace(each, model=shown.get(each.model or "")) for each in attempts]

    def spent(self, keys: Iterable[str]) -> float:
        """What these requests have cost so far, at most: attempts of unknown cost count in full."""
        return sum(attempt.cost for attempt in self.attempts(keys))

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when it ends."""
        with self._told(), self._rows:
            self._rows.execute("BEGIN IMMEDIATE")
            yield self._rows

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._told():
            row: tuple[Any, ...] | None = self._rows.execute(query, values).fetchone()
            return row

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        with self._told():
            return self._rows.execute(query).fetchall()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as error:  # of another type or spelling than was written
            raise UserError(f"{self.path}: damaged: {error}; move it away, or bring a copy back") from None
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: {error}; what was stored before is still there") from None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _attempt(
    key: str, seconds: float | None, outcome: str | None, model: object, prompt_tokens: int | None,
    completion_tokens: int | None, cost: float, cost_known: int,
) -> Attempt:
    """A row of `attempts`; ValueError or TypeError if it is of other types than were written."""
    if not isinstance(model, str | None):
        raise TypeError("a model's name is no text")
    return Attempt(
        key, None if seconds is None else float(seconds), None if outcome is None else Outcome(outcome).value, model,
        None if prompt_tokens is None else int(prompt_tokens),
        None if completion_tokens is None else int(completion_tokens), float(cost), int(cost_known),
    )


def _take_lock(path: Path, ledger: Path) -> IO[str]:
    """The open lock file; it names its holder by process id and time for whoever comes second."""
    handle = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        holder = handle.read(200).strip() or "an unnamed process"
        handle.close()
        raise UserError(
            f"{ledger}: {holder} is asking into this ledger; wait until it ends, then run again: what it paid for "
            "is not asked again"
        ) from None
    handle.truncate(0)
    handle.write(f"process {os.getpid()} (since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
    handle.flush()
    return handle


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    try:
        rows = _connect(path, read_only=read_only)
    except (sqlite3.Error, UnicodeError) as error:
        raise UserError(f"{path}: not a ledger that can be opened ({error})") from None
    try:
        _check_schema(rows, path, read_only=read_only)
        if not read_only:  # only now, for it changes the file
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("PRAGMA synchronous = FULL")
    except (sqlite3.Error, UnicodeError) as error:
        rows.close()
        raise UserError(f"{path}: damaged or not a ledger ({error}); move it away, or bring a copy back") from None
    except BaseException:
        rows.close()
        raise
    return rows


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        return sqlite3.connect(path, timeout=10, isolation_level=None)
    address = path.absolute().as_uri() + "?mode=ro"
    rows = sqlite3.connect(address, uri=True, timeout=10, isolation_level=None)
    try:
        rows.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # a folder where nothing can be written: WAL wants files of its own there
        rows.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise sqlite3.OperationalError(
                f"its end is still in {log.name}, and the folder cannot be written; copy both to one that can"
            ) from None
        rows = sqlite3.connect(address + "&immutable=1", uri=True, isolation_level=None)
    return rows


def _check_schema(rows: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    version = int(rows.execute("PRAGMA user_version").fetchone()[0])
    ours = int(rows.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID
    if not ours and not read_only and version == 0 and not rows.execute("SELECT 1 FROM sqlite_master").fetchone():
        rows.executescript(
            f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        return
    if not ours:
        raise UserError(f"{path}: a database, but not a ledger of this project; name another path")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: a ledger of schema {version}, and this version of the project keeps schema {SCHEMA_VERSION}; "
            "use the version that wrote it, or move it away (everything is then asked and paid for again)"
        )
    if (verdict := rows.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(str(verdict))
