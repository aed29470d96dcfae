"""A case from making to verdict: the arrays are written to files as their owner would have them, and examined there."""

import dataclasses
import functools
import inspect
import json
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.chain import Diagnosis
from studies.patients import autoencoders, tables
from studies.patients.breakages import BREAKAGES, FROM_OTHERS
from studies.patients.bundle import Bundle
from studies.patients.plan import Case, tree
from studies.patients.reading import reading

MAKERS: dict[str, Callable[..., Bundle]] = {
    "patch": autoencoders.patch, "conv": autoencoders.conv, "frames": autoencoders.frames, "track": tables.track,
    "words": tables.words, "residual": tables.residual, "hashed": tables.hashed,
}
HANDED = ("give", "form", "clips_as")  # names of changes that say what is handed in, and how
FORMS = ("npy", "npz", "parquet", "pt", "safetensors", "h5")
CLIPS = ("uint8", "unit", "signed", "torch")  # 0 … 255; 0 … 1; −1 … 1; 0 … 1 with channels before the rows
REFUSED, CRASHED = "refused", "crashed"  # headlines of what ended with one sentence, and with a traceback


def bundle_of(case: Case) -> tuple[Bundle, dict[str, Any]]:
    """What the case's owner has, and what of it is handed in and how."""
    changed = tree((*case.options, *case.changes))
    own, base = tree(case.changes), tree(case.options)
    making = {key: value for key, value in changed.items() if key not in (*BREAKAGES, *FROM_OTHERS, *HANDED)}
    broken = [name for name in (*own, *base) if name in BREAKAGES or name in FROM_OTHERS]  # the family's own come last
    bundle = _made(case.maker, case.seed, json.dumps(making, sort_keys=True))
    rng = np.random.default_rng(case.seed + 77)
    for name in dict.fromkeys(broken):
        if name in FROM_OTHERS:
            other = _made(case.maker, case.seed, json.dumps({**making, "other": True}, sort_keys=True))
            bundle = FROM_OTHERS[name](bundle, other, changed[name], rng)
        else:
            bundle = BREAKAGES[name](bundle, changed[name], rng)
    return bundle, {"give": case.give} | {key: value for key, value in changed.items() if key in HANDED}


@functools.lru_cache(maxsize=3)
def _made(maker: str, seed: int, options: str) -> Bundle:
    """Cases of one twin follow each other, so that they are made from one tokenizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MAKERS[maker](seed, **json.loads(options))


def examined(case: Case, params: Diagnosis, threads: int = 1) -> dict[str, Any]:
    """A row of what the doctor said of the case, and what the study's own readers read from its codes."""
    began = time.perf_counter()
    bundle, handed = bundle_of(case)
    made = time.perf_counter()
    row = {"name": case.name, "twin": case.twin, **dataclasses.asdict(case)}
    with tempfile.TemporaryDirectory(prefix="patients-") as folder:
        given = hand_in(bundle, Path(folder), **handed)
        row |= verdict(given, params, threads)
        row["evidence"] = row["evidence"].replace(f"{folder}/", "")  # the same in every run
    judged = time.perf_counter()
    row["reading"] = reading(bundle) if "labels" in handed["give"] else None
    return row | {
        "clips": len(bundle), "making_seconds": made - began, "doctor_seconds": judged - made,
        "reading_seconds": time.perf_counter() - judged,
    }


def verdict(given: dict[str, Any], params: Diagnosis, threads: int) -> dict[str, Any]:
    """The headline and what stands beside it; a refusal and a traceback are headlines too."""
    from kinetoken.diagnosis.api import diagnose

    known, missing = known_inputs(given)
    beside: dict[str, Any] = {"severity": None, "evidence": "", "doctor_reading": None, "not_given": missing}
    try:
        found = diagnose(**known, params=params, threads=threads)
    except UserError as error:
        return beside | {"named": REFUSED, "healthy": False, "evidence": str(error)}
    except Exception as error:  # what a stranger would see as a traceback is a result of the study
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        return beside | {"named": CRASHED, "healthy": False, "evidence": said}
    probe = found.numbers.get("probe", {})
    return beside | {
        "named": found.cause, "healthy": bool(found.healthy), "severity": found.severity,
        "evidence": str(getattr(found, "evidence", "")), "doctor_reading": probe.get("codes"),
    }


def known_inputs(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The inputs that `kinetoken.diagnose` takes, and the names of those that it does not know yet."""
    from kinetoken.diagnosis.api import diagnose

    taken = inspect.signature(diagnose).parameters
    return {key: given[key] for key in given if key in taken}, [key for key in given if key not in taken]


# ---- files, as their owner would have them


def hand_in(
    bundle: Bundle, folder: Path, give: tuple[str, ...] | list[str], form: str = "npy", clips_as: str = "uint8"
) -> dict[str, Any]:
    """Paths and words for `kinetoken.diagnose`, by its names; only what is in `give` is written beside the codes."""
    ids = None if bundle.order is None else np.array([f"clip_{row:05d}" for row in range(len(bundle))])
    config = {key: value for key, value in bundle.config.items() if key != "several"}
    if "config" not in give:
        config = {key: config[key] for key in ("pooling",) if key in config}
    given: dict[str, Any] = {}
    if form == "parquet" and bundle.layout is None and bundle.codes.ndim == 4:
        config |= {"grid": list(bundle.codes.shape[1:])}
    given["codes"] = _codes_file(bundle, folder, form, ids)
    if bundle.layout is not None and form != "parquet":
        given["layout"] = bundle.layout
    for name in ("latents", "codebook", "again"):
        if name in give and (values := getattr(bundle, name)) is not None:
            given[name] = _array_file(folder / name, values, "npy" if form == "parquet" else form)
    if "labels" in give:
        given["labels"] = _labels_file(bundle, folder, ids)
    if "clips" in give and bundle.clips is not None:
        given["clips"] = _clips_file(bundle, folder, clips_as)
    if "reconstructions" in give and bundle.reconstructions is not None:
        np.save(folder / "reconstructions.npy", bundle.reconstructions)
        given["reconstructions"] = folder / "reconstructions.npy"
    if "history" in give and bundle.history is not None:
        given["history"] = _history_file(bundle.history, folder)
    if config:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        given["config"] = folder / "config.json"
    return given


def _codes_file(bundle: Bundle, folder: Path, form: str, ids: np.ndarray | None) -> Path:
    codes = bundle.codes if bundle.codes.dtype.kind == "f" else bundle.codes.astype(np.int32)
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = pa.array(list(codes.reshape(len(codes), -1)))
        columns = {"codes": flat} | ({} if ids is None else {"video_id": pa.array(ids.tolist())})
        pq.write_table(pa.table(columns), folder / "codes.parquet")
        return folder / "codes.parquet"
    if ids is not None:
        np.savez(folder / "codes.npz", codes=codes, video_id=ids)
        return folder / "codes.npz"
    return _array_file(folder / "codes", codes, form)


def _array_file(stem: Path, values: np.ndarray, form: str) -> Path:
    path = stem.with_suffix(f".{form}")
    if form == "npy":
        np.save(path, values)
    elif form == "npz":
        np.savez_compressed(path, allow_pickle=False, **{stem.name: values})
    elif form == "pt":
        import torch

        torch.save(torch.from_numpy(np.ascontiguousarray(values)), path)
    elif form == "safetensors":
        from safetensors.numpy import save_file

        save_file({stem.name: np.ascontiguousarray(values)}, path)
    elif form == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset(stem.name, data=values)
    return path


def _labels_file(bundle: Bundle, folder: Path, ids: np.ndarray | None) -> Path:
    import pandas as pd

    table = pd.DataFrame({"label": bundle.labels} | ({} if ids is None else {"video_id": ids}))
    if bundle.order is not None:
        table = table.iloc[bundle.order]
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def _clips_file(bundle: Bundle, folder: Path, clips_as: str) -> Path:
    assert bundle.clips is not None
    clips: np.ndarray = bundle.clips
    if clips_as != "uint8":
        clips = clips.astype(np.float32) / np.float32(255)
    if clips_as == "signed":
        clips = clips * 2 - 1
    if clips_as == "torch":
        clips = np.ascontiguousarray(np.moveaxis(clips, -1, 2))
    np.save(folder / "clips.npy", clips)
    return folder / "clips.npy"


def _history_file(history: dict[str, list[float]], folder: Path) -> Path:
    import pandas as pd

    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    return folder / "history.csv"
