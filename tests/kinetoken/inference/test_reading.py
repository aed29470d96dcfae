"""Numbers through this room are those that the stages' own paths give, to the bit."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import kinetoken
from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.core.stage import Context
from kinetoken.equations import offline
from kinetoken.equations.reading import evidence_of
from kinetoken.heads.classifier import load_classifier
from kinetoken.heads.novelty import fit_novelty, save_novelty
from kinetoken.heads.position import load_position_head
from kinetoken.heads.video_classifier import load_video_classifier
from kinetoken.i3d_magvit.network import load_i3d_magvit
from kinetoken.i3d_magvit.training import read as read_jointly
from kinetoken.inference import classify, describe, locate, open_any, open_clips
from kinetoken.inference.defaults import INDEPENDENCE, PRIORS
from kinetoken.readings.params import ReadMotion
from kinetoken.readings.table import read_readings
from kinetoken.scenes.clips import ClipStore
from kinetoken.scores import log_softmax
from stages import read_motion
from tests.support.applied import TRUST

P = ["p_circular", "p_helical", "p_linear", "p_parabolic"]


@pytest.fixture(scope="module")
def test_codes(applied: Path) -> CodesTable:
    return read_codes(applied / "codes.parquet").of_split("test")


def of_test(applied: Path) -> object:
    return open_any(applied / "codes.parquet", split="test")


@pytest.mark.parametrize("frames", [None, 4, 8, 12, 16])
def test_class_probabilities_are_those_of_the_stage(
    applied: Path, test_codes: CodesTable, frames: int | None
) -> None:
    head = load_classifier(applied / "models" / "classifier")
    count = (frames or 16) // 4
    there = np.exp(head.log_probabilities(test_codes.codes[:, :count]))  # as train_classifier scores test clips
    table = classify(of_test(applied), applied / "models" / "classifier", frames=frames)
    np.testing.assert_array_equal(table[P].to_numpy(), there)
    assert table["clip"].tolist() == [str(each) for each in test_codes.track_id]
    assert table["actual"].tolist() == test_codes.label.tolist()
    assert table["predicted"].tolist() == np.array(head.classes)[there.argmax(1)].tolist()
    np.testing.assert_array_equal(table["probability"], there.max(1))


def test_clips_have_the_class_of_their_codes(applied: Path, tiny_data: Path) -> None:
    models = applied / "models"
    from_codes = classify(applied / "codes.parquet", models / "classifier")
    from_clips = classify(tiny_data / "videos", models / "classifier", tokenizer=models / "tokenizer")
    pd.testing.assert_frame_equal(from_clips, from_codes, check_exact=True)
    tokenizer, head = kinetoken.load_tokenizer(models / "tokenizer"), kinetoken.load_classifier(models / "classifier")
    pd.testing.assert_frame_equal(classify(tiny_data / "videos", head, tokenizer=tokenizer), from_codes)


def test_the_pixel_judge_reads_as_its_stage_does(applied: Path, tiny_data: Path) -> None:
    folder = applied / "models" / "video_classifier"
    clips = ClipStore(tiny_data / "videos").read("test")
    there = load_video_classifier(folder).probabilities(clips.pixels)
    table = classify(open_clips(tiny_data / "videos", split="test"), folder)
    np.testing.assert_array_equal(table[P].to_numpy(), there)
    np.testing.assert_array_equal(classify(clips.pixels, folder)[P].to_numpy(), there)
    assert "actual" not in classify(clips.pixels, folder)


def test_the_joint_network_reads_as_its_stage_does(applied: Path, tiny_data: Path) -> None:
    models = applied / "models"
    network, store = load_i3d_magvit(models / "i3d_magvit"), ClipStore(tiny_data / "videos")
    codes = torch.from_numpy(read_codes(applied / "codes.parquet").codes.astype(np.int64))
    pixels = torch.from_numpy(store.read().pixels)
    table = classify(store.folder, models / "i3d_magvit", tokenizer=models / "tokenizer")
    np.testing.assert_array_equal(table[P].to_numpy(), np.exp(log_softmax(read_jointly(network, pixels, codes).logits)))
    past = classify(store.folder, models / "i3d_magvit", tokenizer=models / "tokenizer", frames=12)
    seen = read_jointly(network, pixels[:, :12], codes[:, :3])
    np.testing.assert_allclose(past[P], np.exp(log_softmax(seen.logits / TRUST.temperature)), atol=1e-5)
    with pytest.raises(UserError, match="--frames 8: .*i3d_magvit reads whole clips of 16 frames, or the first 12"):
        classify(store.folder, models / "i3d_magvit", tokenizer=models / "tokenizer", frames=8)
    with pytest.raises(UserError, match="reads frames and codes; --tokenizer names"):
        classify(store.folder, models / "i3d_magvit")
    with pytest.raises(UserError, match="a codes table, and this needs the clips themselves"):
        classify(applied / "codes.parquet", models / "i3d_magvit", tokenizer=models / "tokenizer")


@pytest.mark.parametrize("frames", [None, 8])
def test_positions_are_those_of_the_stage(applied: Path, test_codes: CodesTable, frames: int | None) -> None:
    head, length = load_position_head(applied / "models" / "position"), frames or 16
    there = head.positions(test_codes.codes[:, : length // 4])
    table = locate(of_test(applied), applied / "models" / "position", frames=frames)
    np.testing.assert_array_equal(table[["x", "y", "z"]].to_numpy().reshape(-1, length, 3), there)
    u, v, _ = head.camera.project(there)
    np.testing.assert_array_equal(table[["u", "v"]].to_numpy(), np.stack([u, v], -1).reshape(-1, 2))
    assert table["frame"].tolist() == list(range(length)) * len(test_codes)
    assert table["clip"].tolist() == test_codes.track_id.astype(str).repeat(length).tolist()


def test_descriptions_are_those_of_the_stages(applied: Path, tiny_data: Path, tmp_path: Path) -> None:
    models = applied / "models"
    paths = read_motion.Paths(
        applied / "codes.parquet", models / "classifier", models / "position", tiny_data / "videos",
        tmp_path / "readings.parquet",
    )
    read_motion.run(ReadMotion(source="classifier", clips=24, neighbours=0), paths, Context.silent())
    readings = read_readings(paths.readings)
    there = offline.describe(
        evidence_of(readings), readings.world.times, priors=PRIORS, independence=INDEPENDENCE
    )
    table = describe(of_test(applied), models / "classifier", models / "position")
    assert table["clip"].tolist() == [str(each) for each in readings.track_id]
    for row, one in zip(table.to_dict("records"), there, strict=True):
        assert {axis: row[axis] for axis in "xyz"} == one.equations
        assert row["sentence"] == one.sentence and row["law"] == one.facts.law
        assert {name: row[name] for name in one.quantities} == one.quantities
    clips = open_clips(tiny_data / "videos", split="test", limit=3)
    few = describe(clips, models / "classifier", models / "position", tokenizer=models / "tokenizer")
    assert few["clip"].tolist() == table["clip"].tolist()[:3] and few["law"].tolist() == table["law"].tolist()[:3]


def test_clips_unlike_the_training_data_are_named_by_every_reader(
    applied: Path, test_codes: CodesTable, tmp_path: Path
) -> None:
    """The p-values of the classifier's own score, of whole clips and, for a description, of the part that was read."""
    classifier, position = applied / "models" / "classifier", applied / "models" / "position"
    few = open_any(applied / "codes.parquet", split="test", limit=4)
    assert "novelty_p" not in classify(few, classifier), "a classifier without a score says nothing of it"
    with pytest.raises(UserError, match="no novelty score"):
        locate(few, position, classifier=classifier)
    shutil.copytree(classifier, tmp_path / "classifier")
    save_novelty(
        tmp_path / "classifier", fit_novelty(load_position_head(position), test_codes.codes[:3], 0.3), position
    )
    head = load_classifier(tmp_path / "classifier")
    whole, past = head.novelty(test_codes.codes[:4]), head.novelty(test_codes.codes[:4, :3])
    table = classify(few, head)
    np.testing.assert_allclose(table["novelty_p"], whole)
    assert table["unlike_training"].tolist() == (whole <= 0.3).tolist()
    places = locate(few, position, classifier=head)
    np.testing.assert_allclose(places["novelty_p"], whole.repeat(16))
    described = describe(few, head, position)
    np.testing.assert_allclose(described["novelty_p"], past)
    assert described["unlike_training"].tolist() == (past <= 0.3).tolist()


@pytest.mark.parametrize("fps", [8, 16])
def test_seconds_are_those_of_the_clips(
    applied: Path, tiny_data: Path, fps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, pixels, seen = applied / "models", ClipStore(tiny_data / "videos").read(limit=2).pixels, []
    plain = offline.describe
    monkeypatch.setattr(
        offline, "describe", lambda evidence, times, **k: seen.append((evidence, times)) or plain(evidence, times, **k)
    )
    clips = open_clips(pixels, fps=fps)
    describe(clips, models / "classifier", models / "position", tokenizer=models / "tokenizer")
    (evidence, times), = seen
    np.testing.assert_array_equal(evidence.times, np.arange(12) / fps)
    np.testing.assert_array_equal(times, np.arange(16) / fps)


def test_heads_of_two_runs_are_refused(applied: Path) -> None:
    models = applied / "models"
    head = load_position_head(models / "position")
    head.tokenizer_hash = "f" * 64
    with pytest.raises(UserError, match="the position: not trained on the codes that .*classifier was trained on"):
        describe(applied / "codes.parquet", models / "classifier", head)


def test_models_of_another_kind_are_refused(applied: Path) -> None:
    models = applied / "models"
    with pytest.raises(UserError, match="a position head; needed is a classifier of codes, a video classifier or an"):
        classify(applied / "codes.parquet", models / "position")
    with pytest.raises(UserError, match="a classifier of codes; needed is a position head"):
        locate(applied / "codes.parquet", models / "classifier")
    with pytest.raises(UserError, match="--frames 8: .*video_classifier reads whole clips of 16 frames"):
        classify(np.zeros((16, 64, 64, 3), np.uint8), models / "video_classifier", frames=8)


def test_progress_counts_clips(applied: Path, tiny_data: Path) -> None:
    models, progress = applied / "models", Progress.silent()
    progress.phase("reading", 96, "clips")
    classify(tiny_data / "videos", models / "classifier", tokenizer=models / "tokenizer", progress=progress)
    assert progress.status()["done"] == 96


def test_a_head_is_never_given_more_than_a_block(applied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long tables are read a block at a time, and the rows do not change by it."""
    from kinetoken.inference import coding

    whole = classify(applied / "codes.parquet", applied / "models" / "classifier")
    monkeypatch.setattr(coding, "READ_AT_ONCE", 40)
    head, sizes = load_classifier(applied / "models" / "classifier"), []
    plain = head.log_probabilities
    monkeypatch.setattr(head, "log_probabilities", lambda codes: sizes.append(len(codes)) or plain(codes))
    parts = classify(applied / "codes.parquet", head)
    assert sizes == [40, 40, 16]
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-5)
