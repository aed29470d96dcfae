"""Clips that models paint: what codes keep of a clip, the frames to come, and new clips of a class.

Each function is a generator of blocks, so that memory does not grow with the number of clips::

    for painted in reconstruct("ball.webm", "models/tokenizer"):
        painted.name, painted.pixels          # (n,), (n, T, H, W, 3) uint8
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, Indices
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.windows import STEP, ClipNeed
from kinetoken.inference.coding import (
    ClipsOrCodes,
    CodesNeed,
    NamedCodes,
    clips_of,
    codes_for,
    encoded_blocks,
    encoded_clips,
    fitting_tokenizer,
    open_any,
)
from kinetoken.inference.defaults import FPS
from kinetoken.inference.models import Device, Saved, load_model, name_of
from kinetoken.prediction.judging import decode_in_batches
from kinetoken.report.samples import DIFFERENCE_GAIN, psnr_db
from kinetoken.scenes.clips import Pixels
from kinetoken.scenes.rendering import to_bytes
from kinetoken.tokenizer.network import Tokenizer, require_causal

LABELS_MADE = "generated"  # the split of clips that a generator made


@dataclasses.dataclass(frozen=True)
class PaintedClips:
    """n clips that a model painted, what each is called, the codes that they were painted from, and frames a second."""

    name: NDArray[np.str_]
    pixels: Pixels  # (n, T, H, W, 3)
    codes: NamedCodes
    fps: float
    original: Pixels | None = None  # (n, T, H, W, 3) what was reconstructed
    given: int | None = None  # frames of the past that a prediction was made from

    @property
    def psnr_db(self) -> NDArray[np.float64]:
        """(n,) dB of each reconstruction, at most 99. ValueError where nothing was reconstructed."""
        if self.original is None:
            raise ValueError("these clips were not reconstructed from others")
        return np.array([psnr_db(one, other) for one, other in zip(self.original, self.pixels, strict=True)])

    def side_by_side(self) -> Pixels:
        """(n, T, H, 3 W, 3): original, reconstruction, and their difference, stronger by DIFFERENCE_GAIN."""
        if self.original is None:
            raise ValueError("these clips were not reconstructed from others")
        apart = np.abs(self.original.astype(np.int16) - self.pixels)
        stronger = np.minimum(apart * DIFFERENCE_GAIN, 255).astype(np.uint8)
        return np.concatenate([self.original, self.pixels, stronger], -2)


def tokenize(
    clips: ClipsOrCodes, tokenizer: Saved, *, frames: int | None = None, device: Device = "auto",
    progress: Progress | None = None,
) -> Iterator[NamedCodes]:
    """The codes of clips, block by block; `write_named_codes` files them as a codes table.

    Clips of a store, an array or tracks are read whole, video files by 16 frames; `frames` (a multiple of 4) sets
    another length. UserError for a folder that holds no tokenizer, and clips that it cannot read.

    >>> import kinetoken
    >>> from kinetoken.inference import write_named_codes
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> write_named_codes("codes.parquet", kinetoken.tokenize(clips, "models/tokenizer"))
    3
    >>> kinetoken.read_codes("codes.parquet").codes.shape  # (clips, frames / 4, height / 8, width / 8)
    (3, 4, 8, 8)
    """
    module: Tokenizer = load_model(tokenizer, "tokenizer", device=device)
    opened, need = clips_of(clips), _whole_clips(tokenizer, module, frames)
    opened.check(need)
    for codes in encoded_blocks(opened, need, module):
        yield codes
        _count(progress, len(codes))


def reconstruct(
    clips: ClipsOrCodes, tokenizer: Saved, *, frames: int | None = None, device: Device = "auto",
    progress: Progress | None = None,
) -> Iterator[PaintedClips]:
    """What the tokenizer's codes keep of clips: originals and reconstructions, block by block.

    `frames` and UserError as `tokenize`.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> for block in kinetoken.reconstruct(clips, "models/tokenizer"):
    ...     print(block.pixels.shape, block.pixels.dtype, block.psnr_db.shape)
    (3, 16, 64, 64, 3) uint8 (3,)
    """
    module: Tokenizer = load_model(tokenizer, "tokenizer", device=device)
    opened, need = clips_of(clips), _whole_clips(tokenizer, module, frames)
    opened.check(need)
    for block in opened.blocks(need):
        codes = encoded_clips(block, module)
        yield PaintedClips(block.name, painted(module, codes.codes), codes, block.fps, block.pixels)
        _count(progress, len(block))


def predict(
    clips: ClipsOrCodes, model: Saved, tokenizer: Saved, *, slices: int | None = None, dynamics: str | None = None,
    with_past: bool = False, device: Device = "auto", progress: Progress | None = None,
) -> Iterator[PaintedClips]:
    """The frames that come after the first ones of each clip, as many as the predictor was trained for.

    It reads the past alone: 12 frames for the pipeline's predictor, whose clips of 16 may be given whole. `slices` of
    four frames each are predicted (all that it was trained for); `dynamics` names one of its networks (the one that was
    best on validation clips). `pixels` holds the predicted frames, `with_past` those of the past as its codes show them
    before these; `codes` holds past and future.

    UserError for a model of another kind, a tokenizer or codes other than it was trained on, and clips that it cannot
    read.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> for block in kinetoken.predict(clips, "models/predictor", "models/tokenizer", slices=1):
    ...     print(block.pixels.shape[0], "clips,", block.given, "frames given")
    3 clips, 12 frames given
    """
    module = load_model(model, "predictor", device=device)
    shape = module.shape
    if dynamics is not None and dynamics not in module.dynamics:
        raise UserError(f"--dynamics {dynamics}: {name_of(model, 'predictor')} has {', '.join(module.dynamics)}")
    coder = fitting_tokenizer(tokenizer, module.tokenizer_hash, name_of(model, "predictor"), device)
    require_causal(coder, Path(name_of(tokenizer, "tokenizer")))
    need = CodesNeed.prefix(module, model, "predictor", shape.grid, shape.past_slices * STEP, past=True)
    for past in codes_for(open_any(clips), need, coder, device, progress):
        ahead = module.predict(past.codes, dynamics, slices)
        whole = np.concatenate([past.codes, ahead], 1)
        meta = dataclasses.replace(past.meta, grid=(whole.shape[1], *past.meta.grid[1:]))
        codes = dataclasses.replace(past, codes=whole, meta=meta)
        last = None if with_past else ahead.shape[1] * STEP
        pixels = painted(coder, whole, last)
        yield PaintedClips(codes.name, pixels, codes, past.fps or FPS, given=shape.past_slices * STEP)


def generate(
    model: Saved, tokenizer: Saved, classes: Sequence[str] | None = None, *, count: int = 1, seed: int = 0,
    prior: str = "masked", device: Device = "auto", progress: Progress | None = None,
) -> Iterator[PaintedClips]:
    """`count` new clips of each of the classes (all that the generator knows for None), the same for the same seed.

    `prior` is one of the generator's: masked, class_gaussian or gaussian, which heeds no class. UserError for an
    unknown class or prior, a model of another kind, and a tokenizer other than it was trained with.

    >>> import kinetoken
    >>> for block in kinetoken.generate("models/generator", "models/tokenizer", ["helical"], count=2, seed=1):
    ...     print(block.name, block.pixels.shape)
    ['helical-0' 'helical-1'] (2, 16, 64, 64, 3)
    """
    if count < 1:
        raise UserError(f"--count {count}: at least 1")
    if seed < 0:
        raise UserError(f"--seed {seed}: at least 0")
    module = load_model(model, "generator", device=device)
    reader = name_of(model, "generator")
    coder = fitting_tokenizer(tokenizer, module.tokenizer_hash, reader, device)
    wanted = tuple(classes) if classes is not None else module.classes
    for name in wanted:
        if name not in module.classes:
            raise UserError(f"--class {name}: {reader} knows {', '.join(module.classes)}")
    if prior not in module.priors:
        raise UserError(f"--prior {prior}: {reader} has {', '.join(module.priors)}")
    meta = CodesMeta(
        module.shape.grid, coder.codebook_size, coder.quantizer_name, coder.levels, coder.hash
    )
    for place, name in enumerate(wanted):
        drawn = module.sample(prior, name, count, seed)
        codes = NamedCodes(
            np.arange(place * count, (place + 1) * count, dtype=np.int32), np.full(count, name),
            np.full(count, LABELS_MADE), drawn, meta, np.array([f"{name}-{i}" for i in range(count)]), FPS,
        )
        yield PaintedClips(codes.name, painted(coder, drawn), codes, FPS)
        _count(progress, count)


def painted(tokenizer: Tokenizer, codes: Indices, last: int | None = None) -> Pixels:
    """Codes (N, T', H', W') → (N, T, H, W, 3) uint8, or their `last` frames alone."""
    return np.concatenate([to_bytes(frames) for _, frames in decode_in_batches(tokenizer, codes, last)])


def _whole_clips(given: Saved, tokenizer: Tokenizer, frames: int | None) -> ClipNeed:
    reader = name_of(given, "tokenizer")
    if frames is not None and (frames % STEP or frames < STEP):
        raise UserError(f"--frames {frames}: {reader} reads a multiple of {STEP} frames")
    return ClipNeed(reader, tokenizer.image_size, frames)


def _count(progress: Progress | None, clips: int) -> None:
    if progress is not None:
        progress.advance(clips)
