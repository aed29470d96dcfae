"""The offline provider on tracks drawn as the default data are."""

import dataclasses

import numpy as np
import pytest

from kinetoken.equations.evidence import Evidence, as_probabilities
from kinetoken.equations.grammar import parse
from kinetoken.equations.offline import describe, equation_texts
from kinetoken.physics.fitting import fit_law
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks

PAST = 12


@pytest.fixture(scope="module")
def tracks(plain_params: Trajectories) -> Tracks:
    return draw_tracks(plain_params)


def evidence_of(tracks: Tracks, error: float, confidence: float = 0.0) -> Evidence:
    """Points with isotropic noise of `error` m; the classifier leans towards the truth by `confidence` nats."""
    noise = np.random.default_rng(0).standard_normal((len(tracks), PAST, 3))
    scores = confidence * (tracks.label[:, None] == np.array(CLASSES))
    return Evidence(
        tracks.world.times[:PAST], tracks.points[:, :PAST] + error * noise,
        np.broadcast_to(np.eye(3) / max(error, 1e-4), (len(tracks), PAST, 3, 3)), CLASSES,
        scores - np.log(np.exp(scores).sum(-1, keepdims=True)),
    )


def test_exact_points_give_the_law_and_its_future(tracks: Tracks) -> None:
    told = describe(evidence_of(tracks, 0.0), tracks.world.times)
    assert [one.facts.law for one in told] == tracks.label.tolist()
    for one, path in zip(told, tracks.points, strict=True):
        written = np.stack([parse(one.equations[axis]).evaluate(tracks.world.times) for axis in "xyz"], -1)
        np.testing.assert_allclose(written, path, atol=2e-3)


def test_quantities_are_those_drawn(tracks: Tracks) -> None:
    told = describe(evidence_of(tracks, 0.0), tracks.world.times)
    for name, column in (("radius", "path_radius"), ("gravity", "gravity"), ("pitch", "pitch")):
        found = [(one.quantities[name], abs(row)) for one, row in zip(told, tracks.drawn[column], strict=True)
                 if name in one.quantities]
        assert len(found) >= len(tracks) // 4
        np.testing.assert_allclose(*np.array(found).T, rtol=0.02)
    np.testing.assert_allclose([one.quantities["speed"] for one in told], tracks.drawn["speed"], rtol=0.02)


def test_the_classifier_decides_where_points_cannot(tracks: Tracks) -> None:
    told = [describe(evidence_of(tracks, 0.08, confidence), tracks.world.times) for confidence in (0.0, 6.0)]
    right = [np.mean([one.facts.law == label for one, label in zip(each, tracks.label, strict=True)]) for each in told]
    assert right[1] > right[0] and right[1] > 0.95


def test_classes_that_are_no_laws_leave_the_choice_to_the_points(tracks: Tracks) -> None:
    evidence = dataclasses.replace(evidence_of(tracks, 0.0), classes=("a", "b", "c", "d"))
    assert (evidence.law_log_prior() == 0).all()
    assert [one.facts.law for one in describe(evidence, tracks.world.times)] == tracks.label.tolist()


def test_a_law_that_the_classifier_lacks_is_not_chosen(tracks: Tracks) -> None:
    evidence = evidence_of(tracks, 0.02)
    fewer = dataclasses.replace(
        evidence, classes=CLASSES[:2], log_probabilities=np.full((len(tracks), 2), np.log(0.5))
    )
    assert {one.facts.law for one in describe(fewer, tracks.world.times)} <= set(CLASSES[:2])


@pytest.mark.parametrize("law", CLASSES)
def test_text_is_the_fit_to_a_tenth_of_a_millimetre(tracks: Tracks, law: str) -> None:
    points = tracks.points[tracks.label == law]
    fit = fit_law(law, tracks.world.times, points)
    for clip, path in enumerate(fit.predict(tracks.world.times)):
        texts = equation_texts(law, {name: value[clip] for name, value in fit.parameters.items()})
        written = np.stack([parse(texts[axis]).evaluate(tracks.world.times) for axis in "xyz"], -1)
        np.testing.assert_allclose(written, path, atol=1e-4)


def test_text_leaves_out_what_is_nothing() -> None:
    zeros = {"start": np.array([0.0, -1.5, 2.0]), "velocity": np.array([0.0, 0.0, -1.25]), "gravity": np.array(9.81)}
    assert equation_texts("parabolic", zeros) == {"x": "0", "y": "-1.5 - 4.905*t**2", "z": "2 - 1.25*t"}


def test_probabilities_for_a_file() -> None:
    assert as_probabilities(np.log([[0.25, 0.75]]), ("a", "b")) == [{"a": 0.25, "b": 0.75}]
