"""Where numbers come from, read from a folder made by hand."""

import json
import subprocess
from pathlib import Path

import pytest

from kinetoken.report.provenance import Provenance, read_provenance

PIPELINE = (
    "stages:\n  render:\n    foreach: {motion: {}, other: {}}\n  train:\n    cmd: x\n  build_report:\n    cmd: y\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("train:\n  seed: 3\n  epochs: 2\n")
    for name, status in {"render_motion": {"elapsed_s": 30.0, "state": "done"}, "train": {"elapsed_s": "?"}}.items():
        (tmp_path / "run_info" / name).mkdir(parents=True)
        (tmp_path / "run_info" / name / "status.json").write_text(json.dumps(status))
    (tmp_path / "run_info" / "train" / "seconds.json").write_text(
        json.dumps({"net": {"until_decided": 0.001, "whole_clip": 0.004}, "other": 0.0152, "bad": {}})
    )
    return tmp_path


def test_stages_are_those_of_the_pipeline_with_their_times(folder: Path) -> None:
    found = read_provenance(folder, folder / "run_info")
    assert [(one.name, one.shown) for one in found.stages] == [
        ("render_motion", "30 s"), ("render_other", "not run here"), ("train", "not run here"),
    ]
    assert found.skipped("train") and not found.skipped("render_motion") and not found.skipped("unknown")
    assert found.total == "0.5 min" and found.seeds == "3 (train)" and found.commit == ""
    assert found.speeds[0] == ("train, net", "1 ms until decided, 4 ms for whole clips: 4.0 times as fast")
    assert ("Python" in dict(found.versions)) and "cores" in found.machine


def test_nothing_is_known_without_run_info(folder: Path) -> None:
    assert read_provenance(folder, None) == Provenance()
    assert not Provenance().skipped("train")


def test_commit_and_changed_parameters(folder: Path) -> None:
    for words in (["init", "-q"], ["add", "params.yaml", "dvc.yaml"],
                  ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    clean = read_provenance(folder, folder / "run_info")
    assert len(clean.commit) == 40 and clean.dirty is False and clean.changed == []
    (folder / "params.yaml").write_text("train:\n  seed: 4\n")
    dirty = read_provenance(folder, folder / "run_info")
    assert dirty.dirty and [(one.name, one.committed, one.here) for one in dirty.changed] == [
        ("train.epochs", "2", "not there"), ("train.seed", "3", "4"),
    ]
