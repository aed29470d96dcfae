"""Decisions are the online detector's own, and those that the stage makes of whole clips."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.inference import detect, open_clips
from kinetoken.persistence.evaluation import predict_clips
from kinetoken.persistence.network import load_detector
from kinetoken.persistence.online import OnlineDetector
from kinetoken.persistence.stopping import decide
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import load_tokenizer


def folder_of(applied: Path, name: str) -> Path:
    return applied / "models" / "persistence" / name


@pytest.mark.parametrize("name", ["transformer", "magvit"])
def test_decisions_are_those_of_frames_fed_one_by_one(applied: Path, tiny_data: Path, name: str) -> None:
    tokenizer, clips = applied / "models" / "tokenizer", ClipStore(tiny_data / "videos").read("val")
    online = OnlineDetector.load(folder_of(applied, name), tokenizer)
    for row, clip in enumerate(clips.pixels):
        for number, frame in enumerate(clip):
            if online.feed({row: (number, frame)})[row].status != "undecided":
                break
    verdicts = [online.verdict(row) for row in range(len(clips))]
    table = detect(open_clips(tiny_data / "videos", split="val"), folder_of(applied, name), tokenizer=tokenizer)
    assert table["decision"].tolist() == [each.status for each in verdicts]
    assert table["frame"].tolist() == [each.frames for each in verdicts]
    np.testing.assert_allclose(table["confidence"], [each.confidence for each in verdicts], atol=1e-5)
    assert table["clip"].tolist() == clips.track_id.astype(str).tolist()
    assert table["actual"].tolist() == clips.label.tolist()


@pytest.mark.parametrize("name", ["transformer", "magvit"])
def test_decisions_are_those_of_the_stage(applied: Path, tiny_data: Path, name: str) -> None:
    tokenizer = load_tokenizer(applied / "models" / "tokenizer")
    detector = load_detector(folder_of(applied, name), tokenizer)
    clips = torch.from_numpy(ClipStore(tiny_data / "videos").read("test").pixels)
    kept = detector.network.extractor.kept(clips)
    kept = kept.half() if name == "magvit" else kept  # as the stage keeps what is made of codes
    odds = predict_clips(detector.network, kept, torch.device("cpu")).logits / np.array(detector.temperatures)
    decided = decide(odds, detector.persistent_above, detector.transient_below)
    table = detect(
        open_clips(tiny_data / "videos", split="test"), folder_of(applied, name),
        tokenizer=applied / "models" / "tokenizer",
    )
    frames = (decided.step + 1) * detector.network.stride
    assert len(set(frames)) > 1, "no decision falls early, or all do"
    assert table["frame"].tolist() == frames.tolist()
    assert (table["decision"] == "persistent").tolist() == decided.persistent.tolist()
    np.testing.assert_allclose(table["confidence"], decided.confidence, atol=2e-3)


def test_short_clips_may_stay_undecided(applied: Path, tiny_data: Path) -> None:
    pixels = ClipStore(tiny_data / "videos").read(limit=8).pixels
    whole = detect(pixels, folder_of(applied, "transformer"))
    short = detect(pixels[:, :2], folder_of(applied, "transformer"))
    early = whole["frame"] <= 2
    assert short["decision"][early].tolist() == whole["decision"][early].tolist()
    assert set(short["decision"][~early]) <= {"undecided"} and "actual" not in short
    assert set(whole["decision"]) <= {"persistent", "transient"}


def test_what_it_cannot_watch_is_refused(applied: Path, tiny_data: Path) -> None:
    pixels = ClipStore(tiny_data / "videos").read(limit=1).pixels
    for words, clips, model in (
        ("array: 17 frames, .*transformer reads 16; --window", pixels[:, [*range(16), 15]], "transformer"),
        ("frames are 32×32, .*transformer takes 64×64", pixels[:, :, :32, :32], "transformer"),
        ("magvit: reads codes of tokenizer .*; --tokenizer names its folder", pixels, "magvit"),
        ("a codes table, and this needs the clips themselves", applied / "codes.parquet", "transformer"),
    ):
        with pytest.raises(UserError, match=words):
            detect(clips, folder_of(applied, model))
    with pytest.raises(UserError, match="a tokenizer; needed is a persistence detector"):
        detect(pixels, applied / "models" / "tokenizer")
