"""The loader: the same pixels with any number of workers, with and without a cache, whole and unflipped."""

import dataclasses
import gc
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.actions import dataset, inspection
from kinetoken.actions.dataset import MEMORY, ActionClips, EpochLoader, Footage, mean_over_views, open_footage
from kinetoken.actions.layout import VIDEOS
from kinetoken.actions.sampling import even_places
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.webm import read_frames
from tests.support.action_set import INTAKE, VIEWS, break_clips

PLAIN = dataclasses.replace(VIEWS, crop=32, zoom=1.0, jitter=0.0, clips=1, crops=1)


def _open(folder: Path, cache: Path | None = None, mib: int = 0, views: object = VIEWS, **words: object) -> Footage:
    intake = dataclasses.replace(INTAKE, cache_mib=mib, **words)
    return open_footage(folder, views, intake, Progress.silent(), cache=cache)  # type: ignore[arg-type]


def _epoch(footage: Footage, epoch: int, workers: int, split: str = "train", *, training: bool = True) -> list:
    clips = ActionClips(footage, split, training=training, seed=5)
    return list(EpochLoader(clips, 8, workers, seed=5).epoch(epoch))


def _same(one: list, other: list) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("pixels", "label", "index"))


def test_items_have_the_right_shape_and_label(action_folder: Path) -> None:
    footage = _open(action_folder)
    train = _epoch(footage, 0, 0)
    assert len(train) == 5 and train[0]["pixels"].shape == (8, 1, 4, 28, 28, 3)
    assert train[0]["pixels"].dtype == torch.uint8
    clips = footage.actions.splits["train"]
    assert all(clips[i].label == label for b in train for i, label in zip(b["index"], b["label"], strict=True))
    test = _epoch(footage, 0, 0, "test", training=False)
    assert [len(b["label"]) for b in test] == [8, 6] and test[0]["pixels"].shape == (8, 6, 4, 28, 28, 3)
    assert torch.cat([b["index"] for b in test]).tolist() == list(range(14))


def test_evaluation_shows_the_middle_frames_as_they_are_in_the_file(action_folder: Path) -> None:
    footage = _open(action_folder, views=PLAIN)
    clip = footage.actions.splits["validation"][3]
    shown = ActionClips(footage, "validation", training=False)[0, 3]["pixels"][0].numpy()
    whole = read_frames(clip.path, None)
    np.testing.assert_array_equal(shown, whole[even_places(len(whole), 4, 1)[0]])


def test_training_frames_come_from_each_segment_and_are_never_mirrored(action_folder: Path) -> None:
    footage = _open(action_folder, views=PLAIN)
    train, seen = ActionClips(footage, "train", training=True), set()
    whole = read_frames(footage.actions.splits["train"][0].path, None)
    for epoch in range(20):
        for segment, frame in enumerate(train[epoch, 0]["pixels"][0].numpy()):
            places = [place for place, original in enumerate(whole) if np.array_equal(frame, original)]
            start, end = segment * len(whole) / 4, (segment + 1) * len(whole) / 4
            assert any(start - 1 < place < end for place in places)
            seen.update(places)
    assert seen == set(range(len(whole)))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_pixel(action_folder: Path, workers: int) -> None:
    footage = _open(action_folder)
    for epoch in (0, 1):
        _same(_epoch(footage, epoch, 0), _epoch(footage, epoch, workers))
    _same(_epoch(footage, 0, 0, "test", training=False), _epoch(footage, 0, workers, "test", training=False))


def test_living_workers_know_the_epoch(action_folder: Path) -> None:
    footage = _open(action_folder)
    loader = EpochLoader(ActionClips(footage, "train", training=True, seed=5), 8, 2, seed=5)
    epochs = [list(loader.epoch(epoch)) for epoch in (0, 1, 0)]
    _same(epochs[0], epochs[2])
    assert not torch.equal(epochs[0][0]["index"], epochs[1][0]["index"])
    _same(epochs[1], _epoch(footage, 1, 0))


def test_an_epoch_holds_every_clip_once_and_ranks_share_it(action_folder: Path) -> None:
    clips = ActionClips(_open(action_folder), "train", training=True)
    ranks = [EpochLoader(clips, 4, 0, rank=rank, world=2, seed=1) for rank in (0, 1)]
    seen = [torch.cat([b["index"] for b in loader.epoch(2)]).tolist() for loader in ranks]
    assert len(ranks[0]) == 5 and sorted(seen[0] + seen[1]) == list(range(40))


@pytest.mark.parametrize("mib", [1, 64])
def test_the_cache_changes_no_pixel(action_folder: Path, tmp_path: Path, mib: int) -> None:
    plain, kept = _open(action_folder), _open(action_folder, tmp_path / "cache", mib)
    for epoch in (0, 0, 1):
        _same(_epoch(plain, epoch, 0), _epoch(kept, epoch, 2))
    assert kept.cache is not None
    assert 0 < kept.cache.size() <= mib * 2**20
    count = len(list((tmp_path / "cache/clips").glob("*.clip")))
    assert count == 40 if mib == 64 else 10 < count < 40


def test_a_file_that_changes_is_not_served_from_the_cache(own_folder: Path, tmp_path: Path) -> None:
    views = dataclasses.replace(PLAIN, segments=1)
    videos = own_folder / VIDEOS
    first = _open(own_folder, tmp_path / "cache", 64, views)
    before = ActionClips(first, "train", training=False)[0, 0]["pixels"]
    assert first.actions.splits["train"][0].id == "100000"
    (videos / "100000.webm").write_bytes((videos / "100001.webm").read_bytes())
    second = _open(own_folder, tmp_path / "cache", 64, views)
    after, truth = (ActionClips(second, "train", training=False)[0, i]["pixels"] for i in (0, 1))
    assert torch.equal(after, truth) and not torch.equal(after, before)


def test_what_was_read_by_other_rules_is_read_anew(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of frames that an earlier version left on their side is of no use."""
    cache = tmp_path / "cache"
    for rules in (dataset.RULES - 1, dataset.RULES):
        monkeypatch.setattr(inspection, "RULES", rules)
        monkeypatch.setattr(dataset, "RULES", rules)
        clips = ActionClips(_open(own_folder, cache, 64), "train", training=False)
        _ = clips[0, 0], clips[0, 0]
    assert len(list((cache / "clips").glob("*.clip"))) == 2
    assert len([line for line in (cache / MEMORY).read_text().splitlines() if line]) == 2 * 68


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_lost_while_training_is_named(own_folder: Path, workers: int) -> None:
    footage = _open(own_folder)
    os.truncate(own_folder / VIDEOS / "100010.webm", 600)
    loader = EpochLoader(ActionClips(footage, "train", training=True), 8, workers)
    with pytest.raises(UserError, match="100010.webm: changed since it was checked") as error:
        list(loader.epoch(0))
    assert "Traceback" not in str(error.value)
    del error
    start = time.monotonic()
    del loader
    gc.collect()
    assert time.monotonic() - start < 4  # workers that are not told to end are waited for, 5 s each


def test_broken_clips_are_left_out_and_the_rest_is_read(own_folder: Path, tmp_path: Path) -> None:
    broken = break_clips(own_folder)
    report = tmp_path / "broken.csv"
    with pytest.raises(UserError, match="4 of 68 clips are broken"):
        _open(own_folder)
    intake = dataclasses.replace(INTAKE, broken="skip", max_broken=0.1)
    footage = open_footage(own_folder, VIEWS, intake, Progress.silent(), report=report)
    read = {
        footage.actions.splits[split][i].id
        for split in ("train", "validation", "test")
        for batch in _epoch(footage, 0, 2, split, training=False) for i in batch["index"]
    }
    assert len(read) == 64 and not read & set(broken)
    listed = report.read_text()
    assert all(f",{name},{name}.webm,{reason}," in listed for name, reason in broken.items())


def test_what_cannot_be_trained_on_is_refused(own_folder: Path) -> None:
    (own_folder / "labels/test-answers.csv").unlink()
    footage = _open(own_folder)
    with pytest.raises(UserError, match="test: 14 clips have no class"):
        ActionClips(footage, "test", training=True)
    assert ActionClips(footage, "test", training=False)[0, 0]["label"] == -1
    with pytest.raises(UserError, match="no split 'val'; there are train, validation, test"):
        ActionClips(footage, "val", training=False)


def test_scores_are_averaged_over_views() -> None:
    scores = torch.tensor([[[2.0, 0.0], [0.0, 4.0]]])
    expected = (torch.softmax(scores[0, 0], 0) + torch.softmax(scores[0, 1], 0)) / 2
    torch.testing.assert_close(mean_over_views(scores)[0], expected)
