"""generate_actions, run for real."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import av
import pytest

from kinetoken.actions.classes import ACTIONS, draw_action
from kinetoken.actions.generation import ActionCounts, Actions, clip_action, clip_rng
from kinetoken.actions.inspection import inspect
from kinetoken.actions.layout import VIDEOS, read_actions
from kinetoken.core.absence import NotMeasured
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.core.stage import Context
from kinetoken.footage.webm import read_frames, write_webm
from stages import generate_actions

PARAMS = Actions(
    seed=8, counts=ActionCounts(train=28, validation=14, test=15), frames=(8, 12), fps=12, image_size=32, processes=1
)


def _run(params: Actions, folder: Path) -> generate_actions.Paths:
    paths = generate_actions.Paths(folder / "actions", folder / "sheet.png")
    generate_actions.run(params, paths, Context.silent())
    return paths


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> generate_actions.Paths:
    return _run(PARAMS, tmp_path_factory.mktemp("made"))


def test_they_can_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match=r"^left out by params.yaml: generate_actions.enabled is false$"):
        _run(dataclasses.replace(PARAMS, enabled=False), tmp_path)
    assert not list(tmp_path.iterdir())


def _rows(paths: generate_actions.Paths, split: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((paths.actions / "labels" / f"{split}.json").read_text())
    return rows


def test_layout_is_that_of_something_something(made: generate_actions.Paths) -> None:
    labels = made.actions / "labels"
    assert sorted(p.name for p in made.actions.iterdir()) == [VIDEOS, "labels"]
    expected = ["labels.json", "test-answers.csv", "test.json", "train.json", "validation.json"]
    assert sorted(p.name for p in labels.iterdir()) == expected
    index = json.loads((labels / "labels.json").read_text())
    assert index == {action.name: str(i) for i, action in enumerate(ACTIONS)}
    for split in ("train", "validation"):
        for row in _rows(made, split):
            assert list(row) == ["id", "label", "template", "placeholders"]
            assert str(row["template"]).replace("[", "").replace("]", "") in index
            assert str(row["id"]).isdecimal()
    assert all(list(row) == ["id"] for row in _rows(made, "test"))
    answers = dict(line.split(";") for line in (labels / "test-answers.csv").read_text().splitlines())
    assert list(answers) == [row["id"] for row in _rows(made, "test")] and set(answers.values()) <= set(index)
    ids = [row["id"] for split in ("train", "validation", "test") for row in _rows(made, split)]
    assert sorted(p.name for p in (made.actions / VIDEOS).iterdir()) == sorted(f"{i}.webm" for i in ids)


def test_every_class_has_as_many_clips(made: generate_actions.Paths) -> None:
    assert set(Counter(str(row["template"]) for row in _rows(made, "train")).values()) == {2}
    assert len({str(row["template"]) for row in _rows(made, "validation")}) == 14


def test_files_are_whole_vp9_of_the_drawn_pixels(made: generate_actions.Paths, tmp_path: Path) -> None:
    found = inspect(read_actions(made.actions), 8)
    assert not found.faults and found.count == 57
    assert all(8 <= video.frames <= 12 for video in found.videos.values())
    for index, row in enumerate(_rows(made, "train")[:6]):
        action = clip_action(PARAMS.seed, "train", index)
        pixels, names = draw_action(action, clip_rng(PARAMS.seed, "train", index), PARAMS.frames, PARAMS.image_size)
        assert row["template"] == action.template and row["placeholders"] == names
        write_webm(tmp_path / "a.webm", pixels, PARAMS.fps)
        path = made.actions / VIDEOS / f"{row['id']}.webm"
        assert path.read_bytes() == (tmp_path / "a.webm").read_bytes()
        backwards = draw_action(
            next(a for a in ACTIONS if a.course is action.course and a is not action),
            clip_rng(PARAMS.seed, "train", index), PARAMS.frames, PARAMS.image_size,
        )[0]
        write_webm(tmp_path / "b.webm", backwards, PARAMS.fps)
        assert (read_frames(tmp_path / "b.webm", None)[::-1] == read_frames(path, None)).all()
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "vp9"


def test_neither_processes_nor_counts_change_a_clip(made: generate_actions.Paths, tmp_path: Path) -> None:
    again = _run(dataclasses.replace(PARAMS, processes=2), tmp_path / "again")
    assert hash_path(again.actions) == hash_path(made.actions)
    assert again.sheet.read_bytes() == made.sheet.read_bytes()
    fewer = _run(dataclasses.replace(PARAMS, counts=ActionCounts(train=5, validation=2, test=3)), tmp_path / "fewer")
    assert _rows(fewer, "train") == _rows(made, "train")[:5]
    for path in (fewer.actions / VIDEOS).iterdir():
        assert path.read_bytes() == (made.actions / VIDEOS / path.name).read_bytes()


def test_splits_and_seeds_share_no_clip(made: generate_actions.Paths, tmp_path: Path) -> None:
    other = _run(dataclasses.replace(PARAMS, seed=9), tmp_path)
    files = [*(made.actions / VIDEOS).iterdir(), *(other.actions / VIDEOS).iterdir()]
    assert len({path.read_bytes() for path in files}) == len(files)


def test_the_sheet_shows_every_class(made: generate_actions.Paths) -> None:
    from PIL import Image

    with Image.open(made.sheet) as image:
        assert image.height > 14 * 32 and image.width > 8 * 32


@pytest.mark.parametrize(("change", "message"), [
    ({"frames": [12, 8]}, "the least first"), ({"image_size": 33}, "must be even"), ({"counts": {"train": 0}}, "train"),
])
def test_bad_params_are_named(change: dict[str, object], message: str) -> None:
    given = dataclasses.asdict(PARAMS) | {"frames": [8, 12]}
    counts = {**given["counts"], **change.pop("counts", {})}  # type: ignore[dict-item]
    with pytest.raises(UserError, match=message):
        build(Actions, {**given, "counts": counts, **change}, "generate_actions")
