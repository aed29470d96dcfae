"""A tokenizer run over the motion set: the codes of every clip, and the reconstructions of the test clips judged."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.progress import Progress
from kinetoken.diagnosis.chain import Painted
from kinetoken.diagnosis.usage import usage_of
from kinetoken.examination.checking import Array, CheckedTokenizer, Floats, Pixels
from kinetoken.examination.motion_set import MotionSet
from kinetoken.tokenizer.scoring import ClipScores, Originals, psnr, reconstruction_metrics, score_clips


@dataclasses.dataclass(frozen=True)
class Encoded:
    """All clips' codes (N, …), and what was quantized (N, …) where the adapter tells."""

    codes: Array
    latents: Floats | None


@dataclasses.dataclass(frozen=True)
class Sample:
    """A test clip and its reconstruction, (T, H, W, 3) uint8 each."""

    label: str
    original: Pixels
    reconstruction: Pixels


@dataclasses.dataclass(frozen=True)
class Reconstructed:
    """numbers: each measure with `_floor`, `_ceiling` and interval; painted: the same for the diagnosis.

    tracked (n, T, 2): where the ball is found in the original test clips, px.
    """

    numbers: dict[str, float]
    painted: Painted
    tracked: NDArray[np.float64]
    samples: tuple[Sample, ...]


def encode_all(tokenizer: CheckedTokenizer, motion: MotionSet, progress: Progress) -> Encoded:
    """Every clip in the order of the set."""
    progress.phase("encoding", len(motion.store), "clips")
    codes, latents = [], []
    for _, pixels in _batches(motion, tokenizer.facts.batch_size):
        codes.append(tokenizer.encode(pixels))
        if (found := tokenizer.latents(pixels)) is not None:
            latents.append(found)
        progress.advance(len(pixels))
    return Encoded(np.concatenate(codes), np.concatenate(latents) if latents else None)


def reconstruct(
    tokenizer: CheckedTokenizer, motion: MotionSet, codes: Array, seed: int, progress: Progress
) -> Reconstructed:
    """The test clips decoded from their codes and compared; the baseline is the mean video of the training clips."""
    mean, split = _mean_video(motion), motion.tracks.split
    progress.phase("decoding", motion.counts["test"], "clips")
    parts: dict[str, list[ClipScores]] = {"reconstruction": [], "floor": [], "ceiling": []}
    samples: dict[str, Sample] = {}
    tracked = []
    for rows, clips in _batches(motion, tokenizer.facts.batch_size):
        tested = split[rows] == "test"
        if not tested.any():
            continue
        rows, pixels = rows[tested], clips[tested]
        drawn = tokenizer.decode(codes[rows])
        original = pixels.astype(np.float32) / np.float32(255)
        originals = Originals.of(original, motion.scene, motion.tracks.points[rows])
        tracked.append(np.stack([originals.tracked.u, originals.tracked.v], -1))
        for name, frames in (("reconstruction", drawn), ("floor", mean), ("ceiling", original)):
            parts[name].append(score_clips(frames, originals))
        for place, label in enumerate(motion.tracks.label[rows]):
            if label not in samples:
                samples[str(label)] = Sample(str(label), pixels[place], np.rint(drawn[place] * 255).astype(np.uint8))
        progress.advance(len(rows))
    scores = {name: ClipScores.joined(found) for name, found in parts.items()}
    numbers = reconstruction_metrics(scores, seed)
    painted = Painted(
        numbers["psnr_db"], numbers["psnr_db_floor"], numbers["foreground_psnr_db"],
        numbers["foreground_psnr_db_floor"], _background(scores["reconstruction"]), _background(scores["floor"]),
    )
    return Reconstructed(numbers, painted, np.concatenate(tracked), tuple(samples[label] for label in sorted(samples)))


def _background(scores: ClipScores) -> float:
    """PSNR in dB outside the ball's mask."""
    return psnr(scores.squared - scores.squared_mask, scores.pixels - scores.pixels_mask)


def _batches(motion: MotionSet, size: int) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
    """Rows of the set and their clips (B, T, H, W, 3), at most `size` at once."""
    first = 0
    for clips in motion.store.stream():
        for start in range(0, len(clips), size):
            pixels = clips.pixels[start : start + size]
            yield first + start + np.arange(len(pixels)), pixels
        first += len(clips)


def _mean_video(motion: MotionSet) -> Floats:
    """(T, H, W, 3) in [0, 1], of the training clips."""
    total, first = np.zeros((*motion.store.shape, 3), np.int64), 0
    for clips in motion.store.stream():
        learned = motion.tracks.split[first : first + len(clips)] == "train"
        total += clips.pixels[learned].sum(0, dtype=np.int64)
        first += len(clips)
    return (total / (255 * motion.counts["train"])).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Storage:
    """What a clip's codes take: numbers kept, bits at a fixed length a code, and at the codes' own entropy."""

    tokens: int
    bits: float
    entropy_bits: float | None
    raw_bits: float


def storage(tokenizer: CheckedTokenizer, codes: Array) -> Storage:
    """Entropy as if all tokens were drawn alone. Of a tokenizer that is not quantized: latents as 16-bit numbers, and
    no entropy."""
    facts = tokenizer.facts
    tokens = int(np.prod(codes.shape[1:]))
    raw = 24.0 * facts.frames * facts.size**2
    if not facts.quantized:
        return Storage(tokens, 16.0 * tokens, None, raw)
    size = facts.codebook_size or int(codes.max()) + 1
    axis = tokenizer.layout.index("Q") if "Q" in tokenizer.layout else None
    books = [codes] if axis is None else list(np.moveaxis(codes, axis, 0))
    entropy = sum(
        usage_of(np.unique(book, return_counts=True)[1]).entropy_bits * book.size / len(codes) for book in books
    )
    return Storage(tokens, tokens * float(np.log2(max(size, 2))), entropy, raw)
