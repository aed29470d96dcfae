"""The checks on toys whose answers are known."""

import numpy as np
import pytest

from kinetoken.core.progress import Progress
from kinetoken.examination.behaviour import Check, behaviour, slice_end
from kinetoken.examination.motion_set import MotionSet
from tests.support.tokenizers import Constant, Continuous, OverBatch, OverTime, Toy, Unsteady, checked


def checks(adapter: object, toy_set: MotionSet) -> dict[str, Check]:
    pixels = toy_set.store.take(np.arange(8)).pixels
    return {check.name: check for check in behaviour(checked(adapter), pixels, Progress.silent())}


@pytest.mark.parametrize(("adapter", "repeatable", "batch_independent", "causal"), [
    (Toy(), "yes", "yes", "yes"),
    (Constant(), "yes", "yes", "yes"),
    (Continuous(), "yes", "yes", "yes"),
    (OverTime(), "yes", "yes", "no"),
    (OverBatch(), "yes", "no", "yes"),
    (Unsteady(), "no", "no", "not measured"),
])
def test_each_toy_is_seen_through(
    adapter: object, repeatable: str, batch_independent: str, causal: str, toy_set: MotionSet
) -> None:
    found = checks(adapter, toy_set)
    answers = {name: check.answer for name, check in found.items()}
    assert answers == {"repeatable": repeatable, "batch_independent": batch_independent, "causal": causal}
    if repeatable == "no":
        assert found["repeatable"].share == pytest.approx(0.5, abs=0.05)  # two codes, drawn evenly


def test_codes_without_a_time_axis_or_of_one_slice_have_no_causality(toy_set: MotionSet) -> None:
    class Flat(Toy):
        def encode(self, video: object) -> object:
            return super().encode(video).flatten(1)  # type: ignore[arg-type]

    class OneSlice(Toy):
        def encode(self, video: object) -> object:
            return super().encode(video)[:, :1]  # type: ignore[arg-type]

    assert checks(Flat(), toy_set)["causal"].evidence == "The layout of the codes has no time axis."
    assert checks(OneSlice(), toy_set)["causal"].evidence == "One time slice holds all frames."


def test_time_slices_end_where_their_frames_end() -> None:
    assert [slice_end(last, 4, 16) for last in range(4)] == [4, 8, 12, 16]
    assert [slice_end(last, 5, 17) for last in range(5)] == [1, 5, 9, 13, 17]  # the first frame alone
    assert [slice_end(last, 3, 10) for last in range(3)] == [4, 7, 10]
    assert [slice_end(last, 4, 4) for last in range(4)] == [1, 2, 3, 4]
