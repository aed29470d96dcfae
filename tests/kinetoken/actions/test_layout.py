"""Label files of all formats, and what is said of bad ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinetoken.actions.classes import ACTIONS
from kinetoken.actions.layout import UNKNOWN, VIDEOS, read_actions
from kinetoken.actions.templates import class_name, fill, slots
from kinetoken.core.errors import UserError

HISTORICAL = "something-something-v2-{}.json"


def _edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_templates_become_class_names_and_labels() -> None:
    template = "Putting [something similar to other things] next to [something]"
    assert class_name(template) == "Putting something similar to other things next to something"
    assert slots("[Something] colliding with [something]") == 2
    assert fill("[Something] hiding behind [something]", ["a red ball", "a box"]) == "a red ball hiding behind a box"


def test_reads_the_newer_scheme(action_folder: Path) -> None:
    actions = read_actions(action_folder)
    assert actions.classes == tuple(action.name for action in ACTIONS)
    assert {split: len(clips) for split, clips in actions.splits.items()} == {"train": 40, "validation": 14, "test": 14}
    for split in ("train", "validation"):
        rows = {row["id"]: row for row in json.loads((action_folder / "labels" / f"{split}.json").read_text())}
        for clip in actions.splits[split]:
            assert actions.classes[clip.label] == rows[clip.id]["template"].replace("[", "").replace("]", "")
            assert clip.path == action_folder / VIDEOS / f"{clip.id}.webm" and clip.path.is_file()
    assert sorted(clip.label for clip in actions.splits["test"]) == list(range(14))  # from the answers


def test_the_test_part_is_unknown_without_answers(own_folder: Path) -> None:
    (own_folder / "labels/test-answers.csv").unlink()
    assert {clip.label for clip in read_actions(own_folder).splits["test"]} == {UNKNOWN}


@pytest.mark.parametrize("place", ["", "labels/"])
def test_the_historical_scheme_reads_the_same(action_folder: Path, own_folder: Path, place: str) -> None:
    for name in ("train", "validation", "test", "labels"):
        shutil.move(own_folder / f"labels/{name}.json", own_folder / (place + HISTORICAL.format(name)))
    shutil.move(own_folder / "labels/test-answers.csv", (own_folder / place / "test-answers.csv"))
    one, other = read_actions(action_folder), read_actions(own_folder)
    assert one.classes == other.classes
    for split, clips in one.splits.items():
        for a, b in zip(clips, other.splits[split], strict=True):
            assert (a.id, a.label, a.path.name) == (b.id, b.label, b.path.name)


@pytest.mark.parametrize("separator", [",", " ", "\t"])
def test_lists_read_the_same(action_folder: Path, own_folder: Path, separator: str) -> None:
    actions = read_actions(action_folder)
    shutil.rmtree(own_folder / "labels")
    for split, name in (("train", "train.csv"), ("validation", "val.txt"), ("test", "test.csv")):
        lines = [f"{VIDEOS}/{c.path.name}{separator}{c.label}\n" for c in actions.splits[split]]
        (own_folder / name).write_text("".join(lines))
    read = read_actions(own_folder)
    assert read.classes == tuple(f"class {i}" for i in range(14))
    for split, clips in actions.splits.items():
        assert [c.label for c in read.splits[split]] == [c.label for c in clips]
        assert [c.path for c in read.splits[split]] == [own_folder / VIDEOS / c.path.name for c in clips]


def test_a_list_may_name_classes_have_a_header_and_lack_labels(own_folder: Path) -> None:
    shutil.rmtree(own_folder / "labels")
    (own_folder / "train.csv").write_text(f"path,label\n{VIDEOS}/100000.webm,Pushing it, gently\n\nx y.webm,Pulling\n")
    (own_folder / "test.csv").write_text(f"{VIDEOS}/300000.webm\n")
    actions = read_actions(own_folder)
    train = actions.splits["train"]
    assert [actions.classes[c.label] for c in train] == ["gently", "Pulling"]  # the last comma parts path and label
    assert train[1].path == own_folder / "x y.webm"
    assert actions.splits["test"][0].label == UNKNOWN


def test_other_containers_are_found_by_their_stem(own_folder: Path) -> None:
    shutil.move(own_folder / VIDEOS / "100000.webm", own_folder / VIDEOS / "100000.mp4")
    assert {c.id: c for c in read_actions(own_folder).splits["train"]}["100000"].path.name == "100000.mp4"


def _unknown_class(folder: Path) -> None:
    _edit(folder / "labels/validation.json", lambda rows: [*rows, {"id": "9", "template": "Juggling [something]"}])


def _no_videos(folder: Path) -> None:
    shutil.rmtree(folder / VIDEOS)


def _no_labels(folder: Path) -> None:
    shutil.rmtree(folder / "labels")


def _no_index(folder: Path) -> None:
    (folder / "labels/labels.json").unlink()


def _corrupt(folder: Path) -> None:
    path = folder / "labels/train.json"
    path.write_text(path.read_text()[:500])


def _twice(folder: Path) -> None:
    _edit(folder / "labels/train.json", lambda rows: [*rows, rows[3]])


def _overlap(folder: Path) -> None:
    extra = json.loads((folder / "labels/train.json").read_text())[5]
    _edit(folder / "labels/validation.json", lambda rows: [*rows, extra])


def _bad_index(folder: Path) -> None:
    _edit(folder / "labels/labels.json", lambda index: {**index, "Juggling something": "40"})


def _text_index(folder: Path) -> None:
    _edit(folder / "labels/labels.json", lambda index: {**index, "Juggling something": "many"})


def _no_template(folder: Path) -> None:
    _edit(folder / "labels/train.json", lambda rows: [{"id": "100000"}, *rows[1:]])


def _no_id(folder: Path) -> None:
    _edit(folder / "labels/train.json", lambda rows: [rows[0], {"template": rows[1]["template"]}])


def _path_as_id(folder: Path) -> None:
    _edit(folder / "labels/train.json", lambda rows: [{**rows[0], "id": "../../etc/passwd"}])


def _empty(folder: Path) -> None:
    (folder / "labels/train.json").write_text("[]")


def _bad_answer(folder: Path) -> None:
    (folder / "labels/test-answers.csv").write_text("300000;Juggling something\n")


@pytest.mark.parametrize(("spoil", "message"), [
    (_unknown_class, r'validation.json: row 15 \(id 9\): the class "Juggling something" is not in labels.json'),
    (_no_videos, r"no videos; looked for <id>.webm in 20bn-something-something-v2/"),
    (_no_labels, r"labels/\{train,validation,test,labels\}.json, something-something-v2-\{train"),
    (_no_index, r"no labels/labels.json; expected .* or something-something-v2-\{train"),
    (_corrupt, r"train.json: not valid JSON: line \d+, column \d+"),
    (_twice, r"train has ids more than once: 100003"),
    (_overlap, r"1 clips are in both train and validation: 100005"),
    (_bad_index, r"labels.json: the indices of 15 classes should be 0 to 14"),
    (_text_index, r"the index of \"Juggling something\" should be a whole number"),
    (_no_template, r"train.json: row 1 \(id 100000\): no \"template\""),
    (_no_id, r'train.json: row 2: expected an object with "id"'),
    (_path_as_id, r"row 1: id '../../etc/passwd' is no file name"),
    (_empty, r"train.json: expected a list of rows with at least one"),
    (_bad_answer, r'test-answers.csv: line 1: the class "Juggling something"'),
])
def test_bad_folders_are_told_apart(own_folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(own_folder)
    with pytest.raises(UserError, match=message):
        read_actions(own_folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_actions(tmp_path / "nowhere")


@pytest.mark.parametrize(("text", "message"), [
    ("a.webm,\n", "train.csv: line 1: expected `path label`"), ("\n", "no clip in it"),
    ("a.webm,0\n", "none of the files in train.csv is there"),
])
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_actions(tmp_path)
