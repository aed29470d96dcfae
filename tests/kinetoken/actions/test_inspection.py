"""The check before training: every broken clip named, none replaced; policies; memory; the result as text and data."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import pytest

from kinetoken.actions import inspection as module
from kinetoken.actions.check import to_json, to_text
from kinetoken.actions.inspection import admit, inspect
from kinetoken.actions.layout import VIDEOS, read_actions
from kinetoken.core.errors import UserError
from kinetoken.footage.webm import Video
from tests.support.action_set import INTAKE, break_clips

SKIP = dataclasses.replace(INTAKE, broken="skip", max_broken=0.1)


def test_a_whole_set_is_whole(action_folder: Path) -> None:
    found = inspect(read_actions(action_folder), 10)
    assert not found.faults and len(found.videos) == found.count == 68
    assert all(10 <= video.frames <= 14 and (video.width, video.height) == (32, 32) for video in found.videos.values())
    assert admit(found, INTAKE).splits == read_actions(action_folder).splits


@pytest.mark.parametrize("processes", [1, 2])
def test_every_broken_clip_is_named_with_its_reason(own_folder: Path, tmp_path: Path, processes: int) -> None:
    broken = break_clips(own_folder)
    found = inspect(read_actions(own_folder), 4, processes=processes)
    assert {fault.clip.id: fault.reason for fault in found.faults} == broken
    report = tmp_path / "out" / "broken.csv"
    kept = admit(found, SKIP, report)
    ids = {clip.id for clips in kept.splits.values() for clip in clips}
    assert len(ids) == 68 - len(broken) and not ids & set(broken)
    with report.open() as source:
        rows = list(csv.DictReader(source))
    assert {row["id"]: row["reason"] for row in rows} == broken
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert all(row["detail"] and row["file"] == f"{row['id']}.webm" for row in rows)


def test_the_policy_to_stop_names_them(own_folder: Path, tmp_path: Path) -> None:
    break_clips(own_folder)
    found = inspect(read_actions(own_folder), 4)
    with pytest.raises(UserError, match="4 of 68 clips are broken.*1 missing, 1 empty.*100003: truncated") as error:
        admit(found, INTAKE, tmp_path / "broken.csv")
    assert "broken.csv" in str(error.value)
    assert len((tmp_path / "broken.csv").read_text().splitlines()) == 5


def test_more_broken_than_allowed_stops_all_the_same(own_folder: Path) -> None:
    break_clips(own_folder)
    found = inspect(read_actions(own_folder), 4)
    with pytest.raises(UserError, match=r"more than max_broken, 5\.0%"):
        admit(found, dataclasses.replace(SKIP, max_broken=0.05))


def test_short_clips_and_more_segments_than_frames(action_folder: Path) -> None:
    actions = read_actions(action_folder)
    some = inspect(actions, 12)
    assert 0 < len(some.faults) < 68 and {fault.reason for fault in some.faults} == {"short"}
    assert all(f"{some_frames} frames, 12 segments" == fault.detail for fault in some.faults
               for some_frames in [int(fault.detail.split()[0])] if some_frames < 12)
    with pytest.raises(UserError, match="more segments than any clip has frames.*15 segments"):
        admit(inspect(actions, 15), dataclasses.replace(SKIP, max_broken=1.0))


def test_a_split_with_nothing_left_stops(own_folder: Path) -> None:
    for path in (own_folder / VIDEOS).glob("2*.webm"):
        path.unlink()
    with pytest.raises(UserError, match="no whole clip in validation"):
        admit(inspect(read_actions(own_folder)), dataclasses.replace(SKIP, max_broken=1.0))


def test_only_new_and_broken_files_are_looked_at_again(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, memory = break_clips(own_folder), tmp_path / "memory.jsonl"
    first = inspect(read_actions(own_folder), 4, memory=memory)
    memory.write_text(memory.read_text()[:-20])  # a kill cut the last line short
    opened: list[str] = []

    def look(path: Path) -> Video:
        opened.append(path.stem)
        return real(path)

    real = module.probe
    monkeypatch.setattr(module, "probe", look)
    os.utime(own_folder / VIDEOS / "100001.webm", (5, 5))
    again = inspect(read_actions(own_folder), 4, memory=memory)
    assert again == first
    last = json.loads((own_folder / "labels/test.json").read_text())[-1]["id"]
    assert set(opened) == {*broken, "100001", last}
    opened.clear()
    inspect(read_actions(own_folder), 4, memory=memory)
    assert set(opened) == set(broken)


def test_the_result_in_words_and_as_data_names_every_broken_clip(own_folder: Path) -> None:
    whole = inspect(read_actions(own_folder), 4)
    assert "every clip is whole" in to_text(whole) and "68 clips, 14 classes" in to_text(whole)
    assert to_json(whole)["broken"] == [] and to_json(whole)["splits"]["train"] == {"clips": 40, "broken": 0}
    broken = break_clips(own_folder)
    found = inspect(read_actions(own_folder), 4)
    for name, reason in broken.items():
        assert f" {name}: {reason}: " in to_text(found)
    assert {one["id"]: one["reason"] for one in to_json(found)["broken"]} == broken
    assert sum(split["broken"] for split in to_json(found)["splits"].values()) == len(broken)
