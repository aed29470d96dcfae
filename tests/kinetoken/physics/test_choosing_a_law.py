"""Choosing between the laws: by evidence, by what is known beforehand, and where the law itself is known."""

import numpy as np

from kinetoken.physics.fitting import choose_law, fit_law, fit_laws, predict_known_law
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.camera import camera_whitening
from tests.support.law_tracks import FOCAL, PAST, TIMES, draw, positions, seen_by_camera


def test_choice_of_law_by_evidence_and_by_prior() -> None:
    labels = np.repeat(CLASSES, 60)
    path = np.concatenate([positions(law, draw(law, 60, seed=6)) for law in CLASSES])
    points = seen_by_camera(path[:, :12], 0.2, 0.01, seed=7)
    fits = fit_laws(PAST, points, camera_whitening(points, 0.2, 0.01, FOCAL))
    chosen, log_probability = choose_law(fits)
    assert (np.array(CLASSES)[chosen] == labels).mean() > 0.93
    np.testing.assert_allclose(np.exp(log_probability).sum(-1), 1)
    insist = np.full((240, 4), -1e6)
    insist[:, 2] = 0
    assert (choose_law(fits, insist)[0] == 2).all()
    sure, unsure = (choose_law(fits, independence=share)[1].max(-1).mean() for share in (1.0, 0.2))
    assert sure > unsure


def test_score_is_half_the_information_criterion_where_the_noise_is_as_stated() -> None:
    """Schwarz 1978: the log-probabilities of two laws differ by half that of χ² + priors + k ln n."""
    points = seen_by_camera(positions("parabolic", draw("parabolic", 10)), 0.2, 0.01, seed=9)
    fits = fit_laws(TIMES, points, camera_whitening(points, 0.4, 0.02, FOCAL))  # noise less than stated
    _, log_probability = choose_law(fits)
    criterion = np.stack([fit.residual + fit.penalty + fit.free * np.log(48) for fit in fits.values()], -1)
    assert (fits["parabolic"].residual < 48 - 7).all()
    expected = (criterion[:, :1] - criterion) / 2
    np.testing.assert_allclose(log_probability - log_probability[:, :1], expected, rtol=1e-9)


def test_a_known_law_is_fitted_to_its_own_clips_alone() -> None:
    labels = np.array(["helical", "linear"] * 5)
    path = np.stack([positions(str(law), draw(str(law), 10))[i] for i, law in enumerate(labels)])
    found = predict_known_law(labels, PAST, path[:, :12], TIMES)
    for law in ("helical", "linear"):
        alone = fit_law(law, PAST, path[labels == law, :12]).predict(TIMES)
        np.testing.assert_array_equal(found[labels == law], alone)
