"""Codes made anew from latents: equal where they belong together, and nothing said where they do not."""

import numpy as np
import pytest

from kinetoken.diagnosis.recoding import nearest, recoded
from kinetoken.diagnosis.vectors import fsq_vectors

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((32, 5)).astype(np.float32)
CODES = RNG.integers(0, 32, (40, 2, 3, 3)).astype(np.int32)
LATENTS = (VECTORS[CODES] + 0.01 * RNG.standard_normal((*CODES.shape, 5))).astype(np.float32)


def test_nearest_is_what_a_loop_finds() -> None:
    points = RNG.standard_normal((50, 5)).astype(np.float32)
    slow = [int(np.argmin([((point - vector) ** 2).sum() for vector in VECTORS])) for point in points]
    assert nearest(points, VECTORS).tolist() == slow


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_latents_that_were_quantized_give_their_codes_by_distance_or_by_angle(scale: float) -> None:
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    latents = scale * (unit[CODES] + 0.001 * RNG.standard_normal((*CODES.shape, 5))).astype(np.float32)
    found = recoded(latents.astype(np.float32), CODES, [unit], [0], ())
    assert found is not None and (found == CODES).all()


def test_fsq_before_and_after_its_bound() -> None:
    levels = (5, 5)
    codes = RNG.integers(0, 25, (40, 2, 2, 2)).astype(np.int32)
    rounded = fsq_vectors(levels)[codes]
    bounded = recoded(rounded, codes, [fsq_vectors(levels)], [0], levels)
    before = recoded(np.arctanh(rounded * 0.999 / 1.001).astype(np.float32), codes, [fsq_vectors(levels)], [0], levels)
    assert bounded is not None and (bounded == codes).all()
    assert before is not None and (before == codes).all()


def test_clips_that_differ_among_many_that_agree_are_shown_and_strangers_are_left_alone() -> None:
    mixed = CODES.copy()
    mixed[:20] = CODES[20:]
    found = recoded(LATENTS, mixed, [VECTORS], [0], ())
    assert found is not None and (found == CODES).all()
    moved = RNG.permuted(CODES.reshape(40, -1), axis=1).reshape(CODES.shape)
    found = recoded(LATENTS, moved, [VECTORS], [0], ())
    assert found is not None and (found == CODES).all()
    rolled = recoded(LATENTS, np.roll(CODES, 1, 0), [VECTORS], [0], ())
    assert rolled is not None and (rolled == CODES).all()
    other = RNG.standard_normal(LATENTS.shape).astype(np.float32)
    assert recoded(other, CODES, [VECTORS], [0], ()) is None
    assert recoded(LATENTS[..., :4], CODES, [VECTORS], [0], ()) is None


def test_residual_codebooks_code_what_is_left_over() -> None:
    second = 0.1 * RNG.standard_normal((8, 5)).astype(np.float32)
    fine = RNG.integers(0, 8, CODES.shape)
    latents = (VECTORS[CODES] + second[fine]).astype(np.float32)
    codes = np.stack([nearest(latents.reshape(-1, 5), VECTORS).reshape(CODES.shape), fine + 32], -1).astype(np.int32)
    left = latents - VECTORS[codes[..., 0]]
    codes[..., 1] = nearest(left.reshape(-1, 5), second).reshape(CODES.shape) + 32
    found = recoded(latents, codes, [VECTORS, second], [0, 32], ())
    assert found is not None and (found == codes).all()
