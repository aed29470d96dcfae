"""Rows are found by track whatever their order, and what the tables have in common is the same in all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import PerTrack, require_same_tracks, rows_by_track
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


def test_tables_of_other_tracks_classes_or_splits_are_named() -> None:
    def table(track_id: list[int], label: str = "ab", split: str = "xy") -> PerTrack:
        rows = PerTrack()
        rows.track_id, rows.label, rows.split = np.array(track_id), np.array([*label]), np.array([*split])
        return rows

    one, source, path = table([4, 7]), Path("codes"), Path("clips")
    require_same_tracks(one, source, (table([4, 7]), path), (table([4, 7]), path))
    for other, message in (
        (table([7, 4]), "^clips: not the tracks of codes"), (table([4], "a", "x"), "^clips: not the tracks of codes"),
        (table([4, 7], "aa"), "^clips: track 7 has class 'a', but 'b' in codes"),
        (table([4, 7], split="yy"), "^clips: track 4 has split 'y', but 'x' in codes"),
    ):
        with pytest.raises(UserError, match=message):
            require_same_tracks(one, source, (table([4, 7]), path), (other, path))
