"""The load on a server, on one with made-up workers behind a real socket."""

import sys
from typing import Any

import pytest

from benchmarks import serving as benchmark
from kinetoken.serving.settings import Limits, Serving
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import Workers
from tests.kinetoken.serving.conftest import REPORT, MadeUpWorker
from tests.kinetoken.serving.test_streams import served

ANSWER: dict[str, Any] = {
    "notes": [], "clips": [], "grid": [4, 8, 8], "codebook_size": 512, "quantizer": "fsq", "levels": [8, 8, 8],
    "tokenizer": "0" * 8, "fps": 16.0, "given": 12,
}


class Answering(MadeUpWorker):
    """Right, but for each third task where `wrong` is set."""

    report = REPORT | {"loaded": ["tokenizer", "classifier", "position", "predictor"]}
    wrong, asked = False, 0

    @staticmethod
    def answer(task: Task) -> dict[str, Any]:
        Answering.asked += 1
        return {"result": ANSWER | ({"notes": ["other"]} if Answering.wrong and Answering.asked % 3 == 0 else {})}


@pytest.mark.parametrize("wrong", [False, True])
def test_every_answer_is_counted(
    wrong: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Answering, "wrong", wrong)
    serving = Serving(limits=Limits(wait_seconds=60))
    with served(serving, Workers(serving, Answering)) as place:
        port = place.partition(":")[2]
        monkeypatch.setattr(sys, "argv", ["serving", "--port", port, "--requests", "40", "--at-once", "4"])
        with pytest.raises(SystemExit) as ended:
            benchmark.main()
    said = capsys.readouterr().out
    assert ended.value.code == int(wrong) and "40 requests, 4 at once" in said and "no clip" in said
    assert ("answers that were not right: 0\n" in said) is not wrong
    assert "memory of the server: " in said
