"""The loader of action videos: its workers end with their process, and need no shared memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinetoken.actions.generation import generate
from tests.support.action_set import TINY
from tests.support.fault_stage import ROOT, ended, number_in, small_disk, until

PROGRAM = """
import sys, time
from pathlib import Path
import torch
from kinetoken.actions.dataset import ActionClips, EpochLoader, open_footage
from kinetoken.core.progress import Progress
from tests.support.action_set import INTAKE, VIEWS

torch.set_num_threads(1)
clips = ActionClips(open_footage(Path(sys.argv[1]), VIEWS, INTAKE, Progress.silent()), "train", training=True)
loader = EpochLoader(clips, 40, 2)  # a batch of 376 kB
(batch,) = loader.epoch()
if sys.argv[2] == "compare":
    (plain,) = EpochLoader(clips, 40, 0).epoch()
    assert all(torch.equal(batch[name], plain[name]) for name in ("pixels", "label", "index"))
else:
    for number, worker in enumerate(loader._loader._iterator._workers):
        Path(f"worker-{number}").write_text(str(worker.pid))
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "actions"
    generate(TINY, folder)
    return folder


def command(clips: Path, end: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(clips), end]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_small_dev_shm(clips: Path, tmp_path: Path) -> None:
    words = [*small_disk("/dev/shm", "256k"), *command(clips, "compare")]
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_workers_end_with_the_process_that_reads(clips: Path, tmp_path: Path) -> None:
    reader = subprocess.Popen(command(clips, "wait"), cwd=tmp_path, env=ENVIRONMENT)
    workers = [number_in(tmp_path / f"worker-{number}") for number in range(2)]
    assert not any(map(ended, workers))
    reader.kill()
    reader.wait()
    assert until(lambda: all(map(ended, workers)), 3)  # by themselves PyTorch's look after 5 seconds, if they are idle
