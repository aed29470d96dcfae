"""More training clips out of those there are: mirrored, played backwards, encoded anew.

Codes themselves are never flipped: what a code looks like in a mirror is not what its mirrored cell is coded as.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.codes import CodesTable
from kinetoken.core.progress import Progress
from kinetoken.dataset import Dataset
from kinetoken.heads.classifier import CHANGES, Change
from kinetoken.training.loop import index_batches

ENCODED_AT_ONCE = 16  # clips


def encode_changed(
    dataset: Dataset, changes: Sequence[Change], progress: Progress
) -> Iterator[tuple[Change, CodesTable]]:
    """The dataset's training clips, changed in each way and encoded anew by its tokenizer, shard by shard."""
    tokenizer, meta = dataset.tokenizer, dataset.codes.meta
    progress.phase("encoding changed clips", len(dataset.split("train")) * len(changes), "clips")
    for clips in dataset.clips.stream():
        rows = np.flatnonzero(clips.split == "train")
        for change in changes:
            each = np.empty((len(rows), *meta.grid), np.int32)
            for batch in index_batches(len(rows), ENCODED_AT_ONCE):
                pixels = np.ascontiguousarray(CHANGES[change](clips.pixels[rows[batch]]))
                each[batch] = tokenizer.encode(torch.from_numpy(pixels).to(tokenizer.background.device)).cpu().numpy()
                progress.advance(len(batch))
            yield change, CodesTable(clips.track_id[rows], clips.label[rows], clips.split[rows], each, meta)


def change_points(points: NDArray[np.float64], change: Change) -> NDArray[np.float64]:
    """Positions (N, T, 3) in metres of the ball in clips that are changed in this way; the camera looks along +z."""
    return points * np.array([-1.0, 1.0, 1.0]) if change == "mirror" else points[:, ::-1]
