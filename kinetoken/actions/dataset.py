"""The loader: clips read by worker processes, the same whatever their number.

A training item is drawn from (seed, epoch, index) alone and an evaluation item from nothing, so neither the number of
workers nor the order of reading changes a pixel::

    footage = open_footage(Path("data/actions"), views, intake, progress, cache=Path(".ckpt/clips"))
    train = ActionClips(footage, "train", training=True, seed=1)
    loader = EpochLoader(train, batch_size=16, workers=2)
    for batch in loader.epoch(3): ...     # pixels (B, 1, T, H, W, 3) uint8, label (B,), index (B,)
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinetoken.actions.cache import ClipCache
from kinetoken.actions.inspection import Inspection, admit, inspect
from kinetoken.actions.layout import ActionSet, Clip, read_actions
from kinetoken.actions.sampling import Intake, Views, even_places, look_evenly, look_training, random_places
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.core.workers import end_with_parent
from kinetoken.footage.webm import RULES, Pixels, VideoFault, read_frames

MEMORY = "inspection.jsonl"


class Batch(TypedDict):
    """B clips, each seen in V views: one in training, clips × crops in evaluation."""

    pixels: Tensor  # (B, V, T, crop, crop, 3) uint8
    label: Tensor  # (B,) int64, -1 where the class is not told
    index: Tensor  # (B,) int64, place of the clip in its split


@dataclasses.dataclass(frozen=True)
class Footage:
    """A checked set, ready to be read: its whole clips, their numbers of frames, and where decoded ones are kept."""

    actions: ActionSet
    frames: dict[str, int]  # by clip id
    views: Views
    cache: ClipCache | None

    def read(self, clip: Clip, wanted: NDArray[np.int64]) -> Pixels:
        """The frames at the places `wanted` (…): (…, h, w, 3), the shorter side at `short_side`.

        Each is decoded once, however often it is wanted. UserError naming the clip if its file changed since it was
        checked.
        """
        flat = wanted.ravel()
        if (flat[1:] > flat[:-1]).all():
            pixels = self._read(clip, flat)
            return pixels.reshape(*wanted.shape, *pixels.shape[1:])
        places, which = np.unique(flat, return_inverse=True)
        return self._read(clip, places)[which.reshape(wanted.shape)]

    def _read(self, clip: Clip, wanted: NDArray[np.int64]) -> Pixels:
        try:
            if self.cache is None:
                return read_frames(clip.path, wanted, self.views.short_side)
            key = self._key(clip.path)
            found = self.cache.read(key, wanted)
            if found is None:
                whole = read_frames(clip.path, None, self.views.short_side)
                self.cache.write(key, whole)
                found = whole[wanted]
            return found
        except (VideoFault, OSError, IndexError) as error:
            raise UserError(f"{clip.path}: changed since it was checked: {error}") from None

    def _key(self, path: Path) -> str:
        stat = path.stat()
        what = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {self.views.short_side} {RULES}"
        return hashlib.sha256(what.encode()).hexdigest()[:32]


def open_footage(
    folder: Path,
    views: Views,
    intake: Intake,
    progress: Progress,
    *,
    cache: Path | None = None,
    report: Path | None = None,
) -> Footage:
    """Read the label files, check every clip, and leave out or refuse the broken ones as `intake` says.

    `cache` is a folder of its own for decoded clips (used if `cache_mib` is above zero) and for what the check found;
    `report` a CSV file that will name each clip left out. UserError for anything that would spoil a training later.
    """
    actions = read_actions(folder)
    inspection = inspect(
        actions, views.segments, processes=max(intake.workers, 1), progress=progress,
        memory=None if cache is None else cache / MEMORY,
    )
    return footage_of(inspection, views, intake, progress, cache=cache, report=report)


def footage_of(
    inspection: Inspection,
    views: Views,
    intake: Intake,
    progress: Progress,
    *,
    cache: Path | None = None,
    report: Path | None = None,
) -> Footage:
    """What remains of an inspected set; see `open_footage`."""
    whole = admit(inspection, intake, report)
    if inspection.faults:
        progress.say(f"left out: {inspection.summary()}")
    keep = None
    if cache is not None and intake.cache_mib:
        keep = ClipCache(cache / "clips", intake.cache_mib * 2**20)
    return Footage(whole, {name: found.frames for name, found in inspection.videos.items()}, views, keep)


class ActionClips(Dataset[dict[str, Any]]):
    """One split; items are asked for by (epoch, index)."""

    def __init__(self, footage: Footage, split: str, *, training: bool, seed: int = 0) -> None:
        """UserError if the set has no such split, or classes that are not told where they are needed."""
        if split not in footage.actions.splits:
            known = ", ".join(footage.actions.splits)
            raise UserError(f"{footage.actions.folder}: no split '{split}'; there are {known}")
        self.footage, self.training, self.seed = footage, training, seed
        self.clips = footage.actions.splits[split]
        self.label: NDArray[np.int64] = np.array([clip.label for clip in self.clips], np.int64)
        if training and (self.label < 0).any():
            raise UserError(f"{footage.actions.folder}: {split}: {int((self.label < 0).sum())} clips have no class")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        """`pixels` (V, T, crop, crop, 3) uint8, `label`, `index`. The epoch is ignored in evaluation."""
        epoch, index = place
        pixels = self._training(epoch, index) if self.training else self._evaluation(index)
        return {"pixels": torch.from_numpy(pixels), "label": int(self.label[index]), "index": index}

    def _training(self, epoch: int, index: int) -> Pixels:
        views, clip = self.footage.views, self.clips[index]
        rng = np.random.default_rng([self.seed, epoch, index])
        places = random_places(self.footage.frames[clip.id], views.segments, rng)
        return look_training(self.footage.read(clip, places), views, rng)[None]

    def _evaluation(self, index: int) -> Pixels:
        views, clip = self.footage.views, self.clips[index]
        places = even_places(self.footage.frames[clip.id], views.segments, views.clips)
        return look_evenly(self.footage.read(clip, places), views)


class EpochLoader:
    """Batches of a split, read ahead by worker processes that live as long as this does."""

    def __init__(
        self, clips: ActionClips, batch_size: int, workers: int, *, rank: int = 0, world: int = 1, seed: int = 0
    ) -> None:
        """`rank` of `world` processes of a distributed training: each reads its own share."""
        self._order = _Order(clips, batch_size, rank, world, seed)
        self._loader: DataLoader[Any] = DataLoader(
            _Told(clips), batch_sampler=self._order, collate_fn=_collate, num_workers=workers,
            persistent_workers=workers > 0, worker_init_fn=_begin if workers else None,
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._order)

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """In training the clips in an order drawn from (seed, epoch), the last part of a batch left out if there is a
        whole one; in evaluation all of them in their own order. UserError naming a clip that can no longer be read."""
        self._order.epoch = epoch
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise UserError(str(batch))  # not `batch`, which would hold this frame, and so the workers, in a cycle
            yield Batch(
                pixels=torch.from_numpy(batch["pixels"]), label=torch.from_numpy(batch["label"]),
                index=torch.from_numpy(batch["index"]),
            )


def _begin(worker: int) -> None:
    end_with_parent()


class _Told(Dataset[Any]):
    """Items, or the error that kept one from being read: raised in a worker, it would lose its words in a traceback."""

    def __init__(self, clips: ActionClips) -> None:
        self.clips = clips

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any] | UserError:
        try:
            return self.clips[place]
        except UserError as error:
            return UserError(str(error))


def _collate(items: list[dict[str, Any] | UserError]) -> dict[str, NDArray[Any]] | UserError:
    """A batch as arrays, or the first error. Tensors would go through /dev/shm, which containers make 64 MiB small."""
    batch = []
    for item in items:
        if isinstance(item, UserError):
            return item
        batch.append(item)
    return {
        "pixels": np.stack([item["pixels"].numpy() for item in batch]),
        "label": np.array([item["label"] for item in batch], np.int64),
        "index": np.array([item["index"] for item in batch], np.int64),
    }


class _Order:
    """Batches of (epoch, index) for the loader; the epoch travels with the index, so workers need not be told."""

    def __init__(self, clips: ActionClips, batch_size: int, rank: int, world: int, seed: int) -> None:
        self.count, self.training, self.seed = len(clips), clips.training, seed
        self.size, self.rank, self.world, self.epoch = batch_size, rank, world, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.count)
        if self.training:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for start in range(0, self._end(), self._step()):
            batch = order[start : start + self._step()][self.rank :: self.world]
            if len(batch):
                yield [(self.epoch, int(index)) for index in batch]

    def __len__(self) -> int:
        return -(-self._end() // self._step())

    def _step(self) -> int:
        return min(self.size * self.world, self.count)

    def _end(self) -> int:
        """In training only whole batches count."""
        return self.count - self.count % self._step() if self.training else self.count


def mean_over_views(scores: Tensor) -> Tensor:
    """Class probabilities (B, K): the mean over views of each view's softmax, from logits (B, V, K)."""
    return scores.softmax(-1).mean(1)
