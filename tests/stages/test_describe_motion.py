"""The stage itself, run on tracks drawn by the real code and read by stand-ins for the two models."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import Context
from kinetoken.equations.grammar import parse
from kinetoken.equations.params import DescribeMotion
from kinetoken.llm.language_model import LanguageModel, Price
from kinetoken.readings.params import ReadMotion
from kinetoken.readings.table import read_readings, write_readings
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks, write_tracks
from stages import describe_motion
from stages.describe_motion import Paths
from tests.support.readings import READ, Reader, lay_out, read_with

MODEL = LanguageModel(
    model="asked-for", mode="live", temperature=None, max_tokens=500, token_limit="max_completion_tokens",
    concurrency=4, attempts=3, timeout_s=20.0, longest_wait_s=0.05, retry_failed=True, spend_cap=100.0,
    prices={"asked-for": Price(1.0, 2.0)},
)
PARAMS = DescribeMotion(
    provider="offline", points="estimated", seed=1, priors={"speed": (1.75, 0.25), "radius": (0.275, 0.06)},
    independence=1.0, examined=8, reasons=2, language_model=MODEL,
)


@pytest.fixture(scope="module")
def tracks(plain_params: Trajectories) -> Tracks:
    return draw_tracks(plain_params)


def run_with(
    reader: Reader, paths: Paths, monkeypatch: pytest.MonkeyPatch, params: DescribeMotion = PARAMS,
    read: ReadMotion = READ,
) -> tuple[list[dict], dict[str, float]]:
    """Rows and metrics of the stage after read_motion in the same folder, the reader standing in for the heads."""
    read_with(reader, paths.readings.parent, monkeypatch, read)
    return described(paths, params)


def described(paths: Paths, params: DescribeMotion = PARAMS) -> tuple[list[dict], dict[str, float]]:
    """Rows and metrics of the stage on the readings that are there."""
    describe_motion.run(params, paths, Context.silent())
    rows = [json.loads(line) for line in paths.descriptions.read_text(encoding="utf-8").splitlines()]
    return rows, read_numbers(paths.numbers)


def test_equations_of_other_classes_are_scored_by_true_positions_alone(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws, laws_metrics = run_with(Reader(tracks, 0.0), lay_out(tmp_path / "laws", tracks), monkeypatch)
    named = dataclasses.replace(tracks, label=np.char.add("own ", tracks.label))
    paths = lay_out(tmp_path / "own", named)
    rows, metrics = run_with(Reader(tracks, 0.0), paths, monkeypatch)
    assert len(rows) == len(laws) and metrics["equation_correct"] == laws_metrics["equation_correct"] == 1
    lacking = {name for name in laws_metrics if name not in metrics}
    assert {"form_match", "description_correct", "equation_correct_oracle_form", "symbolic_match"} <= lacking
    assert not lacking & {"parsed", "nmse_in_range", "nmse_extrapolated_floor", "equation_correct_true_points"}
    assert rows[0]["true_law"].startswith("own ") and "form_match" not in rows[0]["verdicts"]
    ladder = paths.ladder.read_text(encoding="utf-8")
    assert "equation_correct" in ladder and "form_match" not in ladder and "true law" not in ladder
    far = Reader(tracks, 0.3)
    failures = {row["verdicts"]["failure"] for row in run_with(far, lay_out(tmp_path / "far", named), monkeypatch)[0]}
    assert "far from the held-out frames" in failures <= {"", "far from the held-out frames"}


def test_exact_readers_solve_every_clip(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, metrics = run_with(Reader(tracks, 0.0), lay_out(tmp_path, tracks), monkeypatch)
    assert [row["track_id"] for row in rows] == sorted(row["track_id"] for row in rows)
    assert len(rows) == metrics["clips"] == 20 and metrics["is_llm"] == metrics["source_is_video"] == 0
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
    # a quadratic is exact for two of the four laws
    assert metrics["equation_correct_floor"] == 0.5 < metrics["equation_correct_ceiling"]
    assert metrics["nmse_in_range"] < 0.001 < metrics["nmse_in_range_floor"]
    assert metrics["symbolic_match"] == 1 and metrics["examined"] == 8 and metrics["complexity"] > 10
    assert metrics["points.error_m"] < 1e-4 < metrics["points.error_m_floor"] and metrics["points_are_true"] == 0


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
    assert ladder[0] == "provider,class,rung,share" and len(ladder) == 1 + 5 * (5 + 4)
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
        outputs = (paths.descriptions, paths.reasons, paths.metrics, paths.numbers, paths.ladder, paths.forms)
        written.append([path.read_bytes() for path in outputs])
    assert written[0] == written[1]


def test_readings_of_another_run_are_refused(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = lay_out(tmp_path, tracks)
    read_with(Reader(tracks, 0.0), tmp_path, monkeypatch)
    for change, match in (
        ({"track_id": tracks.track_id + 10_000}, r"trajectories.parquet: no track \d+, which .*readings.parquet has"),
        ({"world": dataclasses.replace(tracks.world, fps=17.0)}, r"readings.parquet: read from clips of another world"),
    ):
        write_tracks(dataclasses.replace(tracks, **change), paths.trajectories, paths.track_params)
        with pytest.raises(UserError, match=match):
            described(paths)
    assert not paths.descriptions.exists()


def test_damaged_readings_are_refused(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = lay_out(tmp_path, tracks)
    written = bytearray(read_with(Reader(tracks, 0.0), tmp_path, monkeypatch))
    written[len(written) // 3] ^= 1
    paths.readings.write_bytes(written)
    with pytest.raises(UserError, match=r"readings.parquet: damaged"):
        described(paths)
    paths.readings.write_bytes(paths.trajectories.read_bytes())
    with pytest.raises(UserError, match=r"readings.parquet: not a readings table .* run read_motion again"):
        described(paths)


def test_the_metrics_say_which_model_read(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = lay_out(tmp_path, tracks)
    read_with(Reader(tracks, 0.0), tmp_path, monkeypatch)
    readings = read_readings(paths.readings)
    write_readings(paths.readings, dataclasses.replace(readings, source="i3d_magvit"))
    _, metrics = described(paths, dataclasses.replace(PARAMS, examined=0))
    assert metrics["source_is_video"] == 1


def test_missing_input_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = describe_motion.run_stage(
        describe_motion.run, DescribeMotion, Paths,
        argv=["--readings", str(tmp_path / "none.parquet"), "--run-info", str(tmp_path)],
    )
    assert code == 1 and "none.parquet: no such file" in capsys.readouterr().err
