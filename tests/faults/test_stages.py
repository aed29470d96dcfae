"""Real stages killed at any moment, with their workers at work: a rerun leaves what an undisturbed run leaves."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from kinetoken.core.artifacts import hash_path
from kinetoken.core.params import overlay
from tests.support.fault_stage import ROOT, Stage, ended, until

pytestmark = pytest.mark.slow_faults
OUTPUTS = {
    "render_videos": ("--section=render_videos.motion", "--videos=out/videos"),
    "generate_actions": ("--actions=out/actions", "--sheet=out/sheet.png"),
    "train_tokenizer": (
        "--model=out/tokenizer", "--metrics=out/tokenizer.json", "--curves=out/curves.csv",
        "--reconstructions=out/reconstructions.png",
    ),
}
INPUTS = {
    "render_videos": ("trajectories", "track_params"), "generate_actions": (),
    "train_tokenizer": ("trajectories", "track_params", "videos"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    overlay(ROOT / "profiles/smoke.yaml", tmp_path / "params.yaml")
    more = "render_videos:\n  motion:\n    processes: 2\n    shard_clips: 8\ngenerate_actions:\n  processes: 2\n"
    (tmp_path / "more.yaml").write_text(more)
    overlay(tmp_path / "more.yaml", tmp_path / "params.yaml")
    return tmp_path


def command(name: str, data: Path) -> list[str]:
    given = (f"--{key.replace('_', '-')}={data / key}{'' if key == 'videos' else '.parquet'}" for key in INPUTS[name])
    source = [f"--source={ROOT}/data/sources/synthetic.csv"] if name == "render_videos" else []
    return [sys.executable, "-m", f"stages.{name}", *OUTPUTS[name], *given, *source]


def moments(name: str, seconds: float) -> list[float]:
    """When to kill: among the imports, and three times later, the same in every run of this test."""
    rng = np.random.default_rng([len(name), 9])
    return [0.1 * seconds, *np.sort(rng.uniform(0.3, 1.0, 3) * seconds)]


@pytest.mark.parametrize("name", list(OUTPUTS))
def test_killed_and_run_again(name: str, folder: Path, tiny_data: Path) -> None:
    stage = Stage(folder)
    began = time.monotonic()
    subprocess.run(command(name, tiny_data), cwd=folder, env=stage.environment(), check=True, timeout=300)
    seconds, undisturbed = time.monotonic() - began, hash_path(folder / "out")
    shutil.rmtree(folder / "out")
    shutil.rmtree(folder / ".ckpt", ignore_errors=True)
    for moment in moments(name, seconds):
        killed = subprocess.Popen(command(name, tiny_data), cwd=folder, env=stage.environment())
        time.sleep(moment)
        workers = [child.pid for child in psutil.Process(killed.pid).children(recursive=True)]
        killed.kill()
        killed.wait()
        assert until(lambda: all(map(ended, workers)), 10)  # noqa: B023 - asked at once
    again = subprocess.run(
        command(name, tiny_data), cwd=folder, env=stage.environment(), capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert hash_path(folder / "out") == undisturbed
    assert not list(folder.rglob(".partial-*"))
