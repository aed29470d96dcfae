"""Frames of many tracks, one at a time: undecided, persistent or transient, and how sure.

    detector = OnlineDetector.load("models/persistence/transformer")
    for number, frame in enumerate(camera):
        verdict = detector.feed({7: (number, frame)})[7]
        if verdict.status != "undecided": ...

Memory is bounded: of a track under way no more than one clip's steps are kept, of a decided one only its verdict.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from kinetoken.core.errors import UserError
from kinetoken.persistence.network import Detector, HeadState, load_detector
from kinetoken.persistence.stopping import sigmoid
from kinetoken.scenes.clips import Pixels
from kinetoken.tokenizer.network import load_tokenizer

Status = Literal["undecided", "persistent", "transient"]


@dataclasses.dataclass(frozen=True)
class TrackDecision:
    """Of one track after a frame."""

    status: Status
    confidence: float  # probability of the likelier kind
    frames: int  # fed so far


@dataclasses.dataclass
class _Track:
    """One that is not decided yet."""

    number: int  # of its last frame
    frames: int  # fed so far
    waiting: list[Pixels]  # frames of the step under way
    log_odds: float
    state: Any  # of the network, for this track alone


class OnlineDetector:
    """Steps a trained detector over many tracks at once; tracks that are as far along run as one batch.

    >>> import kinetoken, numpy as np
    >>> detector = kinetoken.OnlineDetector.load("models/persistence/transformer")
    >>> frame = np.zeros((64, 64, 3), np.uint8)
    >>> verdict = detector.feed({7: (0, frame)})[7]  # frame 0 of track 7
    >>> verdict.status in ("undecided", "persistent", "transient"), verdict.frames
    (True, 1)
    """

    def __init__(self, detector: Detector) -> None:
        """UserError for a detector whose temperatures do not fit its steps, or whose thresholds cross."""
        steps = detector.num_frames // detector.network.stride
        if len(detector.temperatures) != steps:
            raise UserError(f"not calibrated: {len(detector.temperatures)} temperatures for {steps} steps")
        if detector.transient_below > detector.persistent_above:
            raise UserError("a detector whose thresholds cross")
        self.detector, self.network = detector, detector.network.eval()
        self._open: dict[int, _Track] = {}
        self._decided: dict[int, TrackDecision] = {}

    @classmethod
    def load(cls, folder: Path | str, tokenizer: Path | str | None = None) -> "OnlineDetector":
        """From a model folder; `magvit` needs the folder of the tokenizer that it was trained with."""
        return cls(load_detector(folder, None if tokenizer is None else load_tokenizer(Path(tokenizer))))

    @property
    def under_way(self) -> int:
        """Tracks that are not decided yet."""
        return len(self._open)

    def feed(self, frames: Mapping[int, tuple[int, Pixels]]) -> dict[int, TrackDecision]:
        """The next frame of each of these tracks, id → (its number, (H, W, 3) uint8); their verdicts.

        A new id begins a track, at any number. UserError for a frame out of order, of another size, or of a track
        that is decided already; then no track of the call is touched.
        """
        for track, (number, image) in frames.items():
            self._check(track, number, image)
        for track, (number, image) in frames.items():
            under_way = self._open.setdefault(track, _Track(number - 1, 0, [], 0.0, None))
            under_way.number, under_way.frames = number, under_way.frames + 1
            under_way.waiting.append(image.copy())  # the caller may fill its buffer with the next frame
        ready: dict[int, list[int]] = defaultdict(list)
        for track in frames:
            if len(self._open[track].waiting) == self.network.stride:
                ready[self._open[track].frames].append(track)
        for tracks in ready.values():
            self._step(tracks)
        return {track: self.verdict(track) for track in frames}

    def verdict(self, track: int) -> TrackDecision:
        """Of a track that was fed. UserError for one that never was."""
        if track in self._decided:
            return self._decided[track]
        if track not in self._open:
            raise UserError(f"track {track}: no frame of it was fed")
        known = self._open[track]
        return TrackDecision("undecided", float(sigmoid(np.abs(np.array(known.log_odds)))), known.frames)

    def forget(self, track: int) -> None:
        """Drop all that is known of a track, so that its id may begin another."""
        self._open.pop(track, None)
        self._decided.pop(track, None)

    def _check(self, track: int, number: int, image: Pixels) -> None:
        if track in self._decided:
            raise UserError(
                f"track {track}: frame {number} fed after it was decided {self._decided[track].status}; "
                "forget(track) begins it anew"
            )
        if track in self._open and number != self._open[track].number + 1:
            raise UserError(f"track {track}: frame {number} out of order, expected {self._open[track].number + 1}")
        side = self.network.extractor.side * 8
        if image.dtype != np.uint8 or image.shape != (side, side, 3):
            raise UserError(
                f"track {track}: frame {number} is {image.dtype} of shape {image.shape}, expected uint8 of "
                f"({side}, {side}, 3)"
            )

    @torch.no_grad()
    def _step(self, tracks: list[int]) -> None:
        """Run one step of tracks that are equally far, and decide those that are sure or at their end."""
        open_tracks = [self._open[track] for track in tracks]
        pixels = torch.from_numpy(np.stack([np.stack(each.waiting) for each in open_tracks]))
        first = open_tracks[0].state is None
        state = None if first else _joined([each.state for each in open_tracks])
        evidence, state = self.network.step(pixels, state)
        index = open_tracks[0].frames // self.network.stride - 1
        log_odds = (evidence.logits[:, 0].double() / self.detector.temperatures[index]).tolist()
        last = open_tracks[0].frames >= self.detector.num_frames
        for row, (track, each) in enumerate(zip(tracks, open_tracks, strict=True)):
            each.log_odds, each.waiting = log_odds[row], []
            sure = each.log_odds >= self.detector.persistent_above or each.log_odds <= self.detector.transient_below
            if sure or last:
                status: Status = "persistent" if each.log_odds > 0 else "transient"
                confidence = float(sigmoid(np.abs(np.array(each.log_odds))))
                self._decided[track] = TrackDecision(status, confidence, each.frames)
                del self._open[track]
            else:
                each.state = _row(state, row)


def _joined(states: list[Any]) -> Any:  # noqa: ANN401 - a network's state is any nest of tensors
    """States of single tracks as one of a batch."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(states)
    if isinstance(first, HeadState):
        return HeadState(
            *(torch.cat([getattr(s, name) for s in states], 1 if name == "recurrent" else 0) for name in _HEAD)
        )
    return type(first)(_joined(list(each)) for each in zip(*states, strict=True))


def _row(state: Any, row: int) -> Any:  # noqa: ANN401
    """The state of one track of a batch, in storage of its own."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state[row : row + 1].clone()
    if isinstance(state, HeadState):
        return HeadState(*(
            getattr(state, name)[:, row : row + 1].clone() if name == "recurrent" else _row(getattr(state, name), row)
            for name in _HEAD
        ))
    return type(state)(_row(each, row) for each in state)


_HEAD = tuple(field.name for field in dataclasses.fields(HeadState))
