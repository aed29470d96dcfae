"""The stage itself, run on tracks drawn by the real code and read by stand-ins for the two models."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context
from kinetoken.equations import reading
from kinetoken.equations.grammar import parse
from kinetoken.equations.params import DescribeMotion
from kinetoken.i3d_magvit.network import load_i3d_magvit
from kinetoken.i3d_magvit.past import Trust, in_metres
from kinetoken.i3d_magvit.training import read
from kinetoken.llm.language_model import LanguageModel, Price
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.clips import ClipStore, shard_path, write_shard
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks, read_tracks, write_tracks
from kinetoken.tokenizer.network import load_tokenizer
from stages import describe_motion, train_i3d_magvit
from stages.describe_motion import Paths
from tests.support.i3d_magvit import code_clips, variant

MODEL = LanguageModel(
    model="asked-for", mode="live", temperature=None, max_tokens=500, token_limit="max_completion_tokens",
    concurrency=4, attempts=3, timeout_s=20.0, longest_wait_s=0.05, retry_failed=True, spend_cap=100.0,
    prices={"asked-for": Price(1.0, 2.0)},
)
PARAMS = DescribeMotion(
    provider="offline", source="codes", points="estimated", seed=1, clips=20,
    priors={"speed": (1.75, 0.25), "radius": (0.275, 0.06)}, independence=1.0, neighbours=3, examined=8, reasons=2,
    language_model=MODEL,
)
RECORD = {
    "actual": "persistent", "attention": 13.69, "confidence": 0.9909, "decision": "persistent", "extractor": "magvit",
    "frames_in_sight": 11, "frames_seen": 12, "posterior": [0.5412, 0.8477, 0.9909], "roughness": 0.598,
    "sentence": "", "speed_px": 2.147, "track_id": 2401, "vanished": False,
}
RECORDS = [RECORD, RECORD | {
    "actual": "persistent", "decision": "transient", "track_id": 7, "vanished": True, "frames_in_sight": 6,
    "frames_seen": 8, "posterior": [0.6, 0.0011], "confidence": 0.9989,
}]
META = CodesMeta(grid=(4, 2, 2), codebook_size=1000, quantizer="fsq", levels=(8, 5, 5, 5), tokenizer="0" * 64)


class Reader:
    """Both models at once: looks up the track whose number the first code of each slice holds."""

    classes, focal = CLASSES, 55.4

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
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return Paths(
        folder / "codes.parquet", folder / "classifier", folder / "position", folder / "i3d_magvit", folder / "videos",
        folder / "trajectories.parquet", folder / "track_params.parquet", folder / "records.jsonl",
        folder / "ledger/answers.sqlite", folder / "descriptions.jsonl", folder / "reasons.jsonl",
        folder / "metrics.json", folder / "plots/ladder.csv", folder / "plots/forms.csv",
    )


def run_with(
    reader: Reader, paths: Paths, monkeypatch: pytest.MonkeyPatch, params: DescribeMotion = PARAMS
) -> tuple[list[dict], dict[str, float]]:
    monkeypatch.setattr(reading, "load_readers", lambda sources: (reader, reader))
    describe_motion.run(params, paths, Context.silent())
    rows = [json.loads(line) for line in paths.descriptions.read_text(encoding="utf-8").splitlines()]
    return rows, json.loads(paths.metrics.read_text())


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
    assert metrics["equation_correct_floor"] < 0.5 < metrics["equation_correct_ceiling"]
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
    assert ladder[0] == "provider,class,rung,share" and len(ladder) == 1 + 5 * (5 + 3)
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
        outputs = (paths.descriptions, paths.reasons, paths.metrics, paths.ladder, paths.forms)
        written.append([path.read_bytes() for path in outputs])
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


def test_each_frame_is_trusted_by_its_own_errors(tracks: Tracks, tmp_path: Path) -> None:
    """Whitened, the error that val had in a frame is of size one, across the view and along the ray."""
    reader, draw = Reader(tracks, 0.01), np.random.default_rng(0)
    reader.sigma = {"px": draw.uniform(0.1, 0.3, 16).tolist(), "depth_fraction": draw.uniform(0.01, 0.03, 16).tolist()}
    codes = read_codes(lay_out(tmp_path, tracks).codes)
    evidence = reading.gather_evidence(codes, tracks.world.times, reader, reader)
    depth = evidence.points[..., 2]
    across = np.array(reader.sigma["px"])[:12] * depth / reader.focal
    step = np.stack([across, np.zeros_like(across), np.zeros_like(across)], -1)
    np.testing.assert_allclose(np.linalg.norm(np.einsum("ntij,ntj->nti", evidence.whitening, step), axis=-1), 1)
    ray = evidence.points * np.array(reader.sigma["depth_fraction"])[:12, None]
    np.testing.assert_allclose(np.linalg.norm(np.einsum("ntij,ntj->nti", evidence.whitening, ray), axis=-1), 1)


# ---- read by I3D + MAGVIT

VIDEO = dataclasses.replace(PARAMS, source="i3d_magvit", clips=8)
TRUST = Trust(px=1.5, depth_fraction=0.05, temperature=2.0)


@pytest.fixture(scope="module")
def filmed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The tiny data with codes, and an untrained network that reads both; no classifier and no position head."""
    folder = code_clips(tiny_data, tmp_path_factory.mktemp("filmed"))
    codes, store = read_codes(folder / "codes.parquet"), ClipStore(tiny_data / "videos")
    network = train_i3d_magvit.build(variant("unquantized"), codes, load_tokenizer(folder / "tokenizer"), store)
    network.save(folder / "i3d_magvit", dataclasses.asdict(TRUST))
    (folder / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    return Paths(
        folder / "codes.parquet", folder / "none", folder / "none", folder / "i3d_magvit", tiny_data / "videos",
        tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet", folder / "records.jsonl",
    )


def told_from(paths: Paths, out: Path) -> tuple[list[dict], dict[str, float]]:
    """The stage's rows and metrics, written under `out`."""
    paths = dataclasses.replace(
        paths, descriptions=out / "descriptions.jsonl", reasons=out / "reasons.jsonl", metrics=out / "metrics.json",
        ladder=out / "ladder.csv", forms=out / "forms.csv",
    )
    out.mkdir(parents=True, exist_ok=True)
    describe_motion.run(VIDEO, paths, Context.silent())
    rows = [json.loads(line) for line in paths.descriptions.read_text(encoding="utf-8").splitlines()]
    return rows, json.loads(paths.metrics.read_text())


def test_points_and_classes_are_those_that_the_network_reads(filmed: Paths, tmp_path: Path) -> None:
    rows, metrics = told_from(filmed, tmp_path)
    assert metrics["source_is_video"] == 1 and metrics["is_llm"] == 0 and len(rows) == metrics["clips"] == 8
    network, store, codes = load_i3d_magvit(filmed.i3d_magvit), ClipStore(filmed.videos), read_codes(filmed.codes)
    place = {int(track): row for row, track in enumerate(codes.track_id)}
    chosen = np.array([place[row["track_id"]] for row in rows])
    frames = torch.from_numpy(store.read().pixels[chosen][:, :12])
    told = read(network, frames, torch.from_numpy(codes.codes[chosen, :3].astype(np.int64)))
    np.testing.assert_allclose([row["points"] for row in rows], in_metres(told.path, store.scene), atol=1e-3)
    softened = np.exp(told.logits / TRUST.temperature)
    named = [[row["class_probabilities"][law] for law in network.shape.classes] for row in rows]
    np.testing.assert_allclose(named, softened / softened.sum(1, keepdims=True), atol=1e-3)


def test_points_are_trusted_as_far_as_the_model_says(filmed: Paths) -> None:
    codes, scene = read_codes(filmed.codes).of_split("test"), ClipStore(filmed.videos).scene
    evidence = reading.read_video(codes, scene.world.times, filmed.sources)
    assert evidence.points.shape == (24, 12, 3) and evidence.times.tolist() == scene.world.times[:12].tolist()
    for step in (np.array([1e-4, 0, 0]), np.array([0, 1e-4, 0])):  # m across the view
        pixels = scene.camera.focal * 1e-4 / evidence.points[..., 2]
        found = np.linalg.norm(evidence.whitening @ step, axis=-1)
        np.testing.assert_allclose(found, pixels / TRUST.px, rtol=1e-6)
    deeper = np.linalg.norm(np.einsum("ntij,ntj->nti", evidence.whitening, 1e-4 * evidence.points), axis=-1)
    np.testing.assert_allclose(deeper, 1e-4 / TRUST.depth_fraction, rtol=1e-3)  # along the ray the depth alone counts


def test_neither_later_frames_nor_codes_nor_the_truth_reach_the_words_from_video(
    filmed: Paths, tmp_path: Path
) -> None:
    """Noise for frames 12–15 and slice 4 leaves the same bytes; bent true paths leave the same words, not scores."""
    told_from(filmed, tmp_path / "before")
    codes, store, draw = read_codes(filmed.codes), ClipStore(filmed.videos), np.random.default_rng(0)
    noise = draw.integers(0, 1000, codes.codes[:, 3:].shape, np.int32)
    codes = dataclasses.replace(codes, codes=np.concatenate([codes.codes[:, :3], noise], 1))
    clips = store.read()
    clips.pixels[:, 12:] = draw.integers(0, 256, clips.pixels[:, 12:].shape)
    changed = tmp_path / "changed"
    (changed / "videos").mkdir(parents=True)
    write_codes(changed / "codes.parquet", codes.meta, [codes])
    write_shard(shard_path(changed / "videos", 0), clips, store.scene)
    paths = dataclasses.replace(filmed, codes=changed / "codes.parquet", videos=changed / "videos")
    told_from(paths, tmp_path / "after")
    for name in ("descriptions.jsonl", "metrics.json", "forms.csv"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()
    tracks = read_tracks(filmed.trajectories, filmed.track_params)
    away = tracks.points + 0.5 * (np.arange(16) >= 12)[:, None]
    tables = changed / "trajectories.parquet", changed / "track_params.parquet"
    write_tracks(dataclasses.replace(tracks, points=away), *tables)
    bent = dataclasses.replace(filmed, trajectories=tables[0], track_params=tables[1])
    rows, metrics = told_from(bent, tmp_path / "bent")
    first = [json.loads(line) for line in (tmp_path / "before/descriptions.jsonl").read_text("utf-8").splitlines()]
    assert [{**row, "verdicts": None} for row in rows] == [{**row, "verdicts": None} for row in first]
    assert metrics != json.loads((tmp_path / "before/metrics.json").read_text())


def test_clips_may_lie_in_another_order(filmed: Paths, tmp_path: Path) -> None:
    store = ClipStore(filmed.videos)
    clips, turned = store.read(), np.random.default_rng(1).permutation(len(store))
    (tmp_path / "videos").mkdir()
    mixed = dataclasses.replace(
        clips, track_id=clips.track_id[turned], label=clips.label[turned], split=clips.split[turned],
        pixels=clips.pixels[turned],
    )
    write_shard(shard_path(tmp_path / "videos", 0), mixed, store.scene)
    codes = read_codes(filmed.codes).of_split("test")
    one, other = (
        reading.read_video(codes, store.scene.world.times, paths.sources)
        for paths in (filmed, dataclasses.replace(filmed, videos=tmp_path / "videos"))
    )
    assert np.array_equal(one.points, other.points) and np.array_equal(one.log_probabilities, other.log_probabilities)


def test_a_network_that_does_not_fit_is_named(filmed: Paths, tiny_data: Path, tmp_path: Path) -> None:
    codes, store = read_codes(filmed.codes), ClipStore(filmed.videos)

    def refused(match: str, **changes: Path) -> None:
        with pytest.raises(UserError, match=match):
            told_from(dataclasses.replace(filmed, **changes), tmp_path)

    params = variant("unquantized")
    shorter = dataclasses.replace(params, forecast=dataclasses.replace(params.forecast, past_slices=2))
    network = train_i3d_magvit.build(shorter, codes, load_tokenizer(filmed.codes.parent / "tokenizer"), store)
    network.save(tmp_path / "shorter")
    refused("config.json has no fitting 'trust'; run train_i3d_magvit again", i3d_magvit=tmp_path / "shorter")
    network.save(tmp_path / "shorter", dataclasses.asdict(TRUST))
    refused("reads pasts of 2 slices, and motion is described from 3", i3d_magvit=tmp_path / "shorter")
    network = load_i3d_magvit(filmed.i3d_magvit)
    network.tokenizer_hash = "0" * 64
    network.save(tmp_path / "foreign", dataclasses.asdict(TRUST))
    refused("made by tokenizer", i3d_magvit=tmp_path / "foreign")
    (tmp_path / "few").mkdir()
    write_shard(shard_path(tmp_path / "few", 0), store.read("train"), store.scene)
    refused("few: no track", videos=tmp_path / "few")
    refused("not a model of train_i3d_magvit|not a model folder", i3d_magvit=filmed.codes.parent / "tokenizer")


def test_missing_input_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = describe_motion.run_stage(
        describe_motion.run, DescribeMotion, Paths,
        argv=["--codes", str(tmp_path / "none.parquet"), "--run-info", str(tmp_path)],
    )
    assert code == 1 and "none.parquet: no such file" in capsys.readouterr().err
