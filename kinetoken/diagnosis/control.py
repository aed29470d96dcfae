"""A control task: something known is written in the codes, and probes of this kind and on these clips must find it.

Where they do not, the probes are too weak for these codes, and a class that they miss may still be there. It is the
mirror image of the random labels of Hewitt & Liang (2019, arXiv:1909.03368), which a probe must not find.
"""

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import Indices
from kinetoken.diagnosis.patient import SPLITS, Patient
from kinetoken.diagnosis.probes import Labelled, Splits
from kinetoken.diagnosis.vectors import code_tokens

MOST_CLASSES = 4
SHARE = 8  # one in so many tokens is planted
LEAST_CODES = 2  # for each class, of a codebook for labels to be planted in it


def planted_labels(patient: Patient, seed: int) -> Splits | None:
    """The same clips with random labels written into an eighth of their tokens, at the same places in all clips.

    A token at such a place is any code of its label's group. Groups part the codes in use: in equal shares along a
    random direction where the codes' own vectors are known, at random otherwise. None if there are no codes, or so few
    that no probe could be too weak for them.
    """
    rng = np.random.default_rng(seed)
    classes = min(len(patient.classes), MOST_CLASSES)
    target = rng.permutation(np.arange(len(patient)) % classes)
    where = np.zeros(int(np.prod(patient.meta.grid)), bool)
    where[rng.choice(len(where), max(len(where) // SHARE, 1), replace=False)] = True
    groups = np.where(where, target[:, None], KEPT)
    codes = _written(patient, groups, classes, rng)
    return None if codes is None else _splits(patient, codes, target, classes)


def planted_motion(patient: Patient, seed: int) -> tuple[Splits, Splits] | None:
    """What moves in the clips, as tokens of 1 and 0, and the same written in the codes in use, both with true labels.

    One half of the codes stands for what moves, the other for what does not. None if it is not known what moves, or
    codes are none or too few.
    """
    if patient.moving is None:
        return None
    rng = np.random.default_rng(seed)
    codes = _written(patient, patient.moving.reshape(len(patient), -1).astype(np.int64), 2, rng)
    if codes is None:
        return None
    tokens = patient.moving[..., None].astype(np.float32)
    target, classes = patient.target, len(patient.classes)
    train, val, test = (Labelled(tokens[rows], target[rows]) for rows in map(patient.rows, SPLITS))
    return Splits(train, val, test, classes), _splits(patient, codes, target, classes)


KEPT = -1  # the group of a token that is left as it is


def _splits(patient: Patient, codes: Indices, target: NDArray[np.int64], classes: int) -> Splits:
    assert patient.vectors is not None
    vectors = patient.vectors if patient.remade is None else patient.remade(codes)
    train, val, test = (
        Labelled(code_tokens(codes[rows], vectors), target[rows], codes[rows]) for rows in map(patient.rows, SPLITS)
    )
    return Splits(train, val, test, classes, patient.remade is not None)


def _written(
    patient: Patient, groups: NDArray[np.int64], count: int, rng: np.random.Generator
) -> Indices | None:
    """The codes with every token (N, P) that has a group replaced by one of its group's codes, drawn as often as they
    are used; None if there are no codes, or no codebook that uses codes enough."""
    if patient.codes is None or patient.vectors is None:
        return None
    codes = patient.codes.reshape(len(patient), int(np.prod(patient.meta.grid)), -1).copy()  # (N, P, Q)
    train, some = patient.rows("train"), False
    for book in range(codes.shape[2]):
        seen, times = np.unique(codes[train, :, book], return_counts=True)
        seen, times = seen[seen >= 0], times[seen >= 0]
        if len(seen) < LEAST_CODES * count:
            continue
        some = True
        place = np.array_split(_order(patient, seen, rng), count)
        for group, part in enumerate(place):
            new = rng.choice(seen[part], codes.shape[:2], p=times[part] / times[part].sum())
            codes[:, :, book] = np.where((groups == group) & (codes[:, :, book] >= 0), new, codes[:, :, book])
    return codes.reshape(patient.codes.shape) if some else None


def _order(patient: Patient, seen: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of codes in use, along a random direction of their own vectors; at random where those are not known."""
    assert patient.vectors is not None
    if patient.remade is not None:
        return rng.permutation(len(seen))
    return np.argsort(patient.vectors[seen] @ rng.standard_normal(patient.vectors.shape[1]), kind="stable")
