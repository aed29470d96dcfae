"""A control task: labels planted in the codes, which probes of this kind and on this many clips must find.

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


def planted(patient: Patient, seed: int) -> Splits | None:
    """The same clips with random labels written into an eighth of their tokens, at the same places in all clips.

    A token at such a place is any code of its label's group. Groups part the codes in use: in equal shares along a
    random direction where the codes' own vectors are known, at random otherwise. None if there are no codes, or so few
    that no probe could be too weak for them.
    """
    if patient.codes is None or patient.vectors is None:
        return None
    rng = np.random.default_rng(seed)
    classes = min(len(patient.classes), MOST_CLASSES)
    target = rng.permutation(np.arange(len(patient)) % classes)
    codes = _written(patient, target, classes, rng)
    if codes is None:
        return None
    vectors = patient.vectors if patient.remade is None else patient.remade(codes)
    train, val, test = (
        Labelled(code_tokens(codes[rows], vectors), target[rows]) for rows in map(patient.rows, SPLITS)
    )
    return Splits(train, val, test, classes)


def _written(
    patient: Patient, target: NDArray[np.int64], classes: int, rng: np.random.Generator
) -> Indices | None:
    """The codes with the labels in them; None if no codebook uses codes enough."""
    assert patient.codes is not None
    codes = patient.codes.reshape(len(patient), int(np.prod(patient.meta.grid)), -1).copy()  # (N, P, Q)
    places = rng.choice(codes.shape[1], max(codes.shape[1] // SHARE, 1), replace=False)
    train, some = patient.rows("train"), False
    for book in range(codes.shape[2]):
        seen = np.unique(codes[train, :, book])
        seen = seen[seen >= 0]
        if len(seen) < LEAST_CODES * classes:
            continue
        groups = np.array_split(_ordered(patient, seen, rng), classes)
        drawn = np.stack([rng.choice(group, (len(codes), len(places))) for group in groups])  # (classes, N, places)
        new = drawn[target, np.arange(len(codes))]
        codes[:, places, book] = np.where(codes[:, places, book] < 0, codes[:, places, book], new)
        some = True
    return codes.reshape(patient.codes.shape) if some else None


def _ordered(patient: Patient, seen: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    assert patient.vectors is not None
    if patient.remade is not None:
        return rng.permutation(seen)
    along = patient.vectors[seen] @ rng.standard_normal(patient.vectors.shape[1])
    return seen[np.argsort(along, kind="stable")]
