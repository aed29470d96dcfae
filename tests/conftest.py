"""One thread a test process, results that tests leave alone, and a tiny dataset made by the real stages."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.footage.folder import VideoDataset
from kinetoken.scenes.motion import Bands, Counts, Trajectories

ROOT = Path(__file__).parents[1]
BEFORE = pytest.StashKey[str]()
LONGEST = ("test_pipeline.py", "test_train_gasm_cast.py", "test_ward.py", "test_client.py")

# two test processes with two threads each wait for one another more than they work; set before torch is imported
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch keeps to one thread, whatever a stage's params say: networks this small are faster so, too."""
    import torch

    torch.set_num_threads(1)
    asked = torch.set_num_threads
    torch.set_num_threads = lambda count: None
    yield
    torch.set_num_threads = asked


def tracked_results() -> str:
    """What git sees changed among the committed results."""
    command = ["git", "status", "--porcelain", "--", "metrics", "plots", "code", "studies", "params.yaml", "dvc.lock"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[BEFORE] = tracked_results()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that writes over the project's own results fails the run."""
    if not hasattr(session.config, "workerinput") and tracked_results() != session.config.stash[BEFORE]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\ntests changed the project's results:\n{tracked_results()}")


@pytest.fixture(scope="session")
def trajectory_params() -> Trajectories:
    """The motion dataset's own params with tiny counts."""
    params = load_params(ROOT / "params.yaml", "generate_trajectories.motion", Trajectories)
    return dataclasses.replace(params, counts=Counts(train=48, val=16, test=24, ood=8))


@pytest.fixture(scope="session")
def plain_params(trajectory_params: Trajectories) -> Trajectories:
    """The same with motions that show their law in three quarters of a clip: fast, and no short arcs."""
    return dataclasses.replace(
        trajectory_params, start_low=(-0.5, -0.35, 2.5), start_high=(0.5, 0.35, 3.2), turns=(0.0, 100.0),
        bands=Bands(speed=(1.4, 2.1), path_radius=(0.2, 0.35), gravity=(3.0, 6.0)),
    )


@pytest.fixture(scope="session")
def rendering_params() -> VideoDataset:
    """The motion dataset's own look, in small shards and one process."""
    params = load_params(ROOT / "params.yaml", "render_videos.motion", VideoDataset)
    return dataclasses.replace(params, shard_clips=40, processes=1)


@pytest.fixture(scope="session")
def tiny_data(
    tmp_path_factory: pytest.TempPathFactory, trajectory_params: Trajectories, rendering_params: VideoDataset
) -> Path:
    """A folder with trajectories.parquet, track_params.parquet and videos/ of 96 clips, 16×64×64. Read only."""
    from stages import generate_trajectories, render_videos

    folder = tmp_path_factory.mktemp("tiny")
    tables = folder / "trajectories.parquet", folder / "track_params.parquet"
    source = ROOT / "data/sources/synthetic.csv"
    generate_trajectories.run(trajectory_params, generate_trajectories.Paths(source, *tables), Context.silent())
    render_videos.run(rendering_params, render_videos.Paths(*tables, folder / "videos"), Context.silent())
    return folder


@pytest.fixture(scope="session")
def coded(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer/, a small one that never trained, and its codes.parquet of `tiny_data`. Read only."""
    from tests.support.coded import code_clips

    return code_clips(tiny_data, tmp_path_factory.mktemp("coded"))
