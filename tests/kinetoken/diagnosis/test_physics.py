import numpy as np
import pandas as pd
import pytest

from kinetoken.codes import CodesMeta
from kinetoken.diagnosis import physics
from kinetoken.diagnosis.patient import Motion, Patient
from kinetoken.diagnosis.physics import PENALTIES, constants, physics_numbers, quantities


def test_ridge_agrees_with_scikit_learn_on_both_sides_of_square() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    for count, width in ((300, 20), (40, 90)):
        x = [rng.standard_normal((n, width)).astype(np.float32) for n in (count, 50, 60)]
        slope = np.array([[1.0, 2.0], [0.5, -1.0]])
        y = [part[:, :2] @ slope + 0.5 * rng.standard_normal((len(part), 2)) for part in x]
        models = [Ridge(alpha=a).fit(x[0].astype(float), y[0]) for a in PENALTIES]
        best = min(models, key=lambda m: ((m.predict(x[1]) - y[1]) ** 2).sum())
        expected = ((best.predict(x[2]) - y[2]) ** 2).sum(0)
        found = physics.Ridge(*x[:2]).judged(x[2], *y)
        assert found.error.sum(0) == pytest.approx(expected, rel=1e-3)
        low, high = found.interval(seed=0)
        assert low < found.r2 < high


def test_noise_reads_as_nothing() -> None:
    rng = np.random.default_rng(1)
    x, y = ([rng.standard_normal((n, width)).astype(np.float32) for n in (300, 60, 100)] for width in (5, 1))
    assert abs(physics.Ridge(*x[:2]).judged(x[2], *y).r2) < 0.1


def falling(count: int) -> Motion:
    """Throws under a gravity of their own, from the origin."""
    rng = np.random.default_rng(2)
    time, g = np.arange(9) / 8, rng.uniform(3, 6, count)
    velocity = rng.standard_normal((count, 3))
    points = velocity[:, None] * time[None, :, None]
    points[..., 1] -= g[:, None] * time**2 / 2
    return Motion(points, 8.0, pd.DataFrame({"gravity": g, "pitch": np.zeros(count)}))


def test_quantities_are_those_of_the_law() -> None:
    motion = falling(6)
    found = quantities(motion)
    g = motion.constants["gravity"].to_numpy()
    assert found["acceleration"] == pytest.approx(np.stack([0 * g, -g, 0 * g], 1), abs=1e-9)
    assert found["velocity"] == pytest.approx(motion.points[:, -1])
    drawn = constants(motion)
    assert drawn["gravity"][:, 0] == pytest.approx(g) and np.isnan(drawn["pitch"]).all()


def test_codes_that_hold_the_path_read_its_physics_and_pooled_ones_less() -> None:
    motion = falling(400)
    tokens = motion.points.astype(np.float32).reshape(400, 1, 9, 3, 1)
    split = np.array(["train", "train", "val", "test"] * 100)
    points = {"codes": tokens, "codes_pooled": tokens.mean((2, 3), keepdims=True)}
    patient = Patient(
        CodesMeta((1, 9, 3), 8, "vq", (), ""), np.arange(400), np.full(400, "a"), split, None, points, None,
        motion=motion,
    )
    numbers = physics_numbers(patient, 2000.0, seed=0)
    assert set(numbers) == {f"{q}_r2{end}" for q in ("position", "velocity", "acceleration", "gravity")
                            for end in ("", "_per_kilobit")}
    assert min(numbers[f"{q}_r2"]["codes"] for q in ("position", "velocity", "acceleration", "gravity")) > 0.95
    assert numbers["velocity_r2"]["codes_pooled"] < 0.6
    assert numbers["gravity_r2_per_kilobit"] == pytest.approx(numbers["gravity_r2"]["codes"] / 2)
    assert numbers["gravity_r2"]["codes_ci95_low"] <= numbers["gravity_r2"]["codes"]


def test_radius_of_a_circle_is_read_from_its_path_though_no_linear_reading_finds_it() -> None:
    rng = np.random.default_rng(3)
    radius, phase, speed = rng.uniform(0.2, 0.6, 600), rng.uniform(0, 6.3, 600), rng.uniform(3, 5, 600)
    angle = phase[:, None] + speed[:, None] * np.arange(16) / 16
    points = np.stack([radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle), 0 * angle], -1)
    motion = Motion(points, 16.0, pd.DataFrame({"path_radius": radius}))
    split = np.array(["train", "train", "val", "test"] * 150)
    tokens = {"codes": points.astype(np.float32).reshape(600, 1, 16, 3, 1)}
    meta = CodesMeta((1, 16, 3), 8, "vq", (), "")
    patient = Patient(meta, np.arange(600), np.full(600, "a"), split, None, tokens, None, motion=motion)
    found = physics_numbers(patient, None, seed=0)["path_radius_r2"]
    assert found["codes"] > 0.9 and found["truth"] > 0.9
    rows = [patient.rows(name) for name in ("train", "val", "test")]
    flat = tokens["codes"].reshape(600, -1)
    linear = physics.Ridge(flat[rows[0]], flat[rows[1]]).judged(flat[rows[2]], *(radius[r][:, None] for r in rows))
    assert linear.r2 < 0.1
