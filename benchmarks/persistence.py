"""Track-frames a second of the online detector, and how long one frame of one track takes, on one thread.

    python -m benchmarks.persistence --model models/persistence/transformer
    python -m benchmarks.persistence --model models/persistence/magvit --tokenizer models/tokenizer

So many tracks begin together; each is fed its frames one at a time until it is decided. The first round is not counted.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from kinetoken.persistence.online import OnlineDetector
from kinetoken.scenes.clips import ClipStore, Pixels


def play(detector: OnlineDetector, clips: Pixels) -> tuple[int, list[float]]:
    """Feed all tracks until they are decided: (frames fed, seconds a track and frame of each call)."""
    waiting, fed, latency = list(range(len(clips))), 0, []
    for frame in range(clips.shape[1]):
        start = time.perf_counter()
        verdicts = detector.feed({track: (frame, clips[track, frame]) for track in waiting})
        latency.append((time.perf_counter() - start) / len(waiting))
        fed += len(waiting)
        waiting = [track for track in waiting if verdicts[track].status == "undecided"]
        if not waiting:
            break
    for track in range(len(clips)):
        detector.forget(track)
    return fed, latency


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/persistence/transformer"))
    parser.add_argument("--tokenizer", type=Path, help="magvit's")
    parser.add_argument("--videos", type=Path, default=Path("data/persistence/videos"))
    parser.add_argument("--tracks", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = ClipStore(options.videos)
    clips = store.take(np.flatnonzero(store.split == "test")[: max(options.tracks)]).pixels
    detector = OnlineDetector.load(options.model, options.tokenizer)
    for tracks in options.tracks:
        rates, waits = [], []
        for turn in range(options.rounds + 1):
            start = time.perf_counter()
            fed, latency = play(detector, clips[:tracks])
            if turn:
                rates.append(fed / (time.perf_counter() - start))
                waits += latency
        print(
            f"{tracks:4d} tracks at once: {statistics.median(rates):6.0f} track-frames/s, "
            f"{1e3 * statistics.median(waits):.2f} ms a track and frame (median), {1e3 * max(waits):.2f} at most"
        )


if __name__ == "__main__":
    main()
