"""A patient from a user's own files or arrays: codes, and beside them as much or as little as there is."""

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, Indices
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegativeFloat, Range, build, read_yaml
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.chain import FLOW, STILL, Diagnosis, Tokens, averaged_over_space, even_sample
from kinetoken.diagnosis.checks import CodeFacts, Holes, Passage, Sight
from kinetoken.diagnosis.coding import CodesColumn, Coding, examined, range_numbers
from kinetoken.diagnosis.columns import Column, Source, is_table, load_arrays, open_column
from kinetoken.diagnosis.footage import UserClips, measure_footage
from kinetoken.diagnosis.history import Curves, History, read_curves
from kinetoken.diagnosis.joining import Join, Rows, joined, read_rows
from kinetoken.diagnosis.labels import Labels, labels_beside, read_labels, split_clips
from kinetoken.diagnosis.layouts import Known
from kinetoken.diagnosis.patient import SPLITS, Patient
from kinetoken.diagnosis.recoding import recoded
from kinetoken.diagnosis.repeated import Repeated
from kinetoken.diagnosis.tables import open_table
from kinetoken.diagnosis.tally import Tally
from kinetoken.diagnosis.vectors import centroids, code_tokens, fsq_vectors, lfq_vectors, stand_ins

NAMED = 3  # rows and codes that a finding names


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

    history: a file, or epochs with their validation losses, or curves; config: a file, or its keys and values;
    layout: the axes of the codes, as `layouts` has them; again: codes of a second extraction of the same clips.
    """

    codes: Source
    labels: Source | None = None
    latents: Source | None = None
    clips: Source | None = None
    reconstructions: Source | None = None
    codebook: Source | None = None
    history: Path | History | Curves | None = None
    config: Path | Mapping[str, Any] | None = None
    layout: str | None = None
    again: Source | None = None


def take_in(files: Files, params: Diagnosis, progress: Progress) -> Patient:
    """Count all clips' codes and sample some for the probes.

    Raises UserError with one sentence for rows of different length, codes outside the codebook, files that do not
    belong together, and a single clip.
    """
    config = read_config(files)
    known = Known(config.grid, config.codebook_size, config.quantizer)
    codes = CodesColumn(files.codes, files.layout, known)
    if len(codes) < 2:
        raise UserError(f"{files.codes}: {len(codes)} clips; at least two are needed for a comparison")
    labels = read_labels(files.codes, len(codes))
    if files.labels is not None:
        labels = labels_beside(labels, files.codes, files.labels)
    beside = _opened(files, Rows(files.codes, len(codes), "codes", labels.ids), known)
    split, notes = split_clips(labels, len(codes), params.seed)
    rows = _sample(labels, split, params)
    progress.phase("looking at codes", len(codes), "clips")
    coding = examined(codes, config.levels, progress)
    passage = None
    if coding.continuous:
        patient = _never_quantized(codes.column, rows, config, progress)
    else:
        passage = Passage(codes.grid, _zeros(coding))
        patient = _counted(codes, rows, config, coding, labels, params.seed, passage, progress)
    patient.label, patient.split = labels.names_of(rows), np.array(SPLITS)[split[rows]]
    patient.track_id = next(iter(labels.ids.values()))[rows] if labels.ids else rows
    patient.unreadable = labels.missing or _too_few(labels, split)
    patient.clips_a_class = int(_counts(labels, split)[:, 0].min())
    patient.pooled = config.pooling == "space"
    patient.notes = (*coding.notes, *labels.notes, *notes, *_said(config))
    holes = _add_vectors(patient, files, coding, beside, rows, params.seed)
    flat = "N" in codes.layout.axes and config.grid is None  # rows and columns are not known apart
    sight = _add_footage(patient, beside, rows, params, progress, (1, 1, 1) if flat else patient.meta.grid)
    patient.history, patient.late_fall = beside.curves.losses, beside.curves.late_fall
    if passage is not None and patient.tally is not None and patient.codes is not None:
        own = "latents" in patient.tokens and patient.real_vectors
        patient.facts = CodeFacts(
            patient.tally, passage, rows, patient.codes, np.asarray(patient.label, np.str_), config.levels,
            config.quantizer, _tables(files, coding), patient.tokens.get("latents"),
            patient.tokens["codes"] if own else None, holes, beside.curves.usage,
            None if beside.again is None else beside.again.compared(codes, rows, progress), sight, params.seed,
        )
    return patient


def _zeros(coding: Coding) -> tuple[int, ...]:
    """The place of code 0 of each codebook, −1 where it does not occur."""
    return tuple(
        start if book.counted and book.entries[0] == 0 else -1
        for book, start in zip(coding.books, coding.starts, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class FilesBeside:
    """The files beside the codes, opened and matched to them before the long work."""

    latents: tuple[Column, Join] | None
    clips: UserClips | None
    reconstructions: UserClips | None
    curves: Curves
    again: Repeated | None


def _opened(files: Files, codes: Rows, known: Known) -> FilesBeside:
    """UserError for files that are missing, damaged, or do not belong to the codes."""
    if files.clips is None and files.reconstructions is not None:
        raise UserError(f"{files.reconstructions}: reconstructions need the clips too (--clips)")
    latents = None
    if files.latents is not None:
        column = open_column(files.latents, ("latents", "features", "z"), "latents")
        latents = column, joined(codes, read_rows(files.latents, len(column), "rows of latents"))
    return FilesBeside(
        latents,
        None if files.clips is None else UserClips(files.clips, codes, "clips"),
        None if files.reconstructions is None else UserClips(files.reconstructions, codes, "reconstructions"),
        _curves(files.history),
        None if files.again is None else Repeated(files.again, codes, files.layout, known),
    )


def _curves(history: Path | History | Curves | None) -> Curves:
    if isinstance(history, Path):
        return read_curves(history)
    return history if isinstance(history, Curves) else Curves(history or ())


def read_config(files: Files) -> Config:
    """The user's config over what the codes table says of itself; UserError for unknown keys and wrong types."""
    found: dict[str, Any] = dataclasses.asdict(Config())
    found["levels"] = []
    if is_table(files.codes):
        meta = _metadata(files.codes)
        found |= {key: meta[key] for key in ("grid", "codebook_size", "levels", "quantizer") if key in meta}
    if files.config is not None:
        given = read_yaml(files.config) if isinstance(files.config, Path) else files.config  # JSON is YAML
        if not isinstance(given, Mapping):
            raise UserError(f"{files.config}: expected keys and values")
        found |= given
    where = "config" if isinstance(files.config, Mapping) else str(files.config or files.codes)
    config = build(Config, found, where)
    size = math.prod(config.levels) if config.levels else config.codebook_size
    if config.codebook_size not in (None, size):
        raise UserError(f"levels {list(config.levels)} make {size} codes, but codebook_size is {config.codebook_size}")
    return dataclasses.replace(config, codebook_size=size)


def _metadata(path: Path) -> Mapping[str, Any]:
    """What a codes table says of itself in its schema's metadata; nothing if it says nothing."""
    raw = open_table(path).metadata.get(b"codes", b"{}")
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(
            f"{path}: its metadata 'codes' is no JSON object of grid, codebook_size, levels and quantizer; remove it, "
            "or write the table with kinetoken"
        )
    return found


def _sample(labels: Labels, split: NDArray[np.int8], params: Diagnosis) -> NDArray[np.int64]:
    """Ascending rows of at most so many clips of each split, evenly over the labels."""
    kept = []
    for place, count in enumerate((params.train_clips, params.val_clips, params.test_clips)):
        rows = np.flatnonzero(split == place)
        kept.append(rows[even_sample(labels.target[rows], count)])
    return np.sort(np.concatenate(kept))


def _counted(
    column: CodesColumn, rows: NDArray[np.int64], config: Config, coding: Coding, labels: Labels, seed: int,
    passage: Passage, progress: Progress,
) -> Patient:
    """The patient with all clips counted, here and in the passage, and the sampled rows' codes kept."""
    progress.phase("counting codes", len(column), "clips")
    kept, start = [], 0
    sizes, declared = (tuple(getattr(book, name) for book in coding.books) for name in ("counted", "size"))
    tally = Tally(
        column.grid, sum(sizes), len(labels.names), seed, sizes=sizes, declared=declared,
        codes=np.concatenate([book.entries for book in coding.books]),
    )
    shape = (*column.grid, len(sizes)) if len(sizes) > 1 else column.grid
    for batch in column.batches():
        codes = coding.places(batch).reshape(len(batch), *shape)
        passage.add(codes)
        tally.add(codes, labels.target[start : start + len(batch)] if labels.names else None)
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        kept.append(codes[rows[first:last] - start])
        start += len(batch)
        progress.advance(len(batch))
    meta = CodesMeta(tally.grid, tally.size, config.quantizer, config.levels, "")
    patient = Patient(meta, rows, rows, rows, np.concatenate(kept), {}, tally)
    patient.intake = range_numbers(coding)
    return patient


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
    if grid[0] == 1 and len(shape) == 3 and grid[1:] in (shape[:2], shape[1:]):  # images, channels last or first
        values = values[:, None] if shape[:2] == grid[1:] else np.moveaxis(values, 1, -1)[:, None]
        return np.ascontiguousarray(values)
    if shape[:3] == grid or shape[:1] == (places,):
        return np.ascontiguousarray(values.reshape(len(values), *grid, -1))
    if shape[-3:] == grid or shape[-1:] == (places,):
        channels = values.reshape(len(values), -1, *grid)
        return np.ascontiguousarray(np.moveaxis(channels, 1, -1))
    if len(shape) == 1 and shape[0] % places == 0:
        return np.ascontiguousarray(values.reshape(len(values), *grid, -1))
    raise UserError(f"{path}: {what} of shape {list(shape)} a clip do not fit the codes' grid {list(grid)}")


def _too_few(labels: Labels, split: NDArray[np.int8]) -> str:
    """Why no probe can be fitted on these splits, counted before a sample is drawn, or nothing."""
    counts = _counts(labels, split)
    used = np.array(labels.names)[np.unique(labels.target[split >= 0])]
    for name, least, found in zip(SPLITS, (4, 1, 2), counts.T, strict=True):
        if (found < least).any():
            few = int(np.argmax(found < least))
            return f"label '{used[few]}' has {found[few]} clips in split '{name}', at least {least} are needed"
    return ""


def _counts(labels: Labels, split: NDArray[np.int8]) -> NDArray[np.int64]:
    """Clips (classes, 3) in train, val and test of each class that any of them has."""
    inside = split >= 0
    used, place = np.unique(labels.target[inside], return_inverse=True)
    return np.bincount(place * 3 + split[inside], minlength=3 * len(used)).reshape(-1, 3)


def _said(config: Config) -> tuple[str, ...]:
    said = []
    if config.pooling == "space":
        said.append("The verdict is on the codes averaged over space, because the classifier pools them in this way.")
    if config.foreground_weight is not None:
        said.append(f"By the config, the tokenizer's loss weights the foreground by {config.foreground_weight:g}.")
    return tuple(said)


def _add_vectors(
    patient: Patient, files: Files, coding: Coding, beside: FilesBeside, rows: NDArray[np.int64], seed: int
) -> Holes | None:
    """Tokens of latents, codes and averaged codes; what of the latents holds NaN."""
    if patient.codes is None:
        return None
    holes = None
    if beside.latents is not None:
        column, join = beside.latents
        holes, bad = _add_latents(patient, column, join.rows[rows])
        patient.notes = (*patient.notes, *([join.note] if join.note else []))
    vectors, note = _code_vectors(patient, files, coding, seed)
    if len(coding.books) > 1:
        patient.real_vectors = False  # side by side they are no point of the latents' space
    patient.vectors = vectors
    if "latents" in patient.tokens and (tables := _own_tables(patient, files, coding)):
        made = recoded(patient.tokens["latents"], patient.codes, tables, coding.starts, patient.meta.levels)
        patient.recoded = made if made is None else np.where(_spread(bad, made), patient.codes, made)
    patient.tokens["codes"] = code_tokens(patient.codes, vectors)
    patient.tokens["codes_pooled"] = averaged_over_space(patient.tokens["codes"])
    patient.notes = (*patient.notes, *note)
    return holes


def _own_tables(patient: Patient, files: Files, coding: Coding) -> list[NDArray[np.float32]]:
    """The quantizer's own vectors of each codebook, as counted; none if they are not known."""
    ends = np.cumsum([book.counted for book in coding.books])[:-1]
    if patient.vectors is None or any(book.seen is not None for book in coding.books):
        return []
    known = files.codebook is not None or patient.meta.levels or patient.meta.quantizer == "lfq"
    known = known if len(coding.books) == 1 else files.codebook is not None
    return np.split(patient.vectors, ends) if known else []


def _spread(bad: NDArray[np.bool_], codes: Indices) -> NDArray[np.bool_]:
    """Tokens (N, T', H', W') as wide as codes of several codebooks."""
    return bad if codes.ndim == bad.ndim else np.broadcast_to(bad[..., None], codes.shape)


def _add_latents(
    patient: Patient, column: Column, place: NDArray[np.int64]
) -> tuple[Holes | None, NDArray[np.bool_]]:
    """The latents at these places on the codes' grid; NaN and infinite values become their channel's mean. Where they
    were, (n, T', H', W').

    They are left out if most clips hold some. UserError for latents that do not fit.
    """
    values = laid_out(column.take(place).astype(np.float32), patient.meta.grid, column.path, "latents")
    bad = np.asarray(~np.isfinite(values).all(-1))  # (n, T', H', W')
    clips = np.flatnonzero(bad.reshape(len(bad), -1).any(1))
    if not len(clips):
        patient.tokens["latents"] = values
        return None, bad
    if left_out := 2 * len(clips) > len(values):
        values = values[:0]
    else:
        values[bad] = values[~bad].mean(0)
        patient.tokens["latents"] = values
    patient.notes = (
        *patient.notes,
        f"{column.path.name}: {len(clips)} of {len(bad)} sampled rows hold NaN or infinite values, first row "
        f"{int(place[clips].min())}; {'so no latents are used' if left_out else 'their mean stands there'}.",
    )
    return Holes(len(bad), len(clips), tuple(np.sort(place[clips])[:NAMED].tolist()), _codes_at(patient, bad)), bad


def _codes_at(patient: Patient, where: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """The codes of the first codebook at these tokens (n, T', H', W'), with their counts, the commonest first."""
    assert patient.codes is not None and patient.tally is not None
    codes = patient.codes.reshape(*where.shape, -1)[..., 0][where]
    found, count = np.unique(codes[codes >= 0], return_counts=True)
    order = np.argsort(-count, kind="stable")[:NAMED]
    return tuple((int(patient.tally.codes[found[one]]), int(count[one])) for one in order)


def _tables(files: Files, coding: Coding) -> tuple[NDArray[np.float32], ...]:
    """The user's vectors, a table for each codebook, of the codes that are counted; none if none were given."""
    if files.codebook is None:
        return ()
    vectors = next(iter(load_arrays(files.codebook).values())).astype(np.float32)
    each = list(vectors) if vectors.ndim == 3 and len(vectors) == len(coding.books) else [vectors] * len(coding.books)
    return tuple(each)


def _code_vectors(
    patient: Patient, files: Files, coding: Coding, seed: int
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The vectors (K, D) of all codes that are counted, and what is said of them.

    FSQ's, LFQ's, those given, the latents' means, or stand-ins.
    """
    meta, books = patient.meta, coding.books
    assert patient.codes is not None
    if meta.levels:
        return np.concatenate([fsq_vectors(meta.levels, book.entries) for book in books]), ()
    if files.codebook is not None:
        return _given_vectors(patient, files.codebook, coding), ()
    if meta.quantizer == "lfq" and meta.codebook_size & (meta.codebook_size - 1) == 0:
        return np.concatenate([lfq_vectors(meta.codebook_size, book.entries) for book in books]), ()
    learned = patient.split == "train"
    if "latents" in patient.tokens:
        latents = patient.tokens["latents"][learned]
        each = _each_codebook(patient.codes[learned], coding)
        found = [centroids(one, latents, book.counted) for one, book in zip(each, books, strict=True)]
        return np.concatenate(found), ("No codebook was given: a code's vector is the mean of its latents.",)
    patient.real_vectors = False
    patient.remade = partial(_made_vectors, coding=coding, learned=learned, seed=seed)
    return patient.remade(patient.codes), (
        "Neither levels, codebook nor latents were given. So probes use approximate code vectors, made from which "
        "codes occur next to each other, and their accuracy on codes is a lower bound.",
    )


def _each_codebook(codes: Indices, coding: Coding) -> list[Indices]:
    """Codes (n, T', H', W') or (n, T', H', W', Q), those of several codebooks numbered from 0 in each."""
    if len(coding.books) == 1:
        return [codes]
    return [np.where(codes[..., place] < 0, -1, codes[..., place] - start) for place, start in enumerate(coding.starts)]


def _made_vectors(codes: Indices, coding: Coding, learned: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """Approximate vectors (K, D), from which codes (N, …) occur next to each other in the learned clips."""
    each = _each_codebook(codes[learned], coding)
    seeds = range(seed, seed + len(each))
    sizes = [book.counted for book in coding.books]
    return np.concatenate([stand_ins(*one) for one in zip(each, sizes, seeds, strict=True)])


def _given_vectors(patient: Patient, path: Source, coding: Coding) -> NDArray[np.float32]:
    """The user's vectors for the codes that are counted: (K, D), one table for all codebooks, or (Q, K, D)."""
    books, needed = coding.books, patient.meta.codebook_size
    vectors: NDArray[np.float32] = next(iter(load_arrays(path).values())).astype(np.float32)
    if vectors.ndim == 3 and len(vectors) == len(books):
        tables: list[NDArray[np.float32]] = list(vectors)
    else:
        tables = [vectors] * len(books)
    if tables[0].ndim != 2 or len(tables[0]) < needed or not np.isfinite(vectors).all():
        raise UserError(f"{path}: expected {needed} or more finite vectors, found {vectors.shape}")
    width = tables[0].shape[1]
    channels = patient.tokens["latents"].shape[-1] if "latents" in patient.tokens else width
    if width != channels:
        raise UserError(
            f"{path}: vectors of {width} numbers, but the latents have {channels} channels; "
            "give the latents that were compared with these vectors, or leave the codebook out"
        )
    if len(books) == 1 and books[0].seen is None:
        return tables[0]
    return np.concatenate([table[book.entries] for table, book in zip(tables, books, strict=True)])


def _add_footage(
    patient: Patient, beside: FilesBeside, rows: NDArray[np.int64], params: Diagnosis, progress: Progress,
    grid: tuple[int, int, int],
) -> Sight | None:
    """Tokens of pixels on this grid, the foreground if it is the codes' own, and how reconstructions compare."""
    if beside.clips is None:
        return None
    progress.phase("reading clips", len(rows), "clips")
    seen = measure_footage(
        beside.clips, beside.reconstructions, rows, patient.split, grid, params.reconstructed_clips
    )
    patient.tokens |= {"pixels": seen.tokens, STILL: seen.still, FLOW: seen.flow}
    patient.painted = seen.painted
    patient.notes = (*patient.notes, *seen.notes)
    test = patient.split == "test"
    if seen.mask.shape[1:] == patient.meta.grid and seen.mask[test].any():
        patient.mask, patient.moving = seen.mask[test], seen.mask
        if patient.tally is not None and patient.codes is not None:
            patient.tally.add_foreground(patient.codes[test], patient.mask)
    return seen.sight
