"""The first team's study: its params and pipeline against the code, its own scripts run for real on tiny data."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers, write_numbers_table
from kinetoken.core.params import load_params
from kinetoken.core.stage import CPU, Context, Hardware
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.columns import load_arrays
from kinetoken.diagnosis.statement import SCHEMA, Said, Statement, write_statement
from kinetoken.heads.classifier import ClassifierParams
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.rendering import Rendering
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from kinetoken.tokenizer.training_clips import TokenizerParams
from stages.extract_codes import Extraction
from studies.first_team import examine_features, tell
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/first_team"
PARAMS = FOLDER / "params.yaml"
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
NETWORK = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=8, coarse_blocks=0)


def tokenizer_params(name: str) -> TokenizerParams:
    return load_params(PARAMS, f"train_tokenizer.{name}", TokenizerParams)


# ---- params and pipeline


def test_every_section_loads() -> None:
    load_params(PARAMS, "hardware", Hardware)
    load_params(PARAMS, "extract_codes", Extraction)
    load_params(PARAMS, "render_videos", Rendering)
    reading = load_params(PARAMS, "reading", examine_features.Reading)
    assert reading.doctor == load_params(PARAMS, "reading.doctor", Diagnosis)
    assert reading.classifier.poolings == ("soft_argmax", examine_features.POOLING)


def test_a_tokenizer_differs_from_another_by_what_the_story_says_only() -> None:
    theirs, plain, cured = map(tokenizer_params, ("theirs", "plain", "cured"))
    assert dataclasses.replace(theirs, loss=cured.loss, epochs=cured.epochs) == cured
    assert dataclasses.replace(cured, loss=theirs.loss) == plain
    assert theirs.loss.foreground == theirs.loss.margin == 0 and theirs.loss.colour == 1


def test_the_few_clips_are_the_first_of_the_many_and_the_test_clips_the_same() -> None:
    few, many = (
        load_params(PARAMS, f"generate_trajectories.{name}", Trajectories) for name in ("clips_200", "clips_2880")
    )
    assert dataclasses.replace(few, counts=many.counts) == many
    assert dataclasses.replace(few.counts, train=many.counts.train, val=many.counts.val) == many.counts
    small = dataclasses.replace(few.counts, train=8, val=4, test=4)
    one = draw_tracks(dataclasses.replace(few, counts=small))
    other = draw_tracks(dataclasses.replace(few, counts=dataclasses.replace(small, train=16)))
    np.testing.assert_array_equal(one.points[one.split == "test"], other.points[other.split == "test"])
    np.testing.assert_array_equal(one.points[one.split == "train"], other.points[other.split == "train"][:8])


def test_every_step_of_the_story_is_run_as_it_is_told() -> None:
    story = load_params(PARAMS, "first_team", tell.Story)
    examined = dict.fromkeys(STAGES["first_team_codes"]["foreach"], "codes")
    examined |= dict.fromkeys(STAGES["first_team_features"]["foreach"], "features")
    assert {step.name: step.reads for step in story.steps} == examined
    for step in story.steps:
        run = STAGES["first_team_codes" if step.reads == "codes" else "first_team_features"]["foreach"][step.name]
        assert run["tokenizer"] == step.tokenizer
    assert {step.tokenizer for step in story.steps} == set(STAGES["first_team_tokenizer"]["foreach"])


def test_the_short_story_begins_and_ends_as_the_long_one_and_needs_no_more_than_its_own_steps() -> None:
    short, story = (load_params(PARAMS, name, tell.Story) for name in ("cure", "first_team"))
    runs = {step.name: (step.tokenizer, step.reads) for step in story.steps}
    assert [step.name for step in short.steps] == ["as_they_did", "cured"]
    assert all(runs[step.name] == (step.tokenizer, step.reads) for step in short.steps)
    needed = {f"data/scores/{step.tokenizer}.csv" for step in short.steps} | {
        f"data/steps/{step.name}/{name}"
        for step in short.steps for name in ("doctor.csv", "verdict.json", "heads.csv")
    }
    assert needed == {dep for dep in STAGES["first_team_cure"]["deps"] if dep.startswith("data/")}


def test_a_step_must_change_one_that_comes_before_it() -> None:
    step = tell.Step("b", "a", "something", "x=1", "theirs", "codes")
    with pytest.raises(ValueError, match="'b' changes 'a', which does not come before it"):
        tell.Story((step, dataclasses.replace(step, name="a", against="a")))


# ---- the encoder's output in the place of codes


@pytest.fixture(scope="module")
def bypassed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> examine_features.Paths:
    folder = tmp_path_factory.mktemp("bypassed")
    torch.manual_seed(0)
    save_tokenizer(folder / "tokenizer", Tokenizer(NETWORK, FSQ, 64))
    paths = examine_features.Paths(
        tiny_data / "videos", folder / "tokenizer", folder / "features.npz", folder / "heads.csv",
        folder / "doctor.csv", folder / "verdict.md", folder / "verdict.json",
    )
    params = load_params(PARAMS, "reading", examine_features.Reading)
    doctor = dataclasses.replace(params.doctor, probe=dataclasses.replace(params.doctor.probe, epochs=1))
    classifier = dataclasses.replace(params.classifier, epochs=1)
    examine_features.run(examine_features.Reading(doctor, classifier), paths, SILENT)
    return paths


def test_features_are_the_encoders_output_unrounded(bypassed: examine_features.Paths) -> None:
    arrays, store = load_arrays(bypassed.features), ClipStore(bypassed.videos)
    assert arrays["codes"].shape == (len(store), 4, 8, 8, 4)
    np.testing.assert_array_equal(arrays["track_id"], store.track_id)
    clips = store.take(np.array([3, 50]))
    with torch.no_grad():
        latents = load_tokenizer(bypassed.tokenizer).latents(torch.from_numpy(clips.pixels))
    np.testing.assert_allclose(arrays["codes"][[3, 50]], latents.movedim(1, -1).numpy(), atol=1e-5)


def test_the_doctor_names_the_bypassed_quantizer(bypassed: examine_features.Paths) -> None:
    assert tell.read_verdict(bypassed.verdict_json)[0] == "quantizer bypassed"
    numbers = read_numbers(bypassed.numbers)
    assert numbers["healthy"] == 0 and numbers["probe.codes"] == numbers["probe.latents"]
    assert "pooling.spatial_mean.accuracy_ci95_low" in read_numbers(bypassed.heads)


def test_the_head_on_features_reads_their_average(tiny_data: Path) -> None:
    """Features whose average tells the class: the head must find it, and not where the average is the same for all."""
    store = ClipStore(tiny_data / "videos")
    target = np.searchsorted(np.array(store.classes), store.label)
    rng = np.random.default_rng(0)
    shift = np.eye(4, dtype=np.float32)[target][:, None, None, None]  # (N, 1, 1, 1, 4)
    noise = rng.standard_normal((len(store), 4, 8, 8, 4)).astype(np.float32)
    noise -= noise.mean((2, 3), keepdims=True)
    params = dataclasses.replace(
        load_params(PARAMS, "reading.classifier", ClassifierParams), epochs=20, batch_size=16, learning_rate=0.01,
    )
    told = examine_features.classified(params, noise + shift, store, SILENT)
    blind = examine_features.classified(params, noise, store, SILENT)
    assert told["accuracy"] == 1.0 and told["accuracy_floor"] == 0.25
    assert blind["accuracy"] <= 0.5


# ---- the table


@pytest.fixture
def measured(tmp_path: Path) -> tell.Paths:
    """What the stages would have left of two steps, with figures that are easy to check."""
    for name, psnr in (("theirs", 20.0), ("cured", 36.5)):
        scores = {"psnr_db": psnr, "psnr_db_floor": 28.0, "foreground_psnr_db": psnr - 10,
                  "foreground_psnr_db_floor": 5.0, "centroid_error_px": 1.0, "missed_rate": 0.0}
        write_numbers_table(tmp_path / "scores" / f"{name}.csv", scores)
    for step, averaged, kept, cause in (("first", 0.25, 0.5, "quantizer bypassed"), ("last", 0.3, 0.95, "healthy")):
        probe = {**reading("codes_pooled", averaged), **reading("codes", kept), "codes_floor": 0.25, "pixels": 0.99}
        apart = {"pairwise": 0.027, "means_least": 0.003, "means_most": 0.047}
        doctor = {"probe": probe, "distances": {"codes_pooled": apart}}
        write_numbers_table(tmp_path / "steps" / step / "doctor.csv", doctor)
        heads = {"spatial_mean": reading("accuracy", averaged), "soft_argmax": reading("accuracy", kept)}
        write_numbers_table(tmp_path / "steps" / step / "heads.csv", {"pooling": heads})
        headline, beside = (
            Said(name, "kept", None, "unknown", "likely", "Evidence.", "", "X.", "", ())
            for name in (cause, "pooling drops position")
        )
        write_statement(
            tmp_path / "steps" / step / "verdict.json",
            Statement(SCHEMA, "kinetoken", cause == "healthy", headline, headline, (beside,), (), (), ()),
        )
    return tell.Paths(
        tmp_path / "scores", tmp_path / "steps", tmp_path / "m.json", tmp_path / "table.md", tmp_path / "rows.csv",
        tmp_path / "accuracy.csv",
    )


def reading(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_ci95_low": value - 0.02, f"{name}_ci95_high": value + 0.02}


STORY = tell.Story((
    tell.Step("first", "first", "as they did", "all", "theirs", "features"),
    tell.Step("last", "first", "all cured", "none", "cured", "codes"),
))


def test_the_table_holds_what_was_measured(measured: tell.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    tell.run(STORY, measured, SILENT)
    metrics = json.loads(measured.metrics.read_text())
    assert metrics["first"]["averaged_distance_pairwise"] == 0.027
    assert "change" not in metrics["first"] and "head_place_kept" not in metrics["first"]
    assert metrics["last"]["change"] == {
        "psnr_db": 16.5, "foreground_psnr_db": 16.5, "averaged_points": 5, "place_kept_points": 45,
        "head_averaged_points": 5,
    }
    text = measured.table.read_text()
    assert text in capsys.readouterr().out
    first, last = text.splitlines()[2:]
    assert "20.0 (28.0)" in first and "0.027, 0.003–0.047" in first
    assert "| quantizer bypassed | pooling drops position |" in first
    assert "95.0 % (93.0–97.0)" in last and last.count("|") == first.count("|") == text.splitlines()[0].count("|")
    assert pd.read_csv(measured.rows)["verdict"].tolist() == ["quantizer bypassed", "healthy"]
    bars = pd.read_csv(measured.accuracy)
    assert len(bars) == 3 + 4 and bars.loc[bars["step"] == "last", "accuracy"].max() == 0.95


def test_a_step_that_was_not_run_is_named(measured: tell.Paths) -> None:
    (measured.steps / "last" / "heads.csv").unlink()
    with pytest.raises(UserError, match=re.escape("last/heads.csv: no such file")):
        tell.run(STORY, measured, SILENT)
