"""The stage itself: what stand-ins and untrained networks read of pasts, as it lies in the table."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.absence import NotMeasured, write_absent
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.stage import Context, Input, marked_paths
from kinetoken.equations.reading import evidence_of
from kinetoken.heads.classifier import ClassifierParams, build_classifier, load_classifier, save_classifier
from kinetoken.heads.position import (
    Camera,
    PositionParams,
    build_position_head,
    load_position_head,
    save_position_head,
)
from kinetoken.i3d_magvit.network import load_i3d_magvit
from kinetoken.i3d_magvit.past import Trust, in_metres
from kinetoken.i3d_magvit.training import read
from kinetoken.physics.laws import CLASSES
from kinetoken.readings import heads
from kinetoken.readings.params import ReadMotion
from kinetoken.readings.sources import past_slices
from kinetoken.readings.table import Readings, read_readings
from kinetoken.scenes.clips import ClipStore, shard_path, write_shard
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.tokenizer.network import load_tokenizer
from stages import read_motion, train_i3d_magvit
from stages.read_motion import Paths
from tests.support.coded import code_clips
from tests.support.i3d_magvit import variant
from tests.support.readings import META, READ, Reader, lay_out, read_from, read_with

HEADS = ReadMotion(source="classifier", clips=24, neighbours=3)  # 24: every test clip of the tiny data
VIDEO = ReadMotion(source="i3d_magvit", clips=24, neighbours=0)
TRUST = Trust(px=1.5, depth_fraction=0.05, temperature=2.0)


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


def test_each_law_has_its_share_of_test_clips(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, tracks)
    reader = Reader(tracks, 0.0)
    read_with(reader, tmp_path, monkeypatch)
    readings = read_readings(tmp_path / "readings.parquet")
    rows = np.searchsorted(tracks.track_id, readings.track_id)
    assert set(tracks.split[rows]) == {"test"} and len(readings) == 20
    for law in CLASSES:
        first = tracks.track_id[(tracks.split == "test") & (tracks.label == law)][:5]
        assert set(first) <= set(readings.track_id)
    np.testing.assert_array_equal(readings.points, tracks.points[rows, :12].astype(np.float32))
    np.testing.assert_array_equal(readings.embedding, np.eye(4)[np.searchsorted(sorted(CLASSES), tracks.label[rows])])
    assert readings.neighbours.tolist() == [[law] * 3 for law in tracks.label[rows]]
    assert reader.seen_slices == {3} and readings.times.tolist() == tracks.world.times[:12].tolist()
    assert readings.source == "classifier" and readings.classes == CLASSES


def test_no_neighbours_are_sought_where_none_are_asked_for(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, tracks)
    alone = dataclasses.replace(READ, neighbours=0)
    monkeypatch.setattr(read_motion, "similar_clips", None)
    read_with(Reader(tracks, 0.0), tmp_path, monkeypatch, alone)
    assert read_readings(tmp_path / "readings.parquet").neighbours.shape == (20, 0)


def test_classes_that_are_no_laws_are_read_in_equal_parts(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = dataclasses.replace(tracks, label=np.where(tracks.label == "linear", "walk", "run"))
    lay_out(tmp_path, named)
    read_with(Reader(tracks, 0.0), tmp_path, monkeypatch, dataclasses.replace(READ, clips=8))
    readings = read_readings(tmp_path / "readings.parquet")
    found = named.label[np.searchsorted(tracks.track_id, readings.track_id)].tolist()
    assert (found.count("walk"), found.count("run")) == (4, 4)


def test_without_a_classifier_positions_alone_are_read(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, dataclasses.replace(tracks, label=np.full(len(tracks), "linear")))
    reader = Reader(tracks, 0.0)
    monkeypatch.setattr("kinetoken.heads.position.load_position_head", lambda folder: reader)
    write_absent(tmp_path / "classifier", "all clips have one class")
    read_motion.run(READ, read_from(tmp_path), Context.silent())
    readings = read_readings(tmp_path / "readings.parquet")
    rows = np.searchsorted(tracks.track_id, readings.track_id)
    np.testing.assert_array_equal(readings.points, tracks.points[rows, :12].astype(np.float32))
    assert readings.classes == ("unlabelled",) and readings.neighbours.size == 0
    prior = evidence_of(readings).law_log_prior()
    assert (prior == 0).all(), "the one class that the clips share is not told to whoever fits a law"
    with pytest.raises(NotMeasured, match="all clips have one class"):
        by_video = dataclasses.replace(READ, source="i3d_magvit", neighbours=0)
        read_motion.run(by_video, read_from(tmp_path), Context.silent())


def test_what_is_not_finite_is_refused(tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, tracks)
    reader = Reader(dataclasses.replace(tracks, points=np.full_like(tracks.points, np.nan)), 0.0)
    with pytest.raises(UserError, match=r"read by .*classifier: track \d+: its points are not all finite; train"):
        read_with(reader, tmp_path, monkeypatch)
    assert not (tmp_path / "readings.parquet").exists()


@pytest.mark.parametrize("head", ["classifier", "position"])
def test_heads_of_another_tokenizer_are_named(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    lay_out(tmp_path, tracks)
    right, other = Reader(tracks, 0.0), Reader(tracks, 0.0)
    other.tokenizer_hash = "1" * 64  # type: ignore[misc]
    pair = (other, right) if head == "classifier" else (right, other)
    monkeypatch.setattr(heads, "load_heads", lambda sources: pair)
    with pytest.raises(UserError, match=rf"made by tokenizer {META.tokenizer[:12]}, but .*{head} belongs to 111"):
        read_motion.run(READ, read_from(tmp_path), Context.silent())


def test_each_frame_is_trusted_by_its_own_errors(tracks: Tracks, tmp_path: Path) -> None:
    """Whitened, the error that val had in a frame is of size one, across the view and along the ray."""
    reader, draw = Reader(tracks, 0.01), np.random.default_rng(0)
    reader.sigma = {"px": draw.uniform(0.1, 0.3, 16).tolist(), "depth_fraction": draw.uniform(0.01, 0.03, 16).tolist()}
    lay_out(tmp_path, tracks)
    readings = heads.gather(read_codes(tmp_path / "codes.parquet"), tracks.world, reader, reader)
    depth = readings.points[..., 2]
    across = np.array(reader.sigma["px"])[:12] * depth / reader.focal
    step = np.stack([across, np.zeros_like(across), np.zeros_like(across)], -1)
    np.testing.assert_allclose(np.linalg.norm(np.einsum("ntij,ntj->nti", readings.whitening, step), axis=-1), 1)
    ray = readings.points * np.array(reader.sigma["depth_fraction"])[:12, None]
    np.testing.assert_allclose(np.linalg.norm(np.einsum("ntij,ntj->nti", readings.whitening, ray), axis=-1), 1)


# ---- networks in place of stand-ins


@pytest.fixture(scope="module")
def filmed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with codes of the tiny data, an untrained classifier and position head, and I3D + MAGVIT."""
    folder = code_clips(tiny_data, tmp_path_factory.mktemp("filmed"))
    codes, store = read_codes(folder / "codes.parquet"), ClipStore(tiny_data / "videos")
    tokenizer = load_tokenizer(folder / "tokenizer")
    network = train_i3d_magvit.build(variant("unquantized"), codes, tokenizer, store)
    network.save(folder / "i3d_magvit", dataclasses.asdict(TRUST))
    save_heads(folder, codes, read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet"))
    (folder / "videos").symlink_to(tiny_data / "videos")
    return folder


def save_heads(folder: Path, codes: CodesTable, tracks: Tracks) -> None:
    coordinates = torch.randn(codes.meta.codebook_size, 3, generator=torch.Generator().manual_seed(0))
    small = load_params("params.yaml", "train_classifier", ClassifierParams)
    small = dataclasses.replace(small, channels=6, blocks=1, maps=2, width=12)
    classifier = build_classifier(small, "soft_argmax", codes.classes, coordinates, codes.meta.grid)
    save_classifier(folder / "classifier", classifier, small, codes.meta.tokenizer)
    settings = load_params("params.yaml", "train_position", PositionParams)
    settings = dataclasses.replace(settings, channels=6, blocks=1, width=8)
    camera = Camera.of(tracks.world, 64)
    head = build_position_head(settings, coordinates, codes.meta.grid, camera, tracks.points)
    sigma = {"px": np.linspace(0.2, 0.4, 16).tolist(), "depth_fraction": np.linspace(0.01, 0.02, 16).tolist()}
    save_position_head(folder / "position", head, codes.meta.tokenizer, sigma)


def paths_in(folder: Path, params: ReadMotion, out: Path, **changes: Path) -> Paths:
    """Paths of a run in the filmed folder that writes out/readings.parquet."""
    out.mkdir(parents=True, exist_ok=True)
    paths = dataclasses.replace(read_from(folder), model=folder / params.source, readings=out / "readings.parquet")
    return dataclasses.replace(paths, **changes)


def read_in(folder: Path, params: ReadMotion, out: Path, **changes: Path) -> Readings:
    paths = paths_in(folder, params, out, **changes)
    read_motion.run(params, paths, Context.silent())
    return read_readings(paths.readings)


def test_the_heads_readings_are_in_the_table_bit_for_bit(filmed: Path, tmp_path: Path) -> None:
    readings = read_in(filmed, HEADS, tmp_path)
    codes = read_codes(filmed / "codes.parquet")
    chosen = codes.take(np.flatnonzero(np.isin(codes.track_id, readings.track_id)))
    past = chosen.codes[:, :3]
    classifier, position = load_classifier(filmed / "classifier"), load_position_head(filmed / "position")
    assert past_slices(codes) == 3 and readings.track_id.tolist() == chosen.track_id.tolist()
    np.testing.assert_array_equal(readings.log_probabilities, classifier.log_probabilities(past))
    np.testing.assert_array_equal(readings.embedding, classifier.embedding(past))
    np.testing.assert_array_equal(readings.points, position.positions(past))
    training = codes.of_split("train")
    known = classifier.embedding(training.codes[:, :3])
    for row, near in zip(readings.embedding, readings.neighbours, strict=True):
        order = np.argsort(np.linalg.norm(known - row, axis=1), kind="stable")[:3]
        assert near.tolist() == training.label[order].tolist()


def test_points_and_classes_are_those_that_the_network_reads(filmed: Path, tmp_path: Path) -> None:
    readings = read_in(filmed, dataclasses.replace(VIDEO, clips=8), tmp_path)
    assert readings.source == "i3d_magvit" and len(readings) == 8 and readings.neighbours.shape == (8, 0)
    network, store = load_i3d_magvit(filmed / "i3d_magvit"), ClipStore(filmed / "videos")
    codes = read_codes(filmed / "codes.parquet")
    chosen = np.flatnonzero(np.isin(codes.track_id, readings.track_id))
    frames = torch.from_numpy(store.read().pixels[chosen][:, :12])
    seen = read(network, frames, torch.from_numpy(codes.codes[chosen, :3].astype(np.int64)))
    np.testing.assert_array_equal(readings.points, in_metres(seen.path, store.scene))
    np.testing.assert_array_equal(readings.embedding, seen.embedding)
    softened = np.exp(seen.logits / TRUST.temperature)
    likely = np.exp(readings.log_probabilities)
    np.testing.assert_allclose(likely, softened / softened.sum(1, keepdims=True), rtol=1e-9)
    assert readings.classes == network.shape.classes


def test_points_are_trusted_as_far_as_the_model_says(filmed: Path, tmp_path: Path) -> None:
    readings, scene = read_in(filmed, VIDEO, tmp_path), ClipStore(filmed / "videos").scene
    assert readings.points.shape == (24, 12, 3) and readings.times.tolist() == scene.world.times[:12].tolist()
    for step in (np.array([1e-4, 0, 0]), np.array([0, 1e-4, 0])):  # m across the view
        pixels = scene.camera.focal * 1e-4 / readings.points[..., 2]
        found = np.linalg.norm(readings.whitening @ step, axis=-1)
        np.testing.assert_allclose(found, pixels / TRUST.px, rtol=1e-6)
    deeper = np.linalg.norm(np.einsum("ntij,ntj->nti", readings.whitening, 1e-4 * readings.points), axis=-1)
    np.testing.assert_allclose(deeper, 1e-4 / TRUST.depth_fraction, rtol=1e-3)  # along the ray the depth alone counts


@pytest.mark.parametrize("params", [HEADS, VIDEO], ids=lambda params: params.source)
def test_neither_later_frames_nor_codes_nor_the_truth_reach_the_readings(
    filmed: Path, tmp_path: Path, params: ReadMotion
) -> None:
    """Noise for frames 12–15 and slice 4, and other classes for the clips that are read: the same bytes."""
    read_in(filmed, params, tmp_path)
    codes, store, draw = read_codes(filmed / "codes.parquet"), ClipStore(filmed / "videos"), np.random.default_rng(0)
    noise = draw.integers(0, 1000, codes.codes[:, 3:].shape, np.int32)
    test, label = codes.split == "test", codes.label.copy()
    label[test] = np.roll(label[test], 7)
    assert (label != codes.label).any() and sorted(label) == sorted(codes.label)
    codes = dataclasses.replace(codes, codes=np.concatenate([codes.codes[:, :3], noise], 1), label=label)
    clips = store.read()
    clips.pixels[:, 12:] = draw.integers(0, 256, clips.pixels[:, 12:].shape)
    changed = tmp_path / "changed"
    (changed / "videos").mkdir(parents=True)
    write_codes(changed / "codes.parquet", codes.meta, [codes])
    write_shard(shard_path(changed / "videos", 0), clips, store.scene)
    read_in(filmed, params, changed, codes=changed / "codes.parquet", videos=changed / "videos")
    assert (tmp_path / "readings.parquet").read_bytes() == (changed / "readings.parquet").read_bytes()


def test_no_table_of_true_positions_is_an_input() -> None:
    assert set(marked_paths(Paths(), Input)) == {"codes", "model", "position", "videos"}


def test_clips_may_lie_in_another_order(filmed: Path, tmp_path: Path) -> None:
    store = ClipStore(filmed / "videos")
    clips, turned = store.read(), np.random.default_rng(1).permutation(len(store))
    (tmp_path / "videos").mkdir()
    mixed = dataclasses.replace(
        clips, track_id=clips.track_id[turned], label=clips.label[turned], split=clips.split[turned],
        pixels=clips.pixels[turned],
    )
    write_shard(shard_path(tmp_path / "videos", 0), mixed, store.scene)
    read_in(filmed, VIDEO, tmp_path / "one")
    read_in(filmed, VIDEO, tmp_path / "other", videos=tmp_path / "videos")
    one, other = ((tmp_path / name / "readings.parquet").read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_network_that_does_not_fit_is_named(filmed: Path, tmp_path: Path) -> None:
    codes, store = read_codes(filmed / "codes.parquet"), ClipStore(filmed / "videos")

    def refused(match: str, params: ReadMotion = VIDEO, **changes: Path) -> None:
        with pytest.raises(UserError, match=match):
            read_in(filmed, params, tmp_path, **changes)

    params = variant("unquantized")
    shorter = dataclasses.replace(params, forecast=dataclasses.replace(params.forecast, past_slices=2))
    network = train_i3d_magvit.build(shorter, codes, load_tokenizer(filmed / "tokenizer"), store)
    network.save(tmp_path / "shorter")
    refused("config.json has no fitting 'trust'; run train_i3d_magvit again", model=tmp_path / "shorter")
    network.save(tmp_path / "shorter", dataclasses.asdict(TRUST))
    refused("reads pasts of 2 slices, and motion is described from 3", model=tmp_path / "shorter")
    network = load_i3d_magvit(filmed / "i3d_magvit")
    network.tokenizer_hash = "0" * 64
    network.save(tmp_path / "foreign", dataclasses.asdict(TRUST))
    refused("made by tokenizer", model=tmp_path / "foreign")
    (tmp_path / "few").mkdir()
    write_shard(shard_path(tmp_path / "few", 0), store.read("train"), store.scene)
    refused("few: no track", videos=tmp_path / "few")
    refused("not a model of train_i3d_magvit|not a model folder", model=filmed / "tokenizer")
    refused("i3d_magvit: not a classifier of codes", HEADS, model=filmed / "i3d_magvit")


def test_missing_input_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = read_motion.run_stage(
        read_motion.run, ReadMotion, Paths,
        argv=["--codes", str(tmp_path / "none.parquet"), "--run-info", str(tmp_path)],
    )
    assert code == 1 and "none.parquet: no such file" in capsys.readouterr().err
