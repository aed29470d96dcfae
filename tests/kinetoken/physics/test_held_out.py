"""Motions made without the library's laws, and what its fits say of them."""

import numpy as np
import pytest

from kinetoken.physics.fitting import choose_law, fit_laws
from tests.support.held_out import FLOOR, MOTIONS, SPEED, TIME, held_out_tracks, seen


@pytest.mark.parametrize("name", MOTIONS)
def test_a_motion_made_another_way_is_the_law_of_its_name(name: str) -> None:
    """Within a millimetre, and of no other law that has fewer numbers: two codes that agree are hardly both wrong."""
    paths = held_out_tracks(name, 24)
    fits = fit_laws(TIME, paths, np.full(paths.shape, 1e-3))
    assert (fits[name].residual / (fits[name].values - fits[name].free) < 1).all()
    assert (np.array(list(fits))[choose_law(fits)[0]] == name).mean() > 0.95


@pytest.mark.parametrize("name", MOTIONS)
def test_it_is_in_view_and_of_the_default_speeds(name: str) -> None:
    paths = held_out_tracks(name, 24)
    assert all(map(seen, paths)) and paths[..., 1].min() > FLOOR
    speed = np.linalg.norm(np.diff(paths, axis=1), axis=-1).sum(1) / TIME[-1]
    assert (speed >= SPEED[0]).all() and (speed <= SPEED[1]).all()
    assert not np.array_equal(held_out_tracks(name, 2, seed=1), paths[:2])
