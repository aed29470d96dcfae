"""The novelty score: p-values in closed form, their calibration, what the order of clips changes, its folder."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.heads.classifier import ClassifierParams, build_classifier, load_classifier, save_classifier
from kinetoken.heads.novelty import (
    CALIBRATION,
    FOLDER,
    Judged,
    conformal_p_values,
    fit_calibration,
    fit_novelty,
    novelty_metrics,
    placements,
    save_novelty,
    selective_table,
)
from kinetoken.heads.position import save_position_head
from tests.kinetoken.heads.test_position import COORDINATES, GRID, head

CLASSIFIER = ClassifierParams(
    seed=1, epochs=1, batch_size=16, learning_rate=0.003, warmup_fraction=0.1, weight_decay=0.01, gradient_clip=1.0,
    ema_decay=0.0, patience=0, poolings=("soft_argmax",), channels=6, blocks=1, maps=2, code_features="both", width=8,
    dropout=0.0, prefix_weight=0.3, augment=(),
)
SIGMA = {"px": [0.2] * 16, "depth_fraction": [0.02] * 16}


def some_codes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (count, *GRID)).astype(np.int32)


# ---- p-values


def test_p_values_are_the_shares_at_least_as_strange() -> None:
    known = np.array([1.0, 2.0, 2.0, 4.0])
    found = conformal_p_values(known, np.array([0.5, 1.0, 2.0, 3.0, 4.0, 5.0]))
    np.testing.assert_allclose(found, np.array([5, 5, 4, 2, 2, 1]) / 5)
    assert conformal_p_values(np.empty(0), np.array([3.0])) == [1.0], "with nothing known, nothing is strange"


def test_of_exchangeable_clips_a_share_alpha_has_a_p_value_up_to_alpha() -> None:
    """Scores of any shape: a heavy tail beside a bounded one, 200 val clips, many draws of them."""
    draw, levels = np.random.default_rng(0), np.array([0.01, 0.05, 0.2])
    alarms = []
    for _ in range(300):
        scores = np.stack([draw.standard_t(2, 600), draw.uniform(0.2, 0.8, 600)], -1)
        one = fit_calibration(scores[:200])
        p = conformal_p_values(one.known, one.strangeness(scores[200:]))
        alarms.append((p[:, None] <= levels).mean(0))
    expected = np.floor(levels * 201) / 201
    np.testing.assert_allclose(np.mean(alarms, 0), expected, rtol=0.15)


def test_both_ways_of_being_strange_count_and_only_one_side_of_the_misfit() -> None:
    draw = np.random.default_rng(1)
    one = fit_calibration(np.stack([draw.normal(size=500), draw.uniform(0, 1, 500)], -1))
    found = one.strangeness(np.array([[0.0, 0.5], [9.0, 0.5], [-9.0, 0.5], [0.0, -5.0], [0.0, 6.0]]))
    assert found[0] < 0.3 > found[2]
    assert found[[1, 3, 4]].min() > one.known.max()


# ---- on codes


def test_each_clip_is_judged_by_itself_whatever_its_neighbours() -> None:
    reader = head()
    reader.sigma = SIGMA
    novelty, codes = fit_novelty(reader, some_codes(6), 0.01), some_codes(6, seed=1)
    order = np.random.default_rng(2).permutation(6)
    for count in (1, 3):
        found = novelty.p_values(codes[:, :count])
        np.testing.assert_allclose(novelty.p_values(codes[order][:, :count]), found[order])
        assert found.shape == (6,) and ((found > 0) & (found <= 1)).all()
    assert novelty.p_values(codes[:0]).shape == (0,)
    with pytest.raises(ValueError, match="1…4 slices"):
        novelty.p_values(np.zeros((1, 5, 8, 8), np.int32))


def saved(folder: Path) -> Path:
    classifier = build_classifier(CLASSIFIER, "soft_argmax", ("a", "b"), COORDINATES, GRID)
    save_classifier(folder / "classifier", classifier, CLASSIFIER, "t")
    save_position_head(folder / "position", head(), "t", SIGMA)
    return folder / "classifier"


def test_the_score_comes_back_from_the_classifiers_folder(tmp_path: Path) -> None:
    folder, codes = saved(tmp_path), some_codes(5, seed=4)
    reader = head()
    reader.sigma = SIGMA
    novelty = fit_novelty(reader, some_codes(6), 0.03)
    save_novelty(folder, novelty, tmp_path / "position")
    back = load_classifier(folder)
    assert back.known is not None and back.known.level == 0.03
    np.testing.assert_array_equal(back.novelty(codes[:, :2]), novelty.p_values(codes[:, :2]))


def test_a_classifier_saved_before_loads_and_refuses_only_the_score(tmp_path: Path) -> None:
    back = load_classifier(saved(tmp_path))
    assert back.log_probabilities(some_codes(2)).shape == (2, 2)
    with pytest.raises(UserError, match="no novelty score: trained before it was there.*train again"):
        back.novelty(some_codes(2))


@pytest.mark.parametrize("content", ["{", "{}", '{"level": 0.1, "slices": [{"centre": [1]}]}'])
def test_a_damaged_calibration_is_refused(tmp_path: Path, content: str) -> None:
    folder = saved(tmp_path)
    (folder / FOLDER).mkdir()
    (folder / FOLDER / CALIBRATION).write_text(content)
    with pytest.raises(UserError, match="not a novelty score's calibration"):
        load_classifier(folder)


# ---- how good it is


def test_placements_average_to_the_share_of_pairs_in_order() -> None:
    draw = np.random.default_rng(5)
    sound, strange = draw.integers(0, 5, 40).astype(float), draw.integers(2, 7, 30).astype(float)
    pairs = (strange[:, None] > sound).mean() + (strange[:, None] == sound).mean() / 2
    assert placements(sound, strange).mean() == pytest.approx(pairs)


def made(strangeness: list[float], confidence: list[float], level: float = 0.01) -> Judged:
    values = np.array(strangeness)
    return Judged(values, np.where(values > 5, level / 2, 0.5), np.array(confidence))


def test_metrics_and_selective_accuracy_of_clips_that_are_told_apart() -> None:
    sound = made([0, 1, 2, 9], [0.9, 0.8, 0.7, 0.6])
    strange = {"walk": made([10, 11], [0.95, 0.99]), "empty": made([1.5, 20], [0.65, 0.65])}
    found = novelty_metrics(sound, strange, 0.01)
    assert found["auroc_by_kind"] == {
        "walk": 1.0, "walk_floor": 0.0, "empty": pytest.approx(0.75), "empty_floor": 0.75,
    }
    assert found["auroc"] == pytest.approx(0.875) and found["auroc_floor"] == pytest.approx(0.375)
    assert found["false_alarms"] == 0.25 and found["found"] == 0.75
    assert found["found_by_kind"] == {"walk": 1.0, "empty": 0.5}
    table = selective_table(sound, np.array([True, True, True, False]), strange)
    last = table[table["coverage"] == 1.0]
    assert sorted(last["score"]) == ["confidence", "novelty"] and (last["accuracy"] == 3 / 8).all()
    kept = table[(table["score"] == "novelty") & (table["coverage"] == 0.5)]["accuracy"].item()
    assert kept == 0.75, "three right and one empty room are the least strange half"
    assert dataclasses.asdict(sound).keys() == {"strangeness", "p", "confidence"}
