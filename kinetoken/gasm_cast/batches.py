"""The action loader as the training loop's batches, and which share of the clips a process reads."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import distributed

from kinetoken.actions.dataset import ActionClips, Batch, EpochLoader
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.training.loop import Batch as Tensors


def rank_and_world() -> tuple[int, int]:
    """This process's number in a distributed training, and how many there are; 0 and 1 outside of one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class TrainingBatches:
    """What `fit` asks for, read ahead by the loader's workers: `pixels` (B, T, H, W, 3) uint8 and `label` (B,).

    Loop and loader draw an epoch's order from the same (seed, epoch); every batch is checked to be the one asked for.
    The loader is made at the first batch, when it is known of how many processes this is which.
    """

    def __init__(self, clips: ActionClips, params: GasmCastParams) -> None:
        self._clips, self._params = clips, params
        self._loader: EpochLoader | None = None
        self._epoch: Iterator[Batch] | None = None

    def __len__(self) -> int:
        return len(self._clips)

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Tensors:
        """The next batch of the epoch that `done` falls into. RuntimeError if it is not of these clips."""
        loader = self._opened()
        epoch, place = divmod(round(done * self._params.epochs * len(loader)), len(loader))
        if place == 0:
            self._epoch = loader.epoch(epoch)
        batch = None if self._epoch is None else next(self._epoch, None)
        if batch is None or not np.array_equal(batch["index"].numpy(), indices):
            raise RuntimeError(f"epoch {epoch + 1}, batch {place + 1}: the loader reads other clips than are asked for")
        return {"pixels": batch["pixels"][:, 0], "label": batch["label"]}

    def _opened(self) -> EpochLoader:
        if self._loader is None:
            rank, world = rank_and_world()
            self._loader = EpochLoader(
                self._clips, self._params.batch_size, self._params.intake.workers, rank=rank, world=world,
                seed=self._params.seed,
            )
        return self._loader


def scoring_batches(clips: ActionClips, params: GasmCastParams) -> EpochLoader:
    """All views of the clips in their own order, this process's share of the batches."""
    rank, world = rank_and_world()
    return EpochLoader(clips, params.scoring_batch, params.intake.workers, rank=rank, world=world)


def gathered(values: torch.Tensor) -> torch.Tensor:
    """What all processes have filled in, each in rows of its own and the others zero: the whole, in each of them."""
    if rank_and_world()[1] > 1:
        distributed.all_reduce(values)
    return values
