"""The training loop: learns, stops, averages, and goes on after a crash to the very same weights."""

import dataclasses
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinetoken.core.artifacts import hash_path, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.training import checkpoints
from kinetoken.training import loop as training
from kinetoken.training.loop import (
    Batch,
    History,
    TensorBatches,
    TrainingParams,
    fit,
    read_checkpoint,
    write_checkpoint,
)
from tests.kinetoken.core.test_stage import ROOT, environment, until

PARAMS = TrainingParams(
    seed=3, epochs=6, batch_size=16, learning_rate=0.02, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.9, patience=0,
)
HARDWARE = dataclasses.replace(CPU, threads=1)


def context(checkpoints: Path | None = None) -> Context:
    return Context(progress=Progress.silent(), hardware=HARDWARE, checkpoints=checkpoints)


def network() -> nn.Module:
    torch.manual_seed(11)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 2))


def data() -> TensorBatches:
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    return TensorBatches(x=x, y=(x[:, 0] > 0).long())


def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    logits = module(batch["x"])
    loss = nn.functional.cross_entropy(logits, batch["y"])
    return loss, {"accuracy": (logits.argmax(1) == batch["y"]).float().mean()}


def validate(module: nn.Module) -> dict[str, float]:
    assert not module.training
    held = data().gather(np.arange(100))
    with torch.no_grad():
        return {"val_loss": float(nn.functional.cross_entropy(module(held["x"]), held["y"]))}


def equal(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def trained(params: TrainingParams = PARAMS, **words: object) -> tuple[nn.Module, History]:
    module = network()
    return module, fit(module, step, data(), params, context(), **words)  # type: ignore[arg-type]


def test_it_learns_and_leaves_the_module_in_eval_mode() -> None:
    before = validate(network().eval())["val_loss"]
    module, history = trained(dataclasses.replace(PARAMS, epochs=20))
    assert not module.training
    assert validate(module)["val_loss"] < 0.5 * before
    assert [row["epoch"] for row in history.rows] == list(range(1, 21))
    assert history.rows[-1]["step"] == 20 * 6  # whole batches only
    assert history.rows[-1]["accuracy"] > 0.8 and {"loss", "accuracy"} <= history.rows[0].keys()


def test_two_runs_give_the_same_weights_and_another_seed_others() -> None:
    first, history = trained(validate=validate, monitor="val_loss")
    torch.randn(7)  # what was drawn before does not matter
    second, again = trained(validate=validate, monitor="val_loss")
    assert equal(first, second) and history == again
    assert not equal(first, trained(dataclasses.replace(PARAMS, seed=4))[0])


class Crash(Exception):
    pass


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("monitor", [None, "val_loss"])
@pytest.mark.parametrize("at", [3, 6, 22, 33])
def test_resumed_weights_are_those_of_an_uninterrupted_run(
    tmp_path: Path, ema_decay: float, monitor: str | None, at: int
) -> None:
    params = dataclasses.replace(PARAMS, ema_decay=ema_decay)
    whole, history = trained(params, validate=validate, monitor=monitor)
    calls = 0

    def crashing(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash
        return step(module, batch)

    words = {"validate": validate, "monitor": monitor}
    with pytest.raises(Crash):
        fit(network(), crashing, data(), params, context(tmp_path), **words)  # type: ignore[arg-type]
    module, steps = network(), calls
    resumed = fit(module, crashing, data(), params, context(tmp_path), **words)  # type: ignore[arg-type]
    assert equal(module, whole) and resumed == history
    assert calls - steps == 36 - (at - 1) // 6 * 6, "epochs that were done are not done again"


KILLED = '''
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from kinetoken.training.loop import fit
from kinetoken.core.artifacts import save_model
from tests.kinetoken.training.test_loop import PARAMS, context, data, network, step, validate

def slow(module, batch):
    time.sleep(float(sys.argv[2]))
    return step(module, batch)

module = network()
fit(module, slow, data(), PARAMS, context(Path("ckpt")), validate=validate, monitor="val_loss")
save_model(Path(sys.argv[1]), module, {{}})
'''


def test_killed_in_the_middle_then_run_again(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(KILLED.format(root=str(ROOT)))
    command = [sys.executable, "train.py"]
    process = subprocess.Popen([*command, "killed", "0.05"], cwd=tmp_path, env=environment())
    manifest = tmp_path / "ckpt/train/manifest.json"
    assert until(manifest.exists)
    first = manifest.read_text()
    assert until(lambda: manifest.read_text() != first)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    state = read_checkpoint(tmp_path / "ckpt/train")
    assert state is not None and 0 < state["epochs_done"] < PARAMS.epochs
    subprocess.run([*command, "resumed", "0"], cwd=tmp_path, env=environment(), check=True)
    whole, _ = trained(validate=validate, monitor="val_loss")
    save_model(tmp_path / "whole", whole, {})
    assert hash_path(tmp_path / "resumed") == hash_path(tmp_path / "whole")


def checkpointed(tmp_path: Path) -> Path:
    fit(network(), step, data(), PARAMS, context(tmp_path))
    return tmp_path / "train"


def test_checkpoints_are_whole_and_only_the_last_is_kept(tmp_path: Path) -> None:
    folder = checkpointed(tmp_path)
    state = read_checkpoint(folder)
    assert state is not None and state["epochs_done"] == 6
    assert len(list(folder.iterdir())) == 2  # the state and its manifest


@pytest.mark.parametrize("damage", ["bit", "short", "gone", "manifest", "list"])
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, damage: str) -> None:
    folder = checkpointed(tmp_path)
    state, manifest = next(folder.glob("*.pt")), folder / "manifest.json"
    if damage == "bit":
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(bytes(content))
    elif damage == "short":
        state.write_bytes(state.read_bytes()[:-100])
    elif damage == "gone":
        state.unlink()
    else:
        manifest.write_text("{" if damage == "manifest" else "[]")
    assert read_checkpoint(folder) is None
    module = network()
    fit(module, step, data(), PARAMS, context(tmp_path))
    assert equal(module, trained()[0])


def test_a_kill_between_state_and_manifest_loses_one_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, {"epochs_done": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "replace_text", killed)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, {"epochs_done": 2})
    assert read_checkpoint(tmp_path) == {"epochs_done": 1}


def test_a_checkpoint_of_another_device_is_not_resumed(tmp_path: Path) -> None:
    folder = checkpointed(tmp_path)
    state = read_checkpoint(folder)
    assert state is not None and state["device"] == "cpu"
    write_checkpoint(folder, {**state, "device": "cuda"})
    calls = []
    fit(network(), lambda m, b: (calls.append(1), step(m, b))[1], data(), PARAMS, context(tmp_path))
    assert len(calls) == 36


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    values = iter([0.5, 0.3, 0.4, 0.35, 0.6, 0.7])
    states: list[dict[str, Tensor]] = []

    def judged(module: nn.Module) -> dict[str, float]:
        states.append({k: v.clone() for k, v in module.state_dict().items()})
        return {"val": next(values)}

    module, history = trained(dataclasses.replace(PARAMS, patience=2), validate=judged, monitor="val")
    assert (history.best_epoch, history.best_value, len(history.rows)) == (1, 0.3, 4)
    assert all(torch.equal(value, states[1][name]) for name, value in module.state_dict().items())


def test_epochs_before_those_to_choose_from_are_not_chosen() -> None:
    values = iter([0.1, 0.2, 0.5, 0.3, 0.4, 0.35])

    def judged(module: nn.Module) -> dict[str, float]:
        return {"val": next(values)}

    _, history = trained(dataclasses.replace(PARAMS, patience=2), validate=judged, monitor="val", monitor_from=2)
    assert (history.best_epoch, history.best_value, len(history.rows)) == (3, 0.3, 6)
    values = iter([0.1, 0.5, 0.6, 0.7, 0.8, 0.9])
    _, history = trained(dataclasses.replace(PARAMS, patience=1), validate=judged, monitor="val", monitor_from=3)
    assert (history.best_epoch, len(history.rows)) == (3, 5), "patience begins where choosing does"


def test_without_a_monitor_the_last_weights_are_left() -> None:
    plain = dataclasses.replace(PARAMS, ema_decay=0.0)
    last: dict[str, Tensor] = {}

    def judged(module: nn.Module) -> dict[str, float]:
        last.update({k: v.clone() for k, v in module.state_dict().items()})
        return {"val": 0.0}

    module, _ = trained(plain, validate=judged)
    assert all(torch.equal(value, last[name]) for name, value in module.state_dict().items())


def test_average_follows_its_closed_form() -> None:
    """Two steps of a weight under gradient −1, averaged with decay min(0.9, (1+n)/(10+n))."""
    seen: list[float] = []

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(float(self.weight))
            return -self.weight * x.mean()

    params = dataclasses.replace(PARAMS, epochs=1, batch_size=1, weight_decay=0.0, gradient_clip=0.0)
    module = One()
    fit(module, lambda m, b: (m(b["x"]), {}), TensorBatches(x=torch.ones(3, 1)), params, context())
    raw = [*seen[1:], None]
    average = 0.0
    for update, value in enumerate(raw[:-1], 1):
        decay = min(0.9, (1 + update) / (10 + update))
        average = decay * average + (1 - decay) * float(value)  # type: ignore[arg-type]
    plain = One()
    fit(plain, lambda m, b: (m(b["x"]), {}), TensorBatches(x=torch.ones(3, 1)),
        dataclasses.replace(params, ema_decay=0.0), context())
    decay = 4 / 13
    assert float(module.weight) == pytest.approx(decay * average + (1 - decay) * float(plain.weight), rel=1e-5)


def test_only_parameters_are_averaged() -> None:
    """Running means and counts are left as they are: those of a run without averaging, which takes the same steps."""
    averaged, plain = trained()[0], trained(dataclasses.replace(PARAMS, ema_decay=0.0))[0]
    assert all(torch.equal(value, plain.get_buffer(name)) for name, value in averaged.named_buffers())
    assert not any(torch.equal(value, plain.get_parameter(name)) for name, value in averaged.named_parameters())


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [PARAMS.learning_rate * training._rate(PARAMS, s, 100) for s in range(101)]
    assert rates[0] == pytest.approx(0.002) and rates[9] == pytest.approx(0.02) and max(rates) <= 0.02 + 1e-12
    assert rates[55] == pytest.approx(0.01) and rates[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def two_optimizers(module: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest."""
    matrices = [p for p in module.parameters() if p.ndim == 2]
    rest = [p for p in module.parameters() if p.ndim != 2]
    return [training.adamw(rest, PARAMS), torch.optim.Muon(matrices, lr=0.05, weight_decay=0.0)]


def test_several_optimizers_share_the_schedule_and_each_keeps_its_peak() -> None:
    made: list[torch.optim.Optimizer] = []

    def optimizers(module: nn.Module) -> list[torch.optim.Optimizer]:
        made.extend(two_optimizers(module))
        return made

    seen: list[tuple[float, float]] = []

    def noted(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append((made[0].param_groups[0]["lr"], made[1].param_groups[0]["lr"]))
        return step(module, batch)

    fit(network(), noted, data(), PARAMS, context(), optimizers=optimizers)
    assert max(rate for _, rate in seen) == pytest.approx(0.05, rel=0.05)
    assert all(second == pytest.approx(first * 0.05 / PARAMS.learning_rate) for first, second in seen)


def test_gradients_are_clipped_and_biases_do_not_decay() -> None:
    groups = training.adamw(network().parameters(), dataclasses.replace(PARAMS, weight_decay=0.5)).param_groups
    assert {p.ndim for p in groups[0]["params"]} == {2} and groups[0]["weight_decay"] == 0.5
    assert {p.ndim for p in groups[1]["params"]} == {1} and groups[1]["weight_decay"] == 0.0
    norms: list[float] = []

    def noted(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None)))
        return step(module, batch)[0] * 1000, {}

    fit(network(), noted, data(), dataclasses.replace(PARAMS, gradient_clip=0.1, epochs=1), context())
    assert norms[1:] == pytest.approx([0.1] * 5, rel=1e-3)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    with pytest.raises(FloatingPointError, match="loss is nan at epoch 1, step 1"):
        fit(network(), lambda m, b: (step(m, b)[0] * math.nan, {}), data(), PARAMS, context())


def test_fewer_items_than_a_batch_still_train() -> None:
    x = torch.randn(5, 4)
    history = fit(network(), step, TensorBatches(x=x, y=torch.zeros(5).long()), PARAMS, context())
    assert history.rows[-1]["step"] == 6


@pytest.mark.parametrize("least, steps", [(0, 6), (6, 6), (7, 12), (30, 30), (31, 36)])
def test_few_items_are_gone_over_as_often_as_it_takes(least: int, steps: int) -> None:
    params = dataclasses.replace(PARAMS, least_steps=least)
    x = torch.randn(5, 4)
    history = fit(network(), step, TensorBatches(x=x, y=torch.zeros(5).long()), params, context())
    assert len(history.rows) == PARAMS.epochs and history.rows[-1]["step"] == steps
    once, many = (training._epoch_indices(96, each, 0, 1, 0) for each in (PARAMS, dataclasses.replace(
        PARAMS, least_steps=3 * 6 * PARAMS.epochs)))
    assert len(many) == 3 * len(once) and all(map(np.array_equal, many, once)), "more passes come after the first"
    assert sorted(np.concatenate(many)) == sorted([*range(96)] * 3)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match="hardware.accelerator: cuda, but PyTorch finds no GPU"):
        training.fabric_device(dataclasses.replace(HARDWARE, accelerator="cuda"))


def test_batches_must_agree_in_length() -> None:
    with pytest.raises(ValueError, match="'x': 3, 'y': 4"):
        TensorBatches(x=torch.zeros(3), y=torch.zeros(4))


def test_batches_are_told_what_share_of_training_lies_behind() -> None:
    told = []

    class Told(TensorBatches):
        def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
            told.append(done)
            return super().gather(indices)

    params = dataclasses.replace(PARAMS, epochs=2, batch_size=2)
    fit(nn.Linear(1, 1), lambda m, b: (m(b["x"]).mean(), {}), Told(x=torch.ones(5, 1)), params, context())
    assert told == [0.0, 0.25, 0.5, 0.75]


def test_every_item_is_seen_once_an_epoch_in_a_new_order() -> None:
    epochs = [np.concatenate(training._epoch_indices(96, PARAMS, epoch, 1, 0)) for epoch in range(2)]
    assert all(sorted(order) == list(range(96)) for order in epochs)
    assert not np.array_equal(*epochs)
    ranks = [np.concatenate(training._epoch_indices(96, PARAMS, 0, 2, rank)) for rank in range(2)]
    assert sorted(np.concatenate(ranks)) == list(range(96))


def test_curves_and_status_can_be_watched(tmp_path: Path) -> None:
    with Progress("stage", tmp_path, quiet=True) as progress:
        watched = Context(progress, HARDWARE, run_info=tmp_path)
        fit(network(), step, data(), PARAMS, watched, validate=validate)
        status = json.loads((tmp_path / "status.json").read_text())
    assert (status["phase"], status["epoch"], status["done"], status["total"]) == ("train", 6, 36, 36)
    assert {"loss", "val_loss"} <= status["metrics"].keys() and status["device"] == "cpu"
    lines = (tmp_path / "dvclive/train/plots/metrics/val_loss.tsv").read_text().splitlines()
    assert len(lines) == 7 and not (tmp_path / "dvc.yaml").exists()


@pytest.mark.parametrize("call", ["__init__", "log_metric", "next_step", "end"])
def test_curves_that_cannot_be_written_end_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    import dvclive

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dvclive.Live, call, full)
    module = network()
    fit(module, step, data(), PARAMS, Context(Progress("stage"), HARDWARE, run_info=tmp_path))
    assert equal(module, trained()[0])
    assert capsys.readouterr().err.count("train: no curves are kept: No space left on device") == 1


def test_curves_that_a_killed_run_left_half_written_begin_anew(tmp_path: Path) -> None:
    folder = tmp_path / "dvclive/train"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text('{"loss": ')
    watched = dataclasses.replace(context(), run_info=tmp_path)
    curves = training._Curves(watched, "train", resume=True)
    curves.add({"loss": 0.5})
    curves.end()
    assert json.loads((folder / "metrics.json").read_text())["loss"] == 0.5


def test_a_checkpoint_that_cannot_be_written_ends_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train").write_text("a file where the checkpoints' folder goes")
    module = network()
    fit(module, step, data(), PARAMS, dataclasses.replace(context(tmp_path), progress=Progress("stage")))
    assert equal(module, trained()[0])
    assert capsys.readouterr().err.count("train: no checkpoint is kept: File exists") == PARAMS.epochs


def test_a_checkpoint_that_finds_the_disk_full_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_checkpoint(tmp_path, {"epochs_done": 1})
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, {"epochs_done": 2})
    assert read_checkpoint(tmp_path) == {"epochs_done": 1}
    assert not list(tmp_path.glob("*.partial")), "it holds none of the space that is lacking"


def test_curves_table_is_tidy() -> None:
    rows = [{"epoch": 1, "step": 6, "loss": 0.5}, {"epoch": 2, "step": 12, "loss": 0.25}]
    table = training.curves_table({"a": History(rows), "b": History(rows[:1])})
    assert list(table.columns) == ["model", "epoch", "step", "loss"]
    assert table["model"].tolist() == ["a", "a", "b"] and table["epoch"].dtype.kind == "i"


@pytest.mark.parametrize(("known", "does"), [
    ({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx2": True, "avx512_f": True}, False), ({}, False),
])
def test_bfloat16_is_for_processors_that_multiply_it(
    known: dict[str, bool], does: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert training.multiplies_bfloat16(torch.device("cpu")) == does
    assert training.multiplies_bfloat16(torch.device("cuda"))
    chosen = training.with_cpu_precision(dataclasses.replace(HARDWARE, precision="auto", accelerator="cpu"), "auto")
    assert chosen.precision == ("bf16-mixed" if does else "32-true")


@pytest.mark.parametrize(("kind", "chosen"), [("cpu", "32-true"), ("cuda", "bf16-mixed")])
def test_a_precision_that_is_asked_for_stands_and_auto_follows_the_device(
    kind: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "fabric_device", lambda hardware: torch.device(kind))
    assert training.fabric_precision(dataclasses.replace(HARDWARE, precision="auto")) == chosen
    assert training.fabric_precision(dataclasses.replace(HARDWARE, precision="16-mixed")) == "16-mixed"
