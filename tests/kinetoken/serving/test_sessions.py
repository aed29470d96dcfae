"""A session's decisions are those of the online detector, whatever becomes of the buffer that a frame was sent from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from kinetoken.persistence.online import OnlineDetector
from kinetoken.scenes.clips import Pixels
from kinetoken.serving.settings import Limits
from kinetoken.serving.tasks import Task
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
