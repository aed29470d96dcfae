"""What is planted in codes: only where it should be, from codes in use, and found by probes that are strong enough."""

import dataclasses

import numpy as np
import pytest

from kinetoken.codes import CodesMeta
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.api import DEFAULT
from kinetoken.diagnosis.chain import averaged_over_space
from kinetoken.diagnosis.control import SHARE, planted_labels, planted_motion
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.probes import read_linearly, strongest
from kinetoken.diagnosis.reasoning import THRESHOLDS
from kinetoken.diagnosis.vectors import code_tokens

RNG = np.random.default_rng(0)
COUNT, GRID, SIZE = 300, (2, 4, 4), 24
VECTORS = RNG.standard_normal((SIZE, 5)).astype(np.float32)
SILENT = Context(Progress.silent(), dataclasses.replace(CPU, threads=1))


def patient(codes: np.ndarray, moving: np.ndarray | None = None) -> Patient:
    tokens = code_tokens(codes, VECTORS)
    rows, meta = np.arange(COUNT), CodesMeta(GRID, SIZE, "vq", (), "")
    split = np.repeat(["train", "val", "test"], [200, 40, 60])
    found = Patient(meta, rows, np.array(["a", "b", "c"])[rows % 3], split, codes, {
        "codes": tokens, "codes_pooled": averaged_over_space(tokens),
    }, None)
    found.vectors, found.moving = VECTORS, moving
    return found


CODES = RNG.integers(0, SIZE, (COUNT, *GRID)).astype(np.int32)


def test_labels_stand_in_an_eighth_of_the_tokens_and_have_nothing_to_do_with_the_classes() -> None:
    found = planted_labels(patient(CODES), seed=1)
    assert found is not None and found.num_classes == 3
    assert found.train.codes is not None
    changed = (found.train.codes != CODES[:200]).reshape(200, -1)
    assert changed.any(0).sum() == 32 // SHARE  # the same places in all clips
    assert np.abs(np.corrcoef(found.train.target, np.arange(200) % 3)[0, 1]) < 0.2
    assert set(np.unique(found.train.codes)) <= set(np.unique(CODES[:200]))
    found_by = strongest(read_linearly(found, DEFAULT.probe, SILENT, "planted"))
    assert found_by.gain > THRESHOLDS.planted
    again = planted_labels(patient(CODES), seed=1)
    assert again is not None and (again.test.target == found.test.target).all()


def test_motion_is_written_with_one_half_of_the_codes_on_the_other_and_padding_stays() -> None:
    moving = np.zeros((COUNT, *GRID), bool)
    moving[np.arange(COUNT), :, np.arange(COUNT) % 4, np.arange(COUNT) % 3] = True
    padded = CODES.copy()
    padded[:, 1, 3, 3] = -1
    found = planted_motion(patient(padded, moving), seed=2)
    assert found is not None
    plain, written = found
    assert written.test.codes is not None and (written.test.codes[:, 1, 3, 3] == -1).all()
    there = written.test.codes >= 0
    on = set(np.unique(written.test.codes[there & moving[240:]]))
    off = set(np.unique(written.test.codes[there & ~moving[240:]]))
    assert on and off and not on & off
    assert (plain.test.tokens[..., 0] == moving[240:]).all() and (plain.test.target == written.test.target).all()


@pytest.mark.parametrize("codes", [np.zeros_like(CODES), CODES % 5])
def test_few_codes_are_no_reason_to_doubt_a_probe(codes: np.ndarray) -> None:
    assert planted_labels(patient(codes), seed=0) is None
    assert planted_motion(patient(codes), seed=0) is None  # nobody knows what moves
