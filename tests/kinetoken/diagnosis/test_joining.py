"""Files beside the codes are joined to them by ids of any type, or by row order with a word about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import any_ids
from kinetoken.diagnosis.joining import ID_NAMES, Rows, joined, read_rows

COUNT = 8
ORDER = np.array([3, 0, 7, 1, 2, 6, 5, 4])


def rows_of(name: str, **ids: object) -> Rows:
    arrays = {column: any_ids(np.asarray(values)) for column, values in ids.items()}
    return Rows(Path(name), len(next(iter(arrays.values()))) if arrays else COUNT, "labels", arrays)


TYPES: dict[str, Callable[[int], object]] = {
    "integers": lambda i: i * 3 + 2, "large": lambda i: 2**40 + i, "negative": lambda i: -i,
    "text": lambda i: f"clip_{i}", "padded": lambda i: f"{i:03d}", "accents": lambda i: f"vidéo {i}",
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ID_NAMES)
def test_rows_in_any_order_are_found_by_id(kind: str, name: str) -> None:
    ids = np.array([TYPES[kind](i) for i in range(COUNT)])
    join = joined(rows_of("codes", **{name: ids}), rows_of("labels", **{name: ids[ORDER]}))
    assert (ids[ORDER][join.rows] == ids).all() and not join.note


def test_numbers_and_the_same_numbers_as_text_are_the_same_ids() -> None:
    numbers = np.arange(COUNT) + 10
    join = joined(rows_of("codes", track_id=numbers), rows_of("labels", track_id=[*map(str, numbers[ORDER]), "x"]))
    assert (numbers[ORDER][join.rows] == numbers).all()
    assert "1 of the 9 labels of labels" in join.note


def test_the_name_that_both_have_decides() -> None:
    text = np.array([f"v{i}" for i in range(COUNT)])
    codes = rows_of("codes", track_id=np.arange(COUNT), video_id=text)
    join = joined(codes, rows_of("labels", video_id=text[ORDER], id=np.arange(COUNT)))
    assert (text[ORDER][join.rows] == text).all() and not join.note


def test_columns_of_other_names_are_joined_where_their_ids_are_the_same_and_that_is_said() -> None:
    text = np.array([f"v{i}" for i in range(COUNT)])
    join = joined(rows_of("codes", track_id=text), rows_of("labels", video_id=text[ORDER]))
    assert (text[ORDER][join.rows] == text).all()
    assert "`video_id`" in join.note and "`track_id`" in join.note
    with pytest.raises(UserError, match="no labels for track_id v3: 1 of the 8 clips of codes; its video_id has"):
        joined(rows_of("codes", track_id=text), rows_of("labels", video_id=np.where(text == "v3", "w", text)))


@pytest.mark.parametrize("codes, labels, reason", [
    ({}, {}, "neither file has ids"), ({"track_id": [f"v{i}" for i in range(COUNT)]}, {}, "labels has no ids"),
    ({}, {"id": [9, 4, 2, 3, 5, 1, 7, 8]}, "codes has no ids"),
    ({"id": range(COUNT)}, {"video_id": [f"v{i}" for i in range(COUNT)]}, "`id` and `video_id` have no id in common"),
])
def test_row_order_is_said(codes: dict[str, object], labels: dict[str, object], reason: str) -> None:
    join = joined(rows_of("codes", **codes), rows_of("labels", **labels))
    assert (join.rows == np.arange(COUNT)).all()
    assert "joined by row order" in join.note and reason in join.note


@pytest.mark.parametrize("first", [0, 1])
def test_ids_that_number_the_rows_in_another_order_are_evidence_against_row_order(first: int) -> None:
    for codes, labels in (({}, {"id": ORDER + first}), ({"track_id": ORDER + first}, {})):
        with pytest.raises(UserError, match="id numbers its 8 rows in another order"):
            joined(rows_of("codes", **codes), rows_of("labels", **labels))


def test_faults_are_named() -> None:
    text = np.array([f"v{i}" for i in range(COUNT)])
    twice, blank = text.copy(), text.astype(object)
    twice[6], blank[5] = "v2", None
    good = {"video_id": text}
    for codes, labels, message in (
        (good, {"video_id": twice}, "labels: video_id v2 is in rows 2 and 6"),
        ({"video_id": twice}, good, "codes: video_id v2 is in rows 2 and 6"),
        (good, {"video_id": blank}, "labels: row 5 has no video_id"),
        ({"video_id": blank}, good, "codes: row 5 has no video_id"),
        (good, {"video_id": text[:4]}, "labels: no labels for video_id v4, v5, v6, …: 4 of the 8 clips of codes"),
        (good, {"video_id": np.char.upper(text)}, "labels: no labels for video_id v0, v1, v2, …: 8 of the 8 clips"),
        ({}, {"video_id": text[:4]}, "labels: 4 labels, but the codes table has 8 rows, and codes has no video_id to"),
        ({"id": range(COUNT)}, {"video_id": text[:4]}, "labels: 4 labels, but the codes table has 8 rows"),
    ):
        with pytest.raises(UserError, match=message):
            joined(rows_of("codes", **codes), rows_of("labels", **labels))


def test_rows_that_agree_one_by_one_need_no_id_of_their_own() -> None:
    """Several clips of a video, codes and labels in the same order."""
    ids = np.array(["a", "a", "b", "b"])
    join = joined(rows_of("codes", video_id=ids), rows_of("labels", video_id=ids))
    assert join.rows.tolist() == [0, 1, 2, 3] and not join.note


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npz", ".parquet"])
def test_ids_are_read_from_every_kind_of_file(tmp_path: Path, kind: str, suffix: str) -> None:
    ids = [TYPES[kind](i) for i in range(COUNT)]
    path = tmp_path / f"ids{suffix}"
    if suffix == ".npz":
        np.savez(path, video_id=np.array(ids), speed=np.zeros(COUNT))
    elif suffix == ".parquet":
        pq.write_table(pa.table({"video_id": ids, "speed": [0.0] * COUNT}), path, row_group_size=3)
    else:
        frame = pd.DataFrame({"speed": np.zeros(COUNT), "video_id": ids})
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    read = read_rows(path, COUNT, "labels").ids
    assert list(read) == ["video_id"] and read["video_id"].tolist() == ids


def test_parquet_ids_of_other_types(tmp_path: Path) -> None:
    text = [f"v{i}" for i in range(COUNT)]
    for name, column in {
        "dictionary": pa.array(text).dictionary_encode(), "large": pa.array(text, pa.large_string()),
        "binary": pa.array([each.encode() for each in text]), "view": pa.array(text, pa.string_view()),
    }.items():
        pq.write_table(pa.table({"clip_id": column}), tmp_path / f"{name}.parquet")
        assert read_rows(tmp_path / f"{name}.parquet", COUNT, "").ids["clip_id"].tolist() == text, name
    holes = [None if i == 3 else 2**53 + i for i in range(COUNT)]  # as floats these would fall together
    pq.write_table(pa.table({"id": holes, "track_id": [[1]] * COUNT}), tmp_path / "holes.parquet")
    read = read_rows(tmp_path / "holes.parquet", COUNT, "").ids
    assert list(read) == ["id"] and read["id"].tolist() == ["" if each is None else str(each) for each in holes]


def test_ids_of_another_length_than_the_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", label=np.zeros(5), id=np.arange(4))
    with pytest.raises(UserError, match=r"a.npz: 4 values in 'id', but 5 labels"):
        read_rows(tmp_path / "a.npz", 5, "labels")
