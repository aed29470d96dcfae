"""TEASER (Schäfer & Leser 2020) as aeon has it, on what a detector reads of the same tracks. An environment of its own:

    uv venv .venv-teaser && uv pip install --python .venv-teaser aeon pyarrow
    python -m studies.persistence.features --features run_info/features.parquet
    .venv-teaser/bin/python benchmarks/teaser.py --features run_info/features.parquet --decisions run_info/teaser.csv

Channels are what the detector's own head is given: steps u' and v' between frames, changes of the step, presence. It
learns on the tracks of train, one classifier for each number of frames that it may have seen, and decides test's.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from aeon.classification.early_classification import TEASER

EARLIEST = 3  # frames: aeon's classifiers need as many, and two steps say nothing


def channels(table: dict[str, np.ndarray], frames: int) -> np.ndarray:
    """(N, 5, T): steps in px and their changes, where the candidate is in sight, and presence."""
    place = np.stack([table["u"], table["v"]], -1).reshape(-1, frames, 2)
    presence = table["presence"].reshape(-1, frames)
    both = presence[:, 1:] * presence[:, :-1]
    step = np.zeros_like(place)
    step[:, 1:] = np.clip(place[:, 1:] - place[:, :-1], -16, 16) * both[..., None]
    turn = np.zeros_like(place)
    turn[:, 2:] = np.clip(step[:, 2:] - step[:, 1:-1], -16, 16) * (both[:, 1:] * both[:, :-1])[..., None]
    return np.concatenate([step, turn, presence[..., None]], -1).transpose(0, 2, 1).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--decisions", type=Path, required=True)
    parser.add_argument("--points", type=int, nargs="+", default=[3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 32])
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    read = pq.read_table(options.features)
    table = {name: read[name].to_numpy(zero_copy_only=False) for name in read.column_names}
    frames = int(table["frame"].max()) + 1
    series, label = channels(table, frames), table["label"][::frames]
    split, track = table["split"][::frames].astype(str), table["track_id"][::frames]
    train, test = split == "train", split == "test"
    from aeon.classification.interval_based import TimeSeriesForestClassifier

    forest = TimeSeriesForestClassifier(n_estimators=options.trees, random_state=0, n_jobs=options.jobs)
    teaser = TEASER(estimator=forest, classification_points=options.points, random_state=0, n_jobs=options.jobs)
    start = time.perf_counter()
    teaser.fit(series[train], label[train])
    trained = time.perf_counter() - start
    # aeon decides point by point: those that are safe at one are done, the others wait for the next
    waiting, state = np.flatnonzero(test), None
    predicted, seen = np.zeros(len(series), int), np.full(len(series), frames)
    for point in options.points:
        given = series[waiting][:, :, :point]
        told, safe = teaser.predict(given) if state is None else teaser.update_predict(given)
        state = teaser.get_state_info()
        predicted[waiting[safe]], seen[waiting[safe]] = told[safe], point
        if point == options.points[-1]:
            predicted[waiting], seen[waiting] = told, point
        waiting = waiting[~safe]
        if len(waiting) == 0:
            break
    with options.decisions.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(["track_id", "predicted", "frames"])
        writer.writerows(zip(track[test], predicted[test], seen[test], strict=True))
    right, earliness = (predicted == label)[test].mean(), 1 - seen[test].mean() / frames
    print(f"TEASER: {right:.2%} right at frame {seen[test].mean():.2f}, harmonic mean "
          f"{2 * right * earliness / (right + earliness):.3f}; trained in {trained:.0f} s")


if __name__ == "__main__":
    main()
