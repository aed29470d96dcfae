"""Strips of frames: where each frame lies, that headings and labels are written, and what is missing stays white."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinetoken.charts.strips import GAP, GROUP_GAP, Group, draw_strips

GROUPS = [Group("what came", 2, ["frame 0", "frame 1"]), Group("what was predicted", 1, ["frame 1"])]


def clip(frames: int, shade: int) -> np.ndarray:
    return np.full((frames, 20, 24, 3), shade, np.uint8)


def drawn(path: Path, rows: list[np.ndarray], labels: list[str], groups: list[Group], **words: object) -> np.ndarray:
    draw_strips(path, rows, labels, groups, **words)  # type: ignore[arg-type]
    return np.asarray(Image.open(path))


def runs_of(line: np.ndarray) -> list[int]:
    """Where a row of booleans becomes true, and where it ceases to be."""
    return np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(int))).tolist()


@pytest.mark.parametrize("enlarged", [1, 2, 3])
def test_every_frame_lies_in_its_column_and_row(tmp_path: Path, enlarged: int) -> None:
    image = drawn(tmp_path / "a.png", [clip(3, 10), clip(2, 60)], ["one", "another"], GROUPS, enlarged=enlarged)
    width = 24 * enlarged
    first = (image == 10).all(-1)
    assert first.sum() == 3 * width * 20 * enlarged
    starts = runs_of(first.any(0))[::2]
    assert np.diff(starts).tolist() == [width + GAP, width + GAP + GROUP_GAP]
    second = (image == 60).all(-1)
    assert second.sum() == 2 * width * 20 * enlarged, "a frame that is missing stays white"
    assert runs_of(second.any(0))[::2] == starts[:2]
    assert runs_of(second.any(1))[0] - runs_of(first.any(1))[0] == 20 * enlarged + GAP


def test_each_text_is_written_where_it_belongs(tmp_path: Path) -> None:
    rows, labels = [clip(3, 10), clip(3, 60)], ["one", "another"]
    bare = drawn(tmp_path / "a.png", rows, labels, [Group("", 2), Group("", 1)])
    named = drawn(tmp_path / "b.png", rows, labels, GROUPS, title="Three frames")
    frames = (named == 10).all(-1)
    top = int(np.flatnonzero(frames.any(1))[0])
    inked = (named[:top] < 200).all(-1)
    assert len(runs_of(inked.any(1))) // 2 == 3, "title, headings, captions"
    assert (bare[: int(np.flatnonzero((bare == 10).all(-1).any(1))[0])] == 255).all()
    left = int(np.flatnonzero(frames.any(0))[0])
    for shade in (10, 60):
        beside = (named == shade).all(-1).any(1)
        assert (named[beside, :left] < 200).any(), "each row has its label"


def test_same_content_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_strips(tmp_path / "new" / name, [clip(3, 10)], ["one"], GROUPS)
    assert (tmp_path / "new/a.png").read_bytes() == (tmp_path / "new/b.png").read_bytes()
