"""Decisions explained, on a classifier whose decision is known to hang on one token."""

import dataclasses

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.explanations.explaining import ExplainClassifier, ExplainedClips, explain
from kinetoken.explanations.replacing import first_of, ranks_of
from kinetoken.explanations.tables import (
    attribution_table,
    deletion_table,
    numbers_of,
    on_mask,
    rank_correlation,
    slice_shares,
    slice_table,
)
from kinetoken.heads.classifier import CodeClassifier
from kinetoken.readings.sources import even_test_clips

GRID = (2, 3, 4)
META = CodesMeta(GRID, 4, "fsq", (2, 2), "0" * 64)
NETWORK: dict[str, object] = {"channels": 6, "blocks": 0, "maps": 1, "width": 8, "code_features": "coordinates"}
PARAMS = ExplainClassifier(seed=1, clips=40, steps=24)
TELLING = (1, 2, 0)  # slice, row, column of the token that gives the class away


def clips(count: int = 1200) -> CodesTable:
    """Two classes with any codes, but for one token: 0 in clips of `left`, 3 in those of `right`."""
    rng = np.random.default_rng(0)
    label = np.array(["left", "right"])[np.arange(count) % 2]
    codes = rng.integers(1, 3, (count, *GRID)).astype(np.int32)
    codes[:, *TELLING] = np.where(label == "left", 0, 3)
    split = np.array(["train", "val", "test"])[np.arange(count) // 2 % 3]
    return CodesTable(np.arange(count, dtype=np.int32), label, split, codes, META)


@pytest.fixture(scope="module")
def head() -> CodeClassifier:
    """A network on all tokens in order, trained for a moment."""
    torch.manual_seed(0)
    coordinates = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    made = CodeClassifier(("left", "right"), coordinates, GRID, "none", **NETWORK)  # type: ignore[arg-type]
    train = clips().of_split("train")
    known, target = torch.from_numpy(train.codes.astype(np.int64)), torch.from_numpy(train.target)
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(made(known)[:, -1], target).backward()
        optimizer.step()
    return made.eval()


@pytest.fixture(scope="module")
def found(head: CodeClassifier) -> ExplainedClips:
    table = clips()
    some = even_test_clips(table, PARAMS.clips)
    ball = np.zeros((len(some), *GRID), bool)
    ball[:, *TELLING] = True
    return explain(head, NETWORK, table, some, ball, PARAMS)


def test_the_token_that_gives_the_class_away_carries_the_decision(found: ExplainedClips) -> None:
    numbers = numbers_of(found)
    assert numbers["on_ball"]["attributed_floor"] == pytest.approx(1 / 24)
    assert numbers["on_ball"]["attributed"] > 0.4 > numbers["on_ball"]["random_weights"]
    assert slice_shares(found.attribution)[:, TELLING[0]].mean() > 0.6
    largest = np.abs(found.attribution).reshape(40, -1).argmax(1)
    assert (largest == np.ravel_multi_index(TELLING, GRID)).all()
    assert (found.attribution[:, *TELLING] > 0).all(), "it speaks for the class that was chosen"


def test_without_it_the_class_is_not_predicted(found: ExplainedClips) -> None:
    assert found.right["none"].mean() == 1
    assert found.right["attributed"].mean() == found.right["ball"].mean() <= 0.55
    assert found.right["random"].mean() > 0.9
    assert found.replaced["insertion", "attributed", 0.05].mean() == 1, "one token of 24 is enough"


def test_attributions_are_complete(found: ExplainedClips) -> None:
    assert found.incomplete.max() < 0.01
    assert numbers_of(found)["completeness_error"] == found.incomplete.max()


def test_without_tracks_the_ball_is_left_out(head: CodeClassifier) -> None:
    table = clips()
    found = explain(head, NETWORK, table, even_test_clips(table, 8), None, PARAMS)
    numbers = numbers_of(found)
    assert "on_ball" not in numbers and "ball" not in numbers["deletion"]
    assert "ball" not in set(deletion_table(found)["tokens"])
    assert numbers["deletion"]["attributed"] <= 0.6  # of the default share of tokens, as many


def test_tables(found: ExplainedClips) -> None:
    cells = attribution_table(found)
    assert len(cells) == 2 * 24 and cells.columns.tolist() == ["class", "slice", "row", "column", "attribution"]
    for name in found.classes:
        highest = cells.loc[cells[cells["class"] == name]["attribution"].idxmax()]
        assert (highest["slice"] - 1, highest["row"], highest["column"]) == TELLING
    slices = slice_table(found)
    assert slices.groupby("class")["share"].sum().tolist() == pytest.approx([1, 1])
    assert (slices["share_ci95_low"] <= slices["share"]).all() and set(slices["share_floor"]) == {0.5}
    deleted = deletion_table(found)
    assert len(deleted) == 2 * 5 * 3 and deleted["accuracy"].between(0, 1).all()


def test_clips_are_the_first_of_each_class() -> None:
    table = clips()
    some = even_test_clips(table, 7)
    assert some.label.tolist().count("left") == some.label.tolist().count("right") == 3
    assert some.track_id.tolist() == sorted(some.track_id) and set(some.split) == {"test"}
    assert len(even_test_clips(table, 1)) == 2 and len(even_test_clips(table, 10_000)) == 400


def test_ranks_and_shares() -> None:
    scores = np.array([[[[0.1, 0.9], [0.9, 0.5]]]])
    assert ranks_of(scores).ravel().tolist() == [3, 0, 1, 2]
    assert first_of(ranks_of(scores), np.array([2])).ravel().tolist() == [False, True, True, False]
    assert on_mask(scores, scores > 0.8)[0] == pytest.approx(1.8 / 2.4)
    assert on_mask(np.zeros((1, 1, 2, 2)), scores > 0.8)[0] == 0.5  # nothing attributed: as uniform
    assert rank_correlation(scores, scores**3)[0] == pytest.approx(1)
    assert rank_correlation(scores, -scores)[0] == pytest.approx(-1)
    assert rank_correlation(scores, np.ones_like(scores))[0] == 0


def test_the_same_seed_gives_the_same(head: CodeClassifier, found: ExplainedClips) -> None:
    table = clips()
    again = explain(head, NETWORK, table, even_test_clips(table, PARAMS.clips), found.ball, PARAMS)
    np.testing.assert_array_equal(again.attribution, found.attribution)
    assert deletion_table(again).equals(deletion_table(found))
    other = explain(
        head, NETWORK, table, even_test_clips(table, PARAMS.clips), found.ball, dataclasses.replace(PARAMS, seed=9)
    )
    np.testing.assert_array_equal(other.attribution, found.attribution)
    assert not np.array_equal(other.of_random_weights, found.of_random_weights)
