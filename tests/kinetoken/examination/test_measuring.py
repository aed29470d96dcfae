"""What is measured on a lossless tokenizer, whose every number is known."""

import numpy as np
import pytest

from kinetoken.core.progress import Progress
from kinetoken.examination.kept import image_motion, quantities, read_motion, upper_bounds
from kinetoken.examination.measuring import encode_all, reconstruct, storage
from kinetoken.examination.motion_set import MotionSet
from tests.support.tokenizers import Constant, Lossless, checked


def test_a_lossless_tokenizer_keeps_all(toy_set: MotionSet) -> None:
    tokenizer = checked(Lossless())
    codes = encode_all(tokenizer, toy_set, Progress.silent()).codes
    assert np.array_equal(codes, toy_set.store.read().pixels)
    drawn = reconstruct(tokenizer, toy_set, codes, 0, Progress.silent())
    numbers = drawn.numbers
    assert numbers["psnr_db"] == numbers["foreground_psnr_db"] == drawn.painted.background_psnr_db == 100
    assert numbers["centroid_error_px"] == pytest.approx(numbers["centroid_error_px_ceiling"], abs=1e-4)
    assert numbers["centroid_error_px"] < numbers["centroid_error_px_floor"] / 4 and numbers["missed_rate"] == 0
    assert [one.label for one in drawn.samples] == ["circular", "helical", "linear", "parabolic"]
    assert all(np.array_equal(one.original, one.reconstruction) for one in drawn.samples)
    found = storage(tokenizer, codes)
    assert found.tokens == 4 * 16 * 16 * 3 and found.bits == found.raw_bits == 4 * 16 * 16 * 24
    assert 0 < (found.entropy_bits or 0) < found.bits


def test_places_are_read_from_what_holds_them_and_not_from_what_does_not(toy_set: MotionSet) -> None:
    true, split = image_motion(toy_set), toy_set.tracks.split
    assert true["position"].shape == (80, 8) and true["velocity"].shape == (80, 2)
    places = true["position"].astype(np.float32).reshape(80, 4, 1, 2, 1)  # the places themselves
    still = np.ones((80, 2, 4, 4, 1), np.float32)
    found = read_motion({"latents": places, "codes": still}, split, true, 0)
    for name, readings in found.items():
        assert readings["latents"].r2 > 0.99 and readings["latents"].error < 0.1
        assert readings["codes"].r2 <= 0 and readings["codes"].error == pytest.approx(readings["codes"].baseline), name
        low, high = readings["latents"].error_interval
        assert low <= readings["latents"].error <= high
    exact = upper_bounds(true, true)
    assert all(bound.r2 == 1 and bound.error == 0 for bound in exact.values())
    place = true["position"].reshape(80, 4, 2)
    assert np.array_equal(quantities(place)["velocity"], (place[:, 3] - place[:, 0]) / 3)


def test_few_clips_are_not_read(toy_set: MotionSet) -> None:
    true = {name: values[:3] for name, values in image_motion(toy_set).items()}
    tokens = {"codes": np.zeros((3, 2, 2, 2, 1), np.float32)}
    assert read_motion(tokens, np.array(["train", "val", "test"]), true, 0) == {}


def test_a_constant_tokenizer_stores_nothing(toy_set: MotionSet) -> None:
    tokenizer = checked(Constant())
    codes = encode_all(tokenizer, toy_set, Progress.silent()).codes
    found = storage(tokenizer, codes)
    assert (found.bits, found.entropy_bits) == (2 * 4 * 4 * 6, 0)
