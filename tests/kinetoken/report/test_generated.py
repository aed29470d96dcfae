"""Generated clips beside real ones, and how far their balls are from the law."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.report import generated
from kinetoken.scenes.clips import ClipStore


@pytest.fixture(scope="module")
def store(tiny_data: Path) -> ClipStore:
    return ClipStore(tiny_data / "videos")


def of_class(store: ClipStore, label: str) -> np.ndarray:
    clips = store.read("train")
    return clips.pixels[clips.label == label]


def test_real_clips_obey_the_law_of_their_class_and_not_another(store: ClipStore) -> None:
    real = {label: of_class(store, label) for label in ("linear", "circular")}
    limits = generated.limits_of(real, store)
    assert set(limits) == {"linear", "circular"} and limits["linear"].count == len(real["linear"])
    own, other = limits["linear"].ratios(real["linear"]), limits["linear"].ratios(real["circular"])
    assert (own <= 1).mean() > 0.85 and np.median(other) > 10
    stopped = real["linear"][:1].copy()
    stopped[:, 8:] = stopped[:, 7:8]
    assert limits["linear"].ratios(stopped)[0] > 1


def test_a_clip_without_a_ball_is_said_to_have_none(store: ClipStore) -> None:
    real = of_class(store, "linear")
    empty = real[:1].copy()
    empty[:, 3] = np.asarray(store.scene.background() * 255 + 0.5, np.uint8)
    ratio = generated.limits_of({"linear": real}, store)["linear"].ratios(empty)[0]
    assert np.isnan(ratio) and generated.verdict(ratio) == ": no ball in some frames"


def test_real_clips_come_first_and_each_says_whether_it_obeys(store: ClipStore) -> None:
    real = {"linear": of_class(store, "linear")}
    limits = generated.limits_of(real, store)
    cards = generated.generation_cards({"masked": {"linear": real["linear"][:3]}}, real, limits)
    captions = [one.caption for one in cards[0].sprites]
    assert [text.partition(":")[0] for text in captions] == [
        *(f"real {place}" for place in range(1, 5)), "generated 1", "generated 2", "generated 3"]
    assert all("lawful" in text for text in captions)
    assert f"{len(real['linear'])} real test clips" in generated.about(limits)


def test_own_classes_have_no_law(store: ClipStore) -> None:
    clips = of_class(store, "linear")[:2]
    assert generated.limits_of({"pendulum": clips}, store) == {} and generated.about({}) == ""
    card = generated.generation_cards({"masked": {generated.ANY: clips}}, {}, {})[0]
    assert [one.caption for one in card.sprites] == ["generated 1", "generated 2"]


def test_what_is_said_of_a_ratio() -> None:
    assert generated.verdict(None) == ""
    assert generated.verdict(0.4) == ": lawful, 0.40×" and generated.verdict(2.25) == ": not lawful, 2.25×"
