"""What a worker loads, refuses and bounds, without a process of its own."""

import shutil
from pathlib import Path

import pytest

from kinetoken.serving.settings import Limits
from kinetoken.serving.tasks import Task, WorkPlan
from kinetoken.serving.work import JOBS, Workbench, answered


def bench(models: Path, role: str = "clips") -> Workbench:
    return Workbench(WorkPlan(role, models, "cpu", 1, Limits()))  # type: ignore[arg-type]


def test_models_that_are_missing_or_damaged_are_told_apart(applied: Path, tmp_path: Path) -> None:
    for name in ("tokenizer", "classifier", "position"):
        shutil.copytree(applied / "models" / name, tmp_path / name)
    (tmp_path / "position" / "model.safetensors").write_bytes(b"")
    found = bench(tmp_path)
    assert list(found.models) == ["tokenizer", "classifier"] and found.damaged == ["position"]
    assert found.lacking["predictor"] == "the model predictor is not in the models folder"
    assert str(tmp_path) not in str(found.lacking)
    shutil.rmtree(tmp_path / "tokenizer")
    watching = bench(tmp_path, "frames")
    assert not watching.models and set(watching.lacking) == {"persistence/transformer", "persistence/magvit"}


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (MemoryError(), 413, "more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 413, "more memory"),
        (KeyError("secret"), 500, "an error of the server (KeyError)"),
    ],
)
def test_faults_become_one_sentence(
    fault: Exception, status: int, words: str, applied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, object]:
        raise fault

    monkeypatch.setitem(JOBS, "tokenize", broken)
    found = answered(bench(applied / "nowhere"), Task("tokenize"), b"")
    assert found["status"] == status and words in found["refused"] and "secret" not in found["refused"]
