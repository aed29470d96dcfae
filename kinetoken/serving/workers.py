"""Worker processes as the server sees them: started, asked, ended when they take too long, and started again."""

import asyncio
import atexit
import dataclasses
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kinetoken.serving.settings import Serving
from kinetoken.serving.tasks import Role, Task, WorkPlan, begin

START_SECONDS = 300.0  # for a worker to load its models
WATCH_SECONDS = 0.5  # between two looks at whether the workers that wait for a task are still there
IMPORTED = (  # once, for all workers: most of the time that one needs to start
    "kinetoken.serving.work", "kinetoken.tokenizer.network", "kinetoken.heads.classifier", "kinetoken.heads.position",
    "kinetoken.heads.video_classifier", "kinetoken.prediction.network", "kinetoken.persistence.network",
    "vector_quantize_pytorch",
)


class WorkRefused(Exception):
    """What a request cannot have, in one sentence, with the status of the response; `retry`: seconds to wait."""

    def __init__(self, status: int, sentence: str, retry: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry = status, retry


class WorkerEnded(Exception):
    """A worker process is no more; `asked`: it had begun the task."""

    def __init__(self, asked: bool) -> None:
        super().__init__()
        self.asked = asked


class WorkerLate(Exception):
    """A worker process did not answer in time."""


class WorkerProcess:
    """One process and the connection to it. Methods block."""

    def __init__(self, role: Role, serving: Serving) -> None:
        self.role, self.serving = role, serving
        self._process: Any = None
        self._connection: Any = None

    @property
    def ended(self) -> bool:
        """Whether the process was begun and is no more, as when the system took its memory."""
        return self._process is not None and not self._process.is_alive()

    def start(self) -> dict[str, Any]:
        """Begin a process; what it says of its models. WorkerEnded or WorkerLate if it cannot."""
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload([*IMPORTED])
        serving = self.serving
        plan = WorkPlan(self.role, serving.models, serving.device, serving.threads, serving.limits)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=begin, args=(theirs, plan), daemon=True)
        self._process.start()
        atexit.register(self.kill)  # a server that is forced to leave waits for no worker
        theirs.close()
        return self._received(time.monotonic() + START_SECONDS)

    def ask(self, task: Task, payload: bytes, seconds: float) -> dict[str, Any]:
        """Its answer. WorkerEnded if the process is no more, WorkerLate after so many seconds."""
        try:
            self._connection.send_bytes(json.dumps(dataclasses.asdict(task)).encode())
            self._connection.send_bytes(payload)
        except (OSError, ValueError):
            raise WorkerEnded(asked=False) from None
        return self._received(time.monotonic() + seconds)

    def stop(self) -> None:
        """End the process: by closing the connection, which an idle one leaves at, else by force."""
        atexit.unregister(self.kill)
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.join(0.5)
            self._process.kill()
            self._process.join(5)

    def kill(self) -> None:
        """End the process by force, whatever it does."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    def _received(self, until: float) -> dict[str, Any]:
        try:
            if not self._connection.poll(max(until - time.monotonic(), 0)):
                raise WorkerLate
            found: dict[str, Any] = json.loads(self._connection.recv_bytes())
            return found
        except (EOFError, OSError):
            raise WorkerEnded(asked=True) from None


class Workers:
    """All worker processes: one a request that is worked on at once, and one for the frames of all sessions.

    `report` is what the first worker of each role said of its models; empty until it did.
    """

    def __init__(self, serving: Serving, make: Callable[[Role, Serving], WorkerProcess] = WorkerProcess) -> None:
        self.limits, self.report = serving.limits, dict[Role, dict[str, Any]]()
        self.restarted = 0
        self.lost: list[Callable[[Role], None]] = []  # called when a worker, and what it knew, is gone
        counts: dict[Role, int] = {"clips": serving.limits.concurrency, "frames": 1}
        self._all = [make(role, serving) for role, count in counts.items() for _ in range(count)]
        self._free: dict[Role, asyncio.Queue[WorkerProcess]] = {role: asyncio.Queue() for role in counts}
        self._running = dict.fromkeys(counts, 0)
        self._threads = ThreadPoolExecutor(len(self._all), "worker")
        self._tasks, self._stopping = set[asyncio.Task[Any]](), False

    @property
    def loading(self) -> bool:
        """Whether models are not loaded yet."""
        return len(self.report) < len(self._free)

    @property
    def starting(self) -> bool:
        """Whether some requests have no worker: models are not loaded yet, or are being loaded again."""
        return not all(self._running.values())

    @property
    def loaded(self) -> list[str]:
        return [name for role in self._free if role in self.report for name in self.report[role]["loaded"]]

    @property
    def lacking(self) -> dict[str, str]:
        """Why each of the other models is not there."""
        return {name: why for report in self.report.values() for name, why in report["lacking"].items()}

    @property
    def damaged(self) -> list[str]:
        """Models whose folder is there, and is not to be used."""
        return [name for report in self.report.values() for name in report["damaged"]]

    def start(self) -> None:
        """Begin all processes; they load their models while the server answers already."""
        for worker in self._all:
            self._later(self._begin(worker))
        self._later(self._watch())

    async def stop(self) -> None:
        """End all processes."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, worker.stop) for worker in self._all))
        self._threads.shutdown(wait=False)

    def require(self, *names: str) -> None:
        """WorkRefused if one of these models is not there."""
        if self.loading:
            raise WorkRefused(503, "the models are being loaded", retry=2)
        for name in names:
            if name in self.lacking:
                raise WorkRefused(503, f"the model {name} is needed and not loaded: {self.lacking[name]}")

    async def ask(
        self, role: Role, task: Task, payload: bytes = b"", require: Callable[[], object] | None = None
    ) -> dict[str, Any]:
        """The result of a task, by the first worker that is free.

        `require` is called before a worker gets the task, and may refuse it: another may have been lost meanwhile.
        WorkRefused if none is free in time, and for a task that has no result.
        """
        try:
            worker = await asyncio.wait_for(self._present(role), self.limits.wait_seconds)
        except TimeoutError:
            why = "the server is busy" if self._running[role] else "the process that does this is being started again"
            raise WorkRefused(503, f"{why}; try again", retry=2) from None
        try:
            if require is not None:
                require()
        except WorkRefused:
            self._free[role].put_nowait(worker)
            raise
        # a client that goes away does not take the worker along
        return await asyncio.shield(self._later(self._answer(worker, task, payload, require)))

    async def _present(self, role: Role) -> WorkerProcess:
        """A free worker whose process has not ended."""
        while (worker := await self._free[role].get()).ended:
            self._replace(worker)
        return worker

    async def _watch(self) -> None:
        """Start again what ends while it has nothing to do, before a request needs it."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for free in self._free.values():
                for worker in [free.get_nowait() for _ in range(free.qsize())]:
                    if worker.ended:
                        self._replace(worker)
                    else:
                        free.put_nowait(worker)

    async def _answer(
        self, worker: WorkerProcess, task: Task, payload: bytes, require: Callable[[], object] | None
    ) -> dict[str, Any]:
        loop, seconds = asyncio.get_running_loop(), self.limits.max_seconds
        try:
            reply = await loop.run_in_executor(self._threads, worker.ask, task, payload, seconds)
        except WorkerLate:
            self._replace(worker)
            raise WorkRefused(504, f"not done after {seconds:g} seconds, the most that one request may take") from None
        except WorkerEnded as ended:
            self._replace(worker)
            if not ended.asked:
                return await self.ask(worker.role, task, payload, require)
            raise WorkRefused(500, "the process that read this input ended unexpectedly; it is started again") from None
        except Exception:  # such as a reply that is no JSON: a worker is never lost
            self._replace(worker)
            raise
        self._free[worker.role].put_nowait(worker)
        if "refused" in reply:
            raise WorkRefused(reply["status"], reply["refused"])
        result: dict[str, Any] = reply["result"]
        return result

    def _replace(self, worker: WorkerProcess) -> None:
        if self._stopping:
            return
        self.restarted += 1
        self._running[worker.role] -= 1
        for tell in self.lost:
            tell(worker.role)
        self._later(self._begin(worker, again=True))

    async def _begin(self, worker: WorkerProcess, again: bool = False) -> None:
        loop = asyncio.get_running_loop()
        for pause in itertools.chain((0, 1, 5, 15), itertools.repeat(60)):
            await asyncio.sleep(pause)
            try:
                if again or pause:
                    await loop.run_in_executor(self._threads, worker.kill)
                report = await loop.run_in_executor(self._threads, worker.start)
            except (WorkerEnded, WorkerLate, OSError):
                print("a worker process could not be started; it is tried again", file=sys.stderr)
                continue
            self.report.setdefault(worker.role, report)
            self._running[worker.role] += 1
            self._free[worker.role].put_nowait(worker)
            return

    def _later(self, work: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
