"""Action sets on disk: Something-Something-V2 in both of its naming schemes, and plain lists of `path label`.

    FOLDER/20bn-something-something-v2/<id>.webm
    FOLDER/labels/{train,validation,test,labels}.json     or     FOLDER/something-something-v2-{train,...}.json

A row is {"id", "label", "template", "placeholders"}; labels.json maps a template without brackets to its index, a
string; rows of the test part have only ids, and test-answers.csv (`id;class name`, no header), where there is one,
holds their classes. A list file ({train,validation,test}.csv or .txt) has one `path label` a line.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kinetoken.actions.lists import find_lists, read_lists
from kinetoken.actions.templates import class_name
from kinetoken.core.errors import UserError

SPLITS = ("train", "validation", "test")
VIDEOS = "20bn-something-something-v2"
SCHEMES = ("labels/{}.json", "something-something-v2-{}.json", "labels/something-something-v2-{}.json")
ANSWERS = "test-answers.csv"
SUFFIXES = (".webm", ".mp4", ".mkv", ".avi")
UNKNOWN = -1  # the label of a clip whose class is not told


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """One clip: where its file should be, and the index of its class."""

    id: str
    path: Path
    label: int


@dataclasses.dataclass(frozen=True)
class ActionSet:
    """Clips by split, and the names of the classes by index."""

    folder: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Clip, ...]]


def read_actions(folder: Path) -> ActionSet:
    """What the folder's label files say; videos are looked for, not opened.

    UserError for label files that are missing, damaged or contradict each other (a class that labels.json lacks, an
    id twice, clips in two splits), and for a folder with no videos.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    scheme = next((s for s in SCHEMES if any((folder / s.format(n)).is_file() for n in (*SPLITS, "labels"))), None)
    if scheme is not None:
        actions = _read_something(folder, scheme)
    elif lists := find_lists(folder, SPLITS):
        classes, rows = read_lists(lists)
        actions = ActionSet(folder, classes, {
            split: tuple(Clip(name, path, label) for name, path, label in entries) for split, entries in rows.items()
        })
        if not any(clip.path.is_file() for clips in actions.splits.values() for clip in clips):
            raise UserError(f"{folder}: none of the files in {', '.join(p.name for p in lists.values())} is there")
    else:
        raise UserError(
            f"{folder}: no label files; expected labels/{{train,validation,test,labels}}.json, "
            "something-something-v2-{train,validation,test,labels}.json, or lists train.csv, validation.csv, test.csv"
        )
    _check_ids(actions)
    return actions


def write_actions(
    folder: Path, classes: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Label files in the newer scheme. `rows` holds full rows of every split; the test part's go to its answers."""
    labels = folder / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    index = {name: str(place) for place, name in enumerate(classes)}
    (labels / "labels.json").write_text(json.dumps(index, indent=0) + "\n", encoding="utf-8")
    for split in SPLITS:
        shown = [{"id": row["id"]} for row in rows[split]] if split == "test" else rows[split]
        text = ",\n".join(json.dumps(row) for row in shown)
        (labels / f"{split}.json").write_text(f"[{text}]\n", encoding="utf-8")
    answers = "".join(f"{row['id']};{class_name(row['template'])}\n" for row in rows["test"])
    (labels / ANSWERS).write_text(answers, encoding="utf-8")


def _read_something(folder: Path, scheme: str) -> ActionSet:
    files = {name: folder / scheme.format(name) for name in (*SPLITS, "labels")}
    needed = [files[name] for name in ("train", "validation", "labels")]
    if missing := [str(path.relative_to(folder)) for path in needed if not path.is_file()]:
        raise UserError(
            f"{folder}: no {', '.join(missing)}; expected labels/{{train,validation,test,labels}}.json or "
            "something-something-v2-{train,validation,test,labels}.json"
        )
    index = _read_index(files["labels"])
    answers = _read_answers(files["labels"].parent / ANSWERS, index)
    videos = _find_videos(folder)
    splits = {}
    for split in SPLITS:
        if files[split].is_file():
            given = _read_rows(files[split], index, answers if split == "test" else None)
            splits[split] = tuple(Clip(i, videos.path(i), label) for i, label in given)
    return ActionSet(folder, tuple(sorted(index, key=index.__getitem__)), splits)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - JSON holds anything
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None


def _read_index(path: Path) -> dict[str, int]:
    """labels.json: class name to index, 0 to one less than their number."""
    content = _read_json(path)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected an object of class names and indices")
    index = {}
    for name, value in content.items():
        if isinstance(value, bool) or not str(value).isdecimal():
            raise UserError(f'{path}: the index of "{name}" should be a whole number as text, is {value!r}')
        index[name] = int(value)
    if sorted(index.values()) != list(range(len(index))):
        raise UserError(f"{path}: the indices of {len(index)} classes should be 0 to {len(index) - 1}, each once")
    return index


def _read_rows(path: Path, index: Mapping[str, int], answers: Mapping[str, int] | None) -> Iterable[tuple[str, int]]:
    """(id, label) of each row; rows without a template have the label of `answers`, or none."""
    content = _read_json(path)
    if not isinstance(content, list) or not content:
        raise UserError(f"{path}: expected a list of rows with at least one in it")
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict) or not isinstance(row.get("id"), (str, int)) or isinstance(row["id"], bool):
            raise UserError(f'{path}: row {number}: expected an object with "id", found {str(row)[:60]}')
        name = str(row["id"])
        if not name or Path(name).name != name:
            raise UserError(f"{path}: row {number}: id {name!r} is no file name")
        if "template" in row:
            key = class_name(str(row["template"]))
            if key not in index:
                raise UserError(f'{path}: row {number} (id {name}): the class "{key}" is not in labels.json')
            yield name, index[key]
        elif answers is None:
            raise UserError(f'{path}: row {number} (id {name}): no "template"')
        else:
            yield name, answers.get(name, UNKNOWN)


def _read_answers(path: Path, index: Mapping[str, int]) -> dict[str, int]:
    if not path.is_file():
        return {}
    answers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, key = line.partition(";")
        if key.strip() not in index:
            raise UserError(f'{path}: line {number}: the class "{key.strip()}" is not in labels.json')
        answers[name.strip()] = index[key.strip()]
    return answers


@dataclasses.dataclass(frozen=True)
class _Videos:
    folder: Path
    names: Mapping[str, str]  # stem to file name

    def path(self, clip: str) -> Path:
        return self.folder / self.names.get(clip, f"{clip}.webm")


def _find_videos(folder: Path) -> _Videos:
    places = [folder / VIDEOS, folder / "videos", folder]
    for place in filter(Path.is_dir, places):
        with os.scandir(place) as entries:
            names = {Path(e.name).stem: e.name for e in entries if Path(e.name).suffix.lower() in SUFFIXES}
        if names:
            return _Videos(place, names)
    raise UserError(f"{folder}: no videos; looked for <id>.webm in {VIDEOS}/, videos/ and the folder itself")


def _check_ids(actions: ActionSet) -> None:
    owner: dict[str, str] = {}
    for split, clips in actions.splits.items():
        ids = [clip.id for clip in clips]
        if len(set(ids)) < len(ids):
            twice = {name for name, count in Counter(ids).items() if count > 1}
            raise UserError(f"{actions.folder}: {split} has ids more than once: {_some(twice)}")
        if shared := {i for i in ids if i in owner}:
            other = owner[min(shared)]
            raise UserError(f"{actions.folder}: {len(shared)} clips are in both {other} and {split}: {_some(shared)}")
        owner.update(dict.fromkeys(ids, split))


def _some(names: Iterable[str], shown: int = 5) -> str:
    """The first few of the names, and how many more there are."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(ordered[:shown]) + rest
