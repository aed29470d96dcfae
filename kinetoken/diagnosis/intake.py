"""A patient from a user's own files or arrays: codes, and beside them as much or as little as there is."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegativeFloat, Range, build, read_yaml
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.chain import Diagnosis, averaged_over_space, even_sample
from kinetoken.diagnosis.checks import CodeFacts, Passage, Sight
from kinetoken.diagnosis.coding import CodesColumn, Coding, examined, range_numbers
from kinetoken.diagnosis.columns import Column, Source, is_table, open_column
from kinetoken.diagnosis.footage import UserClips, measure_footage
from kinetoken.diagnosis.history import Curves, History, read_curves
from kinetoken.diagnosis.joining import Join, Rows, joined, read_rows
from kinetoken.diagnosis.labels import Labels, labels_beside, read_labels, split_clips
from kinetoken.diagnosis.layouts import Known
from kinetoken.diagnosis.patient import SPLITS, Patient
from kinetoken.diagnosis.repeated import Repeated
from kinetoken.diagnosis.spaces import Spaces, add_vectors, laid_out
from kinetoken.diagnosis.tables import open_table
from kinetoken.diagnosis.tally import Tally

LARGEST_BOOK = 2**62  # codes


@dataclasses.dataclass(frozen=True)
class Config:
    """What a user says of their tokenizer; every key may be left out.

    pooling: what a classifier on the codes averages over: `space` has the averaged codes judged in place of the
    codes; `none` for a reader that keeps the places, such as attention. foreground_weight is repeated in the report.
    """

    grid: tuple[int, int, int] | None = None
    codebook_size: Annotated[int, Range(ge=2, le=LARGEST_BOOK)] | None = None
    levels: tuple[Annotated[int, Range(ge=1)], ...] = ()
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
    patient.unlabelled, patient.unreadable = bool(labels.missing), labels.missing or _too_few(labels, split)
    patient.clips_a_class = int(_counts(labels, split)[:, 0].min())
    patient.pooled = config.pooling == "space"
    patient.notes = (*coding.notes, *labels.notes, *notes, *_said(config))
    spaces = Spaces()
    if patient.codes is not None:
        latents = None if beside.latents is None else (beside.latents[0], beside.latents[1].rows[rows])
        spaces = add_vectors(patient, files.codebook, coding, latents, params.seed)
        if beside.latents is not None and beside.latents[1].note:
            patient.notes = (*patient.notes, beside.latents[1].note)
    flat = "N" in codes.layout.axes and config.grid is None  # rows and columns are not known apart
    sight = _add_footage(patient, beside, rows, params, progress, (1, 1, 1) if flat else patient.meta.grid)
    patient.history, patient.late_fall = beside.curves.losses, beside.curves.late_fall
    if passage is not None and patient.tally is not None and patient.codes is not None:
        own = "latents" in patient.tokens and patient.real_vectors
        patient.facts = CodeFacts(
            patient.tally, passage, rows, patient.codes, np.asarray(patient.label, np.str_), config.levels,
            config.quantizer, spaces.tables, patient.tokens.get("latents"),
            patient.tokens["codes"] if own else None, spaces.holes, beside.curves.usage,
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
    if math.prod(config.levels) > LARGEST_BOOK:
        raise UserError(f"{where}: levels: they make more than 2^62 codes, which no table holds")
    size = math.prod(config.levels) if config.levels else config.codebook_size
    if config.codebook_size not in (None, size):
        raise UserError(f"levels {list(config.levels)} make {size} codes, but codebook_size is {config.codebook_size}")
    return dataclasses.replace(config, codebook_size=size)


def _metadata(path: Path) -> Mapping[str, Any]:
    """What a codes table says of itself in its schema's metadata; nothing if it says nothing."""
    raw = open_table(path).metadata.get(b"codes", b"{}")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
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
    patient.tokens |= seen.points
    patient.decoded = seen.decoded
    patient.painted = seen.painted
    patient.notes = (*patient.notes, *seen.notes)
    test = patient.split == "test"
    if seen.mask.shape[1:] == patient.meta.grid and seen.mask[test].any():
        patient.mask, patient.moving = seen.mask[test], seen.mask
        if patient.tally is not None and patient.codes is not None:
            patient.tally.add_foreground(patient.codes[test], patient.mask)
    return seen.sight
