import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from kinetoken.diagnosis.information import chance, extrapolated_bits, mutual_information_bits
from kinetoken.diagnosis.tally import Tally


def test_mutual_information_agrees_with_a_second_implementation_and_closed_forms() -> None:
    rng = np.random.default_rng(0)
    codes, target = rng.integers(0, 6, 500), rng.integers(0, 3, 500)
    joint = np.zeros((6, 3), int)
    np.add.at(joint, (codes, target), 1)
    assert float(mutual_information_bits(joint)) == pytest.approx(mutual_info_score(codes, target) / np.log(2))
    assert float(mutual_information_bits(np.diag([5, 5, 5, 5]))) == pytest.approx(2)
    assert float(mutual_information_bits(np.outer([1, 2, 3], [4, 4]))) == pytest.approx(0)


def clips(count: int, told: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips of 16 tokens of 40 codes whose tokens hang together, and two classes; `told` tokens name the class."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, count)
    base = rng.integers(0, 40, (count, 1))
    codes = (base + rng.integers(0, 3, (count, 16))) % 40
    named = rng.random((count, 16)) < told
    codes[named] = (40 + target[:, None] + np.zeros((count, 16), int))[named]
    return codes.reshape(count, 1, 4, 4).astype(np.int32), target.astype(np.int64)


def halves(codes: np.ndarray, target: np.ndarray) -> np.ndarray:
    tally = Tally((1, 4, 4), 42, 2, seed=0)
    tally.add(codes, target)
    assert tally.joint is not None
    return tally.joint


def test_correction_takes_away_the_bias_that_clips_bring() -> None:
    """Codes that say nothing, but of which a clip has few: plain and Miller's estimates are far above 0."""
    plain, corrected, miller = [], [], []
    for seed in range(20):
        joint = halves(*clips(200, 0.0, seed))
        whole = joint.sum(0)
        plain.append(float(mutual_information_bits(whole)))
        excess = (whole > 0).sum() - (whole.sum(1) > 0).sum() - (whole.sum(0) > 0).sum() + 1
        miller.append(plain[-1] - excess / (2 * whole.sum() * np.log(2)))
        corrected.append(extrapolated_bits(joint))
    assert np.mean(corrected) < 0.25 * np.mean(miller) < 0.25 * np.mean(plain)


def test_what_is_told_is_found() -> None:
    """A tenth of the tokens name one of two classes: exactly 0.1 bit a token."""
    found = extrapolated_bits(halves(*clips(4000, 0.1, 1)))
    assert found == pytest.approx(0.1, abs=0.01)


def test_permutations_tell_told_from_untold_and_are_level_under_chance() -> None:
    told = chance(*clips(200, 0.1, 2), 2, seed=0)
    assert told.p_value == pytest.approx(1 / 200) and told.deviation > 0 and told.clips == 200
    values = [chance(*clips(60, 0.0, seed), 2, seed=seed).p_value for seed in range(30)]
    assert 0.3 < np.mean(values) < 0.7 and min(values) > 0.005


def test_deviation_is_that_of_repeated_draws() -> None:
    drawn = [float(mutual_information_bits(halves(*clips(400, 0.2, seed)).sum(0))) for seed in range(40)]
    assert chance(*clips(400, 0.2, 99), 2, seed=0).deviation == pytest.approx(np.std(drawn), rel=0.5)
