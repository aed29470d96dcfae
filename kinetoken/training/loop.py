"""The one training loop, on Lightning Fabric.

A training step is a function of (module, batch) -> (loss, parts); everything else is here: epochs in
an order that depends on (seed, epoch) alone, AdamW with warm-up and cosine decay, clipping, mixed
precision, an average of the weights, validation, early stopping, curves, progress, and checkpoints from
which a killed run goes on to the very same weights.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegative, NonNegativeFloat, Positive, PositiveFloat, Range
from kinetoken.core.stage import Context, Hardware
from kinetoken.training.checkpoints import read_checkpoint, write_checkpoint

Batch = dict[str, Tensor]
Step = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]
Validate = Callable[[nn.Module], dict[str, float]]
Optimizers = list[torch.optim.Optimizer]
CpuPrecision = Literal["auto", "32-true", "bf16-mixed"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """What every training stage has in its section of params.yaml."""

    seed: NonNegative
    epochs: Positive
    batch_size: Positive
    least_steps: NonNegative = 0  # in all; an epoch goes over few clips as often as it takes to come to as many
    learning_rate: PositiveFloat  # the peak, after warm-up
    warmup_fraction: Annotated[float, Range(ge=0, lt=1)] = 0.1  # of all steps
    weight_decay: NonNegativeFloat = 0.01  # AdamW; matrices and kernels only, not biases and norms
    gradient_clip: NonNegativeFloat = 1.0  # of the global norm; 0 is off
    ema_decay: Annotated[float, Range(ge=0, lt=1)] = 0.0  # average of the weights used for validation; 0 is off
    patience: NonNegative = 0  # epochs without improvement before stopping; 0 is off


class Batches(Protocol):
    """Where batches come from: `len` items, gathered by index on the CPU.

    `done`, in [0, 1), is the share of all steps that lie behind, for batches that change as training goes on.
    """

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch: ...


class TensorBatches:
    """Batches from tensors that share their first dimension."""

    def __init__(self, **tensors: Tensor) -> None:
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"tensors differ in length: {lengths}")
        self._tensors = tensors

    def __len__(self) -> int:
        return len(next(iter(self._tensors.values())))

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        index = torch.from_numpy(indices)
        return {name: tensor[index] for name, tensor in self._tensors.items()}


@dataclasses.dataclass
class History:
    """One row of numbers an epoch: `epoch`, `step`, means of the loss parts, validation metrics."""

    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_value: float = math.inf


def fit(
    module: nn.Module,
    step: Step,
    batches: Batches,
    params: TrainingParams,
    context: Context,
    *,
    label: str = "train",
    validate: Validate | None = None,
    monitor: str | None = None,
    monitor_from: int = 0,
    optimizers: Callable[[nn.Module], Optimizers] | None = None,
) -> History:
    """Train `module` in place and leave it in eval mode.

    Without `optimizers` AdamW trains all parameters. Each one's learning rates are peaks, which the schedule scales.

    The weights left are those of the epoch where validation metric `monitor` (lower is better) was
    least, or the last ones if `monitor` is None; averaged ones if `ema_decay` is set. Epochs before
    `monitor_from`, counted from 0, are not chosen. A checkpoint is kept after each epoch under
    `context.checkpoints/label` and resumed when found whole.
    """
    fabric = _fabric(context.hardware)
    _seed(params.seed, 0)
    chosen = optimizers(module) if optimizers else [adamw(module.parameters(), params)]
    wrapped, *chosen = fabric.setup(module, *chosen)
    average = _Average(module, params.ema_decay) if params.ema_decay else None
    run = _Run(fabric, wrapped, module, chosen, average, params, History())
    per_epoch = len(_epoch_indices(len(batches), params, 0, fabric.world_size, fabric.global_rank))
    total = per_epoch * params.epochs
    first = run.resume(context, label)
    progress = context.progress
    progress.phase(label, total, "steps", done=first * per_epoch)
    progress.update(device=str(fabric.device))
    curves = _Curves(context, label, resume=first > 0) if fabric.global_rank == 0 else None
    for epoch in range(first, params.epochs):
        if params.patience and epoch - max(run.history.best_epoch, monitor_from) > params.patience:
            progress.say(f"{label}: no improvement for {params.patience} epochs, stopping at epoch {epoch}")
            break
        progress.update(epoch=epoch + 1)
        row = run.train_epoch(step, batches, epoch, total, progress.advance)
        if validate is not None:
            row.update(run.validated(validate))
        run.record(row, epoch, monitor if epoch >= monitor_from else "")
        progress.update(metrics={k: v for k, v in row.items() if k not in ("epoch", "step")})
        if curves is not None:
            curves.add(row)
        run.save(context, label, epoch + 1)
    run.finish(monitor)
    if curves is not None:
        curves.end()
    return run.history


def fabric_device(hardware: Hardware) -> torch.device:
    """The device that `fit` would use, for evaluation outside of it; sets the thread count too.

    UserError where a GPU is asked for and there is none.
    """
    torch.set_num_threads(hardware.threads)
    if hardware.accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("hardware.accelerator: cuda, but PyTorch finds no GPU that it can use; set cpu or auto")
    if hardware.accelerator == "cuda" or (hardware.accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    return torch.device("cpu")


def fabric_precision(hardware: Hardware) -> Precision:
    """The precision that `fit` would use: `auto` is bf16 on a GPU, else 32 bit."""
    if hardware.precision != "auto":
        return hardware.precision
    return "bf16-mixed" if fabric_device(hardware).type == "cuda" else "32-true"


def with_cpu_precision(hardware: Hardware, precision: CpuPrecision) -> Hardware:
    """The hardware with another precision on a CPU; a GPU keeps its own. A precision that was asked for stands.

    `auto` is bf16 where the processor multiplies it in hardware: about twice as fast there, and slower than 32 bit
    elsewhere.
    """
    if hardware.precision != "auto" or fabric_device(hardware).type != "cpu":
        return hardware
    if precision == "auto":
        precision = "bf16-mixed" if multiplies_bfloat16(torch.device("cpu")) else "32-true"
    return dataclasses.replace(hardware, precision=precision)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Does the device multiply bfloat16 in hardware (a CPU by AMX or AVX-512)? Else it is far slower than 32 bits."""
    if device.type != "cpu":
        return True
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def index_batches(count: int, size: int) -> Iterator[np.ndarray]:
    """0 … count−1 in order, `size` at a time: for evaluation."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _fabric(hardware: Hardware) -> Any:  # noqa: ANN401 - lightning is imported on use
    from lightning_fabric import Fabric

    fabric = Fabric(
        accelerator=fabric_device(hardware).type, devices=hardware.devices, strategy=hardware.strategy,
        precision=fabric_precision(hardware),
    )
    fabric.launch()
    return fabric


def adamw(parameters: Iterable[nn.Parameter], params: TrainingParams) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on those of the parameters that train."""
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params.learning_rate)


def _seed(seed: int, epoch: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))


def _epoch_indices(count: int, params: TrainingParams, epoch: int, world: int, rank: int) -> list[np.ndarray]:
    """This rank's batches of one epoch: shuffled by (seed, epoch), whole batches only if there is one."""
    rng, size = np.random.default_rng([params.seed, epoch]), min(params.batch_size * world, count)
    rounds = max(math.ceil(params.least_steps / (params.epochs * (count // size))), 1)
    orders = [rng.permutation(count) for _ in range(rounds)]
    whole = [order[i : i + size] for order in orders for i in range(0, count - size + 1, size)]
    return [batch[rank::world] for batch in whole]


def _rate(params: TrainingParams, step: int, total: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine down to zero."""
    warmup = params.warmup_fraction * total
    if step < warmup:
        return min((step + 1) / warmup, 1.0)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1.0)))


class _Average:
    """An exponential moving average of a module's parameters, warmed up over its first steps.

    Buffers are taken as they are: they already are averages of their own, or counts and flags, and a code of a
    codebook that moved onto other tokens means nothing halfway between its two places.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.averaged = {name for name, _ in module.named_parameters()}

    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if name in self.averaged:
                self.state[name].lerp_(value.detach(), 1 - decay)
            else:
                self.state[name].copy_(value)


@dataclasses.dataclass
class _Run:
    fabric: Any
    wrapped: Any
    module: nn.Module
    optimizers: Optimizers
    average: _Average | None
    params: TrainingParams
    history: History
    best: dict[str, Tensor] | None = None

    def __post_init__(self) -> None:
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def train_epoch(
        self, step: Step, batches: Batches, epoch: int, total: int, advance: Callable[[], None]
    ) -> dict[str, float]:
        _seed(self.params.seed, epoch + 1)
        self.module.train()
        plan = _epoch_indices(
            len(batches), self.params, epoch, self.fabric.world_size, self.fabric.global_rank
        )
        sums: dict[str, Tensor] = {}
        for position, indices in enumerate(plan):
            behind = epoch * len(plan) + position
            rate = _rate(self.params, behind, total)
            for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = rate * peak
            batch = self.fabric.to_device(batches.gather(indices, behind / total))
            loss, parts = step(self.wrapped, batch)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"loss is {loss.item()} at epoch {epoch + 1}, step {position + 1}")
            self.module.zero_grad()
            self.fabric.backward(loss)
            for optimizer in self.optimizers:
                if self.params.gradient_clip:
                    self.fabric.clip_gradients(self.wrapped, optimizer, max_norm=self.params.gradient_clip)
                optimizer.step()
            if self.average is not None:
                self.average.update(self.module)
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.detach()
            advance()
        means = {name: float(value) / len(plan) for name, value in sums.items()}
        return {"epoch": epoch + 1, "step": (epoch + 1) * len(plan), **means}

    def validated(self, validate: Validate) -> dict[str, float]:
        kept = self._swap_in_average()
        self.module.eval()
        with torch.no_grad():
            metrics = validate(self.module)
        if kept is not None:
            self.module.load_state_dict(kept)
        return metrics

    def record(self, row: dict[str, float], epoch: int, monitor: str | None) -> None:
        """Keep the row, and the weights if they are the best so far; with an empty monitor they are not asked for."""
        self.history.rows.append(row)
        if monitor is None:
            self.history.best_epoch = epoch
        elif monitor and row[monitor] < self.history.best_value:
            self.history.best_value, self.history.best_epoch = row[monitor], epoch
            source = self.average.state if self.average is not None else self.module.state_dict()
            self.best = {k: v.detach().clone() for k, v in source.items()}

    def finish(self, monitor: str | None) -> None:
        if monitor is not None and self.best is not None:
            self.module.load_state_dict(self.best)
        else:
            self._swap_in_average()
        self.module.eval()

    def _swap_in_average(self) -> dict[str, Tensor] | None:
        if self.average is None:
            return None
        kept = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.state)
        return kept

    def save(self, context: Context, label: str, epochs_done: int) -> None:
        if context.checkpoints is None or self.fabric.global_rank:
            return
        state = {
            "epochs_done": epochs_done, "device": self.fabric.device.type,
            "module": self.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.state if self.average else None,
            "updates": self.average.updates if self.average else 0,
            "best": self.best, "history": dataclasses.asdict(self.history),
        }
        try:
            write_checkpoint(context.checkpoints / label, state)
        except OSError as error:  # such as a full disk: healthy training goes on
            context.progress.say(f"{label}: no checkpoint is kept: {error.strerror or error}")

    def resume(self, context: Context, label: str) -> int:
        """Epochs already done, their state restored; 0 if there is no whole checkpoint."""
        state = None if context.checkpoints is None else read_checkpoint(context.checkpoints / label)
        if state is None or state["device"] != self.fabric.device.type:  # another device would round otherwise
            return 0
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        if self.average is not None:
            self.average.state = {k: v.to(self.fabric.device) for k, v in state["average"].items()}
            self.average.updates = state["updates"]
        self.best, self.history = state["best"], History(**state["history"])
        context.progress.say(f"{label}: resuming after epoch {state['epochs_done']}")
        return int(state["epochs_done"])


class _Curves:
    """DVCLive curves under run_info, to be watched while they grow; none for a silent context or without DVCLive.

    They are notes: where they cannot be written, on a full disk for one, the training goes on without them.
    """

    def __init__(self, context: Context, label: str, *, resume: bool) -> None:
        self._progress, self._label = context.progress, label
        self._live: Any = None  # dvclive is imported on use
        if context.run_info is None:
            return
        try:
            from dvclive import Live
        except ImportError:  # a machine that only computes
            context.progress.say(f"{label}: DVCLive is not installed, so no curves grow under {context.run_info}")
            return
        options: dict[str, Any] = {
            "dir": str(context.run_info / "dvclive" / label), "dvcyaml": None, "save_dvc_exp": False, "report": None,
        }
        with self._kept():
            try:
                self._live = Live(resume=resume, **options)
            except ValueError:  # what a killed run was writing
                self._live = Live(resume=False, **options)

    def add(self, row: Mapping[str, float]) -> None:
        """One more point of each curve."""
        with self._kept():
            if self._live is not None:
                for name, value in row.items():
                    self._live.log_metric(name, value)
                self._live.next_step()

    def end(self) -> None:
        with self._kept():
            if self._live is not None:
                self._live.end()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._live = None
            self._progress.say(f"{self._label}: no curves are kept: {error.strerror or error}")


def curves_table(histories: Mapping[str, History]) -> Any:  # noqa: ANN401 - pandas is imported on use
    """Histories as one tidy table for `dvc plots`: model, epoch, step and every recorded number."""
    import pandas as pd

    frames = [pd.DataFrame(history.rows).assign(model=name) for name, history in histories.items()]
    table = pd.concat(frames, ignore_index=True)
    first = ["model", "epoch", "step"]
    return table[[*first, *(c for c in table.columns if c not in first)]].astype({"epoch": int, "step": int})
