"""Files that stages leave behind: numbers only, same bytes, damage named."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from kinetoken.core.artifacts import (
    hash_path,
    load_weights,
    read_config,
    read_table,
    save_model,
    write_csv,
    write_json,
    write_metrics,
    write_table,
)
from kinetoken.core.errors import UserError


def test_metrics_are_sorted_numbers_of_six_digits(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.json"
    write_metrics(path, {"b": {"y": np.float32(1 / 3), "x": torch.tensor(2.0)}, "a": np.int64(7), "c": 1234567.0})
    assert path.read_text() == (
        '{\n  "a": 7,\n  "b": {\n    "x": 2,\n    "y": 0.333333\n  },\n  "c": 1234567\n}\n'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.5", [1.0], np.ones(2), np.ones(1), torch.ones(3)])
def test_metrics_refuse_what_dvc_would_drop(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="metric part.key"):
        write_metrics(tmp_path / "metrics.json", {"part": {"key": value}})
    assert not (tmp_path / "metrics.json").exists()


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": math.nan})
    write_json(tmp_path / "a.json", {"b": [1, "é"], "a": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1, "é"]}


def table(rows: int = 1000) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"id": np.arange(rows), "x": rng.normal(size=rows), "frames": [rng.bytes(50) for _ in range(rows)]})


def test_tables_come_back_and_have_the_same_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", table(), row_group_rows=100)
    write_table(tmp_path / "b.parquet", table(), row_group_rows=100)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert read_table(tmp_path / "a.parquet").equals(table())
    assert read_table(tmp_path / "a.parquet", columns=["x"]).column_names == ["x"]


@pytest.mark.parametrize("where", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_found(tmp_path: Path, where: float) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, table(), row_group_rows=100)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=f"{path}: damaged"):
        read_table(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello world, not parquet"])
def test_files_that_are_no_tables(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path}: damaged or not a Parquet file") as error:
        read_table(path)
    assert "\n" not in str(error.value)
    write_table(path, table())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        read_table(path)
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "none.parquet")


def test_csv_is_plain(tmp_path: Path) -> None:
    write_csv(tmp_path / "plots" / "a.csv", pd.DataFrame({"x": [1 / 3, 2.0], "name": ["a", "b"]}))
    assert (tmp_path / "plots" / "a.csv").read_bytes() == b"x,name\n0.333333,a\n2,b\n"


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def test_models_come_back_from_their_folder(tmp_path: Path) -> None:
    module = network()
    save_model(tmp_path / "m", module, {"width": 4})
    save_model(tmp_path / "n", module, {"width": 4})
    assert hash_path(tmp_path / "m") == hash_path(tmp_path / "n")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]
    config = read_config(tmp_path / "m")
    assert config["width"] == 4 and config["versions"]["torch"] == torch.__version__.split("+")[0]
    other = network().train()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    load_weights(tmp_path / "m", other)
    assert not other.training
    assert all(torch.equal(module.state_dict()[name], value) for name, value in other.state_dict().items())


def test_weights_that_do_not_fit_are_refused_whole(tmp_path: Path) -> None:
    save_model(tmp_path / "m", network(), {})
    wider = network(5)
    before = {k: v.clone() for k, v in wider.state_dict().items()}
    with pytest.raises(UserError, match=r"0.weight has shape \(4, 3\), expected \(5, 3\)"):
        load_weights(tmp_path / "m", wider)
    assert all(torch.equal(before[k], v) for k, v in wider.state_dict().items())
    with pytest.raises(UserError, match=r"missing keys \['weight'\], unexpected keys \['0.bias', '0.weight'"):
        load_weights(tmp_path / "m", nn.Linear(3, 2, bias=False))


def test_damaged_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: not a model folder"):
        read_config(tmp_path / "none")
    save_model(tmp_path / "m", network(), {})
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(UserError, match="model.safetensors"):
        load_weights(tmp_path / "m", network())
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json"):
        read_config(tmp_path / "m")


def test_hash_knows_names_and_contents(tmp_path: Path) -> None:
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    hashes = {folder: hash_path(tmp_path / folder) for folder in "abcd"}
    assert hashes["a"] == hashes["b"] and len(set(hashes.values())) == 3
    assert len(hash_path(tmp_path / "a" / "x")) == 64
