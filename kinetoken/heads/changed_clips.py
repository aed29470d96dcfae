"""More training clips out of those there are: mirrored, played backwards, encoded anew.

Codes themselves are never flipped: what a code looks like in a mirror is not what its mirrored cell is coded as.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.codes import CodesTable
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.progress import Progress
from kinetoken.heads.classifier import CHANGES, Change
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import Tokenizer, check_shape
from kinetoken.training.loop import index_batches

ENCODED_AT_ONCE = 16  # clips


def encode_changed(
    codes: CodesTable, codes_path: Path, videos: Path, changes: Sequence[Change], tokenizer: Tokenizer,
    progress: Progress,
) -> Iterator[tuple[Change, CodesTable]]:
    """The training clips of a store, changed in each way and encoded anew, shard by shard.

    UserError if the store holds other tracks than the codes, or clips of another shape than the tokenizer takes.
    """
    store = ClipStore(videos)
    check_shape(tokenizer, store)
    require_same_tracks(codes, codes_path, (store, videos))
    progress.phase("encoding changed clips", int((store.split == "train").sum()) * len(changes), "clips")
    for clips in store.stream():
        rows = np.flatnonzero(clips.split == "train")
        for change in changes:
            each = np.empty((len(rows), *codes.meta.grid), np.int32)
            for batch in index_batches(len(rows), ENCODED_AT_ONCE):
                pixels = np.ascontiguousarray(CHANGES[change](clips.pixels[rows[batch]]))
                each[batch] = tokenizer.encode(torch.from_numpy(pixels).to(tokenizer.background.device)).cpu().numpy()
                progress.advance(len(batch))
            yield change, CodesTable(clips.track_id[rows], clips.label[rows], clips.split[rows], each, codes.meta)


def change_points(points: NDArray[np.float64], change: Change) -> NDArray[np.float64]:
    """Positions (N, T, 3) in metres of the ball in clips that are changed in this way; the camera looks along +z."""
    return points * np.array([-1.0, 1.0, 1.0]) if change == "mirror" else points[:, ::-1]
