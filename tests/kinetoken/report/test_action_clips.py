"""Clips of actions for the page, from a tiny set and an untrained network."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.actions.generation import generate
from kinetoken.actions.layout import read_actions
from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.system import build_system
from kinetoken.report.action_clips import ACTIONS, action_clips, highlighted, scored_clips
from kinetoken.report.results import Results
from tests.kinetoken.gasm_cast.test_system import NAMES, SMALL
from tests.support.action_set import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("actions")
    generate(TINY, made / "actions")
    build_system(SMALL, NAMES).save(made / "model")
    return made


@pytest.fixture
def results(folder: Path, tmp_path: Path) -> Results:
    """A table in which the first two test clips are misclassified."""
    label = [NAMES[clip.label] for clip in read_actions(folder / "actions").splits["test"]]
    predicted = [next(name for name in NAMES if name != one) if place < 2 else one for place, one in enumerate(label)]
    (tmp_path / "train_gasm_cast").mkdir()
    table = pd.DataFrame({"actual": label, "predicted": predicted})
    table.to_csv(tmp_path / "train_gasm_cast" / "confusion.csv", index=False)
    (tmp_path / "train_gasm_cast" / "broken.csv").write_text("split,id,file,reason,detail\n")
    return Results({}, tmp_path)


def test_mistakes_are_held_first_with_attention_and_confidence(folder: Path, results: Results) -> None:
    found = action_clips(results, folder / "actions", folder / "model", 5)
    assert found is not None
    clips, galleries = found
    gallery = galleries[ACTIONS]
    assert {0, 1} <= set(clips.shown) and len(clips.shown) == 5 and clips.side == (32, 32) and clips.frames == 8
    assert all(len(one.images) == 2 for one in clips.shown.values()), "the clip, and its attention"
    assert {item.track for item in gallery.items} == {0, 1} and gallery.about.startswith("2 of 14")
    assert gallery.items[0].name.startswith("clip ") and "%" in gallery.items[0].note
    facts = clips.facts()
    assert facts["noun"] == "clip" and "attend" in facts["second"]
    assert sum(text != "" for text in facts["columns"]["confidence"]) == 5
    assert facts["columns"]["video"][0].endswith(".webm")


def test_a_table_about_other_clips_opens_none(folder: Path, results: Results) -> None:
    path = results.plots / "train_gasm_cast" / "confusion.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert action_clips(results, folder / "actions", folder / "model", 5) is None


def test_clips_that_were_left_out_are_not_counted(folder: Path, results: Results) -> None:
    every = scored_clips(results, folder / "actions")
    (results.plots / "train_gasm_cast" / "broken.csv").write_text(f"split,id,file\ntest,{every[3].id},x\n")
    assert scored_clips(results, folder / "actions") == every[:3] + every[4:]


def test_a_damaged_video_is_named(folder: Path, results: Results, tmp_path: Path) -> None:
    generate(TINY, tmp_path / "actions")
    first = read_actions(tmp_path / "actions").splits["test"][0].path
    first.write_text("no video")
    with pytest.raises(UserError, match=first.name):
        action_clips(results, tmp_path / "actions", folder / "model", 5)


def test_orange_is_where_attention_is_more_than_even() -> None:
    frames = np.full((1, 4, 4, 3), 100, np.uint8)
    weights = np.array([[[3.0, 1.0], [0.5, 0.2]]])
    lit = highlighted(frames, weights, 2)
    assert lit.shape == (2, 4, 4, 3)
    assert (lit[:, :2, :2] == lit[0, 0, 0]).all() and lit[0, 0, 0, 0] > 150 > lit[0, 0, 0, 2]
    assert (lit[:, 2:] == 100).all() and (lit[:, :2, 2:] == 100).all()
