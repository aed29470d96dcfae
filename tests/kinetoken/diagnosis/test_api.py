"""The doctor called from Python: arrays do as files do, and the verdict comes back as data."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.core.errors import UserError
from kinetoken.diagnosis.api import DiagnosisResult, diagnose
from kinetoken.scenes.clips import Clips, ClipStore, shard_path, write_shard
from tests.kinetoken.diagnosis.test_doctor import COUNT, PARAMS, clips_of, moving

QUICK = dataclasses.replace(PARAMS, probe=dataclasses.replace(PARAMS.probe, epochs=1))
CODES, LABEL = moving()
IDS = np.array([f"video_{i}" for i in range(COUNT)])


def found(codes: Any, **others: Any) -> DiagnosisResult:
    return diagnose(codes, **{"params": QUICK, "threads": 1, **others})


def alike(one: DiagnosisResult, other: DiagnosisResult) -> bool:
    return one.report.verdict == other.report.verdict and one.numbers == other.numbers


def test_the_verdict_as_data() -> None:
    result = diagnose(CODES, labels=LABEL, params=PARAMS, threads=1)
    assert (result.cause, result.healthy, result.degree) == ("healthy", True, "none")
    assert result.severity == pytest.approx(0, abs=0.05)
    assert result.measures["probe_codes"] == result.numbers["probe"]["codes"] > 0.95
    assert any(one.name == "pooling drops position" for one in result.findings)
    assert "positions" in result.tables and result.to_json()["verdict"]["cause"] == "healthy"
    assert "joined by row order: neither file has ids" in " ".join(result.notes)
    assert result.to_markdown().startswith("# Verdict: healthy") and "numbers" not in repr(result)


def test_arrays_in_memory_do_as_files_do(tmp_path: Path) -> None:
    latents = np.random.default_rng(0).normal(size=(COUNT, 4, 2, 4, 3)).astype(np.float32)
    arrays: dict[str, Any] = {
        "labels": LABEL, "clips": clips_of(CODES), "reconstructions": clips_of(CODES) // 2, "latents": latents,
        "codebook": np.eye(4, 3, dtype=np.float32),
    }
    paths: dict[str, Any] = {name: tmp_path / f"{name}.npy" for name in arrays}
    for name, path in paths.items():
        np.save(path, arrays[name])
    np.save(tmp_path / "codes.npy", CODES)
    config, losses = {"codebook_size": 4, "quantizer": "vq"}, [3.0, 2.0, 1.5, 1.2, 1.1]
    (tmp_path / "config.json").write_text(json.dumps(config))
    pd.DataFrame({"val_loss": losses}).to_csv(tmp_path / "history.csv", index=False)
    held = found(CODES, **arrays, config=config, history=losses)
    read = found(
        str(tmp_path / "codes.npy"), **paths, config=str(tmp_path / "config.json"), history=tmp_path / "history.csv"
    )
    assert alike(held, read) and held.numbers["late_fall"] > 0 and "latents" in held.numbers["probe"]


def test_what_holds_columns_and_what_numpy_takes(tmp_path: Path) -> None:
    plain = found({"codes": CODES, "label": LABEL})
    assert alike(plain, found(torch.from_numpy(CODES), labels=LABEL.tolist()))
    order = np.random.default_rng(1).permutation(COUNT)
    frame = pd.DataFrame({"codes": list(CODES.reshape(COUNT, -1)), "video_id": IDS})
    labels = pd.DataFrame({"label": LABEL[order], "video_id": IDS[order]})
    assert alike(plain, found(frame, labels=labels, config={"grid": (4, 2, 4)}))
    frame.to_parquet(tmp_path / "codes.parquet")
    again = pd.read_parquet(tmp_path / "codes.parquet")
    assert alike(plain, found(again, labels=labels, config={"grid": np.array([4, 2, 4])}))


def test_tables_and_clip_stores_of_the_library(tmp_path: Path) -> None:
    meta = CodesMeta((4, 2, 4), 4, "vq", (), "")
    split = np.array(["train", "train", "val", "test"])[np.arange(COUNT) // 2 % 4]
    ids = np.arange(COUNT, dtype=np.int32) + 5
    table = CodesTable(ids, LABEL, split, CODES, meta)
    write_codes(tmp_path / "codes.parquet", meta, [table])
    clips = np.repeat(clips_of(CODES)[..., None], 3, -1)
    write_shard(shard_path(tmp_path, 0), Clips(ids, LABEL, split, clips, 8.0), None)
    read = found(tmp_path / "codes.parquet", clips=tmp_path)
    assert alike(read, found(table, clips=ClipStore(tmp_path))) and read.numbers["usage"] == 1
    with pytest.raises(UserError, match="config: give keys and values, not a file"):
        found(table, config=tmp_path / "config.json")


def test_a_report_is_written_whole_and_over_nothing(tmp_path: Path) -> None:
    result = found(CODES, out=tmp_path / "report")
    there = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.html", "report.md", "report.json", "positions.csv"} <= there
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == result.to_json()
    with pytest.raises(UserError, match="report exists"):
        found("absent.npy", out=tmp_path / "report")
    result.write(tmp_path / "report", force=True)


@pytest.mark.parametrize(("given", "message"), [
    ({"codes": 5}, "array 'codes': expected a row a clip, found int"),
    ({"codes": [[[1, 2]], [[3]]]}, "array 'codes': rows of different shape"),
    ({"codes": [[1.5, 2], [3.5]]}, "array 'codes': rows of different shape"),
    ({"codes": pd.DataFrame({"codes": [[[1, 2]], [[3]]]})}, "array 'codes', column 'codes': rows of different shape"),
    ({"latents": [[1, 2], [3]]}, "array 'latents': rows of different shape"),
    ({"layout": "B,T"}, "array 'codes': --layout B,T has 1 axes after B, the rows have 3: 4 × 2 × 4"),
    ({"layout": "T,B"}, "--layout T,B: no layout of codes"),
    ({"codes": CODES[:1]}, "array 'codes': 1 clips; at least two are needed"),
    ({"codes": {"a": CODES, "b": CODES}}, "array 'codes': codes not found"),
    ({"codes": LABEL}, "array 'codes': codes: expected numbers with one row a clip"),
    ({"labels": LABEL[:5]}, "array 'labels': 5 labels, but the codes table has 240 rows"),
    ({"labels": [None, *LABEL[1:]]}, "array 'labels': row 0 has no label"),
    ({"labels": {"kind": LABEL}}, "array 'labels': no labels: name the column class or label"),
    ({"config": {"codebook_size": 3}}, "array 'codes': row 0: code 3 lies outside the codebook of 3"),
    ({"config": {"size": 4}}, "config.size: unknown key"),
    ({"history": ["a"]}, "array 'history': the values of val_loss are not finite numbers"),
    ({"history": {"epoch": [1.0]}}, "array 'history': no column val_loss, usage or perplexity; it holds epoch"),
    ({"clips": CODES[:, 0]}, "array 'clips': clips must be"),
    ({"reconstructions": clips_of(CODES)}, "array 'reconstructions': reconstructions need the clips"),
    ({"again": CODES[:, :3]}, "array 'again': rows of 3 × 2 × 4 codes, but those of array 'codes' have 4 × 2 × 4"),
    ({"codebook": np.zeros((3, 2))}, "array 'codebook': expected 4 or more finite vectors"),
    ({"codebook": np.eye(4), "latents": np.zeros((COUNT, 4, 2, 4, 3))}, "vectors of 4 numbers, .* have 3 channels"),
    ({"clips": "absent"}, "absent: not a readable|absent: no such file"),
    ({"params": "absent.yaml"}, "absent.yaml: no such file"),
])
def test_data_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(**{"codes": CODES, **given})
