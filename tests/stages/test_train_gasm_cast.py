"""train_gasm_cast, run for real on a tiny set."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from kinetoken.actions.classes import ACTIONS
from kinetoken.actions.dataset import ActionClips, open_footage
from kinetoken.actions.generation import generate
from kinetoken.actions.layout import ANSWERS, VIDEOS
from kinetoken.actions.sampling import Intake, Views
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.gasm_cast import evaluation
from kinetoken.gasm_cast.full_size import FULL
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.system import build_system, load_gasm_cast
from kinetoken.gasm_cast.variants import VARIANTS
from kinetoken.training.precision import Inference
from stages import train_gasm_cast
from stages.train_gasm_cast import Paths
from tests.support.action_set import TINY, break_clips
from tests.support.numbers import nested
from tests.support.same_bytes import assert_same_outputs

ROOT = Path(__file__).parents[2]
PARAMS = GasmCastParams(
    seed=7, epochs=2, batch_size=8, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.05, gradient_clip=1.0,
    ema_decay=0.0, patience=0, frozen=False, backbone_rate=1.0, cache_tokens=False, tokens_mib=64, order_blind=True,
    order_blind_epochs=1, scoring_batch=8,
    semantic=dataclasses.replace(FULL.semantic, image_size=32, frames=4, width=8, depth=1, heads=1),
    motion=dataclasses.replace(FULL.motion, image_size=32, frames=8, width=2, depths=(1, 1, 1, 1)),
    fusion=dataclasses.replace(
        FULL.fusion, heads=2, bottleneck=12, graph_width=8, patch_radius=1.0, patch_similar=2, segment_similar=1,
        maps=2, dropout=0.0, gradient_checkpointing=True,
    ),
    views=Views(segments=8, short_side=32, crop=32, zoom=0.9, jitter=0.2, clips=2, crops=1),
    intake=Intake(broken="stop", max_broken=0.0, workers=0, cache_mib=16),
)
OUTPUTS = ("model", "metrics", "headlines", "numbers", "confusion", "curves", "reliability", "features", "attention",
           "graph", "broken")
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def changed(**changes: Any) -> GasmCastParams:
    return dataclasses.replace(PARAMS, **changes)


def paths(actions: Path, out: Path) -> Paths:
    plots = {name: out / f"{name}.csv" for name in ("confusion", "curves", "reliability", "features", "broken")}
    return Paths(
        actions=actions, model=out / "model", metrics=out / "metrics.json", headlines=out / "headlines",
        numbers=out / "numbers.csv", attention=out / "attention.png", graph=out / "graph.png", cache=out / "cache",
        **plots,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("actions") / "set"
    generate(TINY, where)
    return where


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    where = paths(folder, tmp_path_factory.mktemp("done"))
    train_gasm_cast.run(PARAMS, where, SILENT)
    return where


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the set to be changed."""
    return Path(shutil.copytree(folder, tmp_path / "set"))


def read(where: Paths) -> dict[str, Any]:
    return nested(where.numbers)


def test_metrics_are_those_of_the_saved_network(done: Paths) -> None:
    metrics, system = read(done), load_gasm_cast(done.model)
    footage = open_footage(done.actions, PARAMS.views, PARAMS.intake, Progress.silent())
    test = ActionClips(footage, "test", training=False)
    inference = Inference("cpu")
    scores = evaluation.clip_scores({"it": system}, test, inference, Progress.silent())["it"]
    assert metrics["temperature"] == pytest.approx(system.temperature, rel=1e-5)
    right = evaluation.calibrated(scores, system.temperature).argmax(1) == test.label
    assert metrics["top1"] == pytest.approx(right.mean(), rel=1e-5)
    assert metrics["scored_on_test"] == 1 and metrics["clips_left_out"] == 0


def test_metrics_have_floors_intervals_and_say_what_was_trained(done: Paths) -> None:
    metrics = read(done)
    for told in (metrics, metrics["order_blind"]):
        for name in ("top1", "top5", "ece"):
            assert told[f"{name}_ci95_low"] <= told[name] <= told[f"{name}_ci95_high"]
            assert f"{name}_floor" in told
    assert set(metrics["per_class"]) == {action.name for action in ACTIONS}
    assert metrics["trainable_parameters"] == sum(p.numel() for p in load_gasm_cast(done.model).parameters())
    assert metrics["trainable_parameters_full"] <= 8_000_000 and metrics["fusion_macs_saved"] >= 0.6
    assert 0 < metrics["end_to_end_macs_saved"] < 0.03
    for name in ("semantic", "motion"):
        assert (metrics[name]["pretrained"], metrics[name]["reduced"]) == (0, 1)


def test_plots(done: Paths) -> None:
    curves = pd.read_csv(done.curves)
    assert curves.groupby("model")["epoch"].max().to_dict() == {"gasm_cast": 2, "order_blind": 1}
    confusion = pd.read_csv(done.confusion)
    assert len(confusion) == 14
    assert (confusion["actual"] == confusion["predicted"]).mean() == pytest.approx(read(done)["top1"], rel=1e-5)
    assert pd.read_csv(done.reliability)["share"].sum() == pytest.approx(1, rel=1e-4)
    assert sorted(pd.read_csv(done.features)["class"]) == sorted(confusion["actual"])
    for path in (done.attention, done.graph):
        assert Image.open(path).size[0] > 300


def test_twice_the_same_bytes_with_workers_or_without(done: Paths, folder: Path, tmp_path: Path) -> None:
    again = paths(folder, tmp_path)
    train_gasm_cast.run(changed(intake=dataclasses.replace(PARAMS.intake, workers=1)), again, SILENT)
    assert_same_outputs(again, done, [name for name in OUTPUTS if name != "model"])
    assert (again.model / "model.safetensors").read_bytes() == (done.model / "model.safetensors").read_bytes()


def test_labels_of_the_test_part_reach_nothing_but_its_score(done: Paths, own: Path, tmp_path: Path) -> None:
    answers = own / "labels" / ANSWERS
    rows = [line.split(";") for line in answers.read_text().splitlines()]
    names = [name for _, name in rows]
    shifted = names[1:] + names[:1]
    answers.write_text("".join(f"{row[0]};{name}\n" for row, name in zip(rows, shifted, strict=True)))
    where = paths(own, tmp_path / "out")
    train_gasm_cast.run(PARAMS, where, SILENT)
    assert hash_path(where.model) == hash_path(done.model) and hash_path(where.curves) == hash_path(done.curves)
    assert pd.read_csv(where.confusion)["actual"].tolist() != pd.read_csv(done.confusion)["actual"].tolist()


def test_without_answers_validation_is_scored(done: Paths, own: Path, tmp_path: Path) -> None:
    (own / "labels" / ANSWERS).unlink()
    where = paths(own, tmp_path / "out")
    train_gasm_cast.run(PARAMS, where, SILENT)
    assert read(where)["scored_on_test"] == 0 and hash_path(where.model) == hash_path(done.model)
    labels = {row["id"]: row["template"] for row in json.loads((own / "labels" / "validation.json").read_text())}
    plain = [text.replace("[", "").replace("]", "") for text in labels.values()]
    assert pd.read_csv(where.confusion)["actual"].tolist() == plain


def test_broken_clips_are_left_out_and_listed(own: Path, tmp_path: Path) -> None:
    faults = break_clips(own)
    with pytest.raises(UserError, match="4 of 68 clips are broken"):
        train_gasm_cast.run(PARAMS, paths(own, tmp_path / "stopped"), SILENT)
    where = paths(own, tmp_path / "out")
    skipping = Intake(broken="skip", max_broken=0.1, workers=0, cache_mib=0)
    train_gasm_cast.run(changed(intake=skipping, epochs=1, order_blind=False), where, SILENT)
    listed = pd.read_csv(where.broken, dtype=str).set_index("id")["reason"].to_dict()
    assert listed == faults and read(where)["clips_left_out"] == 4
    assert len(pd.read_csv(where.confusion)) == 13 and "order_blind" not in read(where)


@pytest.mark.parametrize("cached", [False, True])
def test_frozen_backbones_are_bit_equal_afterwards(folder: Path, tmp_path: Path, cached: bool) -> None:
    params = changed(frozen=True, cache_tokens=cached, epochs=1, order_blind=False)
    where = paths(folder, tmp_path)
    train_gasm_cast.run(params, where, SILENT)
    fresh = build_system(params, [action.name for action in ACTIONS]).state_dict()
    trained = load_gasm_cast(where.model).state_dict()
    for name, value in fresh.items():
        if name.startswith(("semantic.", "motion.")):
            assert torch.equal(trained[name], value), name
    assert read(where)["trainable_parameters"] == sum(
        p.numel() for p in load_gasm_cast(where.model).fusion.parameters()
    )


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_runs(folder: Path, tmp_path: Path, variant: str) -> None:
    where = paths(folder, tmp_path)
    fusion = dataclasses.replace(PARAMS.fusion, variant=variant)
    train_gasm_cast.run(changed(fusion=fusion, epochs=1, order_blind=False), where, SILENT)
    metrics = read(where)
    assert [name for name in ("semantic", "motion") if name in metrics] == list(VARIANTS[variant].streams)
    assert (metrics["fusion_macs_saved"] > 0) == (VARIANTS[variant].cross == "bottleneck")


@pytest.mark.parametrize(("fault", "message"), [
    ("no videos", "no videos; looked for <id>.webm"),
    ("no folder", "no such folder"),
    ("no labels", "no label files"),
    ("a class without clips", "class 'Folding something' has no clip in split 'train'"),
    ("more segments than frames", "more segments than any clip has frames"),
    ("tokens too large", "the tokens of 54 clips take .* more than tokens_mib, 1;"),
])
def test_what_is_wrong_is_said_before_training(own: Path, tmp_path: Path, fault: str, message: str) -> None:
    params = PARAMS
    if fault == "no videos":
        shutil.rmtree(own / VIDEOS)
    elif fault == "no folder":
        own = own / "nowhere"
    elif fault == "no labels":
        shutil.rmtree(own / "labels")
    elif fault == "a class without clips":
        index = json.loads((own / "labels" / "labels.json").read_text())
        (own / "labels" / "labels.json").write_text(json.dumps({**index, "Folding something": str(len(index))}))
    elif fault == "more segments than frames":
        params = changed(
            views=dataclasses.replace(PARAMS.views, segments=32), motion=dataclasses.replace(PARAMS.motion, frames=32),
            semantic=dataclasses.replace(PARAMS.semantic, frames=16),
        )
    else:
        params = changed(
            frozen=True, cache_tokens=True, tokens_mib=1,
            semantic=dataclasses.replace(PARAMS.semantic, width=800, heads=1),
        )
    with pytest.raises(UserError, match=message):
        train_gasm_cast.run(params, paths(own, tmp_path / "out"), SILENT)


def test_another_networks_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2), "layer1.0.conv1.weight": torch.zeros(2)}, tmp_path / "resnet.pt")
    motion = dataclasses.replace(PARAMS.motion, checkpoint=str(tmp_path / "resnet.pt"))
    with pytest.raises(UserError, match="it holds an image ResNet, not torchvision r3d_18"):
        train_gasm_cast.run(changed(motion=motion), paths(folder, tmp_path / "out"), SILENT)


# ---- as a process


PATIENCE = 900  # seconds, for a machine that is busy with other things


def command(where: Paths, out: Path) -> list[str]:
    flags = [word for name in ("actions", *OUTPUTS, "cache") for word in (f"--{name}", str(getattr(where, name)))]
    return [sys.executable, "-m", "stages.train_gasm_cast", "--params", str(out / "params.yaml"),
            "--run-info", str(out / "run_info"), *flags]


def process(where: Paths, out: Path, params: GasmCastParams, devices: int = 1) -> subprocess.Popen[str]:
    """The stage in a folder of its own, where its checkpoints lie too."""
    out.mkdir(parents=True, exist_ok=True)
    hardware = {**dataclasses.asdict(CPU), "threads": 1, "devices": devices}
    section = json.loads(json.dumps(dataclasses.asdict(params)))
    (out / "params.yaml").write_text(yaml.safe_dump({"hardware": hardware, "train_gasm_cast": section}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command(where, out), cwd=out, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.timeout(2 * PATIENCE)
def test_killed_and_started_again_gives_the_same(done: Paths, folder: Path, tmp_path: Path) -> None:
    where = paths(folder, tmp_path)
    killed = process(where, tmp_path, PARAMS)
    until = time.monotonic() + PATIENCE
    while not list(tmp_path.glob(".ckpt/train_gasm_cast/*/gasm_cast/manifest.json")):
        assert time.monotonic() < until and killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert not where.model.exists() and not where.metrics.exists()
    again = process(where, tmp_path, PARAMS)
    told = again.communicate(timeout=PATIENCE)[1]
    assert again.returncode == 0 and "gasm_cast: resuming after epoch" in told
    assert_same_outputs(where, done, OUTPUTS)
    assert not list(tmp_path.glob(".ckpt/train_gasm_cast/*"))


@pytest.mark.timeout(2 * PATIENCE)
def test_two_processes_train_together(folder: Path, tmp_path: Path) -> None:
    """Each reads half of every batch, and what they score together is the score of one."""
    workers = dataclasses.replace(PARAMS.intake, workers=1)
    params = changed(batch_size=4, epochs=1, intake=workers)
    where = paths(folder, tmp_path)
    both = process(where, tmp_path, params, devices=2)
    told = both.communicate(timeout=PATIENCE)[1]
    assert both.returncode == 0, told
    metrics, system = read(where), load_gasm_cast(where.model)
    footage = open_footage(folder, PARAMS.views, PARAMS.intake, Progress.silent())
    test = ActionClips(footage, "test", training=False)
    scores = evaluation.clip_scores(
        {"it": system}, test, Inference("cpu"), Progress.silent()
    )["it"]
    right = evaluation.calibrated(scores, system.temperature).argmax(1) == test.label
    assert metrics["top1"] == pytest.approx(right.mean(), rel=1e-5)
    assert pd.read_csv(where.curves)["step"].max() == 5
