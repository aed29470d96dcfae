"""Clips that a page holds: which ones, what is known of each, and text that cannot end its element."""

import base64
import io
import json

import numpy as np
from PIL import Image

from kinetoken.report.exhibits import Exhibition, ShownClips, choose, data_block, largest, wrong

EVIL = "</script>"


def clip_set() -> ShownClips:
    return ShownClips("motion", np.array([5, 7, 9]), np.array(["a", "b", EVIL]), 4, (8, 6), 16.0, (2, 1, 2))


def test_the_first_choice_stands_before_classes_in_turn() -> None:
    tracks, label = np.array([1, 2, 3, 4, 5]), np.array(["a", "a", "a", "b", "b"])
    assert choose(tracks, label, [5, 99, 5], 4) == [5, 1, 4, 2], "unknown and repeated tracks are left out"
    assert choose(tracks, label, [3, 2], 1) == [3] and choose(tracks, label, [], 0) == []
    assert choose(tracks[:0], label[:0], [1], 3) == []


def test_worst_cases_by_certainty_and_by_error() -> None:
    clips = clip_set()
    assert [one.track for one in wrong(clips, ["b", "b", "a"], [0.6, 0.9, 0.8])] == [9, 5]
    assert wrong(clips, ["b", "b", EVIL])[0].note == "a, predicted b"
    assert [one.track for one in largest(clips, np.array([1.0, 3.0, 2.0]), "m")] == [7, 9, 5]


def test_a_held_clip_has_frames_codes_and_paths() -> None:
    clips = clip_set()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 8, 6, 3), np.uint8)
    clips.add(np.array([7]), pixels, lossless=True)
    clips.add_codes(np.array([7]), np.array([[[[1, 2]], [[3, 1023]]]], np.int32))
    clips.add_path("true", {7: np.array([[0.12345, np.nan, 1.0]] * 4), 5: np.zeros((4, 3))})
    clips.add_text(7, "x(t) = 1"), clips.add_text(5, "not held")
    facts = json.loads(json.dumps(clips.facts()))
    assert list(facts["clips"]) == ["7"] and facts["clips"]["7"]["true"][0] == [0.123, None, 1.0]
    assert np.frombuffer(base64.b64decode(facts["clips"]["7"]["codes"]), "<u2").tolist() == [1, 2, 3, 1023]
    shown = Exhibition({"motion": clips})
    strip = json.loads(shown.images())["motion 7"][0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(strip))))[:, :6], pixels[0, 0])
    assert EVIL not in shown.facts() and json.loads(shown.facts())["motion"]["columns"]["class"][2] == EVIL
    assert shown.held("motion") == 1 and shown.held("nothing") == 0 and shown.frames == 4


def test_codes_that_do_not_fit_are_left_out() -> None:
    clips = clip_set()
    clips.add(np.array([5]), np.zeros((1, 4, 8, 6, 3), np.uint8), lossless=False)
    clips.add_codes(np.array([5]), np.full((1, 2, 1, 2), 70_000, np.int64))
    assert clips.shown[5].codes == ""
    assert data_block({"a": EVIL}) == '{"a":"\\u003c/script>"}'
