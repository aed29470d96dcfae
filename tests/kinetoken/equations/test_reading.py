"""What is read of a past, beside what the stage's own tests show: the nearest clips, and true points as a control."""

import numpy as np

from kinetoken.equations.evidence import Evidence
from kinetoken.equations.reading import TRUE_POINT_ERROR, nearest_classes, on_true_points
from kinetoken.physics.laws import CLASSES


def test_nearest_classes_are_those_of_a_plain_search() -> None:
    draw = np.random.default_rng(0)
    known, asked = draw.normal(size=(60, 5)), draw.normal(size=(7, 5))
    labels = draw.choice(CLASSES, 60)
    found = nearest_classes(asked, known, labels, 4)
    for row, each in zip(found, asked, strict=True):
        order = np.argsort(np.linalg.norm(known - each, axis=1))[:4]
        assert row.tolist() == labels[order].tolist()


def test_fewer_known_clips_than_asked_for_are_all_taken() -> None:
    assert nearest_classes(np.zeros((2, 1)), np.array([[1.0], [2.0]]), np.array(["a", "b"]), 5).tolist() == [
        ["a", "b"], ["a", "b"]
    ]


def test_true_points_end_with_the_past_and_are_trusted() -> None:
    truth = np.random.default_rng(1).normal(size=(3, 16, 3))
    evidence = Evidence(
        np.arange(12) / 16, np.zeros((3, 12, 3)), np.zeros((3, 12, 3, 3)), CLASSES, np.full((3, 4), np.log(0.25))
    )
    exact = on_true_points(evidence, truth)
    assert (exact.points == truth[:, :12]).all() and exact.times is evidence.times
    np.testing.assert_allclose(exact.whitening @ np.full(3, TRUE_POINT_ERROR), np.ones((3, 12, 3)))
