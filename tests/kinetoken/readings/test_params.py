"""Params of read_motion: what cannot be meant is refused before anything is read."""

from typing import Any

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.readings.params import ReadMotion

GOOD: dict[str, Any] = {"source": "classifier", "clips": 8, "neighbours": 5}


@pytest.mark.parametrize(("change", "message"), [
    ({"source": "truth"}, "source: must be one of classifier, i3d_magvit"), ({"clips": 3}, "clips: at least 4"),
    ({"neighbours": -1}, "neighbours"),
    ({"source": "i3d_magvit"}, "neighbours: only the classifier of codes .* set 0"),
])
def test_params_out_of_range(change: dict[str, object], message: str) -> None:
    build(ReadMotion, GOOD, "read_motion")
    with pytest.raises(UserError, match=message):
        build(ReadMotion, GOOD | change, "read_motion")


def test_the_network_reads_without_neighbours() -> None:
    assert build(ReadMotion, GOOD | {"source": "i3d_magvit", "neighbours": 0}, "read_motion").neighbours == 0
