"""The nearest clips in embedding space, beside what the stage's own tests show."""

import numpy as np

from kinetoken.physics.laws import CLASSES
from kinetoken.readings.heads import nearest_classes


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
