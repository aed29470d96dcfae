"""A small tokenizer and the codes that it makes of a data folder's clips: where most stages begin."""

from pathlib import Path

import numpy as np
import torch

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from tests.support.quantizers import FSQ


def code_clips(data: Path, folder: Path) -> Path:
    """The folder with tokenizer/ and codes.parquet of data/videos, by an untrained tokenizer."""
    torch.manual_seed(0)
    shape = NetworkParams(
        stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=16, coarse_blocks=1,
    )
    save_tokenizer(folder / "tokenizer", Tokenizer(shape, FSQ, 64))
    tokenizer = load_tokenizer(folder / "tokenizer")
    clips = ClipStore(data / "videos").read()
    codes = tokenizer.encode(torch.from_numpy(clips.pixels)).numpy().astype(np.int32)
    meta = CodesMeta((4, 8, 8), 1000, "fsq", (8, 5, 5, 5), tokenizer.hash)
    write_codes(folder / "codes.parquet", meta, [CodesTable(clips.track_id, clips.label, clips.split, codes, meta)])
    return folder
