"""One dataset, opened: clips, tracks, codes and tokenizer, as far as they are given, checked once to belong together.

    dataset = Dataset.open(DatasetPaths(videos=…, codes=…, tokenizer=…), needs=require_classes, causal=True)
    test = dataset.split("test")
    test.codes, test.label   # in memory
    test.read_clips()        # from the shards that hold them, now

Pixels stay on the disk until they are asked for, and then those alone are read.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesTable, Indices, read_codes
from kinetoken.core.absence import why_absent
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import Ids, PerTrack, require_same_tracks
from kinetoken.physics.laws import Array, are_laws
from kinetoken.scenes.clips import Clips, ClipStore
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracks import Tracks, read_tracks

if TYPE_CHECKING:
    from kinetoken.tokenizer.network import Tokenizer

Part = TypeVar("Part")
Needs = Callable[[PerTrack, object], None]  # raises UserError for a table (from that source) that lacks something


class TrainedOnCodes(Protocol):
    """A model that reads or writes codes, and knows the tokenizer whose codes it was trained on."""

    tokenizer_hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetPaths:
    """Where a dataset's parts lie; None for those that are not wanted. Tracks are two files."""

    videos: Path | None = None
    trajectories: Path | None = None
    track_params: Path | None = None
    codes: Path | None = None
    tokenizer: Path | None = None


class Dataset:
    """Clips, tracks, codes and tokenizer of the same N tracks; each is an attribute, and ValueError where not given.

    `table` is the one of its tables that says whose rows these are: codes if given, else clips, else tracks.
    """

    def __init__(
        self, *, clips: ClipStore | None = None, tracks: Tracks | None = None, codes: CodesTable | None = None,
        tokenizer: "Tokenizer | None" = None, paths: DatasetPaths | None = None,
    ) -> None:
        """Parts that are known to belong together; `open` reads them from files and sees to it that they do."""
        self._clips, self._tracks, self._codes, self._tokenizer = clips, tracks, codes, tokenizer
        self.paths = paths or DatasetPaths()
        tables = ((codes, self.paths.codes), (clips, self.paths.videos), (tracks, self.paths.trajectories))
        self._tables: list[tuple[PerTrack, object]] = [(each, path) for each, path in tables if each is not None]

    @classmethod
    def open(
        cls, paths: DatasetPaths, *, needs: Needs | None = None, causal: bool = False, scene: bool = False,
        row_for_row: bool = True,
    ) -> "Dataset":
        """Everything that `paths` names, pixels left where they are.

        Trajectories that only say why there are none leave the dataset without tracks, which `tracked` tells.

        UserError, naming the file, what is wrong in it, and what to run again, for: codes of another tokenizer; clips
        of a shape that the tokenizer does not take; with `causal` a tokenizer whose codes of the past know later
        frames; with `scene` clips that do not say how they were drawn, unless they have no tracks; a table that lacks
        what the stage `needs`; and tables that do not hold the same tracks row for row, each of the same class, split
        and number of frames. With `row_for_row` off the last is left out, for stages that look clips up by their track.
        """
        tracks = None
        if paths.trajectories is not None and paths.track_params is not None and not why_absent(paths.trajectories):
            tracks = read_tracks(paths.trajectories, paths.track_params)
        dataset = cls(
            clips=None if paths.videos is None else ClipStore(paths.videos), tracks=tracks,
            codes=None if paths.codes is None else read_codes(paths.codes),
            tokenizer=None if paths.tokenizer is None else _load_tokenizer(paths.tokenizer), paths=paths,
        )
        dataset._require_tokenizer(causal)
        if scene and (tracks is not None or paths.trajectories is None):
            _ = dataset.scene  # must be known
        if needs is not None:
            needs(dataset.table, dataset.source)
        if row_for_row:
            dataset._require_same_rows()
        return dataset

    @property
    def clips(self) -> ClipStore:
        return _given(self._clips, "clips")

    @property
    def tracks(self) -> Tracks:
        return _given(self._tracks, "tracks")

    @property
    def tracked(self) -> bool:
        """Are true positions known? Not those of things in a user's videos."""
        return self._tracks is not None

    @property
    def codes(self) -> CodesTable:
        return _given(self._codes, "codes")

    @property
    def tokenizer(self) -> "Tokenizer":
        return _given(self._tokenizer, "tokenizer")

    @property
    def scene(self) -> Scene:
        """How the clips were drawn; UserError for clips that Kinetoken did not draw."""
        return self.clips.scene

    @property
    def background(self) -> NDArray[np.float32] | None:
        """(H, W, 3) in [0, 1] behind all clips; None for a user's videos, each of which has a still picture of its own.
        """
        return self.scene.background() if self.tracked else None

    @property
    def lawful(self) -> bool:
        """Are the clips tracks under the known laws of motion? Videos are not, whatever their classes are called."""
        return self.tracked and are_laws(self.classes)

    @property
    def table(self) -> PerTrack:
        return self._tables[0][0]

    @property
    def source(self) -> object:
        """Where `table` lies, for error messages."""
        return self._tables[0][1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the whole dataset, sorted: their order is that of `target` in every split."""
        return self.table.classes

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold clips, sorted."""
        return tuple(sorted(map(str, set(self.table.split))))

    def split(self, name: str) -> "Split":
        """The clips of a split; UserError if there are none."""
        rows = np.flatnonzero(self.table.split == name)
        if not len(rows):
            raise UserError(f"{self.source}: split '{name}' is empty")
        return Split(self, rows)

    def require_tokenizer_of(self, model: TrainedOnCodes, path: Path) -> None:
        """UserError unless the model (from `path`) was trained on codes of the tokenizer that made these codes."""
        self.codes.meta.require_same_tokenizer(model.tokenizer_hash, self.paths.codes, path)

    def _require_tokenizer(self, causal: bool) -> None:
        if self._tokenizer is None:
            return
        from kinetoken.tokenizer.network import check_shape, require_causal

        if self._codes is not None:
            self._codes.meta.require_same_tokenizer(self._tokenizer.hash, self.paths.codes, self.paths.tokenizer)
        if causal:
            require_causal(self._tokenizer, _given(self.paths.tokenizer, "tokenizer"))
        if self._clips is not None:
            check_shape(self._tokenizer, self._clips)

    def _require_same_rows(self) -> None:
        (first, source), *others = self._tables
        require_same_tracks(first, source, *others)
        if self._clips is not None and self._tracks is not None:
            seen, drawn = self._clips.shape[0], self._tracks.points.shape[1]
            if seen != drawn:
                raise UserError(
                    f"{self.paths.videos}: clips of {seen} frames, but tracks of {drawn} in {self.paths.trajectories}; "
                    "run render_videos again"
                )


@dataclasses.dataclass(frozen=True)
class Split:
    """Some of a dataset's clips, by default all of one split: a view that holds nothing but their rows."""

    dataset: Dataset
    rows: NDArray[np.intp]  # ascending

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def track_id(self) -> Ids:
        return self.dataset.table.track_id[self.rows]

    @property
    def label(self) -> np.ndarray:
        """(N,) class names."""
        return self.dataset.table.label[self.rows]

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) index of each clip's class among the classes of the whole dataset."""
        return self.dataset.table.target[self.rows]

    @property
    def codes(self) -> Indices:
        """(N, T', H', W') int32."""
        return self.dataset.codes.codes[self.rows]

    @property
    def points(self) -> Array:
        """(N, T, 3) true positions in metres."""
        return self.dataset.tracks.points[self.rows]

    def read_clips(self) -> Clips:
        """The clips, read now from the shards that hold them; no other shard is read."""
        return self.dataset.clips.take(self.rows)

    def take(self, places: np.ndarray | slice) -> "Split":
        """Those at these ascending places among them."""
        return Split(self.dataset, self.rows[places])


def _given(part: Part | None, name: str) -> Part:
    if part is None:
        raise ValueError(f"this dataset was opened without its {name}")
    return part


def _load_tokenizer(folder: Path) -> "Tokenizer":
    from kinetoken.tokenizer.network import load_tokenizer  # it brings torch, which not every stage has use for

    return load_tokenizer(folder)
