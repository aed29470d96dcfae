"""Bad input of the command `kinetoken diagnose`: one message, exit code 1, nothing written, and no examination."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from kinetoken.cli import app
from kinetoken.diagnosis import doctor
from tests.kinetoken.diagnosis.test_formats import CODES, COUNT, LABEL, NAMES, Bomb, write_tar

LISTS = CODES.reshape(COUNT, -1).tolist()


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **{"codes": CODES, "label": LABEL, **arrays})


def cut(write: Callable[[Path], None], share: float = 0.6) -> Callable[[Path], None]:
    def written(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return written


def table(metadata: dict[bytes, bytes] | None = None, **columns: Any) -> Callable[[Path], None]:
    made = pa.table({"codes": LISTS, **columns}).replace_schema_metadata(metadata)
    return lambda path: pq.write_table(made, path)


def array(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


def frame(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pd.DataFrame(columns).to_csv(path, index=False)


def pickled(path: Path) -> None:
    torch.save({"codes": Bomb(path.parent / "went_off")}, path)


Case = tuple[dict[str, Callable[[Path], None]], str, tuple[str, ...]]  # files, message, further words

GOOD = npz(video_id=np.array(NAMES))
WRONG = CODES.reshape(COUNT, 4, 3).repeat(50, -1)

CASES: dict[str, Case] = {
    "a pickle": ({"c.pt": pickled}, "c.pt: holds Python objects", ()),
    "half of a file": ({"c.npz": cut(npz())}, "c.npz: not a readable NPY or NPZ file", ()),
    "half of a table": ({"c.parquet": cut(table())}, "c.parquet: damaged or not a Parquet file", ()),
    "half of a tar file": (
        {"c.tar": cut(lambda path: write_tar(path, [(f"{name}.cls", b"a" * 900) for name in NAMES]) and None)},
        "c.tar: not a readable tar file", (),
    ),
    "a token a row": (
        {"c.parquet": lambda path: pq.write_table(pa.table({"clip_id": [1, 1, 2], "codes": [1, 2, 3]}), path)},
        "holds one number a row", (),
    ),
    "metadata": ({"c.parquet": table({b"codes": b"[]"})}, "is no JSON object", ()),
    "labels that are lists": ({"c.parquet": table(label=[["a"]] * COUNT)}, "a clip needs one label", ()),
    "a label a clip": ({"c.npz": npz(label=np.array(NAMES))}, "every clip has a label of its own", ()),
    "several layouts": ({"c.npz": npz(codes=WRONG)}, "fit several layouts; say which with --layout", ()),
    "a layout that is none": ({"c.npz": npz()}, "--layout T,H,W: no layout of codes", ("--layout", "T,H,W")),
    "a layout of other axes": ({"c.npz": npz()}, "has 1 axes after B, the rows have 3", ("--layout", "B,N")),
    "no bits": ({"c.npz": npz()}, "row 0 holds values that are no bits", ("--layout", "B,T,N,BITS")),
    "labels of another length": (
        {"c.npz": GOOD, "l.csv": frame(label=LABEL[:9])}, "9 labels, but the codes table has 64 rows",
        ("--labels", "l.csv"),
    ),
    "labels of other clips": (
        {"c.npz": GOOD, "l.csv": frame(label=LABEL, video_id=[f"{name}x" for name in NAMES])},
        "no labels for video_id v000, v001, v002", ("--labels", "l.csv"),
    ),
    "a codebook of another size": (
        {"c.npz": GOOD, "v.npy": array(np.zeros((5, 3)))}, "v.npy: expected 9 or more finite vectors, found (5, 3)",
        ("--codebook", "v.npy"),
    ),
    "a smaller codebook": (
        {"c.npz": GOOD, "k.json": lambda path: path.write_text('{"codebook_size": 5}') and None},
        "lies outside the codebook of 5; the codes run from 0 to 8", ("--config", "k.json"),
    ),
    "clips of another scale": (
        {"c.npz": GOOD, "f.npy": array(np.linspace(-3, 3, COUNT * 4 * 4 * 6).reshape(COUNT, 4, 4, 6))},
        "clips run from -3 to 3; give [0, 1], [-1, 1] or [0, 255]", ("--clips", "f.npy"),
    ),
    "latents of another shape": (
        {"c.npz": GOOD, "z.npy": array(np.zeros((COUNT, 5, 7)))}, "z.npy: latents of shape [5, 7] a clip do not fit",
        ("--latents", "z.npy"),
    ),
    "a place that cannot be written": ({"c.npz": GOOD}, "cannot be written", ("--out", "/proc/report")),
}


@pytest.mark.parametrize("name", CASES)
def test_one_message_and_nothing_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, message, words = CASES[name]
    for file, write in files.items():
        write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "diagnose", lambda *_: pytest.fail("the examination began"))
    before = sorted(tmp_path.rglob("*"))
    out = () if "--out" in words else ("--out", "report")
    done = CliRunner().invoke(app, ["diagnose", next(iter(files)), "--quiet", *words, *out])
    assert done.exit_code == 1 and done.stdout == "", done.output
    assert done.stderr.startswith("error: diagnose: ") and done.stderr.count("\n") == 1 and message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


