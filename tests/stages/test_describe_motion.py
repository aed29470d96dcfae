"""The stage itself, run on tracks drawn by the real code and read by stand-ins for the two models."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.equations.grammar import parse
from kinetoken.equations.offline import DescribeMotion
from kinetoken.errors import UserError
from kinetoken.laws import CLASSES
from kinetoken.stage import Context
from kinetoken.tracks import Tracks, write_tracks
from kinetoken.trajectories import Trajectories, draw_tracks
from stages import describe_motion
from stages.describe_motion import Paths

PARAMS = DescribeMotion(
    provider="offline", seed=1, clips=20, priors={"speed": (1.75, 0.25), "radius": (0.275, 0.06)}, independence=1.0
)
META = CodesMeta(grid=(4, 2, 2), codebook_size=1000, quantizer="fsq", levels=(8, 5, 5, 5), tokenizer="0" * 64)


class Reader:
    """Both models at once: looks up the track whose number the first code of each slice holds."""

    classes, focal = CLASSES, 55.4

    def __init__(self, tracks: Tracks, error: float) -> None:
        self.tracks, self.error = tracks, error
        self.sigma: Mapping[str, float] = {"px": 0.2, "depth_fraction": max(error, 1e-4)}
        self.seen_slices: set[int] = set()

    def _rows(self, codes: np.ndarray) -> np.ndarray:
        self.seen_slices.add(codes.shape[1])
        assert (codes[:, :, 0, 0] == codes[:, :1, 0, 0]).all()
        return codes[:, 0, 0, 0]

    def log_probabilities(self, codes: np.ndarray) -> np.ndarray:
        scores = 3.0 * (self.tracks.label[self._rows(codes)][:, None] == np.array(CLASSES))
        return (scores - np.log(np.exp(scores).sum(-1, keepdims=True))).astype(np.float32)

    def positions(self, codes: np.ndarray) -> np.ndarray:
        rows = self._rows(codes)
        noise = np.stack([np.random.default_rng(row).standard_normal((16, 1)) for row in rows])
        exact = self.tracks.points[rows]
        return (exact * (1 + self.error * noise))[:, : 4 * codes.shape[1]].astype(np.float32)


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


def lay_out(folder: Path, tracks: Tracks, *, scramble_future: bool = False) -> Paths:
    """Input files in the folder; every slice's first code is the track's number."""
    folder.mkdir(parents=True, exist_ok=True)
    codes = np.zeros((len(tracks), *META.grid), np.int32)
    codes[:, :, 0, 0] = np.arange(len(tracks))[:, None]
    if scramble_future:
        codes[:, 3] = np.random.default_rng(0).integers(0, 1000, codes[:, 3].shape)
    table = CodesTable(tracks.track_id, tracks.label, tracks.split, codes, META)
    write_codes(folder / "codes.parquet", META, [table])
    write_tracks(tracks, folder / "trajectories.parquet", folder / "track_params.parquet")
    return Paths(
        folder / "codes.parquet", folder / "classifier", folder / "position", folder / "trajectories.parquet",
        folder / "track_params.parquet", folder / "descriptions.jsonl", folder / "metrics.json",
        folder / "plots/ladder.csv", folder / "plots/forms.csv",
    )


def run_with(reader: Reader, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict], dict[str, float]]:
    monkeypatch.setattr(describe_motion, "load_readers", lambda paths: (reader, reader))
    describe_motion.run(PARAMS, paths, Context.silent())
    rows = [json.loads(line) for line in paths.descriptions.read_text(encoding="utf-8").splitlines()]
    return rows, json.loads(paths.metrics.read_text())


def test_exact_readers_solve_every_clip(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, metrics = run_with(Reader(tracks, 0.0), lay_out(tmp_path, tracks), monkeypatch)
    assert [row["track_id"] for row in rows] == sorted(row["track_id"] for row in rows)
    assert len(rows) == metrics["clips"] == 20 and metrics["is_llm"] == 0
    for row in rows:
        place = int(np.flatnonzero(tracks.track_id == row["track_id"])[0])
        assert tracks.split[place] == "test" and row["law"] == row["true_law"] == tracks.label[place]
        written = np.stack([parse(row[axis]).evaluate(tracks.world.times) for axis in "xyz"], -1)
        np.testing.assert_allclose(written, tracks.points[place], atol=0.01)
        np.testing.assert_allclose(row["points"], tracks.points[place][:12], atol=1e-3)
        assert row["provider"] == "offline" and row["description"].startswith("The ball moves along")
    for name in ("parsed", "form_match", "equation_correct", "equation_correct_true_points", "description_correct"):
        assert metrics[name] == 1
        assert {f"{name}_ci95_low", f"{name}_ci95_high"} <= set(metrics)
    assert metrics["equation_correct_floor"] < 0.5 < metrics["equation_correct_ceiling"]
    assert metrics["nmse_in_range"] < 0.001 < metrics["nmse_in_range_floor"]


def test_noisy_readers_cost_accuracy_but_not_the_true_points(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(tracks, 0.04)
    paths = lay_out(tmp_path, tracks)
    rows, metrics = run_with(reader, paths, monkeypatch)
    assert reader.seen_slices == {3}
    assert metrics["equation_correct"] < 0.9 and metrics["equation_correct_true_points"] == 1
    assert metrics["equation_correct"] == np.mean([row["verdicts"]["equation_correct"] for row in rows])
    ladder = paths.ladder.read_text().splitlines()
    assert ladder[0] == "class,rung,share" and len(ladder) == 1 + 4 * 6
    forms = paths.forms.read_text().splitlines()
    assert forms[0] == "track_id,actual,predicted" and len(forms) == 21


def test_neither_the_future_nor_the_truth_reaches_the_words(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scramble the last slice and bend the true paths' future: what is said stays the same, its scores do not."""
    reader = Reader(tracks, 0.01)
    before, _ = run_with(reader, lay_out(tmp_path / "a", tracks), monkeypatch)
    bent = tracks.points.copy()
    bent[:, 12:] += 0.5
    other = Tracks(tracks.world, tracks.track_id, tracks.label, tracks.split, bent, tracks.drawn)
    after, metrics = run_with(reader, lay_out(tmp_path / "b", other, scramble_future=True), monkeypatch)
    assert [{**row, "verdicts": None} for row in before] == [{**row, "verdicts": None} for row in after]
    assert metrics["equation_correct"] == 0


def test_same_inputs_same_bytes(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for name in ("a", "b"):
        paths = lay_out(tmp_path / name, tracks)
        run_with(Reader(tracks, 0.02), paths, monkeypatch)
        written.append([path.read_bytes() for path in (paths.descriptions, paths.metrics, paths.ladder, paths.forms)])
    assert written[0] == written[1]


def test_classes_that_are_no_laws_are_refused(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Tracks(
        tracks.world, tracks.track_id, np.where(tracks.label == "linear", "walk", "run"), tracks.split, tracks.points,
        tracks.drawn,
    )
    with pytest.raises(UserError, match=r"codes.parquet: no test clip has a class"):
        run_with(Reader(tracks, 0.0), lay_out(tmp_path, named), monkeypatch)


def test_tracks_of_another_run_are_refused(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = lay_out(tmp_path, tracks)
    other = Tracks(
        tracks.world, tracks.track_id + 10_000, tracks.label, tracks.split, tracks.points, tracks.drawn
    )
    write_tracks(other, paths.trajectories, paths.track_params)
    with pytest.raises(UserError, match=r"trajectories.parquet: no track"):
        run_with(Reader(tracks, 0.0), paths, monkeypatch)


def test_missing_input_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "describe_motion: {provider: offline, seed: 1, clips: 8, priors: {}, independence: 1.0}\n", encoding="utf-8"
    )
    code = describe_motion.run_stage(
        describe_motion.run, DescribeMotion, Paths,
        argv=["--params", str(params), "--codes", str(tmp_path / "none.parquet"), "--run-info", str(tmp_path)],
    )
    assert code == 1 and "none.parquet: no such file" in capsys.readouterr().err
