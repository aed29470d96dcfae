"""What the datasets of a run hold: where clips come from, how many there are of each class and split, their shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kinetoken.core.absence import why_absent

Origin = Literal["laws", "candidates", "tracks", "videos", "actions", "labelled"]

SPLITS = ("train", "val", "validation", "test", "ood")
CODED = ("motion", "persistence")  # clip stores, which the tokenizer encodes
ACTIONS = "actions"


@dataclass(frozen=True)
class Shape:
    """Of every clip of a store."""

    frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class CardClips:
    """One dataset. `counts`: split → class → clips."""

    name: str
    origin: Origin
    counts: Mapping[str, Mapping[str, int]]
    shape: Shape | None  # None: clips differ in length
    no_tracks: str | None  # why there are no true positions; None: there are

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({label for split in self.counts.values() for label in split}))

    @property
    def labelled(self) -> bool:
        return len(self.classes) > 1

    @property
    def clips(self) -> int:
        return sum(self.of_split(split) for split in self.counts)

    def of_split(self, split: str) -> int:
        return sum(self.counts[split].values())


def read_clip_set(data: Path, name: str, settings: Mapping[str, Any]) -> CardClips | str:
    """The dataset under `data`, or why there is none. Raises UserError for one that is damaged."""
    if name == ACTIONS:
        return _actions(data / name)
    videos, tracks = data / name / "videos", data / name / "trajectories.parquet"
    if not videos.exists():
        return f"data/{name}/videos was not found; run the stage render_videos"
    if reason := why_absent(videos):
        return reason
    return _stored(name, videos, tracks, str(settings["generate_trajectories"][name].get("source", "")))


def _stored(name: str, videos: Path, tracks: Path, source: str) -> CardClips:
    from kinetoken.scenes.clips import ClipStore
    from kinetoken.scenes.motion import SYNTHETIC

    store = ClipStore(videos)
    frames, height, width = store.shape
    no_tracks = why_absent(tracks) if tracks.exists() else f"data/{name}/trajectories.parquet was not found"
    drawn: Origin = "candidates" if name == "persistence" else "laws"
    origin: Origin = "videos" if no_tracks else drawn if Path(source).name == SYNTHETIC else "tracks"
    labels = zip(store.split.tolist(), store.label.tolist(), strict=True)
    return CardClips(name, origin, _counted(labels), Shape(frames, height, width, store.fps), no_tracks)


def _actions(folder: Path) -> CardClips | str:
    from kinetoken.actions.classes import ACTIONS as RENDERED
    from kinetoken.actions.layout import read_actions

    if not folder.exists():
        return "data/actions was not found; run the stage generate_actions"
    if reason := why_absent(folder):
        return reason
    found = read_actions(folder)
    names = (*found.classes, "class not given")  # the label -1
    labels = ((split, names[clip.label]) for split, clips in found.splits.items() for clip in clips)
    origin: Origin = "actions" if set(found.classes) == {action.name for action in RENDERED} else "labelled"
    return CardClips(ACTIONS, origin, _counted(labels), None, "the files hold videos and labels alone")


def _counted(rows: Any) -> dict[str, dict[str, int]]:  # noqa: ANN401 - any iterable of split and class
    counts: dict[str, dict[str, int]] = {}
    for split, label in rows:
        of_split = counts.setdefault(str(split), {})
        of_split[str(label)] = of_split.get(str(label), 0) + 1
    known = sorted(counts, key=lambda split: (SPLITS.index(split) if split in SPLITS else len(SPLITS), split))
    return {split: dict(sorted(counts[split].items())) for split in known}
