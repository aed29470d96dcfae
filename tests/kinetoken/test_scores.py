"""Scores of classifiers against hand-made cases and closed forms."""

import numpy as np
import pytest

from kinetoken import scores


def test_calibration_error_of_known_confidences() -> None:
    # 100 clips told with confidence 0.9, of which 70 are right; 100 with 0.6, of which 60 are right
    confidence = np.repeat([0.9, 0.6], 100)
    probabilities = np.stack([confidence, 1 - confidence], 1)
    target = np.concatenate([np.zeros(70), np.ones(30), np.zeros(60), np.ones(40)]).astype(np.int64)
    assert scores.expected_calibration_error(probabilities, target, bins=2) == pytest.approx(0.1)
    table = scores.reliability_table(probabilities, target, bins=2)
    assert table["accuracy"].tolist() == pytest.approx([0.6, 0.7])
    assert table["share"].tolist() == [0.5, 0.5]


def test_calibrated_probabilities_score_near_zero() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20000)
    target = (probabilities.cumsum(1) > rng.random((20000, 1))).argmax(1)
    assert scores.expected_calibration_error(probabilities, target) < 0.02
    assert scores.expected_calibration_error(probabilities**3 / (probabilities**3).sum(1)[:, None], target) > 0.1


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    logits = 2 * rng.standard_normal((20000, 4))
    target = (np.exp(scores.log_softmax(logits)).cumsum(1) > rng.random((20000, 1))).argmax(1)
    assert scores.fitted_temperature(3 * logits, target) == pytest.approx(3, rel=0.06)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        low, high = scores.bootstrap_interval(rng.random(200) < 0.7, seed=trial, draws=300)
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 199


def test_interval_takes_a_clip_as_one() -> None:
    clips = np.random.default_rng(3).standard_normal(50)
    repeated = np.repeat(clips[:, None], 16, axis=1)  # 16 frames that err together are no new evidence
    assert scores.bootstrap_interval(repeated) == pytest.approx(scores.bootstrap_interval(clips))


def test_metrics_per_class_floor_and_rows() -> None:
    probabilities = np.eye(3)[[0, 0, 1, 2, 2, 1]] * 0.8 + 0.2 / 3
    target = np.array([0, 0, 1, 1, 2, 2])
    metrics = scores.classification_metrics(probabilities, target, ("a", "b", "c"), 1 / 3)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["per_class"] == {"a": 1.0, "b": 0.5, "c": 0.5}
    assert metrics["accuracy_ci95_low"] <= metrics["accuracy"] <= metrics["accuracy_ci95_high"]
    assert scores.majority_accuracy(np.array([0, 1, 1]), target) == pytest.approx(1 / 3)
    rows = scores.confusion_rows(probabilities, target, ("a", "b", "c"))
    assert list(zip(rows["actual"], rows["predicted"], strict=True))[2:4] == [("b", "b"), ("b", "c")]
