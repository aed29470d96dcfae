import tracemalloc

import numpy as np
import pytest

from kinetoken.diagnosis import tally as module
from kinetoken.diagnosis.tally import WINDOW, Tally, by_position, level_histograms, levels_by_position
from kinetoken.diagnosis.usage import usage_of


def counted(codes: np.ndarray, size: int, mask: np.ndarray | None = None, batch: int = 10**6) -> Tally:
    """The codes (N, T', H', W') counted `batch` clips at a time, two classes in turn."""
    tally = Tally(codes.shape[1:], size, 2, seed=0)
    target = np.arange(len(codes)) % 2
    for start in range(0, len(codes), batch):
        part = slice(start, start + batch)
        tally.add(codes[part], target[part])
        if mask is not None:
            tally.add_foreground(codes[part], mask[part])
    return tally


def test_every_table_agrees_with_counting_by_hand() -> None:
    rng = np.random.default_rng(0)
    codes, mask = rng.integers(0, 7, (50, 2, 3, 3)).astype(np.int32), rng.random((50, 2, 3, 3)) < 0.4
    tally = counted(codes, 7, mask)
    assert tally.positions is not None and tally.joint is not None
    assert (tally.counts == np.bincount(codes.ravel(), minlength=7)).all()
    assert (tally.foreground.sum(0) == np.bincount(codes[mask], minlength=7)).all()
    assert (tally.masked == mask.reshape(50, -1).sum(0)).all()
    by_hand = np.stack([np.bincount(place, minlength=7) for place in codes.reshape(50, -1).T])
    assert (tally.positions == by_hand).all()
    odd = np.bincount(codes[1::2].ravel(), minlength=7)
    assert (tally.joint.sum(0)[:, 1] == odd).all() and tally.joint.sum() == codes.size


def test_batches_of_any_size_count_the_same() -> None:
    codes = np.random.default_rng(1).integers(0, 50, (300, 4, 4, 8)).astype(np.int32)
    whole, pieces = counted(codes, 50), counted(codes, 50, batch=17)
    assert whole.positions is not None and pieces.positions is not None
    assert (whole.counts == pieces.counts).all() and (whole.positions == pieces.positions).all()
    assert whole.windows == pieces.windows


def test_windows_are_consecutive_tokens() -> None:
    codes = np.random.default_rng(2).integers(0, 9, (2 * WINDOW // 128 + 5, 2, 8, 8)).astype(np.int32)
    found = counted(codes, 9, batch=7).windows
    flat = codes.ravel()
    expected = [usage_of(np.bincount(flat[i : i + WINDOW], minlength=9)) for i in (0, WINDOW)]
    assert found == expected


def test_tables_too_large_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CELLS", 20)
    codes = np.arange(8, dtype=np.int32).reshape(2, 1, 2, 2)
    tally = counted(codes, 10)
    assert tally.positions is None and tally.joint is None and tally.counts.sum() == 8
    assert len(by_position(tally)) == 0 and len(levels_by_position(tally, (5, 2))) == 0


def test_level_histograms_sum_to_one_and_tell_ball_from_the_rest() -> None:
    codes = np.zeros((4, 1, 2, 2), np.int32)
    codes[:, 0, 0, 0] = 3  # first channel at its last level, on the ball only
    mask = np.zeros(codes.shape, bool)
    mask[:, 0, 0, 0] = True
    tally = counted(codes, 12, mask)
    table = level_histograms(tally, (4, 3)).set_index(["channel", "level"])
    assert table.groupby("channel")["share"].sum().tolist() == [1, 1]
    assert table.loc[(0, 3), "share_foreground"] == 1 and table.loc[(0, 3), "share"] == 0.25
    assert len(level_histograms(tally, ())) == 0


def test_by_position_finds_the_one_place_and_channel_that_vary() -> None:
    codes = np.zeros((8, 2, 3, 4), np.int32)
    codes[:, 1, 2, 3] = np.arange(8)
    tally = counted(codes, 24)
    table = by_position(tally)
    assert len(table) == 24
    place = table[["slice", "row", "column"]].to_numpy()[table["perplexity"].to_numpy().argmax()]
    assert place.tolist() == [1, 2, 3] and table["perplexity"].max() == pytest.approx(8)
    levels = levels_by_position(tally, (8, 3))
    varied = levels[levels["perplexity"] > 1.001]
    assert varied[["slice", "row", "column", "channel"]].to_numpy().tolist() == [[1, 2, 3, 0]]
    assert varied["perplexity"].tolist() == pytest.approx([8])


def test_memory_does_not_grow_with_the_clips() -> None:
    rng = np.random.default_rng(3)
    batch = rng.integers(0, 500, (256, 4, 8, 8)).astype(np.int32)

    def peak(batches: int) -> int:
        tally = Tally((4, 8, 8), 500, 4, seed=0)
        tracemalloc.start()
        for _ in range(batches):
            tally.add(batch, np.arange(256) % 4)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(40) < 1.05 * peak(4)
