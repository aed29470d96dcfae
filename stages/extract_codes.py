"""Encode every clip of a dataset into the codes table, shard by shard.

Reads    params extract_codes.<dataset>, hardware; the clip store, the tokenizer
Writes   codes.parquet, metrics/extract_codes_<dataset>.json

Alone    python -m stages.extract_codes --section extract_codes.motion --videos data/motion/videos
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from kinetoken.codes import CodesMeta, write_codes
from kinetoken.core.numbers import Headlines, write_numbers
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.tokenizer.encoding import encoded
from kinetoken.training.loop import fabric_device

HEADLINES = Headlines(("codes_used_share", "bits_per_clip", "tokens_per_clip", "codebook_size", "clips"))


@dataclass(frozen=True)
class Extraction:
    """Section extract_codes.<dataset>."""

    batch_size: Positive


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    tokenizer: Annotated[Path, Input("the tokenizer")] = Path("models/tokenizer")
    codes: Annotated[Path, Output("codes table")] = Path("data/motion/codes.parquet")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/extract_codes_motion.json")
    headlines: HeadlineFolder = Path("metrics/extract_codes_motion")
    numbers: NumbersTable = Path("plots/extract_codes/numbers_motion.csv")


def run(params: Extraction, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(DatasetPaths(videos=paths.videos, tokenizer=paths.tokenizer))
    store, tokenizer = dataset.clips, dataset.tokenizer
    tokenizer.to(fabric_device(context.hardware))
    grid = tokenizer.grid(store.shape[0])
    size = tokenizer.codebook_size
    meta = CodesMeta(grid, size, tokenizer.quantizer_name, tokenizer.levels, tokenizer.hash)
    context.progress.phase("encoding", len(store), "clips")
    counts = np.zeros(size, np.int64)
    write_codes(paths.codes, meta, encoded(store, tokenizer, meta, params.batch_size, counts, context))
    tokens = int(np.prod(grid))
    write_numbers(paths, {
        "clips": len(store), "tokens_per_clip": tokens, "codebook_size": size,
        "bits_per_clip": tokens * np.log2(size), "codes_used_share": float((counts > 0).mean()),
    }, HEADLINES)


def main() -> int:
    return run_stage(run, Extraction, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
