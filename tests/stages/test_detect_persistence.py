"""detect_persistence, run for real on a tiny dataset of candidates."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.core.artifacts import read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.stage import CPU, Context
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.persistence import controls
from kinetoken.persistence.experiment import Material
from kinetoken.persistence.extractors import Extractor
from kinetoken.persistence.network import load_detector
from kinetoken.persistence.online import OnlineDetector
from kinetoken.persistence.params import ExtractorName, PersistenceParams
from kinetoken.persistence.reasons import Reason, sentence
from kinetoken.persistence.training import Targets
from kinetoken.scenes.candidates import CandidateCounts, CandidateTracks
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.clutter import ClutteredRendering
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from stages import detect_persistence, generate_trajectories, render_videos
from stages.detect_persistence import Paths
from tests.support.numbers import nested
from tests.support.quantizers import FSQ
from tests.support.same_bytes import assert_same_outputs

ROOT = Path(__file__).parents[2]
ALL: tuple[ExtractorName, ...] = ("magvit", "transformer", "i3d_causal", "slowfast_causal")
OUTPUTS = ("model", "metrics", "headlines", "numbers", "curves", "decisions", "operating", "efficiency", "attention",
           "ratios", "reasons", "summary", "budgets")
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def tiny(**changes: Any) -> PersistenceParams:
    """The pipeline's own params, all four extractors as small as they go."""
    params = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    small = {
        name: dataclasses.replace(
            params.of(name), epochs=1, batch_size=8, channels=8,
            **({"width": 8} if name.endswith("causal") else {}), **({"heads": 2} if name == "transformer" else {}),
        )
        for name in ALL
    }
    head = dataclasses.replace(params.head, width=8, heads=2)
    return dataclasses.replace(
        params, extractors=ALL, head=head, shown=3, control_epochs=1, **{**small, **changes}
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables, videos/, tokenizer/ and codes.parquet of 64 candidates."""
    folder = tmp_path_factory.mktemp("candidates")
    tracks = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    look = load_params(ROOT / "params.yaml", "render_videos.persistence", ClutteredRendering)
    tables = folder / "trajectories.parquet", folder / "track_params.parquet"
    generate_trajectories.run(
        dataclasses.replace(tracks, counts=CandidateCounts(24, 16, 24)),
        generate_trajectories.Paths(ROOT / "data/sources/synthetic.csv", *tables), SILENT,
    )
    render_videos.run(
        dataclasses.replace(look, shard_clips=40, processes=1), render_videos.Paths(*tables, folder / "videos"), SILENT
    )
    torch.manual_seed(0)
    shape = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=8, coarse_blocks=1)
    save_tokenizer(folder / "tokenizer", Tokenizer(shape, FSQ, 64))
    code(folder, folder / "codes.parquet")
    return folder


def code(folder: Path, path: Path) -> None:
    tokenizer, clips = load_tokenizer(folder / "tokenizer"), ClipStore(folder / "videos").read()
    codes = tokenizer.encode(torch.from_numpy(clips.pixels)).numpy().astype(np.int32)
    meta = CodesMeta((8, 8, 8), 1000, "fsq", (8, 5, 5, 5), tokenizer.hash)
    write_codes(path, meta, [CodesTable(clips.track_id, clips.label, clips.split, codes, meta)])


def stage_paths(data: Path, out: Path) -> Paths:
    names = dict(zip(OUTPUTS, (
        "model", "metrics.json", "headlines", "numbers.csv", "curves.csv", "decisions.csv", "operating.csv",
        "efficiency.png", "attention", "attention.csv", "reasons.jsonl", "summary.md", "budgets.csv",
    ), strict=True))
    out.mkdir(exist_ok=True)
    return Paths(
        data / "videos", data / "codes.parquet", data / "tokenizer", data / "trajectories.parquet",
        data / "track_params.parquet", **{name: out / file for name, file in names.items()},
    )


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = stage_paths(data, tmp_path_factory.mktemp("done"))
    detect_persistence.run(tiny(), paths, SILENT)
    return paths


def test_every_headline_has_its_floor_and_agrees_with_the_decisions(done: Paths) -> None:
    metrics, decisions = nested(done.numbers), pd.read_csv(done.decisions)
    for name in ALL:
        found, rows = metrics[name], decisions[decisions["extractor"] == name]
        assert len(rows) == 24
        assert found["accuracy"] == pytest.approx((rows["actual"] == rows["predicted"]).mean(), abs=1e-5)
        assert found["mean_decision_frame"] == pytest.approx(rows["frames"].mean(), abs=1e-4)
        assert found["early_stop_rate"] == pytest.approx(rows["early"].mean(), abs=1e-5)
        assert found["accuracy_floor"] == 0.5 and found["attention_ratio_floor"] == 1
        earliness = 1 - rows["frames"].mean() / 32
        expected = 2 * found["accuracy"] * earliness / max(found["accuracy"] + earliness, 1e-9)
        assert found["harmonic_mean"] == pytest.approx(expected, abs=1e-4)
        assert 0 <= found["compute_saved"] < 1 and found["ece_floor"] >= 0
        assert "regret" in found and found["place_px_floor"] > 0
        assert sum(each["tracks"] for each in found["by_lifetime"].values()) == 24
    assert metrics["reference"]["accuracy_frame_1"] == 0.5
    assert metrics["reference"]["accuracy"] >= 0.9


def test_random_labels_say_nothing_unless_the_truth_comes_in_by_another_way(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two networks with opposite labels one is right where the other is wrong; with a leak both are right together.
    """
    paths = stage_paths(data, tmp_path)
    material = Material.of(Dataset.open(DatasetPaths(
        videos=paths.videos, codes=paths.codes, tokenizer=paths.tokenizer, trajectories=paths.trajectories,
        track_params=paths.track_params,
    )))
    honest = controls._dealt_out(material, tiny(), "magvit", SILENT)
    assert (honest == 0.5).mean() > 0.9 and abs(honest.mean() - 0.5) < 0.05

    def leaking(of: Material, extractor: Extractor, split: str, *rest: Any) -> tuple[torch.Tensor, Targets]:
        return of.clips(extractor, split, torch.device("cpu"))

    monkeypatch.setattr(controls, "_dealt", leaking)
    found = controls._dealt_out(material, tiny(), "magvit", SILENT)
    assert set(found) <= {0.0, 1.0}, "both networks learn the same"


def test_controls_and_pictures_are_there(done: Paths) -> None:
    control = nested(done.numbers)["control"]
    assert set(control) == {"first_frame", "metadata", "shuffled_labels", "unsupervised_attention"}
    assert control["unsupervised_attention"]["attention_ratio"] > 0
    for each in control.values():
        assert each["accuracy_ci95_low"] <= each["accuracy"] <= each["accuracy_ci95_high"]
    for name in ALL:
        assert {f"{name}.png", f"{name}_heads.png"} <= {path.name for path in done.attention.iterdir()}
    assert set(pd.read_csv(done.operating)["extractor"]) == {*ALL, "reference"}
    budgets = pd.read_csv(done.budgets)
    within = pd.read_csv(done.operating)
    within = within[within["extractor"].isin(ALL) & (within["frames"] <= 8)]
    best = budgets[budgets["frames_at_most"] == 8].iloc[0]
    assert best["accuracy"] == within["accuracy"].max() and best["extractor"] in ALL and best["frames"] <= 8
    assert f"| 8 | {best['extractor']} | {best['accuracy']:.1%} | " in done.summary.read_text()


def test_reasons_hold_nothing_but_what_was_read_and_say_it(done: Paths) -> None:
    decisions = pd.read_csv(done.decisions).set_index(["extractor", "track_id"])
    lines = [json.loads(line) for line in done.reasons.read_text().splitlines()]
    assert {line["extractor"] for line in lines} == set(ALL)
    for line in lines:
        row = decisions.loc[(line["extractor"], line["track_id"])]
        assert (line["decision"], line["frames_seen"]) == (row["predicted"], row["frames"])
        fields = {field.name: line[field.name] for field in dataclasses.fields(Reason)}
        assert line["sentence"] == sentence(Reason(**{**fields, "posterior": tuple(line["posterior"])}))
        assert 0 <= line["frames_in_sight"] <= line["frames_seen"]


def test_saved_detectors_fed_frame_by_frame_decide_as_the_stage_did(done: Paths, data: Path) -> None:
    decisions, store = pd.read_csv(done.decisions), ClipStore(data / "videos")
    rows = np.flatnonzero(store.split == "test")
    clips = store.take(rows).pixels
    for name in ALL:
        online = OnlineDetector.load(done.model / name, data / "tokenizer" if name == "magvit" else None)
        expected = decisions[decisions["extractor"] == name].set_index("track_id")
        waiting = set(range(len(rows)))
        for frame in range(32):
            verdicts = online.feed({i: (frame, clips[i, frame]) for i in sorted(waiting)})
            waiting = {i for i, verdict in verdicts.items() if verdict.status == "undecided"}
        assert not waiting and online.under_way == 0
        for i, track in enumerate(store.track_id[rows]):
            verdict = online.verdict(i)
            assert (verdict.status, verdict.frames) == (
                expected.loc[track, "predicted"], expected.loc[track, "frames"]
            )
            assert verdict.confidence == pytest.approx(expected.loc[track, "confidence"], abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_buffer_that_holds_every_frame_in_turn_gives_the_verdicts_of_fresh_frames(
    done: Paths, data: Path, name: str
) -> None:
    clips = ClipStore(data / "videos").read("test").pixels
    fresh, reused = (OnlineDetector.load(done.model / name, data / "tokenizer" if name == "magvit" else None)
                     for _ in range(2))
    buffers = np.zeros_like(clips[:, 0])
    waiting = list(range(len(clips)))
    for frame in range(clips.shape[1]):
        buffers[:] = clips[:, frame]
        expected = fresh.feed({i: (frame, clips[i, frame]) for i in waiting})
        assert reused.feed({i: (frame, buffers[i]) for i in waiting}) == expected
        buffers[:] = 0  # a camera that clears its buffer between frames
        waiting = [i for i in waiting if expected[i].status == "undecided"]
    assert not waiting


def test_the_same_again_is_the_same_bytes(data: Path, tmp_path: Path) -> None:
    params = dataclasses.replace(tiny(), extractors=("transformer",))
    both = [stage_paths(data, tmp_path / name) for name in ("one", "two")]
    for paths in both:
        detect_persistence.run(params, paths, SILENT)
    assert_same_outputs(*both, OUTPUTS)


def test_laws_without_a_known_optimum_have_no_regret(data: Path, tmp_path: Path) -> None:
    tracks = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    look = load_params(ROOT / "params.yaml", "render_videos.persistence", ClutteredRendering)
    tables = tmp_path / "trajectories.parquet", tmp_path / "track_params.parquet"
    generate_trajectories.run(
        dataclasses.replace(
            tracks, counts=CandidateCounts(16, 8, 12), motion=dataclasses.replace(tracks.motion, law="four_laws")
        ),
        generate_trajectories.Paths(ROOT / "data/sources/synthetic.csv", *tables), SILENT,
    )
    render_videos.run(
        dataclasses.replace(look, processes=1), render_videos.Paths(*tables, tmp_path / "videos"), SILENT
    )
    shutil.copytree(data / "tokenizer", tmp_path / "tokenizer")
    code(tmp_path, tmp_path / "codes.parquet")
    paths = stage_paths(tmp_path, tmp_path / "out")
    detect_persistence.run(dataclasses.replace(tiny(), extractors=("transformer",)), paths, SILENT)
    metrics = nested(paths.numbers)
    assert "reference" not in metrics and "regret" not in metrics["transformer"]
    assert {"linear", "circular", "helical", "parabolic"} & set(metrics["transformer"]["by_law"])


@pytest.mark.parametrize(("column", "value", "message"), [
    ("last_frame", -1.0, "never appears"), ("first_frame", 40.0, "never appears"),
])
def test_a_candidate_that_never_appears_is_named(
    data: Path, tmp_path: Path, column: str, value: float, message: str
) -> None:
    table = read_table(data / "track_params.parquet")
    values = table[column].to_pandas().copy()
    values[3] = value
    place = table.column_names.index(column)
    broken = table.set_column(place, table.schema.field(column), [values.to_numpy(np.float32)])
    write_table(tmp_path / "broken.parquet", broken)
    paths = dataclasses.replace(stage_paths(data, tmp_path / "out"), track_params=tmp_path / "broken.parquet")
    with pytest.raises(UserError, match=message):
        detect_persistence.run(tiny(), paths, SILENT)


def test_tracks_of_another_kind_are_refused(data: Path, tiny_data: Path, tmp_path: Path) -> None:
    paths = dataclasses.replace(stage_paths(data, tmp_path), videos=tiny_data / "videos")
    with pytest.raises(UserError, match="not the tracks"):
        detect_persistence.run(tiny(), paths, SILENT)


def test_online_refuses_frames_out_of_order_and_after_a_decision(done: Paths) -> None:
    detector = load_detector(done.model / "transformer")
    unsure = dataclasses.replace(detector, persistent_above=50.0, transient_below=-50.0)
    online = OnlineDetector(unsure)
    image = np.zeros((64, 64, 3), np.uint8)
    online.feed({5: (10, image)})
    with pytest.raises(UserError, match="track 5: frame 12 out of order, expected 11"):
        online.feed({5: (12, image)})
    assert online.verdict(5).frames == 1
    for number in range(11, 42):
        verdict = online.feed({5: (number, image)})[5]
        assert (verdict.status == "undecided") == (number < 41)  # the last frame of its clip decides
    with pytest.raises(UserError, match="after it was decided"):
        online.feed({5: (number + 1, image)})
    online.forget(5)
    assert online.feed({5: (0, image)})[5].frames == 1
    with pytest.raises(UserError, match="expected uint8"):
        online.feed({6: (0, image[:32])})
    with pytest.raises(UserError, match="no frame of it was fed"):
        online.verdict(77)


def test_uncalibrated_and_crossing_detectors_are_refused(done: Paths) -> None:
    detector = load_detector(done.model / "transformer")
    with pytest.raises(UserError, match="not calibrated"):
        OnlineDetector(dataclasses.replace(detector, temperatures=detector.temperatures[:3]))
    with pytest.raises(UserError, match="cross"):
        OnlineDetector(dataclasses.replace(detector, persistent_above=-1.0, transient_below=1.0))
    with pytest.raises(UserError, match="reads codes of tokenizer"):
        load_detector(done.model / "magvit")
