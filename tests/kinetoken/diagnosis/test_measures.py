import numpy as np
import pytest

from kinetoken.codes import CodesMeta
from kinetoken.diagnosis.measures import halved, least_pair, measure, misplaced, row_hashes
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.probes import Labelled, ProbeResult, Splits
from kinetoken.diagnosis.reasoning import THRESHOLDS

RNG = np.random.default_rng(3)


def patient(latents: np.ndarray, codes: np.ndarray, quantizer: str = "vq") -> Patient:
    """Test clips only, with a vector at every token of a (1, 2, 2) grid."""
    count = len(latents)
    meta = CodesMeta((1, 2, 2), 16, quantizer, (), "")
    return Patient(
        meta, np.arange(count), np.array(["a", "b"] * (count // 2)), np.array(["test"] * count),
        np.zeros((count, 1, 2, 2), np.int32), {"latents": latents, "codes": codes}, None,
    )


def test_misplaced_tells_other_rows_from_other_places() -> None:
    right = RNG.integers(0, 512, (40, 2, 3, 3)).astype(np.int32)
    assert misplaced(right, right) == (0.0, 0.0)
    rolled = right.copy()
    rolled[:10] = np.roll(right[:10], 1, axis=0)
    assert misplaced(rolled, right) == (1.0, 0.0)
    assert misplaced(rolled[:5], right[:5])[0] < 1 and misplaced(rolled[:5], right[:5], row_hashes(rolled))[0] == 1.0
    turned = right.copy()
    turned[:10] = right[:10, ::-1, ::-1]
    assert misplaced(turned, right) == (0.0, 1.0)
    assert misplaced((right + 1) % 512, right) == (0.0, 0.0)


def test_a_token_or_two_rounded_otherwise_is_no_other_clip() -> None:
    right = RNG.integers(0, 512, (10, 4, 8, 8)).astype(np.int32)
    rounded = right.copy()
    rounded[:, 0, 0, 0] += 1
    assert misplaced(rounded, right) == (0.0, 0.0)


def test_least_pair_is_the_hardest_pair() -> None:
    target = np.repeat([0, 1, 2], 200)
    probabilities = np.full((600, 3), 0.05)
    probabilities[np.arange(600), target] = 0.9
    confused = np.flatnonzero(target < 2)
    probabilities[confused, :2] = RNG.random((len(confused), 2)) * 0.05 + 0.45
    pair, high = least_pair(ProbeResult("linear", probabilities, target, 0.0, np.ones(3)))
    assert pair == pytest.approx(0.5, abs=0.06) and pair < high < 0.62
    assert least_pair(ProbeResult("linear", np.eye(3)[target], target, 0.0, np.ones(3)))[0] == 1.0


def test_ties_are_half_right_and_many_classes_alone_do_not_make_a_pair_look_alike() -> None:
    target = np.arange(400) % 2
    assert least_pair(ProbeResult("x", np.full((400, 2), 0.5), target, 0.0, np.ones(2)))[0] == 0.5
    many = np.repeat(np.arange(100), 3)  # three test clips a class: some pair of 4,950 is always misread
    scores = np.eye(100)[many] + RNG.random((300, 100)) * 1.05
    assert least_pair(ProbeResult("x", scores, many, 0.0, np.ones(100)))[1] > THRESHOLDS.pair


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_offset_is_the_drift_in_deviations(strength: float) -> None:
    codes = RNG.standard_normal((60, 1, 2, 2, 5)).astype(np.float32)
    drifted = codes + strength * codes.std((0, 1, 2, 3))
    assert measure(patient(drifted, codes), {}).latent_offset == pytest.approx(strength, abs=1e-5)
    fixed = measure(patient(codes - codes.mean((0, 1, 2, 3)) + strength * codes.std((0, 1, 2, 3)), codes, "lfq"), {})
    assert fixed.latent_offset == pytest.approx(strength, abs=1e-5)


def test_halved_keeps_half_of_every_class_and_the_other_splits() -> None:
    target = np.repeat([0, 1, 2, 3], 20)
    part = Labelled(RNG.random((80, 1, 2, 2, 3)).astype(np.float32), target)
    few = halved(Splits(part, part, part, 4))
    assert np.bincount(few.train.target).tolist() == [10, 10, 10, 10]
    assert few.test is part and few.val is part


def test_what_was_not_given_is_not_measured() -> None:
    vectors = RNG.standard_normal((8, 1, 2, 2, 3)).astype(np.float32)
    found = measure(patient(vectors, vectors), {})
    assert found.mismatch is None and found.found_elsewhere is None and found.pair_pixels is None
    assert found.probe_pixels_half is None and found.perplexity is None and found.quantization_error == 0
