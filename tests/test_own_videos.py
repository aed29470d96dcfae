"""A folder of someone's videos through the stages that work without tracks: the clip store, a tokenizer, its codes, the
classifiers, the doctor, the predictors and the generator. What needs true positions says that it is not measured."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.codes import read_codes
from kinetoken.core.absence import NotMeasured, write_absent
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import CPU, Context, Output, marked_paths
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.statement import read_statement
from kinetoken.footage.folder import FootageParams, VideoDataset
from kinetoken.report.headline import BuildReport
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Look
from stages import (
    build_report,
    diagnose_codes,
    explain_classifier,
    extract_codes,
    generate_trajectories,
    render_videos,
    train_baselines,
    train_classifier,
    train_generator,
    train_predictor,
    train_tokenizer,
)
from tests.stages import (
    test_diagnose_codes,
    test_explain_classifier,
    test_train_baselines,
    test_train_classifier,
    test_train_generator,
    test_train_predictor,
    test_train_tokenizer,
)

SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
VIDEOS = VideoDataset(
    seed=1, look=Look(image_size=32, shadow=0.0), shard_clips=50, processes=1,
    footage=FootageParams(frames=8, shares=(0.6, 0.2, 0.2)),
)


def draw(folder: Path) -> Path:
    """60 videos of 48 × 40 pixels: a bright square that moves to the left or the right, before walls of their own."""
    rng = np.random.default_rng(3)
    for number in range(60):
        name = ("left", "right")[number % 2]
        clip = np.repeat(rng.integers(20, 70, (1, 40, 48, 3)).astype(np.uint8), 8, 0)
        row, start = rng.integers(8, 24), rng.integers(14, 20)
        for frame in range(8):
            column = start + (2 if name == "right" else -2) * (frame - 3)
            clip[frame, row : row + 8, column : column + 8] = 230
        path = folder / name / f"{number:02d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, clip)
    return folder


def beside(paths: object, folder: Path, **inputs: Path) -> dict[str, Path]:
    """The outputs of a stage in a folder, and these inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: folder / path.name for name, path in marked_paths(paths, Output).items()} | inputs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The inputs that all later stages share: the clip store, and tables that say why there are no tracks."""
    folder = tmp_path_factory.mktemp("footage")
    source = draw(folder / "source")
    tracks = {"trajectories": folder / "trajectories.parquet", "track_params": folder / "track_params.parquet"}
    for path in tracks.values():
        write_absent(path, f"{source} is a folder of videos")
    render_videos.run(VIDEOS, render_videos.Paths(**tracks, videos=folder / "videos", source=source), SILENT)
    return {"videos": folder / "videos", **tracks}


@pytest.fixture(scope="module")
def coded(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same with a tokenizer that was trained on them for a moment, and their codes."""
    folder = tmp_path_factory.mktemp("coded")
    tiny = test_train_tokenizer.PARAMS
    params = dataclasses.replace(tiny, epochs=28, windows=dataclasses.replace(tiny.windows, size=16))
    trained = train_tokenizer.Paths(**beside(train_tokenizer.Paths(), folder / "t", **data))
    train_tokenizer.run(params, trained, SILENT)
    given = {"videos": data["videos"], "tokenizer": trained.model}
    codes = extract_codes.Paths(**beside(
        extract_codes.Paths(videos=Path(), tokenizer=Path(), codes=Path("codes.parquet"), metrics=Path("m.json"),
                            headlines=Path("m"), numbers=Path("m.csv")), folder / "c", **given,
    ))
    extract_codes.run(extract_codes.Extraction(batch_size=16), codes, SILENT)
    return {**data, **given, "codes": codes.codes, "numbers": trained.numbers, "history": trained.curves}


def test_a_folder_has_no_trajectories(tmp_path: Path) -> None:
    paths = generate_trajectories.Paths(tmp_path, tmp_path / "a.parquet", tmp_path / "b.parquet")
    with pytest.raises(NotMeasured, match="is a folder of videos, in which true positions are not known"):
        generate_trajectories.run(None, paths, SILENT)  # type: ignore[arg-type]


def test_the_clip_store_holds_them_with_classes_and_splits(data: dict[str, Path]) -> None:
    store = ClipStore(data["videos"])
    assert store.shape == (8, 32, 32) and store.classes == ("left", "right") and len(store) == 60
    assert {split: int((store.split == split).sum()) for split in ("train", "val", "test")} == {
        "train": 36, "val": 12, "test": 12,
    }


def test_the_tokenizer_is_scored_by_what_moves(coded: dict[str, Path]) -> None:
    numbers = read_numbers(coded["numbers"])
    assert numbers["foreground_psnr_db"] > numbers["foreground_psnr_db_floor"] and "missed_rate" not in numbers
    assert numbers["psnr_db_ci95_low"] <= numbers["psnr_db"] <= numbers["psnr_db_ci95_high"]
    assert len(read_codes(coded["codes"])) == 60


def test_baselines_are_those_of_pixels(coded: dict[str, Path], tmp_path: Path) -> None:
    inputs = {name: coded[name] for name in ("videos", "trajectories", "track_params")}
    paths = train_baselines.Paths(**beside(train_baselines.Paths(), tmp_path, **inputs))
    train_baselines.run(dataclasses.replace(test_train_baselines.PARAMS, epochs=40), paths, SILENT)
    numbers = read_numbers(paths.numbers)
    assert "coordinates.accuracy" not in numbers and numbers["majority.accuracy"] == 0.5
    assert numbers["video.accuracy"] >= 0.8, "directions are learnt only if nothing is mirrored"


def test_the_doctor_examines_them(coded: dict[str, Path], tmp_path: Path) -> None:
    inputs = {
        name: coded[name] for name in ("videos", "trajectories", "track_params", "codes", "tokenizer", "history")
    }
    paths = diagnose_codes.Paths(**beside(diagnose_codes.Paths(), tmp_path, **inputs))
    diagnose_codes.run(test_diagnose_codes.PARAMS, paths, SILENT)
    numbers, statement = read_numbers(paths.numbers), read_statement(paths.verdict_json)
    assert numbers["probe.pixels"] >= 0.8 and 0 < numbers["foreground.token_share"] < 0.5
    assert not [name for name in numbers if name.startswith("physics")]
    assert numbers["probe.codes"] >= 0.5 and not statement.kept.name.startswith("cannot tell")


TRACKLESS = ("codes", "tokenizer", "videos", "trajectories", "track_params")


def test_predictors_follow_the_middle_of_what_moves(coded: dict[str, Path], tmp_path: Path) -> None:
    """No oracle, no law: the baselines and the true codes are what a prediction is compared with."""
    inputs = {name: coded[name] for name in TRACKLESS}
    params = dataclasses.replace(
        test_train_predictor.PARAMS, past_slices=1, future_slices=1, epochs=45,
        translation=dataclasses.replace(test_train_predictor.PARAMS.translation, epochs=60),
    )
    paths = train_predictor.Paths(**beside(train_predictor.Paths(), tmp_path, **inputs))
    train_predictor.run(params, paths, SILENT)
    numbers = read_numbers(paths.numbers)
    assert not [name for name in numbers if "oracle" in name or "ood" in name]
    for name in ("lstm", "transformer"):
        assert numbers[f"{name}.centroid_error_px_ci95_low"] <= numbers[f"{name}.centroid_error_px"] < 16
    for name, each in pd.read_csv(paths.curves).groupby("model"):
        falls = each["val_path_px"].iloc[-1] / each["val_path_px"].iloc[0]
        assert falls < (0.97 if name == "lstm" else 0.85), (name, falls)
    assert paths.pictures.stat().st_size > 1000


def test_the_generator_draws_such_videos(coded: dict[str, Path], tmp_path: Path) -> None:
    inputs = {name: coded[name] for name in TRACKLESS} | {"judge": tmp_path / "judge"}
    write_absent(inputs["judge"], "none was trained")
    params = dataclasses.replace(test_train_generator.PARAMS, clips_per_class=4)
    paths = train_generator.Paths(**beside(train_generator.Paths(), tmp_path / "g", **inputs))
    train_generator.run(params, paths, SILENT)
    numbers, scores = read_numbers(paths.numbers), pd.read_csv(paths.scores)
    assert not [name for name in numbers if "lawful" in name or "oracle" in name or "parameters" in name]
    assert {"masked.coverage", "masked.valid", "masked.forecast.centroid_error_px"} <= set(numbers)
    assert set(scores["class"]) == {"left", "right"} and not scores.isna().any(axis=None)
    assert pd.read_csv(paths.laws).empty and paths.samples.stat().st_size > 1000


def test_videos_whose_classes_are_called_like_laws_are_none(coded: dict[str, Path]) -> None:
    dataset = Dataset.open(DatasetPaths(videos=coded["videos"]))
    dataset.clips.label = np.where(dataset.clips.label == "left", "linear", "circular")
    assert dataset.classes == ("circular", "linear") and not dataset.lawful


def test_decisions_on_them_are_explained(coded: dict[str, Path], tmp_path: Path) -> None:
    """Own class names, no true positions: what needs the ball is left out."""
    write_absent(tmp_path / "position", "in videos true positions are not known")
    inputs = {name: coded[name] for name in ("codes", "tokenizer", "videos", "trajectories", "track_params")}
    inputs["position"] = tmp_path / "position"
    trained = train_classifier.Paths(**beside(train_classifier.Paths(), tmp_path / "c", **inputs))
    train_classifier.run(dataclasses.replace(test_train_classifier.PARAMS, epochs=16, few_clips=100), trained, SILENT)
    inputs = {name: coded[name] for name in ("codes", "videos", "trajectories", "track_params")}
    paths = explain_classifier.Paths(
        **beside(explain_classifier.Paths(), tmp_path / "e", model=trained.model, **inputs)
    )
    explain_classifier.run(dataclasses.replace(test_explain_classifier.PARAMS, steps=128), paths, SILENT)
    numbers = read_numbers(paths.numbers)
    assert not [name for name in numbers if "ball" in name] and numbers["completeness_error"] < 0.05
    assert set(pd.read_csv(paths.by_slice)["class"]) == {"left", "right"} and paths.picture.stat().st_size > 1000


def test_the_report_shows_what_was_not_measured(coded: dict[str, Path], tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    (plots / "train_tokenizer").mkdir(parents=True)
    (plots / "train_tokenizer/numbers.csv").write_bytes(coded["numbers"].read_bytes())
    reason = "these are videos, in which true positions are not known"
    for path in ("plots/train_predictor/numbers.csv", "predictor", "generator", "classifier", "position"):
        write_absent(tmp_path / path, reason)
    models = {name: tmp_path / name for name in ("predictor", "generator", "classifier", "position")}
    paths = build_report.Paths(
        plots=plots, videos=coded["videos"], codes=coded["codes"], tokenizer=coded["tokenizer"], **models,
        descriptions=tmp_path / "none", reasons=tmp_path / "none", trajectories=coded["trajectories"],
        candidate_videos=tmp_path / "none", actions=tmp_path / "none", gasm_cast=tmp_path / "none",
        report=tmp_path / "report.html", summary=tmp_path / "summary",
    )
    params = BuildReport(seed=1, clips_per_class=1, descriptions=1, marks={}, clips=4, candidates=0)
    build_report.run(params, paths, SILENT)
    page = paths.report.read_text(encoding="utf-8")
    assert f"Not measured: {reason}." in page and "train_predictor" in page
