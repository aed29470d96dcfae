"""Many questions to a language model: at once but not too many, within a spend cap, none paid for twice.

What is asked and answered goes through the ledger. A run that is stopped, however, and started again asks only the
rows that have no answer there.
"""

import asyncio
import dataclasses
import functools
import random
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.llm.connection import ADDRESS_VARIABLE, KEY_VARIABLE, Connection, Tried, redaction_from_environment
from kinetoken.llm.language_model import LanguageModel, Request, key_of
from kinetoken.llm.ledger import Ledger, State, Stored
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import Reply, read_reply
from kinetoken.llm.retries import draw_wait
from kinetoken.llm.spending import Bill, Budget

UNFIT_IN_A_ROW = 20  # answers in another form than asked for: the server heeds no such request, and the run stops
FAILED_IN_A_ROW = 20  # rows without an answer, none with one between them: the server is not well, and the run stops
SECTION = "describe_motion.language_model"
KEPT = "what was answered is in the ledger and is not asked again"

Judge = Callable[[Reply], Outcome]


@dataclasses.dataclass(frozen=True)
class _Job:
    """A canonical request, once however many rows share it."""

    label: str
    key: str
    canonical: str
    body: dict[str, Any]


def ask(
    requests: Sequence[Request], settings: LanguageModel, ledger: Path, progress: Progress,
    judge: Judge = lambda reply: reply.outcome,
) -> tuple[list[Reply], Bill]:
    """The reply to each request, in order, and what all of them cost.

    `judge` gives the outcome of a row from its reply, to be recorded. By `mode: replay` the ledger alone answers.

    Raises UserError, saying what to do, if the run must stop (key, permission, model, quota, spend cap, a server that
    cannot be reached), if another process writes the ledger, or if a replay lacks a row. Not to be called from inside
    a running event loop.
    """
    jobs = [_job(request, settings) for request in requests]
    if settings.mode == "replay":
        with Ledger(ledger, read_only=True, redaction=redaction_from_environment()) as book:
            keys = _unique(jobs)
            return [_replayed(job, book) for job in jobs], Bill.of(len(jobs), book.attempts(keys), len(jobs))
    connection = Connection(settings.timeout_s)
    with Ledger(ledger, redaction=connection.redaction) as book:
        asking = _Asking(settings, book, connection, progress, judge)
        return asking.ask(jobs)


def _job(request: Request, settings: LanguageModel) -> _Job:
    canonical = request.canonical(settings)
    return _Job(request.label, key_of(canonical), canonical, request.body(settings))


def _unique(jobs: Sequence[_Job]) -> dict[str, _Job]:
    """By key, in order; rows with the same request are asked once, in the name of the first."""
    unique: dict[str, _Job] = {}
    for job in jobs:
        unique.setdefault(job.key, job)
    return unique


def _replayed(job: _Job, book: Ledger) -> Reply:
    stored = book.find(job.key)
    reply = None if stored is None else _known(stored)
    if reply is None:
        raise UserError(
            f"{book.path}: no answer for {job.label} (request {job.key[:12]}…); set {SECTION}.mode: live to ask for "
            "it, or bring the ledger of the run to be repeated, with the same params and models"
        )
    return reply


def _known(stored: Stored) -> Reply | None:
    """The reply that the ledger holds, or stands for; None if the row has to be asked."""
    if stored.state == "failed" and stored.outcome is not None:
        return Reply(stored.outcome, detail="no answer after the last attempt")
    if stored.raw is None:
        return None if stored.outcome is None else Reply(stored.outcome)
    reply = read_reply(stored.raw)
    if stored.state == "answered":
        return reply
    return None if reply.outcome.asks_again else reply


class _Asking:
    """One live run."""

    def __init__(
        self, settings: LanguageModel, book: Ledger, connection: Connection, progress: Progress, judge: Judge
    ) -> None:
        self._settings, self._book, self._connection = settings, book, connection
        self._progress, self._judge = progress, judge
        self._draw = random.Random()  # of waits; no result depends on it
        self._stop_reason: str | None = None
        self._asked = set[str]()  # keys of rows that were answered by this run
        self._heard = False  # anything at all from the server
        self._failed_in_a_row: list[str] = []
        self._unfit_in_a_row = 0

    def ask(self, jobs: Sequence[_Job]) -> tuple[list[Reply], Bill]:
        unique = _unique(jobs)
        for job in unique.values():
            self._settle_unread(job)
            self._judge_again(job)
        todo = [job for job in unique.values() if self._to_be_asked(job)]
        before = len(self._book.attempts(unique))
        self._progress.phase(f"asking {self._settings.model}", len(unique), "rows", done=len(unique) - len(todo))
        if todo:
            self._todo, self._budget = todo, Budget(self._settings.spend_cap, self._book.spent(unique))
            _run_until_told_to_stop(self._ask_all())
        bill = Bill.of(len(jobs), self._book.attempts(unique), before)
        self._progress.update(metrics={"cost": bill.cost})
        if self._stop_reason is not None:
            left = sum(self._to_be_asked(job) for job in unique.values())
            raise UserError(f"{self._stop_reason} {len(unique) - left} of {len(unique)} rows are answered; {KEPT}.")
        return [_known(self._stored(job)) or Reply(Outcome.UNREACHABLE) for job in jobs], bill

    def _stored(self, job: _Job) -> Stored:
        return self._book.find(job.key) or Stored("in flight", None, None, None)

    def _to_be_asked(self, job: _Job) -> bool:
        stored = self._stored(job)
        unfit = stored.outcome is not None and stored.outcome.unfit and job.key not in self._asked
        return (
            stored.state == "in flight" or (stored.state == "failed" and self._settings.retry_failed)
            or (unfit and self._settings.retry_unfit)
        )

    def _settle_unread(self, job: _Job) -> None:
        """A run that was killed between storing a reply and reading it: read it now."""
        stored = self._stored(job)
        if stored.state == "in flight" and stored.raw is not None and stored.attempt is not None:
            reply = read_reply(stored.raw)
            self._record(stored.attempt, Tried(reply, 0.0), None if reply.outcome.asks_again else "answered")

    def _judge_again(self, job: _Job) -> None:
        """A reply that an earlier version could not read may be one now."""
        stored = self._stored(job)
        if stored.state == "answered" and stored.outcome and stored.outcome.unfit and stored.raw and stored.attempt:
            outcome = self._judge(read_reply(stored.raw))
            if outcome is not stored.outcome and not outcome.asks_again:
                self._book.judge_again(stored.attempt, outcome)

    async def _ask_all(self) -> None:
        self._stopping = asyncio.Event()
        async with self._connection:
            jobs = iter(self._todo)
            workers = min(self._settings.concurrency, len(self._todo))
            await asyncio.gather(*(self._work(jobs) for _ in range(workers)))

    async def _work(self, jobs: Iterator[_Job]) -> None:
        for job in jobs:
            if self._stopping.is_set():
                return
            await self._row(job)

    async def _row(self, job: _Job) -> None:
        worst = self._settings.worst_cost(job.canonical)
        for number in range(1, self._settings.attempts + 1):
            if not await self._budget.reserve(worst):
                spent = self._budget.spent
                self._stop(Outcome.SPEND_CAP, f"{spent:.4f} were spent and one attempt more may cost {worst:.4f}")
                return
            if self._stopping.is_set():
                await self._budget.settle(worst, 0.0)
                return
            attempt = self._book.begin(job.key, job.canonical, self._connection.server, worst)
            tried = await self._connection.attempt(job.body, functools.partial(self._book.store, attempt))
            wait = draw_wait(number, tried.wait, self._settings.longest_wait_s, self._draw)
            last = number == self._settings.attempts or wait is None
            cost, outcome = self._record(attempt, tried, self._next_state(tried.reply.outcome, last=last))
            await self._budget.settle(worst, worst if cost is None else cost)
            self._count_unfit(job, tried.reply, outcome)
            if not await self._go_on(job, tried, last=last, wait=wait or 0.0):
                return

    def _next_state(self, outcome: Outcome, *, last: bool) -> State | None:
        """How the row stands after an attempt with this outcome; None: still to be asked."""
        self._heard = self._heard or outcome is not Outcome.UNREACHABLE
        if outcome.stops or (outcome.asks_again and not last) or not self._heard:
            return None
        return "failed" if outcome.asks_again else "answered"

    async def _go_on(self, job: _Job, tried: Tried, *, last: bool, wait: float) -> bool:
        """Whether the row is to be tried once more, after the wait."""
        reply = tried.reply
        if reply.outcome.stops:
            self._stop(reply.outcome, reply.detail)
            return False
        if reply.outcome.asks_again and not last:
            try:
                await asyncio.wait_for(self._stopping.wait(), wait)
                return False
            except TimeoutError:
                return True
        if not self._heard:
            self._stop(reply.outcome, reply.detail)
            return False
        self._progress.advance()
        self._progress.update(metrics={"cost": self._budget.spent})
        self._count_failures(job, reply, failed=reply.outcome.asks_again)
        return False

    def _count_unfit(self, job: _Job, reply: Reply, outcome: Outcome) -> None:
        if reply.outcome.asks_again or reply.outcome.stops:
            return
        self._asked.add(job.key)
        self._unfit_in_a_row = self._unfit_in_a_row + 1 if outcome.unfit else 0
        if self._unfit_in_a_row >= UNFIT_IN_A_ROW:
            self._stop(outcome, f"{UNFIT_IN_A_ROW} answers in a row")

    def _count_failures(self, job: _Job, reply: Reply, *, failed: bool) -> None:
        if not failed:
            self._failed_in_a_row.clear()
            return
        self._failed_in_a_row.append(job.key)
        if len(self._failed_in_a_row) >= FAILED_IN_A_ROW:
            self._book.reopen(self._failed_in_a_row)
            self._stop(reply.outcome, f"{FAILED_IN_A_ROW} rows in a row had no answer; the last: {reply.detail}")

    def _record(self, attempt: int, tried: Tried, state: State | None) -> tuple[float | None, Outcome]:
        """Write down how the attempt ended; its cost, None if only its bound is known, and what came of it."""
        reply = tried.reply
        cost = self._settings.cost(*reply.tokens) if reply.tokens else None if tried.billed else 0.0
        outcome = self._judge(reply) if reply.outcome is Outcome.ANSWERED else reply.outcome
        self._book.settle(
            attempt, outcome, seconds=tried.seconds or None, model=reply.model, tokens=reply.tokens, cost=cost,
            state=state or "in flight",
        )
        return cost, outcome

    def _stop(self, outcome: Outcome, detail: str) -> None:
        """No further attempt is sent; those in flight are waited for, since they are paid."""
        if self._stop_reason is None:
            advice = ADVICE.get(outcome, "Try again later, or with fewer at once (concurrency).")
            where = "" if outcome is Outcome.SPEND_CAP else f"{self._connection.server}: "
            what = f"{outcome.value} ({detail})" if detail and outcome is not Outcome.WRONG_KEY else outcome.value
            self._stop_reason = f"{where}{what}. " + advice.format(model=self._settings.model)
        self._stopping.set()


UNFIT_ADVICE = (
    f"The server may not heed response_format: mend that or take another, and set {SECTION}.retry_unfit: true to have "
    "these rows asked again."
)
ADVICE = {
    Outcome.WRONG_KEY: f"Set {KEY_VARIABLE} to a key that this server knows.",
    Outcome.NOT_PERMITTED: "The key may not use model '{model}' here: use another key, or set " + f"{SECTION}.model.",
    Outcome.UNKNOWN_MODEL: "There is no model '{model}' at this address: set " + f"{SECTION}.model to one that the "
    f"server lists, or {ADDRESS_VARIABLE} to its address (most end in /v1).",
    Outcome.QUOTA: "Nothing is left to spend at this vendor: add credit or raise its limit, then run again.",
    Outcome.REJECTED: "It would reject every row: mend the setting it names (temperature: null sends none; "
    "token_limit: max_tokens is for older servers; response_format needs a model with JSON schemas).",
    Outcome.SPEND_CAP: f"Raise {SECTION}.spend_cap, or describe fewer clips.",
    Outcome.MALFORMED: UNFIT_ADVICE,
    Outcome.SCHEMA: UNFIT_ADVICE,
    Outcome.UNREACHABLE: f"Check the address in {ADDRESS_VARIABLE} and the network.",
}


def _run_until_told_to_stop(work: Coroutine[Any, Any, None]) -> None:
    """Run it; a SIGTERM that the process handles ends it at once, and is then handled as it would have been.

    An exception out of a signal handler would be lost in the event loop, so the loop takes the signal itself.
    """
    before = signal.getsignal(signal.SIGTERM)
    taken = callable(before) and threading.current_thread() is threading.main_thread()
    told = False

    async def main() -> None:
        task = asyncio.current_task()

        def end() -> None:
            nonlocal told
            told = True
            if task is not None:
                task.cancel()

        if taken:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        await work

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if not told:
            raise
    finally:
        if taken:
            signal.signal(signal.SIGTERM, before)
    if told:
        signal.raise_signal(signal.SIGTERM)
