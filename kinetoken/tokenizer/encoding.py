"""Encode clips into codes, shard by shard."""

from collections.abc import Iterator

import numpy as np
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.stage import Context
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import Tokenizer


def encoded(
    store: ClipStore, tokenizer: Tokenizer, meta: CodesMeta, batch_size: int, counts: np.ndarray, context: Context
) -> Iterator[CodesTable]:
    """One part of the codes table a shard; `counts` (codebook_size,) gathers how often each code occurs."""
    device = tokenizer.background.device
    for clips in store.stream():
        codes = np.empty((len(clips), *meta.grid), np.int32)
        for start in range(0, len(clips), batch_size):
            rows = slice(start, start + batch_size)
            codes[rows] = tokenizer.encode(torch.from_numpy(clips.pixels[rows]).to(device)).cpu().numpy()
            context.progress.advance(len(codes[rows]))
        counts += np.bincount(codes.ravel(), minlength=len(counts))
        yield CodesTable(clips.track_id, clips.label, clips.split, codes, meta)
