"""A session's decisions are those of the online detector, whatever becomes of the buffer that a frame was sent from."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from kinetoken.persistence.online import OnlineDetector
from kinetoken.scenes.clips import Pixels
from kinetoken.serving.settings import Limits
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import WorkerEnded
from tests.kinetoken.serving.conftest import REPORT, MadeUpWorker


def opened(client: TestClient, **options: str) -> str:
    answer = client.post("/sessions", params=options)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session"])


def feed(client: TestClient, session: str, frame: bytes, **options: object) -> Any:
    headers = {"content-type": "application/octet-stream"}
    return client.post(f"/sessions/{session}/frames", content=frame, params=options, headers=headers)


@pytest.mark.parametrize("name", ["transformer", "magvit"])
def test_decisions_are_those_of_the_online_detector(
    client: TestClient, applied: Path, pixels: Pixels, name: str
) -> None:
    online = OnlineDetector.load(applied / "models" / "persistence" / name, applied / "models" / "tokenizer")
    for row, clip in enumerate(pixels):
        session, decided = opened(client, detector=name), False
        for number, frame in enumerate(clip):
            there = online.feed({row: (number, frame)})[row]
            found = feed(client, session, frame.tobytes(), number=number).json()
            assert (found["status"], found["confidence"], found["frames"]) == (
                there.status, there.confidence, there.frames,
            )
            decided = found["decided"]
            assert decided == (there.status != "undecided")
            if decided:
                break
        assert decided
        late = feed(client, session, clip[0].tobytes())
        assert late.status_code == 409 and "decided" in late.json()["detail"]
        assert client.get(f"/sessions/{session}").json()["status"] == there.status
        assert client.delete(f"/sessions/{session}").status_code == 204


def test_one_buffer_for_all_frames_gives_the_same_decision_as_copies(
    client: TestClient, applied: Path, pixels: Pixels
) -> None:
    copies, shared = OnlineDetector.load(applied / "models/persistence/transformer"), opened(client)
    buffer = np.empty_like(pixels[0, 0])
    for number, frame in enumerate(pixels[0]):
        buffer[:] = frame
        found = feed(client, shared, memoryview(buffer).tobytes()).json()
        there = copies.feed({0: (number, frame.copy())})[0]
        assert (found["status"], found["confidence"]) == (there.status, there.confidence)
        if found["decided"]:
            return


def test_larger_frames_are_brought_to_size(client: TestClient, pixels: Pixels) -> None:
    frame = pixels[0, 0].repeat(2, 0).repeat(3, 1)
    plain, larger = opened(client), opened(client)
    feed(client, plain, np.ascontiguousarray(frame[:, 32:160].reshape(64, 2, 64, 2, 3).mean((1, 3)) + 0.5)
         .astype(np.uint8).tobytes())
    refused = feed(client, larger, frame.tobytes(), width=192, height=128)
    assert refused.status_code == 422 and "frames are 192×128" in refused.json()["detail"]
    read = feed(client, larger, frame.tobytes(), width=192, height=128, resize=True)
    assert read.status_code == 200 and read.json()["frames"] == 1


def test_frames_that_are_not_next_are_refused_and_change_nothing(client: TestClient, pixels: Pixels) -> None:
    session, frame = opened(client, detector="magvit"), pixels[0, 0].tobytes()
    assert feed(client, session, frame, number=0).status_code == 200
    for content, options, status, words in (
        (frame, {"number": 0}, 409, "frame 0 is out of order, expected is frame 1"),
        (frame, {"number": 2}, 409, "frame 2 is out of order"),
        (frame[:-1], {}, 422, "12287 bytes; a frame of 64×64 pixels has 12288"),
        (b"", {}, 422, ""),
        (frame, {"width": 0}, 422, "query width"),
    ):
        answer = feed(client, session, content, **options)
        assert answer.status_code == status and words in answer.json()["detail"], answer.text
    assert client.get(f"/sessions/{session}").json()["frames"] == 1
    assert feed(client, session, frame, number=1).status_code == 200


def test_sessions_that_are_not_open_are_not_found(client: TestClient, pixels: Pixels) -> None:
    session = opened(client)
    client.delete(f"/sessions/{session}")
    assert feed(client, session, pixels[0, 0].tobytes()).status_code == 404
    assert client.get(f"/sessions/{session}").status_code == 404
    assert client.delete("/sessions/unheard_of").status_code == 404
    assert client.get("/sessions/..%2Fetc").status_code in (404, 422)
    other = client.put(f"/sessions/{session}")
    assert other.status_code == 405 and other.headers["allow"] == "DELETE, GET"


class Watcher(MadeUpWorker):
    report = REPORT | {
        "loaded": ["persistence/transformer"],
        "detectors": {"persistence/transformer": {"frames": 32, "size": 64}},
    }
    forgotten: list[int] = []

    @staticmethod
    def answer(task: Task) -> dict[str, Any]:
        if task.job == "forget":
            Watcher.forgotten.append(task.options["track"])
        return {"result": {"status": "undecided", "confidence": 0.5, "frames": 1}}


def test_so_many_sessions_are_open_at_once_and_idle_ones_are_closed(made_up: Callable[..., TestClient]) -> None:
    client = made_up(Limits(sessions=2), Watcher)
    names = [opened(client) for _ in range(2)]
    full = client.post("/sessions")
    assert full.status_code == 503 and full.headers["retry-after"] and "2 sessions are open" in full.json()["detail"]
    client.delete(f"/sessions/{names[0]}")
    assert opened(client) not in names
    Watcher.forgotten.clear()
    idle = made_up(Limits(sessions=1, session_seconds=0), Watcher)
    assert opened(idle) != opened(idle) and len(Watcher.forgotten) == 1


def test_where_the_process_of_the_frames_ended_sessions_say_so_and_new_ones_work(
    client: TestClient, pixels: Pixels
) -> None:
    """It is killed while it has nothing to do. A session without frames goes on, and a decision stands."""
    begun, fresh, decided = opened(client, detector="magvit"), opened(client, detector="magvit"), opened(client)
    assert feed(client, begun, pixels[0, 0].tobytes()).status_code == 200
    frames = (frame.tobytes() for frame in itertools.cycle(pixels[0]))
    while not (last := feed(client, decided, next(frames)).json())["decided"]:
        pass
    workers = client.app.state.served.workers  # type: ignore[attr-defined]
    before = workers.restarted
    [process] = [worker._process for worker in workers._all if worker.role == "frames"]
    process.kill()
    until = time.monotonic() + 300
    while workers.restarted == before:
        assert time.monotonic() < until, "nobody noticed"
        time.sleep(0.01)
    told = client.get("/health/ready")
    assert told.status_code == 503 and told.json()["loading"] and not told.json()["ready"]
    while client.get("/health/ready").status_code == 503:
        assert time.monotonic() < until
        time.sleep(0.05)
    gone = "the process that knew the frames of this session ended; open another session"
    for answer in (feed(client, begun, pixels[0, 1].tobytes(), number=1), client.get(f"/sessions/{begun}")):
        assert answer.status_code == 410 and answer.json() == {"detail": gone}
    assert client.get(f"/sessions/{decided}").json() == last
    for session in (fresh, opened(client, detector="magvit")):
        for number in (0, 1):
            assert feed(client, session, pixels[0, number].tobytes(), number=number).json()["frames"] == number + 1
    for session in (begun, fresh, decided):
        assert client.delete(f"/sessions/{session}").status_code == 204


class Fading(Watcher):
    """Ends at the frame number 1 of the first track, once others wait for their turn."""

    go: threading.Event
    seen: list[tuple[int, int]]

    @classmethod
    def answer(cls, task: Task) -> dict[str, Any]:  # type: ignore[override]
        if task.job == "feed":
            cls.seen.append((task.options["track"], task.options["number"]))
            if cls.seen[-1] == (1, 1):
                assert cls.go.wait(60)
                raise WorkerEnded(asked=True)
        return {"result": {"status": "undecided", "confidence": 0.5, "frames": 1}}


def test_frames_that_wait_while_the_process_ends_are_not_given_to_the_next(
    made_up: Callable[..., TestClient]
) -> None:
    Fading.go, Fading.seen, frame = threading.Event(), [], bytes(3 * 64 * 64)
    client = made_up(Limits(sessions=2), Fading)
    first, second = opened(client), opened(client)
    assert [feed(client, session, frame).status_code for session in (first, second)] == [200, 200]
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(feed, client, first, frame)]
        while (1, 1) not in Fading.seen:
            time.sleep(0.01)
        answers.append(threads.submit(feed, client, second, frame))
        time.sleep(0.2)
        Fading.go.set()
        assert [each.result().status_code for each in answers] == [500, 410]
    assert (2, 1) not in Fading.seen
    assert "kinetoken_sessions_open 0.0" in client.get("/metrics").text
    assert [client.get(f"/sessions/{session}").status_code for session in (first, second)] == [410, 410]
    assert [feed(client, opened(client), frame).status_code for _ in range(2)] == [200, 200], "lost ones take no room"
