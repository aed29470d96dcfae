"""Every format, written by its own library, gives the numbers that the plain .npy gives; nothing is unpickled."""

import dataclasses
import importlib.util
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from kinetoken.core.errors import UserError
from kinetoken.core.extras import naming_extras
from kinetoken.diagnosis.api import DEFAULT, DiagnosisResult, diagnose
from kinetoken.diagnosis.columns import load_arrays, open_column
from kinetoken.diagnosis.formats import Member, arrays_of

COUNT, GRID, SIZE = 64, (2, 2, 3), 9
QUICK = dataclasses.replace(DEFAULT, probe=dataclasses.replace(DEFAULT.probe, epochs=1, width=4, heads=1))
CODES = np.random.default_rng(0).integers(0, SIZE, (COUNT, *GRID))
CODES[:, 0, 0, 0] = np.arange(COUNT) % 2 * 4
LABEL = np.array(["left", "right"])[np.arange(COUNT) % 2]
NAMES = [f"v{place:03d}" for place in range(COUNT)]
CONFIG = {"codebook_size": SIZE, "quantizer": "vq"}

HAS = {name: importlib.util.find_spec(name) is not None for name in ("h5py", "zarr")}


def found(codes: Any, **others: Any) -> DiagnosisResult:
    return diagnose(codes, **{"params": QUICK, "threads": 1, "config": CONFIG, **others})


def as_npy(path: Path) -> Path:
    np.save(path / "codes.npy", CODES)
    np.save(path / "labels.npy", LABEL)
    return path / "codes.npy"


def as_npz(path: Path) -> Path:
    np.savez_compressed(path / "c.npz", codes=CODES.astype(np.uint16), label=LABEL)
    return path / "c.npz"


def as_parquet(path: Path) -> Path:
    pq.write_table(pa.table({"codes": CODES.tolist(), "label": LABEL}), path / "c.parquet", row_group_size=17)
    return path / "c.parquet"


def as_pt(path: Path) -> Path:
    torch.save({"codes": torch.from_numpy(CODES.astype(np.int8)), "label": LABEL.tolist(), "step": 7}, path / "c.pt")
    return path / "c.pt"


def as_old_pth(path: Path) -> Path:
    content = {"codes": torch.from_numpy(CODES), "label": LABEL.tolist()}
    torch.save(content, path / "c.pth", _use_new_zipfile_serialization=False)
    return path / "c.pth"


def as_safetensors(path: Path) -> Path:
    save_file({"codes": CODES.astype(np.int32), "label": np.arange(COUNT) % 2}, path / "c.safetensors")
    return path / "c.safetensors"


def as_dataset(path: Path) -> Path:
    """As `datasets` saves one: Arrow streams, state.json, names of classes in the metadata."""
    features = {"info": {"features": {"label": {"names": ["left", "right"], "_type": "ClassLabel"}}}}
    table = pa.table({"codes": CODES.tolist(), "label": np.arange(COUNT) % 2})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    folder = path / "dataset"
    folder.mkdir()
    for place, part in enumerate((table.slice(0, 40), table.slice(40))):
        name = folder / f"data-{place:05d}-of-00002.arrow"
        with pa.OSFile(str(name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(part, max_chunksize=13)
    (folder / "state.json").write_text("{}")
    return folder


def npy_bytes(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def as_shards(path: Path) -> Path:
    folder = path / "shards"
    folder.mkdir()
    members = [
        [(f"{NAMES[place]}.codes.npy", npy_bytes(CODES[place])), (f"{NAMES[place]}.cls", LABEL[place].encode())]
        for place in range(COUNT)
    ]
    for shard in range(2):
        half = members[shard * 32 : shard * 32 + 32]
        write_tar(folder / f"part-{shard}.tar", [one for sample in half for one in sample])
    return folder


def as_h5(path: Path) -> Path:
    import h5py

    with h5py.File(path / "c.h5", "w") as file:
        file.create_dataset("codes", data=CODES.astype(np.int16), chunks=(16, *GRID), compression="gzip")
        file.create_dataset("label", data=LABEL.tolist())
    return path / "c.h5"


def as_zarr(path: Path) -> Path:
    import zarr

    group = zarr.open_group(str(path / "c.zarr"), mode="w")
    for name, values in (("codes", CODES), ("label", np.arange(COUNT) % 2)):
        array = group.create_array(name, shape=values.shape, dtype=values.dtype)
        array[:] = values
    return path / "c.zarr"


FORMATS: dict[str, Callable[[Path], Path]] = {
    "npz": as_npz, "parquet": as_parquet, "pt": as_pt, "pth": as_old_pth, "safetensors": as_safetensors,
    "dataset": as_dataset, "shards": as_shards, "h5": as_h5, "zarr": as_zarr,
}
NEEDS = {"h5": "h5py", "zarr": "zarr"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> DiagnosisResult:
    folder = tmp_path_factory.mktemp("plain")
    return found(as_npy(folder), labels=folder / "labels.npy")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_its_librarys_own_writing_gives_the_same_verdict(
    kind: str, tmp_path: Path, plain: DiagnosisResult
) -> None:
    if kind in NEEDS and not HAS[NEEDS[kind]]:
        path = tmp_path / ("c.h5" if kind == "h5" else "c.zarr")
        path.write_bytes(b"there")
        with pytest.raises(UserError, match=rf"needs the package {NEEDS[kind]}, .*kinetoken\[formats\]"):
            found(path)
        return
    result = found(FORMATS[kind](tmp_path))
    assert result.numbers == plain.numbers and "probe" in result.numbers
    assert (result.cause, result.severity, result.measures) == (plain.cause, plain.severity, plain.measures)


def test_a_dataset_of_splits_names_them_and_an_arrow_file_format_is_read_too(tmp_path: Path) -> None:
    for split, part in (("train", slice(0, 40)), ("test", slice(40, COUNT))):
        folder = tmp_path / "d" / split
        folder.mkdir(parents=True)
        table = pa.table({"codes": CODES[part].tolist(), "label": LABEL[part]})
        with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink, \
                pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    result = found(tmp_path / "d")
    assert "No validation split is named: 20% of train was drawn for it." in result.notes
    assert result.numbers["usage_clips"] == COUNT


def test_shards_hold_ids_labels_in_json_and_rows_of_unequal_length(tmp_path: Path) -> None:
    members = []
    for place in range(COUNT):
        codes = CODES[place].ravel()[: 12 - place % 3]
        members += [(f"./{NAMES[place]}.json", json.dumps({"label": LABEL[place], "codes": codes.tolist()}).encode())]
    path = write_tar(tmp_path / "c.tar", members)
    column = open_column(path, ("codes",), "codes", fill=True)
    assert column.ragged and next(column.batches()).shape == (COUNT, 12)
    order = np.random.default_rng(1).permutation(COUNT)
    np.savez(tmp_path / "l.npz", label=LABEL[order], clip_id=np.array([f"./{name}" for name in NAMES])[order])
    beside, own = found(path, labels=tmp_path / "l.npz"), found(path)
    assert beside.numbers == own.numbers
    assert any("`clip_id` of l.npz is matched with `sample_id`" in note for note in beside.notes)
    with pytest.raises(UserError, match="rows of different shape"):
        open_column(path, ("codes",), "latents")


def test_arrays_of_an_npz_file_are_read_a_part_at_a_time(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 9, (5000, 4, 8, 8)).astype(np.int32)
    np.savez_compressed(tmp_path / "a.npz", codes=values, order=np.asfortranarray(values[:50]))
    member = arrays_of(tmp_path / "a.npz")["codes"]
    assert isinstance(member, Member) and (member[100:130] == values[100:130]).all()
    column = open_column(tmp_path / "a.npz", ("codes",), "codes")
    parts = list(column.batches())
    assert len(parts) > 1 and (np.concatenate(parts) == values).all()
    rows = np.array([4999, 3, 700])
    assert (column.take(rows) == values[rows]).all()
    assert (load_arrays(tmp_path / "a.npz")["order"] == values[:50]).all()


@pytest.mark.parametrize(("stored", "read"), [
    (torch.bfloat16, np.float32), (torch.uint16, np.uint16), (torch.int64, np.int64), (torch.bool, np.bool_),
])
def test_types_that_numpy_lacks(tmp_path: Path, stored: torch.dtype, read: type) -> None:
    torch.save(torch.ones(3, 2, dtype=stored), tmp_path / "a.pt")
    values = load_arrays(tmp_path / "a.pt")["array"]
    assert values.dtype == read and (values == 1).all()


class Bomb:
    """What a pickle would run: it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    bomb, went_off = Bomb(tmp_path / "went_off"), tmp_path / "went_off"
    torch.save({"codes": bomb}, tmp_path / "a.pt")
    torch.save({"codes": bomb}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "c.pt").write_bytes(pickle.dumps(bomb))
    (tmp_path / "d.npy").write_bytes(pickle.dumps(bomb))
    np.save(tmp_path / "e.npy", np.array([bomb, bomb], object), allow_pickle=True)
    np.savez(tmp_path / "f.npz", codes=np.array([[bomb], [bomb]], object), allow_pickle=True)
    np.savez(tmp_path / "g.npz", codes=CODES, label=np.array([bomb] * COUNT, object), allow_pickle=True)
    write_tar(tmp_path / "h.tar", [(f"{name}.codes.pth", (tmp_path / "a.pt").read_bytes()) for name in NAMES])
    write_tar(tmp_path / "i.tar", [(f"{name}.codes.pyd", pickle.dumps(bomb)) for name in NAMES])
    for name in ("a.pt", "b.pth", "c.pt", "d.npy", "e.npy", "f.npz", "g.npz", "h.tar", "i.tar"):
        with pytest.raises(UserError, match=rf"{name}: .*(Python objects|codes not found)") as caught:
            found(tmp_path / name)
        assert "\n" not in str(caught.value), name
    assert not went_off.exists()


DAMAGED = {kind: write for kind, write in FORMATS.items() if kind not in ("dataset", "shards", *NEEDS)}


@pytest.mark.parametrize("kind", ["npy", *DAMAGED])
def test_cut_flipped_and_noisy_files_end_in_one_sentence(kind: str, tmp_path: Path) -> None:
    path = as_npy(tmp_path) if kind == "npy" else DAMAGED[kind](tmp_path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    tried = [content[: int(len(content) * share)] for share in (0, 0.01, 0.3, 0.6, 0.99)] + [rng.bytes(500)]
    for place in rng.integers(0, len(content), 24):  # one byte changed: refused, or read without a traceback
        tried.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    for number, changed in enumerate(tried):
        path.write_bytes(changed)
        try:
            column = open_column(path, ("codes", "array"), "codes", fill=True)
            for batch in column.batches():
                assert batch.dtype.kind in "iufb"
            load_arrays(path) if kind != "parquet" else None
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error), number
        else:
            assert number >= 6, "cut and noise are never read"


def test_files_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "c.csv").write_text("codes\n1\n")
    (tmp_path / "empty.tar").write_bytes(b"")
    write_tar(tmp_path / "none.tar", [])
    torch.save({"step": 3}, tmp_path / "none.pt")
    torch.save([torch.ones(2, 3), torch.ones(3, 2)], tmp_path / "mixed.pt")
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "dataset_dict.json").write_text("{}")
    for name, message in {
        "folder": "a folder of no known kind", "c.csv": "not read from CSV", "empty.tar": "not a readable tar file",
        "none.tar": "holds no samples", "none.pt": "codes not found: .* it holds nothing",
        "mixed.pt": "rows of different shape", "dict": "holds no Arrow or Parquet file", "absent.h5": "no such file",
        "absent.zarr": "no such file", "absent.tar": "no such file",
    }.items():
        with pytest.raises(UserError, match=f"{name}.*{message}"), naming_extras():
            found(tmp_path / name)
