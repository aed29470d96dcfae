"""Which test clips the page holds, and all that is known of each: predictions, positions, equations, decisions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesTable, Indices, read_codes
from kinetoken.core.artifacts import read_table
from kinetoken.dataset import Dataset
from kinetoken.report.exhibits import CANDIDATES, MOST_SHOWN, MOTION, Gallery, Item, ShownClips, choose, largest, wrong
from kinetoken.report.results import Results
from kinetoken.report.samples import Decoder, decode
from kinetoken.scenes.clips import ClipStore, Pixels

if TYPE_CHECKING:
    import pandas as pd

BATCH = 64  # clips decoded at once
AXES = ("x", "y", "z")
# column of a clip → confusion table with a row for each test clip, by its track
PREDICTED = {
    "classifier on codes": "train_classifier/confusion.csv", "network on pixels": "train_baselines/confusion.csv",
    "I3D + MAGVIT": "train_i3d_magvit/confusion.csv",
}
CLASSIFIER, TWO_STREAMS = "classifier on codes", "I3D + MAGVIT"
OFF = "position error"


class MotionClips:
    """Test clips of the dataset `motion`, and the galleries of the models that read them."""

    def __init__(self, results: Results, dataset: Dataset) -> None:
        self.results, self.dataset = results, dataset
        self.test = dataset.codes.of_split("test")
        store = dataset.clips
        frames, height, width = store.shape[:3]
        self.clips = ShownClips(
            MOTION, self.test.track_id.astype(np.int64), self.test.label, frames, (height, width), store.fps,
            tuple(self.test.meta.grid),
        )
        self.galleries: dict[str, Gallery] = {}
        self.points: dict[int, NDArray[Any]] = {}  # of the position head
        self.truth: dict[int, NDArray[Any]] = {}
        for name, table in PREDICTED.items():
            if (found := aligned(results, table, self.test)) is not None:
                self.clips.columns[name] = found

    def judge_classes(self, classifier: Path | None) -> None:
        """The clips that classifiers mistake; of the one on codes the surest first, if its model is there."""
        sure = None
        if classifier is not None and CLASSIFIER in self.clips.columns:
            from kinetoken.heads.classifier import load_classifier

            head = load_classifier(classifier)
            self.dataset.require_tokenizer_of(head, classifier)
            sure = np.exp(head.log_probabilities(self.test.codes)).max(1).tolist()
        for name, certainty in ((CLASSIFIER, sure), (TWO_STREAMS, None)):
            if name in self.clips.columns:
                found = wrong(self.clips, self.clips.columns[name], certainty)
                order = ", the most confident first" if certainty is not None else ""
                self.galleries[name] = Gallery(
                    f"Misclassified by {'the ' if name == CLASSIFIER else ''}{name}",
                    f"{len(found)} of {len(self.clips.track):,} test clips{order}.", MOTION, found,
                )

    def read_truth(self, trajectories: Path) -> None:
        """True positions of the test clips."""
        self.truth = paths_of(trajectories, self.clips.track)

    def judge_positions(self, position: Path) -> None:
        """Where the position head puts the ball in each frame, and, against the truth, where it errs most."""
        from kinetoken.heads.position import load_position_head, position_errors

        head = load_position_head(position)
        self.dataset.require_tokenizer_of(head, position)
        found = head.positions(self.test.codes)
        self.points = dict(zip(self.clips.track.tolist(), found, strict=True))
        if any(self.truth.get(int(t), np.empty(0)).shape != found.shape[1:] for t in self.clips.track):
            return
        truth = np.stack([self.truth[int(track)] for track in self.clips.track])
        errors = position_errors(found, truth, head.camera)
        metres, px = errors["error_m"].mean(1), errors["error_px"].mean(1)
        self.clips.columns[OFF] = [f"{a:.3f} m, {b:.2f} px" for a, b in zip(metres, px, strict=True)]
        self.galleries["position"] = Gallery(
            "Largest errors of the position from codes", "Mean distance over the frames of a clip.", MOTION,
            largest(self.clips, metres, "m"),
        )

    def judge_equations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The clips whose equations miss the held-out frames by most."""
        missed = [(error, row) for row in rows if (error := _missed(row)) is not None]
        missed.sort(key=lambda one: -one[0])
        self.galleries["equations"] = Gallery(
            "Equations that miss the held-out frames by most",
            f"{len(missed)} of {len(rows)} equations are wrong and were scored; the number is the error relative to "
            "the spread of the path.", MOTION,
            [Item(int(row["track_id"]), f"{row.get('true_law', '?')}, error {error:.3g}") for error, row in missed],
        )

    def hold(
        self, count: int, embedded: Sequence[int], rows: Sequence[Mapping[str, Any]], shown: Sequence[int]
    ) -> ShownClips:
        """Hold `count` clips in full: the galleries' first, then what is `shown`, then those of the embedding."""
        worst = [one.track for gallery in self.galleries.values() for one in gallery.items[: 2 * MOST_SHOWN]]
        chosen = choose(self.clips.track, self.clips.label, [*worst, *shown, *embedded], count)
        hold(self.clips, self.dataset.clips, self.test, chosen, self.dataset.tokenizer)
        self.clips.add_path("true", self.truth)
        self.clips.add_path("read", self.points)
        for row in rows:
            self.clips.add_text(int(row.get("track_id", -1)), *_equation(row))
        return self.clips


def candidates(
    results: Results, videos: Path, codes: Path | None, trajectories: Path | None, count: int,
    reasons: Sequence[Mapping[str, Any]],
) -> tuple[ShownClips, dict[str, Gallery]]:
    """Clips of early decisions: the wrong ones first, then some of each frame at which decisions fall."""
    store = ClipStore(videos)
    rows = np.flatnonzero(store.split == "test")
    frames, height, width = store.shape[:3]
    clips = ShownClips(
        CANDIDATES, store.track_id[rows].astype(np.int64), store.label[rows], frames, (height, width), store.fps
    )
    columns = ("extractor", "actual", "predicted", "frames")
    decided = results.table("detect_persistence/decisions.csv", columns)
    galleries: dict[str, Gallery] = {}
    first = [int(row.get("track_id", -1)) for row in reasons]
    if decided is not None and not decided.empty and "track_id" in decided:
        galleries, spread = _decided(clips, decided)
        first = [*(one.track for each in galleries.values() for one in each.items[:MOST_SHOWN]), *first, *spread]
    table = None if codes is None else read_codes(codes).of_split("test")
    if table is not None:
        clips.grid = tuple(table.meta.grid)
    hold(clips, store, table, choose(clips.track, clips.label, first, count), None)
    if trajectories is not None:
        clips.add_path("true", paths_of(trajectories, np.array(sorted(clips.shown))))
    for row in reasons:
        clips.add_text(int(row.get("track_id", -1)), f"{row.get('extractor', '?')}: {row.get('sentence', '')}")
    return clips, galleries


def _decided(clips: ShownClips, decided: "pd.DataFrame") -> tuple[dict[str, Gallery], list[int]]:
    """Columns and a gallery for each extractor, and tracks from every frame of a decision."""
    galleries, spread = {}, []
    for name, rows in decided.groupby("extractor", sort=False):
        by_track = {int(row["track_id"]): row for row in rows.to_dict("records")}
        known = [by_track.get(int(track)) for track in clips.track]
        clips.columns[f"{name} decides"] = [
            "" if row is None else f"{row['predicted']} after {row['frames']} frames" for row in known
        ]
        off = rows[rows["actual"].astype(str) != rows["predicted"].astype(str)]
        off = off.sort_values("confidence", ascending=False, kind="stable") if "confidence" in off else off
        galleries[str(name)] = Gallery(
            f"Wrong decisions of {name}", f"{len(off)} of {len(rows):,} test tracks, the most confident first.",
            CANDIDATES, [
                Item(int(row["track_id"]), f"{row['actual']}, decided {row['predicted']} after {row['frames']} frames")
                for row in off.to_dict("records")
            ],
        )
        spread += [int(track) for _, group in rows.groupby("frames", sort=True) for track in group["track_id"].iloc[:1]]
    return galleries, spread


def hold(
    clips: ShownClips, store: ClipStore, codes: CodesTable | None, chosen: Sequence[int], decoder: Decoder | None
) -> None:
    """Put the chosen tracks into the set in full: as they are, and as their codes decode where there is a decoder."""
    place = {int(track): row for row, track in enumerate(store.track_id)}
    coded = {} if codes is None else {int(track): row for row, track in enumerate(codes.track_id)}
    kept = [track for track in chosen if track in place and (codes is None or track in coded)]
    tracks = np.array(sorted(kept, key=lambda track: place[track]), np.int64)  # the store is read in its own order
    if not len(tracks):
        return
    pixels = store.take(np.array([place[int(track)] for track in tracks])).pixels
    clips.add(tracks, pixels, lossless=decoder is not None)
    if codes is None:
        return
    those: Indices = codes.codes[np.array([coded[int(track)] for track in tracks])]
    clips.add_codes(tracks, those)
    if decoder is None:
        return
    for start in range(0, len(tracks), BATCH):
        decoded: Pixels = decode(decoder, those[start : start + BATCH])
        clips.add(tracks[start : start + BATCH], decoded, lossless=False)


def aligned(results: Results, name: str, test: CodesTable) -> list[str] | None:
    """The predicted class of each test clip, if the table has a row for each, by its track.

    A table that does not name tracks counts if it has the same classes in the same order.
    """
    if not (results.plots / name).exists():
        return None
    table = results.table(name, ("actual", "predicted"))
    if table is not None and "track_id" in table:
        known = table.drop_duplicates("track_id").set_index("track_id").reindex(test.track_id)
        table = known if known["actual"].notna().all() else None
    if table is None or table["actual"].astype(str).tolist() != [str(label) for label in test.label]:
        return None
    return table["predicted"].astype(str).tolist()


def cells(clips: ShownClips | None, column: str) -> dict[tuple[str, str], list[int]] | None:
    """(actual, predicted) → tracks, for a table whose rows are known by their tracks."""
    if clips is None or column not in clips.columns:
        return None
    found: dict[tuple[str, str], list[int]] = {}
    for track, actual, predicted in zip(clips.track, clips.label, clips.columns[column], strict=True):
        found.setdefault((str(actual), predicted), []).append(int(track))
    return found


def paths_of(trajectories: Path, tracks: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """Positions (T, 3) m of the tracks that the file holds, frames in their order."""
    frame = read_table(trajectories, ["track_id", "frame", *AXES]).to_pandas()
    frame = frame[frame["track_id"].isin(set(tracks.tolist()))].sort_values(["track_id", "frame"])
    return {int(track): rows[list(AXES)].to_numpy(float) for track, rows in frame.groupby("track_id")}


def _missed(row: Mapping[str, Any]) -> float | None:
    """The error of a wrong equation; None if it is right or has none."""
    verdicts = row.get("verdicts", {})
    error = verdicts.get("nmse_extrapolated")
    if verdicts.get("equation_correct") or "track_id" not in row or not isinstance(error, (int, float)):
        return None
    return float(error)


def _equation(row: Mapping[str, Any]) -> list[str]:
    verdicts = row.get("verdicts", {})
    lines = [f"{axis}(t) = {row[axis]}" for axis in AXES if row.get(axis)]
    told = "The equation is right" if verdicts.get("equation_correct") else "The equation is wrong"
    found = [f"{told} on the held-out frames.", *lines] if lines else [str(row.get("outcome", "no equations"))]
    return [*found, str(row["description"])] if row.get("description") else found
