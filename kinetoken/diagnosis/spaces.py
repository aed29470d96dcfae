"""Where a user's latents and codes lie as vectors: what probes read of them, and whether they belong together."""

import dataclasses
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import Indices
from kinetoken.core.errors import UserError
from kinetoken.diagnosis.chain import Tokens, averaged_over_space
from kinetoken.diagnosis.checks import Holes
from kinetoken.diagnosis.coding import Coding
from kinetoken.diagnosis.columns import Column, Source, load_arrays
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.recoding import recoded
from kinetoken.diagnosis.vectors import centroids, code_tokens, fsq_vectors, lfq_vectors, stand_ins

Vectors = NDArray[np.float32]
Tables = tuple[Vectors, ...]  # the vectors (K, D) of each codebook, as a user gives them

NAMED = 3  # rows and codes that a finding names


@dataclasses.dataclass(frozen=True)
class Spaces:
    """The user's vectors, none if none were given, and what of the latents holds NaN."""

    tables: Tables = ()
    holes: Holes | None = None


def add_vectors(
    patient: Patient, codebook: Source | None, coding: Coding, latents: tuple[Column, NDArray[np.int64]] | None,
    seed: int,
) -> Spaces:
    """Tokens of latents, codes and averaged codes. latents: a column and its rows, a clip of the patient each.

    UserError for vectors and latents that do not fit the codes.
    """
    given = _given_tables(codebook, coding)
    holes, bad = (None, None) if latents is None else _add_latents(patient, *latents)
    vectors, note = _code_vectors(patient, codebook, given, coding, seed)
    assert patient.codes is not None
    if len(coding.books) > 1:
        patient.real_vectors = False  # side by side they are no point of the latents' space
    patient.vectors = vectors
    if bad is not None and "latents" in patient.tokens and (tables := _own_tables(patient, given, coding)):
        made = recoded(patient.tokens["latents"], patient.codes, tables, coding.starts, patient.meta.levels)
        patient.recoded = made if made is None else np.where(_spread(bad, made), patient.codes, made)
    patient.tokens["codes"] = code_tokens(patient.codes, vectors)
    patient.tokens["codes_pooled"] = averaged_over_space(patient.tokens["codes"])
    patient.notes = (*patient.notes, *note)
    return Spaces(given, holes)


def _own_tables(patient: Patient, given: Tables, coding: Coding) -> list[Vectors]:
    """The quantizer's own vectors of each codebook, as counted; none if they are not known."""
    ends = np.cumsum([book.counted for book in coding.books])[:-1]
    if patient.vectors is None or any(book.seen is not None for book in coding.books):
        return []
    known = bool(given) or (len(coding.books) == 1 and (patient.meta.levels or patient.meta.quantizer == "lfq"))
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


def laid_out(values: Vectors, grid: tuple[int, int, int] | None, path: Source, what: str) -> Tokens:
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


def _codes_at(patient: Patient, where: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """The codes of the first codebook at these tokens (n, T', H', W'), with their counts, the commonest first."""
    assert patient.codes is not None and patient.tally is not None
    codes = patient.codes.reshape(*where.shape, -1)[..., 0][where]
    found, count = np.unique(codes[codes >= 0], return_counts=True)
    order = np.argsort(-count, kind="stable")[:NAMED]
    return tuple((int(patient.tally.codes[found[one]]), int(count[one])) for one in order)


def _given_tables(codebook: Source | None, coding: Coding) -> Tables:
    """The user's vectors, a table for each codebook: (K, D), one for all, or (Q, K, D); none if none were given."""
    if codebook is None:
        return ()
    vectors: Vectors = next(iter(load_arrays(codebook).values())).astype(np.float32)
    own = vectors.ndim == 3 and len(vectors) == len(coding.books)
    return tuple(vectors) if own else (vectors,) * len(coding.books)


def _code_vectors(
    patient: Patient, codebook: Source | None, given: Tables, coding: Coding, seed: int
) -> tuple[Vectors, tuple[str, ...]]:
    """The vectors (K, D) of all codes that are counted, and what is said of them.

    FSQ's, LFQ's, those given, the latents' means, or approximate ones.
    """
    meta, books = patient.meta, coding.books
    assert patient.codes is not None
    if meta.levels:
        return np.concatenate([fsq_vectors(meta.levels, book.entries) for book in books]), ()
    if codebook is not None:
        return _counted_vectors(patient, codebook, given, coding), ()
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


def _made_vectors(codes: Indices, coding: Coding, learned: NDArray[np.bool_], seed: int) -> Vectors:
    """Approximate vectors (K, D), from which codes (N, …) occur next to each other in the learned clips."""
    each = _each_codebook(codes[learned], coding)
    seeds = range(seed, seed + len(each))
    sizes = [book.counted for book in coding.books]
    return np.concatenate([stand_ins(*one) for one in zip(each, sizes, seeds, strict=True)])


def _counted_vectors(patient: Patient, path: Source, tables: Tables, coding: Coding) -> Vectors:
    """The user's vectors (K, D) of the codes that are counted. UserError for too few, NaN, or another width."""
    books, needed = coding.books, patient.meta.codebook_size
    if tables[0].ndim != 2 or len(tables[0]) < needed or not all(np.isfinite(table).all() for table in tables):
        raise UserError(f"{path}: expected {needed} or more finite vectors, found {tables[0].shape}")
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
