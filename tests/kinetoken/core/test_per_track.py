"""Rows are found by track whatever their order, and what the tables have in common is the same in all."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.absence import NotMeasured
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import (
    LARGEST_ID,
    PerTrack,
    alike,
    any_ids,
    require_classes,
    require_of_each_class,
    require_same_tracks,
    require_splits,
    rows_by_track,
    track_ids,
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


def at(row: int) -> str:
    return f"table: row {row}"


WHOLE = st.integers(-(2**70), 2**70)


@given(st.lists(WHOLE, min_size=1, max_size=8), st.sampled_from([object, str, np.int64, np.uint64, np.int32]))
def test_ids_are_kept_as_they_are_or_refused(ids: list[int], dtype: type) -> None:
    """None becomes another number, whatever type it comes in."""
    try:
        values = np.array(ids, dtype)
    except OverflowError:
        return
    strays = [row for row, value in enumerate(ids) if not 0 <= value <= LARGEST_ID]
    if not strays:
        kept = track_ids(values, at)
        assert kept.tolist() == ids and kept.dtype == np.int32
        return
    first = strays[0]
    with pytest.raises(UserError, match=rf"^table: row {first}, column 'track_id': '?{ids[first]}'? is no track id"):
        track_ids(values, at)


@pytest.mark.parametrize("stray", ["a", "007", "", " 7", None, np.nan, 2.5, True, b"7x"])
def test_what_is_no_whole_number_is_no_track_id(stray: object) -> None:
    with pytest.raises(UserError, match="^table: row 1, column 'track_id': .* is no track id"):
        track_ids(np.array([3, stray], object), at)


@given(st.lists(st.one_of(WHOLE, st.text("0123456789ab _-", min_size=1)), min_size=1, max_size=8))
def test_ids_of_any_type_stay_apart_and_equal_ones_meet(ids: list[int | str]) -> None:
    """As Python objects, as text, and, where they fit, as integers: the same ids."""
    as_text = [str(each) for each in ids]
    expected = [[one == other for other in as_text] for one in as_text]
    for values in (np.array(ids, object), np.array(as_text), np.array(as_text, object)):
        found, again = alike(any_ids(values), any_ids(np.array(as_text)))
        assert (found[:, None] == again).tolist() == expected


def test_the_types_that_ids_come_in() -> None:
    assert any_ids(np.array([5, 2**40])).dtype == np.int64
    assert any_ids(np.array([5.0, 7.0])).tolist() == any_ids(np.array(["5", "7"])).tolist() == [5, 7]
    assert any_ids(np.array([2**64 - 1, 3], np.uint64)).tolist() == [str(2**64 - 1), "3"]
    assert any_ids(np.array(["007", "7"])).tolist() == ["007", "7"]
    assert any_ids(np.array([b"x", b"yz"])).tolist() == ["x", "yz"]
    assert any_ids(np.array([4.0, np.nan, 2.5])).tolist() == ["4", "", "2.5"]
    assert any_ids(np.array(["a", None], object)).tolist() == ["a", ""]
    for one, other in (([7, 8], ["7", "x"]), ([2**60 + 1, 1], [2**64, 2**60 + 1])):
        left, right = alike(any_ids(np.array(one)), any_ids(np.array(other, object)))
        assert np.isin(left, right).sum() == 1


def test_rows_are_found_by_text_too() -> None:
    known = np.array(["b", "a", "c"])
    assert rows_by_track(np.array(["c", "b", "a"]), known).tolist() == [2, 0, 1]
    with pytest.raises(UserError, match="^no track d$"):
        rows_by_track(np.array(["c", "d"]), known)
@pytest.mark.parametrize(("label", "split", "message"), [
    (["a", "b", "a", "b"], ["train", "train", "val", "val"], "split 'test' is empty"),
    (["a", "b", "a", "b", "a", "b", "c"], ["train", "train", "val", "val", "test", "test", "test"],
     "class 'c' has no clip in split 'train'"),
])
def test_classes_that_cannot_be_learnt_are_refused(label: list[str], split: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_classes(rows(range(len(label)), label, split), "codes.parquet")


def test_one_class_is_no_fault_but_leaves_nothing_to_learn() -> None:
    with pytest.raises(NotMeasured, match=r"all clips have one class \('a'\)"):
        require_classes(rows(range(3), ["a", "a", "a"], ["train", "val", "test"]), "codes.parquet")


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
