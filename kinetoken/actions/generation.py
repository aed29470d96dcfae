"""The drawn action set: every clip from a seed of its own, in the layout of Something-Something-V2."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kinetoken.actions.classes import ACTIONS, Action, draw_action
from kinetoken.actions.layout import SPLITS, VIDEOS, write_actions
from kinetoken.actions.templates import fill
from kinetoken.core.params import NonNegative, Positive, Range
from kinetoken.core.workers import worker_pool
from kinetoken.footage.webm import write_webm

CHUNK = 24  # clips a process draws at once
FIRST_ID = 100_000  # of the training part; the others' begin at multiples of it


@dataclasses.dataclass(frozen=True)
class ActionCounts:
    """Clips in each part; a multiple of the number of classes gives each class as many."""

    train: Annotated[int, Range(ge=1, lt=FIRST_ID)]
    validation: Annotated[int, Range(ge=1, lt=FIRST_ID)]
    test: Annotated[int, Range(ge=1, lt=FIRST_ID)]


@dataclasses.dataclass(frozen=True)
class Actions:
    """Section generate_actions."""

    seed: NonNegative
    counts: ActionCounts
    frames: tuple[Positive, Positive]  # the least and the most that a clip has
    fps: Positive
    image_size: Annotated[int, Range(ge=16)]  # pixels a side, even
    processes: Positive
    enabled: bool = True  # false leaves the actions out, and with them GASM-CAST

    def __post_init__(self) -> None:
        if self.frames[0] > self.frames[1] or self.frames[0] < 2:
            raise ValueError(f"frames must be two numbers of at least 2, the least first, are {list(self.frames)}")
        if self.image_size % 2:
            raise ValueError(f"image_size must be even for YUV 4:2:0, is {self.image_size}")


def generate(params: Actions, folder: Path, advance: Callable[[int], None] = lambda count: None) -> None:
    """Draw the set into `folder`: videos, label files, and the answers to the test part."""
    (folder / VIDEOS).mkdir(parents=True)
    jobs = [
        (params, folder / VIDEOS, split, range(start, min(start + CHUNK, count)))
        for split, count in vars(params.counts).items()
        for start in range(0, count, CHUNK)
    ]
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    if params.processes == 1:
        for job in jobs:
            rows[job[2]] += draw_clips(*job)
            advance(len(job[3]))
    else:
        with worker_pool(params.processes) as pool:
            for job, drawn in zip(jobs, pool.map(draw_clips, *zip(*jobs, strict=True)), strict=True):
                rows[job[2]] += drawn
                advance(len(drawn))
    write_actions(folder, [action.name for action in ACTIONS], rows)


def draw_clips(params: Actions, videos: Path, split: str, indices: range) -> list[dict[str, Any]]:
    """Draw and write the clips of a split at these indices; their rows of the label file."""
    rows = []
    for index in indices:
        action, rng = clip_action(params.seed, split, index), clip_rng(params.seed, split, index)
        pixels, placeholders = draw_action(action, rng, params.frames, params.image_size)
        name = str(FIRST_ID * (1 + SPLITS.index(split)) + index)
        write_webm(videos / f"{name}.webm", pixels, params.fps)
        rows.append({
            "id": name, "label": fill(action.template, placeholders), "template": action.template,
            "placeholders": placeholders,
        })
    return rows


def clip_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The clip's own generator: the same however many clips are drawn, by however many processes."""
    return np.random.default_rng([seed, 1, SPLITS.index(split), index])


def clip_action(seed: int, split: str, index: int) -> Action:
    """Each run of as many clips as there are classes holds every class once, in an order of its own."""
    block, place = divmod(index, len(ACTIONS))
    order = np.random.default_rng([seed, 2, SPLITS.index(split), block]).permutation(len(ACTIONS))
    return ACTIONS[int(order[place])]
