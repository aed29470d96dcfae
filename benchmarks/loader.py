"""Clips a second of the action loader against the bare decoder, over the same files and on one thread each.

    python -m benchmarks.loader --folder data/actions --clips 600

`decoder` is PyAV decoding every frame of every file and doing nothing with them; `decoder, RGB` turns each frame into
an array, which is the least that a use of them needs. The loader takes one frame a segment, turns it into RGB, crops
and batches in one worker process; `augmented` also zooms and relights, `cached` finds decoded clips on disk. All take
turns on files that are in memory already; shares are medians over rounds.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import torch

from kinetoken.actions.cache import ClipCache
from kinetoken.actions.dataset import ActionClips, EpochLoader, Footage, open_footage
from kinetoken.actions.sampling import Intake, Views
from kinetoken.core.progress import Progress

CACHE_BYTES = 2**32


def decode(paths: list[Path], *, rgb: bool) -> None:
    """Decode every frame of every file, on one thread."""
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for frame in container.decode(video=0):
                if rgb:
                    frame.to_ndarray(format="rgb24")


def loading(footage: Footage, batch_size: int, *, training: bool) -> Callable[[], None]:
    """A function that reads one epoch of the training part through one living worker."""
    loader = EpochLoader(ActionClips(footage, "train", training=training), batch_size, workers=1)

    def read() -> None:
        for _ in loader.epoch():
            pass

    return read


def open_first(options: argparse.Namespace) -> Footage:
    """The first so many whole clips of the training part."""
    views = Views(options.segments, options.short_side, options.crop, zoom=1.0, jitter=0.0, clips=1, crops=1)
    footage = open_footage(options.folder, views, Intake("skip", 1.0, 1, 0), Progress("loader"))
    splits = {"train": footage.actions.splits["train"][: options.clips]}
    return dataclasses.replace(footage, actions=dataclasses.replace(footage.actions, splits=splits))


def measure(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; the first round starts the workers and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/actions"))
    parser.add_argument("--clips", type=int, default=600, help="of the training part (default: 600)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--short-side", type=int, default=64)
    parser.add_argument("--crop", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    footage = open_first(options)
    changed = dataclasses.replace(footage, views=dataclasses.replace(footage.views, zoom=0.9, jitter=0.2))
    clips = footage.actions.splits["train"]
    paths = [clip.path for clip in clips]
    with tempfile.TemporaryDirectory() as folder:
        cached = dataclasses.replace(footage, cache=ClipCache(Path(folder), CACHE_BYTES))
        times = measure({
            "decoder": lambda: decode(paths, rgb=False), "decoder, RGB": lambda: decode(paths, rgb=True),
            "loader, training": loading(footage, 16, training=True),
            "loader, evaluation": loading(footage, 16, training=False),
            "loader, augmented": loading(changed, 16, training=True),
            "loader, cached": loading(cached, 16, training=True),
        }, options.rounds)
    frames = sum(footage.frames[clip.id] for clip in clips)
    print(f"{len(clips)} clips, {frames} frames, medians of {options.rounds} rounds, shares of the decoder's rate")
    for name, taken in times.items():
        middle = statistics.median(taken)
        share = statistics.median(bare / own for bare, own in zip(times["decoder"], taken, strict=True))
        print(f"{name:<20}{len(clips) / middle:8.0f} clips/s{frames / middle:10.0f} frames/s{share:8.1%}")


if __name__ == "__main__":
    main()
