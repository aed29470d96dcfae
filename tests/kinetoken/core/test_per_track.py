"""Rows are found by track whatever their order, and what the tables have in common is the same in all."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import (
    PerTrack,
    require_classes,
    require_of_each_class,
    require_same_tracks,
    require_splits,
    rows_by_track,
)
from kinetoken.diagnosis.patient import Patient
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import read_tracks


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.data())
def test_rows_are_those_that_looking_one_by_one_finds(ids: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(ids), max_size=30))
    found = rows_by_track(np.array(wanted, np.int64), np.array(ids, np.int32))
    assert found.tolist() == [ids.index(one) for one in wanted]  # the first of several alike


@pytest.mark.parametrize("stray", [-1, 6, 100])  # before, between and beyond those that are there
def test_the_first_absent_track_is_named(stray: int) -> None:
    known = np.array([9, 3, 7, 5])
    with pytest.raises(UserError, match=f"^no track {stray}$"):
        rows_by_track(np.array([5, stray, 1000, 3]), known)
    with pytest.raises(UserError, match=f"^a table lacks {stray} alone$"):
        rows_by_track(np.array([stray]), known, lambda track: f"a table lacks {track} alone")


def test_all_tables_name_classes_alike(tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    who = store.track_id, store.label, store.split
    meta = CodesMeta((1, 1, 1), 2, "vq", (), "")
    codes = np.zeros((len(store), 1, 1, 1), np.int32)
    tables: list[PerTrack] = [
        store, store.read(), read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet"),
        CodesTable(*who, codes, meta), Patient(meta, *who, codes, {}, None),
    ]
    for table in tables:
        assert len(table) == 96 and table.classes == ("circular", "helical", "linear", "parabolic")
        assert (np.array(table.classes)[table.target] == store.label).all() and table.target.dtype == np.int64


def rows(track_id: Iterable[int], label: list[str], split: list[str]) -> PerTrack:
    table = PerTrack()
    table.track_id, table.label, table.split = np.array([*track_id]), np.array(label), np.array(split)
    return table


def test_tables_of_other_tracks_classes_or_splits_are_named() -> None:
    def table(track_id: list[int], label: str = "ab", split: str = "xy") -> PerTrack:
        return rows(track_id, [*label], [*split])

    one, source, path = table([4, 7]), Path("codes"), Path("clips")
    require_same_tracks(one, source, (table([4, 7]), path), (table([4, 7]), path))
    for other, message in (
        (table([7, 4]), "^clips: not the tracks of codes"), (table([4], "a", "x"), "^clips: not the tracks of codes"),
        (table([4, 7], "aa"), "^clips: track 7 has class 'a', but 'b' in codes"),
        (table([4, 7], split="yy"), "^clips: track 4 has split 'y', but 'x' in codes"),
    ):
        with pytest.raises(UserError, match=message):
            require_same_tracks(one, source, (table([4, 7]), path), (other, path))


@pytest.mark.parametrize(("label", "split", "message"), [
    (["a", "b", "a", "b"], ["train", "train", "val", "val"], "split 'test' is empty"),
    (["a", "a", "a"], ["train", "val", "test"], "one class only"),
    (["a", "b", "a", "b", "a", "b", "c"], ["train", "train", "val", "val", "test", "test", "test"],
     "class 'c' has no clip in split 'train'"),
])
def test_classes_that_cannot_be_learnt_are_refused(label: list[str], split: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_classes(rows(range(len(label)), label, split), "codes.parquet")


def test_a_split_without_clips_and_a_class_with_too_few_are_named() -> None:
    table = rows(range(5), [*"aabab"], ["train", "train", "train", "test", "test"])
    require_splits(table, "codes", ("train", "test"))
    require_of_each_class(table, "codes", "train")
    with pytest.raises(UserError, match="^codes: split 'val' is empty$"):
        require_splits(table, "codes")
    with pytest.raises(UserError, match="^codes: class 'b' has 1 clips in split 'train', 2 needed$"):
        require_of_each_class(table, "codes", "train", 2)
    with pytest.raises(UserError, match="^codes: class 'a' has no clip in split 'ood'$"):
        require_of_each_class(table, "codes", "ood")
