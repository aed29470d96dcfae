"""A patient from a user's own files or arrays: codes, and beside them as much or as little as there is."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, Indices
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegativeFloat, Range, build, read_yaml
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.chain import Diagnosis, Tokens, averaged_over_space, even_sample
from kinetoken.diagnosis.columns import Column, Source, is_parquet, load_arrays, open_column, open_parquet
from kinetoken.diagnosis.footage import UserClips, measure_footage
from kinetoken.diagnosis.history import LEAST_POINTS, History, late_fall, read_history
from kinetoken.diagnosis.joining import Rows, joined, read_rows
from kinetoken.diagnosis.labels import Labels, labels_beside, read_labels, split_clips
from kinetoken.diagnosis.patient import SPLITS, Patient
from kinetoken.diagnosis.tally import Tally
from kinetoken.diagnosis.vectors import centroids, fsq_vectors, lfq_vectors, stand_ins

CODE_NAMES = ("codes", "indices", "tokens", "code", "ids")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a user says of their tokenizer; every key may be left out.

    pooling: what a classifier on the codes averages over: `space` has the averaged codes judged in place of the
    codes; `none` for a reader that keeps the places, such as attention. foreground_weight is repeated in the report.
    """

    grid: tuple[int, int, int] | None = None
    codebook_size: Annotated[int, Range(ge=2)] | None = None
    levels: tuple[int, ...] = ()
    quantizer: str = "unknown"
    pooling: Literal["none", "space"] = "none"
    foreground_weight: NonNegativeFloat | None = None


@dataclasses.dataclass(frozen=True)
class Files:
    """A user's files, or arrays in their place; all but the codes are optional.

    history: a file, or epochs with their validation losses; config: a file, or its keys and values.
    """

    codes: Source
    labels: Source | None = None
    latents: Source | None = None
    clips: Source | None = None
    reconstructions: Source | None = None
    codebook: Source | None = None
    history: Path | History | None = None
    config: Path | Mapping[str, Any] | None = None


def take_in(files: Files, params: Diagnosis, progress: Progress) -> Patient:
    """Count all clips' codes and sample some for the probes.

    Raises UserError with one sentence for rows of different length, codes outside the codebook, files that do not
    belong together, and a single clip.
    """
    column = open_column(files.codes, CODE_NAMES, "codes")
    if len(column) < 2:
        raise UserError(f"{files.codes}: {len(column)} clips; two at least are needed to compare any")
    config = read_config(files)
    labels = read_labels(files.codes, len(column))
    if files.labels is not None:
        labels = labels_beside(labels, files.codes, files.labels)
    known = Rows(files.codes, len(column), "codes", labels.ids)
    split, notes = split_clips(labels, len(column), params.seed)
    rows = _sample(labels, split, params)
    progress.phase("looking at codes", len(column), "clips")
    scan = _scan(column, config, progress)
    if scan.continuous:
        patient = _never_quantized(column, rows, config, progress)
    else:
        patient = _counted(column, rows, config, scan, labels, params.seed, progress)
    patient.label, patient.split = labels.names_of(rows), np.array(SPLITS)[split[rows]]
    patient.track_id = next(iter(labels.ids.values()))[rows] if labels.ids else rows
    patient.unreadable = labels.missing or _too_few(patient)
    patient.pooled = config.pooling == "space"
    patient.notes = (*scan.notes, *labels.notes, *notes, *_said(config))
    _add_vectors(patient, files, known, rows, params.seed)
    _add_footage(patient, files, known, rows, params, progress)
    if files.history is not None:
        patient.history, patient.late_fall = _curve(files.history)
    return patient


def _curve(history: Path | History) -> tuple[History, float | None]:
    """As `read_history`, from a file or from the curve itself."""
    if isinstance(history, Path):
        return read_history(history)
    losses = np.array([loss for _, loss in history], np.float64)
    return history, late_fall(losses) if len(losses) >= LEAST_POINTS else None


def read_config(files: Files) -> Config:
    """The user's config over what the codes table says of itself; UserError for unknown keys and wrong types."""
    found: dict[str, Any] = dataclasses.asdict(Config())
    found["levels"] = []
    if is_parquet(files.codes):
        meta = json.loads((open_parquet(files.codes).schema_arrow.metadata or {}).get(b"codes", b"{}"))
        found |= {key: meta[key] for key in ("grid", "codebook_size", "levels", "quantizer") if key in meta}
    if files.config is not None:
        given = read_yaml(files.config) if isinstance(files.config, Path) else files.config  # JSON is YAML
        if not isinstance(given, Mapping):
            raise UserError(f"{files.config}: expected keys and values")
        found |= given
    where = "config" if isinstance(files.config, Mapping) else str(files.config or files.codes)
    config = build(Config, found, where)
    size = int(np.prod(config.levels)) if config.levels else config.codebook_size
    if config.codebook_size not in (None, size):
        raise UserError(f"levels {list(config.levels)} make {size} codes, but codebook_size is {config.codebook_size}")
    return dataclasses.replace(config, codebook_size=size)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What one look at the numbers told: are they continuous, the largest, and what is assumed from it."""

    continuous: bool
    largest: int
    notes: tuple[str, ...] = ()


def _scan(column: Column, config: Config, progress: Progress) -> Scan:
    """A whole pass only where it is needed: for a codebook of unknown size, and for codes kept as fractions."""
    first = next(column.batches())
    whole = np.issubdtype(first.dtype, np.integer)
    if whole and config.codebook_size is not None:
        return Scan(False, config.codebook_size - 1)
    largest, continuous, start = 0.0, False, 0
    for batch in column.batches():
        if not whole:
            _require_finite(batch, column.path, start)
            continuous = continuous or bool((batch != np.rint(batch)).any())
        largest, start = max(largest, float(batch.max())), start + len(batch)
        progress.advance(len(batch))
    if continuous:
        return Scan(True, 0, ("The table holds numbers with fractions, not codes: no quantizer ran.",))
    if config.codebook_size is not None:
        return Scan(False, config.codebook_size - 1)
    note = f"The codebook's size is not known; the largest code, {largest:.0f}, is taken for its last."
    return Scan(False, max(int(largest), 1), (note,))


def _require_finite(batch: NDArray[Any], path: Source, start: int) -> None:
    bad = ~np.isfinite(batch.reshape(len(batch), -1)).all(1)
    if bad.any():
        raise UserError(f"{path}: row {start + int(np.argmax(bad))} holds NaN or infinite values")


def _sample(labels: Labels, split: NDArray[np.int8], params: Diagnosis) -> NDArray[np.int64]:
    """Ascending rows of at most so many clips of each split, evenly over the labels."""
    kept = []
    for place, count in enumerate((params.train_clips, params.val_clips, params.test_clips)):
        rows = np.flatnonzero(split == place)
        kept.append(rows[even_sample(labels.target[rows], count)])
    return np.sort(np.concatenate(kept))


def _grid(config: Config, shape: tuple[int, ...], path: Source) -> tuple[int, int, int]:
    """The grid said, or that of the array, or one row of tokens; UserError if the rows are of another length."""
    if config.grid is not None:
        if int(np.prod(config.grid)) != int(np.prod(shape)):
            raise UserError(
                f"{path}: rows of {int(np.prod(shape))} codes, but the grid {list(config.grid)} needs "
                f"{int(np.prod(config.grid))}"
            )
        return config.grid
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, int(np.prod(shape)))


def _counted(
    column: Column, rows: NDArray[np.int64], config: Config, scan: Scan, labels: Labels, seed: int, progress: Progress
) -> Patient:
    """The patient with all clips counted and the sampled rows' codes kept."""
    size = scan.largest + 1
    progress.phase("counting codes", len(column), "clips")
    kept, start, tally = [], 0, None
    for batch in column.batches():
        grid = _grid(config, batch.shape[1:], column.path)
        tally = tally or Tally(grid, size, len(labels.names), seed)
        codes = _indices(batch, size, column.path, start).reshape(len(batch), *grid)
        tally.add(codes, labels.target[start : start + len(batch)] if labels.names else None)
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        kept.append(codes[rows[first:last] - start])
        start += len(batch)
        progress.advance(len(batch))
    assert tally is not None
    meta = CodesMeta(tally.grid, size, config.quantizer, config.levels, "")
    return Patient(meta, rows, rows, rows, np.concatenate(kept), {}, tally)


def _indices(batch: NDArray[Any], size: int, path: Source, start: int) -> Indices:
    if len(batch) and (batch.min() < 0 or batch.max() >= size):
        bad = ((batch < 0) | (batch >= size)).reshape(len(batch), -1)
        row = int(np.argmax(bad.any(1)))
        value = batch.reshape(len(batch), -1)[row][bad[row]][0]
        raise UserError(f"{path}: row {start + row}: code {value} lies outside the codebook of {size}")
    return batch.astype(np.int32)


def _never_quantized(column: Column, rows: NDArray[np.int64], config: Config, progress: Progress) -> Patient:
    """Continuous features in the place of codes: they are their own latents."""
    progress.phase("reading features")
    values = column.take(rows).astype(np.float32)
    meta = CodesMeta(config.grid or (1, 1, 1), config.codebook_size or 2, config.quantizer, config.levels, "")
    tokens = laid_out(values, config.grid, column.path, "codes")
    patient = Patient(dataclasses.replace(meta, grid=tokens.shape[1:4]), rows, rows, rows, None, {}, None)
    patient.tokens = {"latents": tokens, "codes": tokens, "codes_pooled": averaged_over_space(tokens)}
    return patient


def laid_out(values: NDArray[np.float32], grid: tuple[int, int, int] | None, path: Source, what: str) -> Tokens:
    """Features (N, ...) as tokens (N, T', H', W', D): channels last or first, or one number a token.

    UserError if they do not fit the grid.
    """
    shape = values.shape[1:]
    if grid is None:
        grid = (shape[0], shape[1], shape[2]) if len(shape) >= 3 else (1, 1, shape[0])
    places = int(np.prod(grid))
    if shape[:3] == grid or shape[:1] == (places,):
        return np.ascontiguousarray(values.reshape(len(values), *grid, -1))
    if shape[-3:] == grid or shape[-1:] == (places,):
        channels = values.reshape(len(values), -1, *grid)
        return np.ascontiguousarray(np.moveaxis(channels, 1, -1))
    if len(shape) == 1 and shape[0] % places == 0:
        return np.ascontiguousarray(values.reshape(len(values), *grid, -1))
    raise UserError(f"{path}: {what} of shape {list(shape)} a clip do not lie on the codes' grid {list(grid)}")


def _too_few(patient: Patient) -> str:
    """Why no probe can be fitted on these splits, or nothing."""
    for split, least in (("train", 4), ("val", 1), ("test", 2)):
        inside = patient.label[patient.split == split]
        for name in patient.classes:
            if (count := int((inside == name).sum())) < least:
                return f"label '{name}' has {count} clips in split '{split}', {least} at least are needed"
    return ""


def _said(config: Config) -> tuple[str, ...]:
    said = []
    if config.pooling == "space":
        said.append("Judged are the codes averaged over space, as the classifier's pooling does.")
    if config.foreground_weight is not None:
        said.append(f"The tokenizer's loss is said to weight the foreground by {config.foreground_weight:g}.")
    return tuple(said)


def _add_vectors(patient: Patient, files: Files, known: Rows, rows: NDArray[np.int64], seed: int) -> None:
    """Tokens of latents, codes and averaged codes."""
    if patient.codes is None:
        return
    if files.latents is not None:
        patient.tokens["latents"], assumed = _latents(files.latents, known, rows, patient.meta.grid)
        patient.notes = (*patient.notes, *assumed)
    vectors, note = _code_vectors(patient, files, seed)
    patient.tokens["codes"] = vectors[patient.codes]
    patient.tokens["codes_pooled"] = averaged_over_space(patient.tokens["codes"])
    patient.notes = (*patient.notes, *note)


def _latents(
    path: Source, known: Rows, rows: NDArray[np.int64], grid: tuple[int, int, int]
) -> tuple[Tokens, tuple[str, ...]]:
    """The latents of these rows of the codes, and what was assumed to find them."""
    column = open_column(path, ("latents", "features", "z"), "latents")
    join = joined(known, read_rows(path, len(column), "rows of latents"))
    place = join.rows[rows]
    values = column.take(place).astype(np.float32)
    if not np.isfinite(values).all():
        bad = int(np.argmax(~np.isfinite(values.reshape(len(values), -1)).all(1)))
        raise UserError(f"{path}: row {int(place[bad])} holds NaN or infinite values")
    return laid_out(values, grid, path, "latents"), (join.note,) if join.note else ()


def _code_vectors(patient: Patient, files: Files, seed: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The codebook (K, D): FSQ's, LFQ's, the one given, the latents' means, or stand-ins; and what is said of it."""
    meta, codes = patient.meta, patient.codes
    assert codes is not None
    if meta.levels:
        return fsq_vectors(meta.levels), ()
    if files.codebook is not None:
        vectors = next(iter(load_arrays(files.codebook).values())).astype(np.float32)
        if vectors.ndim != 2 or len(vectors) < meta.codebook_size or not np.isfinite(vectors).all():
            raise UserError(
                f"{files.codebook}: expected {meta.codebook_size} or more finite vectors, found {vectors.shape}"
            )
        channels = patient.tokens["latents"].shape[-1] if "latents" in patient.tokens else vectors.shape[1]
        if vectors.shape[1] != channels:
            raise UserError(
                f"{files.codebook}: vectors of {vectors.shape[1]} numbers, but the latents have {channels} channels; "
                "give the latents that were compared with these vectors, or leave the codebook out"
            )
        return vectors, ()
    if meta.quantizer == "lfq" and meta.codebook_size & (meta.codebook_size - 1) == 0:
        return lfq_vectors(meta.codebook_size), ()
    if "latents" in patient.tokens:
        learned = patient.split == "train"
        found = centroids(codes[learned], patient.tokens["latents"][learned], meta.codebook_size)
        return found, ("No codebook was given: a code's vector is the mean of its latents.",)
    patient.real_vectors = False
    return stand_ins(codes[patient.split == "train"], meta.codebook_size, seed), (
        "Neither levels, codebook nor latents were given: probes read stand-ins for the codes' vectors, made from "
        "which codes lie side by side, so what they read from codes is a lower bound.",
    )


def _add_footage(
    patient: Patient, files: Files, known: Rows, rows: NDArray[np.int64], params: Diagnosis, progress: Progress
) -> None:
    if files.clips is None:
        if files.reconstructions is not None:
            raise UserError(f"{files.reconstructions}: reconstructions need the clips beside them (--clips)")
        return
    progress.phase("reading clips", len(rows), "clips")
    footage = UserClips(files.clips, known, "clips")
    drawn = None if files.reconstructions is None else UserClips(files.reconstructions, known, "reconstructions")
    seen = measure_footage(footage, drawn, rows, patient.split, patient.meta.grid, params.reconstructed_clips)
    patient.tokens["pixels"], patient.painted = seen.tokens, seen.painted
    patient.notes = (*patient.notes, *seen.notes)
    test = patient.split == "test"
    if seen.mask.shape[1:] == patient.meta.grid and seen.mask[test].any():
        patient.mask = seen.mask[test]
        if patient.tally is not None and patient.codes is not None:
            patient.tally.add_foreground(patient.codes[test], patient.mask)
