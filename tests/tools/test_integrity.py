"""Hashes are DVC's own; a Parquet file proves its own damage."""

from pathlib import Path

import pyarrow as pa
import pytest

from kinetoken.core.artifacts import write_table
from tests.support.toy_project import flip, overwrite, record
from tools.integrity import examine, file_md5, is_damaged_parquet, open_project


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(path := tmp_path / "table.parquet", pa.table({"x": list(range(5000))}))
    return path


def test_folder_hash_is_dvcs_own(toy: Path) -> None:
    with open_project(toy) as project:
        listings = examine(project).listings
    assert any(f"md5: {digest}" in (toy / "dvc.lock").read_text() for digest in listings)


def test_names_of_any_script_hash_as_dvc_hashes_them(toy: Path) -> None:
    """A listing is JSON of DVC's own making, so non-ASCII names and nested folders must agree as well."""
    from dvc.repo import Repo

    (toy / "data/many/b/ä").mkdir(parents=True)
    for name in ("b/ä/ß.txt", "b.txt", "b-1.txt", "日本.txt"):
        (toy / "data/many" / name).write_text(name)
    with Repo(str(toy)) as repo:
        (out,) = (out for out in repo.index.outs if out.def_path == "data/many")
        out.save()
    with open_project(toy) as project:
        assert out.hash_info.value in examine(project).listings


def test_sound_parquet(table: Path) -> None:
    assert not is_damaged_parquet(table)


def test_flipped_page(table: Path) -> None:
    flip(table)
    assert is_damaged_parquet(table)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text, not Parquet", b"PAR1 half written"])
def test_what_is_no_whole_parquet_file_proves_nothing(table: Path, content: bytes) -> None:
    overwrite(table, content)
    assert not is_damaged_parquet(table)


def test_other_files_prove_nothing(table: Path) -> None:
    flip(table)
    assert not is_damaged_parquet(table.rename(table.with_suffix(".bin")))


def test_damaged_parquet_output_needs_no_state(toy: Path) -> None:
    write_table(path := toy / "data/t.parquet", pa.table({"x": list(range(5000))}))
    record(toy, "data/t.parquet", file_md5(path))
    flip(path)
    with open_project(toy) as project:
        (finding,) = examine(project).findings
    assert (finding.kind, finding.path) == ("damaged", path)


def test_new_parquet_output_differs(toy: Path) -> None:
    write_table(path := toy / "data/t.parquet", pa.table({"x": list(range(5000))}))
    record(toy, "data/t.parquet", file_md5(path))
    write_table(path, pa.table({"x": list(range(1, 5001))}))
    with open_project(toy) as project:
        (finding,) = examine(project).findings
    assert (finding.kind, finding.path) == ("differs", path)
