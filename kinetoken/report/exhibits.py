"""Clips that the page holds once, to be opened from any chart: frames, codes, paths, and what models said of them.

A `ShownClips` knows every test clip of a dataset by its columns (class, predictions), and a bounded number in full.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from kinetoken.codes import Indices
from kinetoken.scenes.clips import Pixels

MOTION, CANDIDATES, ACTIONS = "motion", "persistence", "actions"
DIGITS = 3  # of a path in metres: a millimetre
LOSSY = 70  # quality of what a network decoded, and of clips full of noise
MOST_SHOWN = 7  # clips of a gallery


@dataclass(frozen=True)
class Item:
    """A clip in a gallery, with what went wrong."""

    track: int
    note: str
    noun: str = "track"  # what the number is one of

    @property
    def name(self) -> str:
        return f"{self.noun} {self.track}"


@dataclass(frozen=True)
class Gallery:
    """The worst cases of a model, the worst first."""

    title: str
    about: str
    clips: str  # name of the set
    items: Sequence[Item]


@dataclass
class Exhibit:
    """A clip in full; whatever is None or empty is not known."""

    codes: str = ""
    true: list[list[float | None]] = field(default_factory=list)  # (T, 3) m
    read: list[list[float | None]] = field(default_factory=list)  # the same, as a model predicts it from the codes
    text: list[str] = field(default_factory=list)  # equations, sentences
    images: list[str] = field(default_factory=list)  # strips of frames: original, and decoded from codes


@dataclass
class ShownClips:
    """The test clips of a dataset. columns: what is known of each, a text a clip, in the order of `track`."""

    name: str
    track: NDArray[np.int64]
    label: NDArray[np.str_]
    frames: int
    side: tuple[int, int]
    fps: float
    grid: tuple[int, ...] = ()
    columns: dict[str, list[str]] = field(default_factory=dict)
    shown: dict[int, Exhibit] = field(default_factory=dict)
    noun: str = "track"  # what a number of `track` is one of
    second: str = "decoded from its codes"  # what the second of a clip's images shows

    def add(self, clips: NDArray[Any], pixels: Pixels, *, lossless: bool) -> None:
        """Hold these clips: frames (N, T, H, W, 3)."""
        for track, frames in zip(clips, pixels, strict=True):
            self.shown.setdefault(int(track), Exhibit()).images.append(strip(frames, lossless=lossless))

    def add_codes(self, clips: NDArray[Any], codes: Indices) -> None:
        """The codes of clips that are held: (N, T', H', W'), each below 65,536 or they are left out."""
        if codes.size and (codes.max() > np.iinfo(np.uint16).max or codes.min() < 0):
            return
        for track, one in zip(clips, codes, strict=True):
            if int(track) in self.shown:
                self.shown[int(track)].codes = _encoded(np.ascontiguousarray(one, dtype="<u2").tobytes())

    def add_path(self, which: str, paths: Mapping[int, NDArray[Any]]) -> None:
        """`true` or `read` positions (T, 3) m of clips that are held."""
        for track, points in paths.items():
            if track in self.shown:
                setattr(self.shown[track], which, [[_finite(value) for value in point] for point in points.tolist()])

    def add_text(self, track: int, *lines: str) -> None:
        if track in self.shown:
            self.shown[track].text.extend(lines)

    def facts(self) -> dict[str, Any]:
        """What the page's script reads, without the images."""
        clips = {
            str(track): {
                "codes": one.codes, "true": one.true, "read": one.read, "text": one.text,
            } for track, one in sorted(self.shown.items())
        }
        return {
            "track": self.track.tolist(), "columns": {"class": self.label.tolist(), **self.columns}, "clips": clips,
            "frames": self.frames, "side": list(self.side), "fps": self.fps, "grid": list(self.grid),
            "noun": self.noun, "second": self.second,
        }


@dataclass
class Exhibition:
    """All sets of clips by name, and galleries by the model whose worst cases they show."""

    sets: dict[str, ShownClips] = field(default_factory=dict)
    galleries: dict[str, Gallery] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return max((one.frames for one in self.sets.values()), default=0)

    def held(self, name: str) -> int:
        return len(self.sets[name].shown) if name in self.sets else 0

    def facts(self) -> Markup:
        return data_block({name: one.facts() for name, one in self.sets.items()})

    def images(self) -> Markup:
        return data_block({
            f"{name} {track}": clip.images
            for name, one in self.sets.items() for track, clip in sorted(one.shown.items())
        })


def data_block(content: object) -> Markup:
    """JSON for a script element, in which no text can end the element."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def strip(frames: Pixels, *, lossless: bool) -> str:
    """(T, H, W, 3) uint8 → its frames side by side as WebP, in base64; the same for the same pixels."""
    from PIL import Image

    count, height, width, _ = frames.shape
    content = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(frames.transpose(1, 0, 2, 3)).reshape(height, count * width, 3))
    if lossless:
        image.save(content, format="WEBP", lossless=True, quality=60, method=4)
    else:
        image.save(content, format="WEBP", quality=LOSSY, method=4)
    return _encoded(content.getvalue())


def choose(tracks: NDArray[Any], label: NDArray[Any], first: Iterable[int], count: int) -> list[int]:
    """At most `count` of the tracks: those of `first` in their order, then the rest by class in turn."""
    known = set(map(int, tracks))
    chosen = [track for track in dict.fromkeys(map(int, first)) if track in known][:count]
    taken = set(chosen)
    queues = [[int(t) for t in tracks[label == name] if int(t) not in taken] for name in sorted(set(label))]
    turns = max((len(queue) for queue in queues), default=0)
    rest = [queue[turn] for turn in range(turns) for queue in queues if turn < len(queue)]
    return [*chosen, *rest][:count]


def wrong(clips: ShownClips, predicted: Sequence[str], sure: Sequence[float] | None = None) -> list[Item]:
    """Clips whose predicted class is not theirs, the surest first where it is known how sure."""
    rows = [row for row, name in enumerate(predicted) if name != clips.label[row]]
    if sure is not None:
        rows.sort(key=lambda row: -sure[row])
    return [
        Item(int(clips.track[row]), f"{clips.label[row]}, predicted {predicted[row]}"
             + ("" if sure is None else f" ({100 * sure[row]:.0f} %)"))
        for row in rows
    ]


def largest(clips: ShownClips, errors: NDArray[Any], unit: str) -> list[Item]:
    """Clips by their error, the largest first."""
    order = np.argsort(-errors, kind="stable")
    return [Item(int(clips.track[row]), f"{clips.label[row]}, {errors[row]:.3g} {unit}") for row in order]


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _finite(value: float) -> float | None:
    return round(value, DIGITS) if np.isfinite(value) else None
