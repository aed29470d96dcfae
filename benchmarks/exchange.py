"""What the parent of a benchmark and its runners pass to each other: clips one way, codes and clips back, as NPZ.

A runner may live in another environment, so only NumPy is used here. Time is that of the process on the processor,
one thread: other work on the machine slows a run down and does not shorten its training.
"""

import argparse
import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CODING_BATCH = 20  # clips at once, the same for every system

clock = time.process_time  # s


@dataclasses.dataclass
class Data:
    """What a runner is given."""

    train: NDArray[np.uint8]  # (N, T, H, W, 3)
    test: NDArray[np.uint8]
    background: NDArray[np.float32]  # (H, W, 3) in [0, 1], the training clips' typical image

    def save(self, path: Path) -> None:
        _write(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> "Data":
        with np.load(path) as stored:
            return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls)})


@dataclasses.dataclass
class Training:
    """What it took."""

    seconds: float
    clips: int  # seen, in whole clips' worth of pixels; those seen again counted again
    parameters: int
    peak_mib: float  # of the whole process up to the end of training, clips in memory among it


@dataclasses.dataclass
class Result:
    """What a runner gives back: codes of the test clips, and what was decoded from these codes and nothing else."""

    codes: NDArray[np.int32]  # (N, T', H', W')
    frames: NDArray[np.float16]  # (N, T, H, W, 3) in [0, 1]
    codebook_size: int
    coding_seconds: float  # from clips to codes, all test clips
    training: Training

    def save(self, path: Path) -> None:
        numbers = {"codebook_size": self.codebook_size, "coding_seconds": self.coding_seconds}
        _write(path, {"codes": self.codes, "frames": self.frames, **numbers, **vars(self.training)})

    @classmethod
    def load(cls, path: Path) -> "Result":
        with np.load(path) as stored:
            training = Training(
                float(stored["seconds"]), int(stored["clips"]), int(stored["parameters"]), float(stored["peak_mib"])
            )
            size, seconds = int(stored["codebook_size"]), float(stored["coding_seconds"])
            return cls(stored["codes"], stored["frames"], size, seconds, training)


Encode = Callable[[NDArray[np.uint8]], NDArray[np.int32]]
Decode = Callable[[NDArray[np.int32]], NDArray[np.float16]]


def code_clips(clips: NDArray[np.uint8], encode: Encode, decode: Decode, size: int, training: Training) -> Result:
    """Clips to codes, which are timed, and these back to clips."""
    batches = [clips[i : i + CODING_BATCH] for i in range(0, len(clips), CODING_BATCH)]
    start = clock()
    codes = [encode(batch) for batch in batches]
    seconds = clock() - start
    frames = [decode(batch) for batch in codes]
    return Result(np.concatenate(codes), np.concatenate(frames), size, seconds, training)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def runner_options(description: str | None) -> argparse.ArgumentParser:
    """Options that every runner takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of training, on one thread")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    return parser


def _write(path: Path, arrays: dict[str, object]) -> None:
    partial = path.with_name("partial-" + path.name)
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.rename(path)
