"""An opened dataset: what does not belong together is named, splits hold their own rows, pixels stay on the disk."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import PerTrack, require_classes, require_splits
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.scenes.clips import ClipStore, shard_path, write_shard
from kinetoken.scenes.tracks import read_tracks
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, save_tokenizer
from tests.support.coded import code_clips
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def paths(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetPaths:
    """All parts of the tiny data, coded by an untrained tokenizer."""
    folder = code_clips(tiny_data, tmp_path_factory.mktemp("coded"))
    return DatasetPaths(
        videos=tiny_data / "videos", trajectories=tiny_data / "trajectories.parquet",
        track_params=tiny_data / "track_params.parquet", codes=folder / "codes.parquet", tokenizer=folder / "tokenizer",
    )


@pytest.fixture
def store_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards whose pixels were read since."""
    read: list[str] = []
    pixels = ClipStore._pixels

    def noted(store: ClipStore, path: Path, *rest: object) -> np.ndarray:
        read.append(path.name)
        return pixels(store, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ClipStore, "_pixels", noted)
    return read


def with_codes(paths: DatasetPaths, folder: Path, **changes: object) -> DatasetPaths:
    table = dataclasses.replace(read_codes(paths.codes), **changes)  # type: ignore[arg-type]
    write_codes(folder / "codes.parquet", table.meta, [table])
    return dataclasses.replace(paths, codes=folder / "codes.parquet")


def with_tokenizer(paths: DatasetPaths, folder: Path, *, causal: bool, image_size: int = 64) -> DatasetPaths:
    """Another tokenizer, and codes that say that they are its."""
    torch.manual_seed(1)
    shape = NetworkParams(
        stem="patch", causal=causal, fine_channels=8, fine_blocks=0, coarse_channels=8, coarse_blocks=0
    )
    save_tokenizer(folder / "other", Tokenizer(shape, FSQ, image_size))
    meta = dataclasses.replace(read_codes(paths.codes).meta, tokenizer=hash_path(folder / "other"))
    return dataclasses.replace(with_codes(paths, folder, meta=meta), tokenizer=folder / "other")


# ---- what does not belong together


def test_parts_of_one_dataset_are_opened_whole_or_in_part(paths: DatasetPaths) -> None:
    whole = Dataset.open(paths, needs=require_classes, causal=True, scene=True)
    assert len(whole.table) == len(whole.clips) == len(whole.tracks) == len(whole.codes) == 96
    assert whole.tokenizer.hash == whole.codes.meta.tokenizer and whole.scene == whole.clips.scene
    assert whole.classes == ("circular", "helical", "linear", "parabolic")
    assert whole.splits == ("ood", "test", "train", "val")
    codes_alone = Dataset.open(DatasetPaths(codes=paths.codes))
    assert codes_alone.table is codes_alone.codes and codes_alone.source == paths.codes
    for name in ("clips", "tracks", "tokenizer"):
        with pytest.raises(ValueError, match=f"opened without its {name}"):
            getattr(codes_alone, name)
    pixels_alone = Dataset.open(DatasetPaths(videos=paths.videos))
    assert pixels_alone.table is pixels_alone.clips and pixels_alone.source == paths.videos


def test_codes_of_another_tokenizer_are_named_with_what_to_run_again(paths: DatasetPaths, tmp_path: Path) -> None:
    stale = with_codes(paths, tmp_path, meta=dataclasses.replace(read_codes(paths.codes).meta, tokenizer="f" * 64))
    message = "codes.parquet: made by tokenizer ffffffffffff, but .*tokenizer belongs to .*; run extract_codes"
    with pytest.raises(UserError, match=message):
        Dataset.open(stale)


def test_a_tokenizer_that_knows_the_future_is_refused_where_that_matters(paths: DatasetPaths, tmp_path: Path) -> None:
    knowing = with_tokenizer(paths, tmp_path, causal=False)
    Dataset.open(knowing)
    with pytest.raises(UserError, match="other: trained with causal: false"):
        Dataset.open(knowing, causal=True)


def test_clips_that_the_tokenizer_does_not_take_are_named(paths: DatasetPaths, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="videos: clips are 64×64, the tokenizer takes 32×32"):
        Dataset.open(with_tokenizer(paths, tmp_path, causal=True, image_size=32))


def replaced(values: np.ndarray, value: str) -> np.ndarray:
    """The same with another value in row 3."""
    return np.where(np.arange(len(values)) == 3, value, values)


FAULTS: dict[str, tuple[Callable[[CodesTable], dict[str, np.ndarray]], str]] = {
    "tracks": (lambda table: {"track_id": table.track_id[::-1]}, "not the tracks of .*codes.parquet; run the stages"),
    "class": (lambda table: {"label": replaced(table.label, "spiral")}, "track 3 has class .*'spiral' in .*codes.parq"),
    "split": (lambda table: {"split": replaced(table.split, "tuning")}, "track 3 has split .*'tuning' in .*codes.parq"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("other", ["videos", "trajectories"])
def test_tables_of_other_tracks_classes_or_splits_are_named(
    paths: DatasetPaths, tmp_path: Path, fault: str, other: str
) -> None:
    change, message = FAULTS[fault]
    changed = with_codes(paths, tmp_path, **change(read_codes(paths.codes)))  # type: ignore[arg-type]
    changed = dataclasses.replace(changed, **{"trajectories" if other == "videos" else "videos": None})
    with pytest.raises(UserError, match=f"/{other}.*: {message}"):
        Dataset.open(changed)
    Dataset.open(changed, row_for_row=False)


def test_clips_and_tracks_of_other_lengths_are_named(paths: DatasetPaths, tmp_path: Path) -> None:
    clips, scene = ClipStore(paths.videos).read(), ClipStore(paths.videos).scene  # type: ignore[arg-type]
    (tmp_path / "short").mkdir()
    short = dataclasses.replace(clips, pixels=np.ascontiguousarray(clips.pixels[:, :12]))
    write_shard(shard_path(tmp_path / "short", 0), short, scene)
    with pytest.raises(UserError, match="short: clips of 12 frames, but tracks of 16 in .*trajectories.parquet; run"):
        Dataset.open(dataclasses.replace(paths, videos=tmp_path / "short", codes=None, tokenizer=None))


def test_clips_without_their_scene_are_refused_where_it_is_needed(paths: DatasetPaths, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    write_shard(shard_path(tmp_path / "found", 0), ClipStore(paths.videos).read(), None)  # type: ignore[arg-type]
    found = dataclasses.replace(paths, videos=tmp_path / "found")
    Dataset.open(found)
    with pytest.raises(UserError, match="found: these clips do not say how they were drawn"):
        Dataset.open(found, scene=True)


def test_what_a_stage_needs_is_asked_of_its_first_table_before_tables_are_compared(
    paths: DatasetPaths, tmp_path: Path
) -> None:
    table = read_codes(paths.codes)  # type: ignore[arg-type]
    changed = with_codes(paths, tmp_path, split=np.where(table.split == "val", "train", table.split))
    with pytest.raises(UserError, match="codes.parquet: split 'val' is empty"):
        Dataset.open(changed, needs=require_splits)
    seen: list[tuple[PerTrack, object]] = []
    dataset = Dataset.open(paths, needs=lambda table, source: seen.append((table, source)))
    assert seen == [(dataset.codes, paths.codes)]


def test_a_model_of_another_tokenizer_is_named(paths: DatasetPaths) -> None:
    dataset = Dataset.open(DatasetPaths(codes=paths.codes))
    dataset.require_tokenizer_of(SimpleNamespace(tokenizer_hash=dataset.codes.meta.tokenizer), Path("models/own"))
    message = "codes.parquet: made by tokenizer .*, but models/foreign belongs to 000000000000; run extract_codes"
    with pytest.raises(UserError, match=message):
        dataset.require_tokenizer_of(SimpleNamespace(tokenizer_hash="0" * 64), Path("models/foreign"))


# ---- splits


@pytest.mark.parametrize("name", ["train", "val", "test", "ood"])
def test_a_split_holds_its_own_rows_of_every_table(paths: DatasetPaths, name: str) -> None:
    dataset = Dataset.open(paths)
    split, here = dataset.split(name), dataset.codes.split == name
    store, tracks = ClipStore(paths.videos), read_tracks(paths.trajectories, paths.track_params)  # type: ignore[arg-type]
    assert len(split) == here.sum() and (split.rows == np.flatnonzero(here)).all()
    np.testing.assert_array_equal(split.codes, dataset.codes.codes[here])
    np.testing.assert_array_equal(split.points, tracks.points[here])
    np.testing.assert_array_equal(split.label, dataset.codes.label[here])
    np.testing.assert_array_equal(split.target, dataset.codes.target[here])
    np.testing.assert_array_equal(split.track_id, dataset.codes.track_id[here])
    clips = split.read_clips()
    np.testing.assert_array_equal(clips.pixels, store.read(name).pixels)
    np.testing.assert_array_equal(clips.track_id, split.track_id)


def test_classes_keep_their_numbers_in_a_split_that_lacks_some(paths: DatasetPaths, tmp_path: Path) -> None:
    table = read_codes(paths.codes)  # type: ignore[arg-type]
    split = np.where((table.split == "val") & (table.label == "circular"), "train", table.split)
    dataset = Dataset.open(DatasetPaths(codes=with_codes(paths, tmp_path, split=split).codes))
    val = dataset.split("val")
    assert set(val.label) == {"helical", "linear", "parabolic"} and set(val.target) == {1, 2, 3}


def test_an_empty_split_is_named(paths: DatasetPaths) -> None:
    with pytest.raises(UserError, match="codes.parquet: split 'tuning' is empty"):
        Dataset.open(paths).split("tuning")


def test_some_of_a_split_are_rows_of_the_dataset(paths: DatasetPaths) -> None:
    test = Dataset.open(paths).split("test")
    few, first = test.take(np.array([2, 5, 7])), test.take(slice(3))
    np.testing.assert_array_equal(few.codes, test.codes[[2, 5, 7]])
    np.testing.assert_array_equal(few.read_clips().pixels, test.read_clips().pixels[[2, 5, 7]])
    assert len(first) == 3 and (first.take(slice(1, 3)).rows == test.rows[1:3]).all()


# ---- pixels wait


def test_opening_and_asking_for_codes_points_and_labels_reads_no_pixels(
    paths: DatasetPaths, store_reads: list[str]
) -> None:
    dataset = Dataset.open(paths, needs=require_classes, causal=True, scene=True)
    test = dataset.split("test")
    assert len(test.codes) == len(test.points) == len(test.target) == 24
    assert store_reads == []


def test_only_the_shards_that_hold_the_clips_are_read(paths: DatasetPaths, store_reads: list[str]) -> None:
    dataset = Dataset.open(paths)
    assert len(dataset.clips.shards) == 3  # of 40, 40 and 16 clips
    last = dataset.split("ood")
    last.read_clips()
    held = {f"part-{row // 40:05d}.parquet" for row in last.rows}
    assert set(store_reads) == held and len(held) < 3
    store_reads.clear()
    dataset.split("train").take(slice(1)).read_clips()
    assert store_reads == ["part-00000.parquet"]


# ---- the noun is used


def test_tables_are_compared_in_one_place() -> None:
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("kinetoken", "stages", "studies", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    }
    call = re.compile(r"(?<!def )require_same_(tracks|tokenizer)\(")
    found = {name for name, text in sources.items() if call.search(text)}
    assert found == {"kinetoken/dataset.py", "kinetoken/inference/coding.py"}  # a dataset's files, a stranger's files
