"""Where clips are cut: the same for clips at hand and for clips that are still being decoded."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.footage.windows import CUTS, ClipNeed, Cut, cut_stream

WHOLE = ClipNeed("models/classifier", 8, 16)
PAST = ClipNeed("models/predictor", 8, 12, 16)
ANY = ClipNeed("models/tokenizer", 8, None)


def numbered(total: int) -> np.ndarray:
    """Frames that say which they are."""
    return np.arange(total, dtype=np.uint8)[:, None, None, None].repeat(3, 3)


def batches(frames: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(frames), size):
        yield frames[start : start + size]


def streamed(
    need: ClipNeed, cut: Cut | None, total: int, notes: list[str] | None = None
) -> list[tuple[int, list[int]]]:
    found = cut_stream(need, cut, batches(numbered(total), 5), "a.mp4", [] if notes is None else notes)
    return [(first, window[:, 0, 0, 0].tolist()) for first, window in found]


@pytest.mark.parametrize("need", [WHOLE, PAST, dataclasses.replace(WHOLE, shorter=True)], ids=str)
@pytest.mark.parametrize("total", [1, 3, 11, 12, 13, 15, 16, 17, 31, 32, 33, 50])
@pytest.mark.parametrize("cut", [None, *CUTS])
def test_streams_are_cut_as_clips_at_hand(need: ClipNeed, cut: Cut | None, total: int) -> None:
    try:
        length, starts = need.windows(total, cut, "a.mp4")
    except UserError as error:
        with pytest.raises(UserError) as other:
            streamed(need, cut, total)
        words = str(error).replace(f"{total} frames", f"more than {max(need.frames or 0, need.most or 0)} frames", 1)
        assert str(other.value) in (str(error), words)
        return
    assert streamed(need, cut, total) == [(s, list(range(s, s + length))) for s in starts]


def test_windows_by_hand() -> None:
    assert WHOLE.windows(16, None, "a") == (16, [0])
    assert WHOLE.windows(40, "first", "a") == (16, [0])
    assert WHOLE.windows(40, "last", "a") == (16, [24])
    assert WHOLE.windows(40, "all", "a") == (16, [0, 16])
    assert PAST.windows(16, None, "a") == (12, [0])
    assert PAST.windows(43, "all", "a") == (12, [0, 16]) and PAST.windows(44, "all", "a") == (12, [0, 16, 32])
    assert PAST.windows(43, "last", "a") == (12, [31])
    assert dataclasses.replace(WHOLE, shorter=True).windows(5, None, "a") == (5, [0])
    assert ANY.windows(24, None, "a") == (24, [0]) and ANY.windows(24, "all", "a") == (16, [0])


@pytest.mark.parametrize(("need", "total", "cut", "words"), [
    (WHOLE, 15, None, "a: 15 frames, models/classifier reads 16"),
    (WHOLE, 1, "all", "a: 1 frame, models/classifier reads 16"),
    (WHOLE, 17, None, "a: 17 frames, models/classifier reads 16; --window first or last reads one window"),
    (ANY, 18, None, "a: 18 frames, models/tokenizer reads a multiple of 4; give --frames, or --window"),
    (ANY, 12, "all", "a: 12 frames, models/tokenizer reads 16"),
])
def test_what_does_not_fit_is_named(need: ClipNeed, total: int, cut: Cut | None, words: str) -> None:
    with pytest.raises(UserError) as error:
        need.windows(total, cut, "a")
    assert str(error.value).startswith(words)


def test_a_stream_is_read_no_further_than_it_must() -> None:
    read = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal read
        for batch in batches(numbered(100), 4):
            read += len(batch)
            yield batch

    assert len(list(cut_stream(WHOLE, "first", counted(), "a", []))) == 1 and read == 16
    read = 0
    with pytest.raises(UserError, match="more than 16 frames"):
        list(cut_stream(WHOLE, None, counted(), "a", []))
    assert read == 20


def test_what_is_left_over_is_said() -> None:
    notes: list[str] = []
    streamed(WHOLE, "all", 35, notes)
    assert notes == ["a.mp4: the last 3 frames fill no window of 16 and are not read"]
    streamed(WHOLE, "all", 32, notes)
    streamed(WHOLE, "last", 35, notes)
    streamed(PAST, "all", 31, notes)
    assert len(notes) == 1
    streamed(PAST, "all", 34, notes)
    assert notes[1:] == ["a.mp4: the last 2 frames fill no window of 12 and are not read"]


def test_an_empty_stream_is_too_short() -> None:
    for need in (WHOLE, dataclasses.replace(WHOLE, shorter=True)):
        with pytest.raises(UserError, match="0 frames"):
            streamed(need, None, 0)
