import dataclasses

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.chain import averaged_over_space
from kinetoken.diagnosis.probes import (
    LEAST_STEPS,
    Labelled,
    MomentsParams,
    ProbeResult,
    Splits,
    balancing,
    best_guess,
    information_interval,
    knn_probe,
    label_information_bits,
    linear_probe,
    long_enough,
    moments_probe,
    rarities,
    read_all,
    strongest,
)

PARAMS = MomentsParams(
    seed=0, epochs=12, batch_size=32, learning_rate=0.005, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.0, patience=0, width=16, heads=2,
)
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def moving_spots(count: int, seed: int) -> Labelled:
    """A bright token that runs over four random columns, leftwards (class 0) or back (class 1): (N, 4, 3, 8, 2)."""
    rng = np.random.default_rng(seed)
    target = np.arange(count) % 2
    tokens = 0.1 * rng.standard_normal((count, 4, 3, 8, 2)).astype(np.float32)
    row, start = rng.integers(0, 3, count), rng.integers(0, 5, count)
    for time in range(4):
        tokens[np.arange(count), time, row, start + np.where(target == 1, time, 3 - time), 0] += 1
    return Labelled(tokens, target)


@pytest.fixture(scope="module")
def spots() -> Splits:
    return Splits(moving_spots(400, 0), moving_spots(100, 1), moving_spots(200, 2), 2)


def test_moments_read_motion_and_averages_do_not(spots: Splits) -> None:
    whole = moments_probe(spots, PARAMS, SILENT, "whole")
    pooled = moments_probe(spots.map(averaged_over_space), PARAMS, SILENT, "pooled")
    assert whole.accuracy > 0.9 and label_information_bits(whole) > 0.6
    assert pooled.accuracy < 0.65 and label_information_bits(pooled) < 0.1


def test_linear_and_knn_read_what_is_linear_and_near() -> None:
    rng = np.random.default_rng(6)
    centres = rng.standard_normal((3, 1, 2, 2, 2)).astype(np.float32)

    def draw(count: int) -> Labelled:
        target = np.arange(count) % 3
        return Labelled(centres[target] + 0.3 * rng.standard_normal((count, 1, 2, 2, 2)).astype(np.float32), target)

    splits = Splits(draw(150), draw(60), draw(90), 3)
    for probe in (linear_probe, knn_probe):
        found = probe(splits, PARAMS, SILENT, "x")
        assert found.accuracy > 0.95 and found.probabilities.sum(1) == pytest.approx(np.ones(90))


def test_shuffled_labels_hold_no_information(spots: Splits) -> None:
    rng = np.random.default_rng(7)
    shuffled = Splits(*(
        Labelled(part.tokens, rng.permutation(part.target)) for part in (spots.train, spots.val, spots.test)
    ), num_classes=2)
    best = strongest(read_all(shuffled, PARAMS, SILENT, "shuffled"))
    assert best.accuracy < 0.62 and label_information_bits(best) < 0.05


EVEN = np.ones(1)


def test_accuracy_is_balanced_over_classes_and_takes_the_training_shares_out() -> None:
    target = np.repeat([0, 1], [90, 10])
    always = ProbeResult("x", np.tile([0.91, 0.09], (100, 1)), target, 0.0, np.array([0.91, 0.09]))
    assert always.accuracy == pytest.approx(0.5)  # names one class always, though its share of correct is 90 %
    assert best_guess(target) == 0.5 and balancing(target).mean() == pytest.approx(1)
    hint = np.where(target[:, None] == 1, [0.8, 0.2], [0.95, 0.05])  # a fifth is much for a class of 9 %
    assert ProbeResult("x", hint, target, 0.0, np.array([0.91, 0.09])).accuracy == pytest.approx(1)
    even = np.arange(100) % 2
    assert (balancing(even) == 1).all()  # to the bit: balanced data read as they always did


def test_strongest_is_chosen_by_validation_alone() -> None:
    sure, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    target = np.array([0])
    readings = {
        "a": ProbeResult("a", sure, target, 0.9, EVEN), "b": ProbeResult("b", wrong, target, 0.1, EVEN),
    }
    assert strongest(readings).probe == "b"


def test_information_runs_from_zero_to_the_labels_entropy() -> None:
    target = np.arange(400) % 4
    exact = ProbeResult("x", np.eye(4)[target], target, 0, EVEN)
    blank = ProbeResult("x", np.full((400, 4), 0.25), target, 0, EVEN)
    wrong = ProbeResult("x", np.eye(4)[(target + 1) % 4], target, 0, EVEN)
    assert [label_information_bits(r) for r in (exact, blank, wrong)] == pytest.approx([2, 0, 0])
    half = ProbeResult("x", np.where(np.arange(400)[:, None] < 200, np.eye(4)[target], 0.25), target, 0, EVEN)
    low, high = information_interval(half, seed=0)
    assert low < 1 < high and label_information_bits(half) == pytest.approx(1)


def test_one_class_and_empty_splits_are_refused(spots: Splits) -> None:
    one = Labelled(spots.train.tokens, np.zeros(len(spots.train), np.int64))
    with pytest.raises(UserError, match="'train' holds one class only"):
        Splits(one, spots.val, spots.test, 2)
    with pytest.raises(UserError, match="'test' is empty"):
        Splits(spots.train, spots.val, Labelled(spots.test.tokens[:0], spots.test.target[:0]), 2)


def test_same_seed_reads_the_same(spots: Splits) -> None:
    short = Splits(moving_spots(64, 3), moving_spots(32, 4), moving_spots(32, 5), 2)
    first, second = (moments_probe(short, PARAMS, SILENT, "x").probabilities for _ in range(2))
    assert (first == second).all()


def test_rarity_is_the_codes_own_share_at_its_place_and_anywhere() -> None:
    codes = np.zeros((8, 1, 1, 2), np.int32)
    codes[:, 0, 0, 1] = 1
    codes[0, 0, 0, 0] = 1  # rare at the first place, half of all anywhere
    part = Labelled(codes[..., None].astype(np.float32), np.arange(8) % 2, codes)
    found = rarities(Splits(part, part, part, 2, approximate=True)).train.tokens
    anywhere = (np.array([7, 9]) + 0.5) / (16 + 0.5 * 3)
    assert found[0, 0, 0, 0] == pytest.approx(-np.log2([(1 + anywhere[1]) / 9, anywhere[1]]), abs=1e-5)
    assert found[1, 0, 0, 0] == pytest.approx(-np.log2([(7 + anywhere[0]) / 9, anywhere[0]]), abs=1e-5)


def test_a_reading_that_is_sure_needs_no_further_probe_and_few_clips_no_fewer_steps(spots: Splits) -> None:
    sure = Labelled(np.eye(2, dtype=np.float32)[np.arange(80) % 2].reshape(80, 1, 1, 1, 2), np.arange(80) % 2)
    assert set(read_all(Splits(sure, sure, sure, 2), PARAMS, SILENT, "sure")) <= {"linear", "knn"}
    longer = long_enough(dataclasses.replace(PARAMS, epochs=2, batch_size=64), 100)
    assert longer.epochs * 2 >= LEAST_STEPS > (longer.epochs - 1) * 2 and longer.patience > 0
    assert long_enough(PARAMS, 10**6) is PARAMS
