"""The codes table: written and read back whole, and every fault named."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.core.errors import UserError

META = CodesMeta(grid=(2, 3, 4), codebook_size=50, quantizer="fsq", levels=(5, 10), tokenizer="ab" * 32)


def table(count: int = 7, seed: int = 0) -> CodesTable:
    rng = np.random.default_rng(seed)
    label, split = np.array(["b", "a", "c"])[np.arange(count) % 3], np.array(["train", "test"])[np.arange(count) % 2]
    codes = rng.integers(0, 50, (count, *META.grid)).astype(np.int32)
    return CodesTable(np.arange(10, 10 + count, dtype=np.int32), label, split, codes, META)


def test_parts_come_back_as_one_table(tmp_path: Path) -> None:
    whole = table()
    write_codes(tmp_path / "codes.parquet", META, [whole.take(np.arange(4)), whole.take(np.arange(4, 7))])
    read = read_codes(tmp_path / "codes.parquet")
    assert read.meta == META
    for name in ("track_id", "label", "split", "codes"):
        np.testing.assert_array_equal(getattr(read, name), getattr(whole, name))


def test_codes_lie_row_major(tmp_path: Path) -> None:
    whole = table(1)
    write_codes(tmp_path / "codes.parquet", META, [whole])
    row = pq.read_table(tmp_path / "codes.parquet")["codes"][0].as_py()
    assert row[1 * 12 + 2 * 4 + 3] == whole.codes[0, 1, 2, 3] and row == whole.codes[0].ravel().tolist()


def test_same_codes_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_codes(tmp_path / name, META, [table()])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_targets_and_splits() -> None:
    whole = table()
    assert whole.classes == ("a", "b", "c")
    assert whole.target.tolist() == [1, 0, 2, 1, 0, 2, 1]
    assert whole.of_split("test").track_id.tolist() == [11, 13, 15]
    with pytest.raises(UserError, match="split 'ood' is empty"):
        whole.of_split("train", "ood")


def test_a_code_outside_the_codebook(tmp_path: Path) -> None:
    whole = table()
    whole.codes[5, 0, 0, 0] = 50
    with pytest.raises(ValueError, match="outside a codebook of 50"):
        write_codes(tmp_path / "codes.parquet", META, [whole])
    write_codes(tmp_path / "codes.parquet", dataclasses.replace(META, codebook_size=51), [whole])
    small = pq.read_table(tmp_path / "codes.parquet")
    metadata = {b"codes": small.schema.metadata[b"codes"].replace(b'"codebook_size": 51', b'"codebook_size": 50')}
    pq.write_table(small.replace_schema_metadata(metadata), tmp_path / "codes.parquet")
    with pytest.raises(UserError, match=r"codes.parquet: row 5: a code outside the codebook of 50"):
        read_codes(tmp_path / "codes.parquet")


def test_tables_that_are_no_codes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_codes(tmp_path / "none.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="not a codes table"):
        read_codes(tmp_path / "other.parquet")
    write_codes(tmp_path / "codes.parquet", META, [table()])
    content = pq.read_table(tmp_path / "codes.parquet")
    metadata = {b"codes": content.schema.metadata[b"codes"].replace(b"[2, 3, 4]", b"[2, 3, 5]")}
    pq.write_table(content.replace_schema_metadata(metadata), tmp_path / "codes.parquet")
    with pytest.raises(UserError, match=r"the grid \[2, 3, 5\] needs 30 a row"):
        read_codes(tmp_path / "codes.parquet")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "codes.parquet"
    write_codes(path, META, [table(200)])
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(3).data_page_offset
    content[start + 200] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match="codes.parquet: damaged"):
        read_codes(path)


def test_codes_of_another_tokenizer() -> None:
    META.require_same_tokenizer("ab" * 32, Path("codes.parquet"), Path("models/tokenizer"))
    with pytest.raises(UserError, match=r"codes.parquet: made by tokenizer abababababab, but models/tokenizer"):
        META.require_same_tokenizer("cd" * 32, Path("codes.parquet"), Path("models/tokenizer"))


@pytest.mark.parametrize("stray", [-1, 2**31, 2**32 + 1])
def test_ids_that_the_table_cannot_hold_are_refused_in_writing_and_reading(tmp_path: Path, stray: int) -> None:
    path, whole = tmp_path / "codes.parquet", table()
    ids = whole.track_id.astype(np.int64)
    ids[5] = stray
    odd = dataclasses.replace(whole, track_id=ids)
    with pytest.raises(UserError, match=f"codes.parquet: row 5, column 'track_id': {stray} is no track id"):
        write_codes(path, META, [odd.take(np.arange(4)), odd.take(np.arange(4, 7))])
    write_codes(path, META, [whole])
    content = pq.read_table(path)
    pq.write_table(content.set_column(0, "track_id", [ids]), path)
    with pytest.raises(UserError, match=f"codes.parquet: row 5, column 'track_id': {stray} is no track id"):
        read_codes(path)
    pq.write_table(content.drop_columns(["track_id"]), path)
    with pytest.raises(UserError, match=r"codes.parquet: column 'track_id' is missing"):
        read_codes(path)
