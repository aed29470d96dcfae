"""Inputs of read_motion and describe_motion for tests: tracks that stand-ins for the two heads know by number."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.core.stage import Context
from kinetoken.physics.laws import CLASSES
from kinetoken.readings import heads
from kinetoken.readings.params import ReadMotion
from kinetoken.scenes.clips import Clips, shard_path, write_shard
from kinetoken.scenes.rendering import Look, Scene
from kinetoken.scenes.tracks import Tracks, write_tracks
from stages import describe_motion, read_motion

READ = ReadMotion(source="classifier", clips=20, neighbours=3)
META = CodesMeta(grid=(4, 2, 2), codebook_size=1000, quantizer="fsq", levels=(8, 5, 5, 5), tokenizer="0" * 64)
LOOK = Look(image_size=64, shadow=0.0)
RECORD = {
    "actual": "persistent", "attention": 13.69, "confidence": 0.9909, "decision": "persistent", "extractor": "magvit",
    "frames_in_sight": 11, "frames_seen": 12, "posterior": [0.5412, 0.8477, 0.9909], "roughness": 0.598,
    "sentence": "", "speed_px": 2.147, "track_id": 2401, "vanished": False,
}
RECORDS = [RECORD, RECORD | {
    "actual": "persistent", "decision": "transient", "track_id": 7, "vanished": True, "frames_in_sight": 6,
    "frames_seen": 8, "posterior": [0.6, 0.0011], "confidence": 0.9989,
}]


class Reader:
    """Both models at once: looks up the track whose number the first code of each slice holds."""

    classes, focal, tokenizer_hash = CLASSES, 55.4, META.tokenizer

    def __init__(self, tracks: Tracks, error: float) -> None:
        self.tracks, self.error = tracks, error
        self.sigma: Mapping[str, list[float]] = {"px": [0.2] * 16, "depth_fraction": [max(error, 1e-4)] * 16}
        self.seen_slices: set[int] = set()

    def _rows(self, codes: np.ndarray) -> np.ndarray:
        self.seen_slices.add(codes.shape[1])
        assert (codes[:, :, 0, 0] == codes[:, :1, 0, 0]).all()
        return codes[:, 0, 0, 0]

    def log_probabilities(self, codes: np.ndarray) -> np.ndarray:
        scores = 3.0 * (self.tracks.label[self._rows(codes)][:, None] == np.array(CLASSES))
        return (scores - np.log(np.exp(scores).sum(-1, keepdims=True))).astype(np.float32)

    def embedding(self, codes: np.ndarray) -> np.ndarray:
        return np.eye(4)[np.searchsorted(sorted(CLASSES), self.tracks.label[self._rows(codes)])]

    def positions(self, codes: np.ndarray) -> np.ndarray:
        rows = self._rows(codes)
        noise = np.stack([np.random.default_rng(row).standard_normal((16, 1)) for row in rows])
        exact = self.tracks.points[rows]
        return (exact * (1 + self.error * noise))[:, : 4 * codes.shape[1]].astype(np.float32)


def lay_out(folder: Path, tracks: Tracks, *, scramble_future: bool = False) -> describe_motion.Paths:
    """Input files of both stages in the folder; every slice's first code is the track's number."""
    folder.mkdir(parents=True, exist_ok=True)
    codes = np.zeros((len(tracks), *META.grid), np.int32)
    codes[:, :, 0, 0] = np.arange(len(tracks))[:, None]
    if scramble_future:
        codes[:, 3] = np.random.default_rng(0).integers(0, 1000, codes[:, 3].shape)
    table = CodesTable(tracks.track_id, tracks.label, tracks.split, codes, META)
    write_codes(folder / "codes.parquet", META, [table])
    write_tracks(tracks, folder / "trajectories.parquet", folder / "track_params.parquet")
    (folder / "videos").mkdir(exist_ok=True)
    blank = Clips(tracks.track_id[:1], tracks.label[:1], tracks.split[:1], np.zeros((1, 16, 64, 64, 3), np.uint8), 16.0)
    write_shard(shard_path(folder / "videos", 0), blank, Scene(tracks.world, LOOK))
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return describe_motion.Paths(
        folder / "readings.parquet", folder / "trajectories.parquet", folder / "track_params.parquet",
        folder / "records.jsonl", folder / "ledger/answers.sqlite", folder / "descriptions.jsonl",
        folder / "reasons.jsonl", folder / "metrics.json", folder / "metrics", folder / "plots/numbers.csv",
        folder / "plots/ladder.csv", folder / "plots/forms.csv",
    )


def read_from(folder: Path) -> read_motion.Paths:
    """The paths of read_motion in a folder laid out so."""
    return read_motion.Paths(
        folder / "codes.parquet", folder / "classifier", folder / "position", folder / "videos",
        folder / "readings.parquet",
    )


def read_with(reader: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch, params: ReadMotion = READ) -> bytes:
    """The bytes that read_motion writes in the folder, the reader standing in for both heads."""
    monkeypatch.setattr(heads, "load_heads", lambda sources: (reader, reader))
    paths = read_from(folder)
    read_motion.run(params, paths, Context.silent())
    return paths.readings.read_bytes()
