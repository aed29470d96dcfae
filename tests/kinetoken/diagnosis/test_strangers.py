"""Tables made elsewhere, each once given a wrong verdict: what the files show decides, and nothing they contradict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kinetoken
from kinetoken.diagnosis.api import DEFAULT, DiagnosisResult

RNG = np.random.default_rng(7)
QUICK = DEFAULT


def found(codes: Any, **beside: Any) -> DiagnosisResult:
    return kinetoken.diagnose(codes, threads=1, params=QUICK, **beside)


def spots(count: int = 480, classes: int = 4, side: int = 4, frames: int = 4) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Where a spot is, (count, frames) of side × side places: it runs right, left, down or up. And its class."""
    rng = np.random.default_rng(3)
    kind = np.arange(count) % classes
    start = rng.integers(0, side, (2, count))
    time = np.arange(frames)
    along = (start[0][:, None] + np.where(kind % 2 == 0, 1, -1)[:, None] * time) % side
    across = np.repeat(start[1][:, None], frames, 1)
    row = np.where((kind < 2)[:, None], across, along)
    column = np.where((kind < 2)[:, None], along, across)
    return row * side + column, kind


def clips_and_codes(count: int = 480, vocabulary: int = 16, classes: int = 4) -> tuple[NDArray[Any], ...]:
    """Clips (count, 4, 16, 16, 3) of a bright square that runs, codes (count, 4, 4, 4) that show it, and classes.

    The first half of the vocabulary is background, another code at each place, one token in twenty another.
    """
    rng = np.random.default_rng(4)
    place, kind = spots(count, classes)
    still = rng.integers(0, vocabulary // 2, 16)
    codes = np.where(rng.random((count, 4, 16)) < 0.05, rng.integers(0, vocabulary // 2, (count, 4, 16)), still)
    np.put_along_axis(codes, place[..., None], rng.integers(vocabulary // 2, vocabulary, (count, 4, 1)), 2)
    codes = codes.reshape(count, 4, 4, 4)
    clips = np.kron(codes >= vocabulary // 2, np.ones((1, 1, 4, 4))).astype(np.uint8)[..., None] * 200
    return np.repeat(clips, 3, -1), codes, np.array(["right", "left", "down", "up"])[kind]


def vectors(vocabulary: int = 16) -> NDArray[np.float32]:
    """A codebook (vocabulary, 3) whose first channel says what moves."""
    found = np.random.default_rng(8).standard_normal((vocabulary, 3)).astype(np.float32) * 0.3
    found[:, 0] = np.arange(vocabulary) >= vocabulary // 2
    return found


@pytest.fixture(scope="module")
def running() -> tuple[NDArray[Any], ...]:
    return clips_and_codes()


def test_codes_that_show_what_moves_are_healthy(running: tuple[NDArray[Any], ...]) -> None:
    clips, codes, label = running
    result = found(codes, labels=label, clips=clips, codebook=vectors())
    assert result.healthy and result.kept.name == "healthy" and "95 % interval" in result.evidence
    unknown = found(codes, labels=label, clips=clips)
    assert unknown.cause in ("healthy", "probe too weak", "too little data")  # without vectors hard to read: no blame


def test_codes_and_labels_alone_with_one_code_left() -> None:
    clips, codes, label = clips_and_codes()
    collapsed = np.zeros_like(codes)
    some = RNG.random(codes.shape) < 0.002
    collapsed[some] = codes[some]
    result = found(collapsed, labels=label, config={"codebook_size": 512})
    assert result.cause == "codebook collapse" and result.severity == pytest.approx(1, abs=0.05)
    assert result.kept.name == "cannot tell without videos" and "Bring the videos" in result.kept.surer


def test_latents_alone_are_enough_for_a_collapse_in_quantizing(running: tuple[NDArray[Any], ...]) -> None:
    _, codes, label = running
    latents = vectors()[codes] + 0.05 * RNG.standard_normal((*codes.shape, 3)).astype(np.float32)
    collapsed = np.where(RNG.random(codes.shape) < 0.003, codes, 0)
    result = found(collapsed, labels=label, latents=latents, config={"codebook_size": 512})
    assert result.cause == "codebook collapse" and result.kept.name == "codebook collapse"


def test_a_class_in_codes_too_many_for_a_probe_blames_nobody(running: tuple[NDArray[Any], ...]) -> None:
    clips, small, label = running
    kind = np.unique(label, return_inverse=True)[1]
    codes = RNG.integers(0, 2**16, small.shape) * 4 + kind[:, None, None, None]  # the class is in every code
    alone = found(codes, labels=label, config={"codebook_size": 2**18})
    assert alone.cause == "cannot tell without videos" and "planted" in alone.evidence
    seen = found(codes, labels=label, clips=clips, config={"codebook_size": 2**18})
    assert seen.cause == "probe too weak" and seen.severity is None
    bits = found(codes, labels=label, clips=clips, config={"codebook_size": 2**18, "quantizer": "lfq"})
    assert bits.healthy  # with the bits of the codes known, they are read


def test_two_classes_of_91_and_9_percent_that_are_read_without_error() -> None:
    kind = (np.arange(500) % 11 == 0).astype(int)
    clips = RNG.integers(0, 90, (500, 2, 8, 8, 1)).astype(np.uint8)
    clips[kind == 1, :, :4, :4] += 120
    codes = RNG.integers(0, 4, (500, 2, 2, 2))
    codes[kind == 1, :, 0, 0] += 4
    result = found(codes, labels=kind, clips=clips)
    assert result.healthy and result.numbers["probe"]["codes_floor"] == 0.5


def test_four_hundred_classes_far_above_chance_are_read_and_no_pair_of_them_trips_the_verdict() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(4000) % 400
    codes = rng.integers(0, 30, (4000, 1, 4, 4))
    codes[:, 0, 0, 0], codes[:, 0, 0, 1] = kind % 20, kind // 20
    codes[:, 0, 0, :2] = np.where(rng.random((4000, 2)) < 0.6, codes[:, 0, 0, :2], rng.integers(0, 20, (4000, 2)))
    table = np.eye(30, dtype=np.float32)
    result = found(codes, labels=kind, latents=table[codes] + 1e-3, codebook=table)
    assert result.numbers["probe"]["codes"] > 20 / 400
    assert result.cause in ("healthy", "cannot tell without videos") and result.kept.severity in (None, 0)


def test_training_clips_are_counted_before_the_sample_is_drawn() -> None:
    rng = np.random.default_rng(1)
    kind = np.arange(6000) % 40
    codes = rng.integers(0, 8, (6000, 1, 2, 2))
    clips = rng.integers(0, 256, (6000, 1, 4, 4, 1)).astype(np.uint8)
    result = found(codes, labels=kind, clips=clips)
    assert result.measures["clips_a_class"] == 90  # 60 % of 150


@pytest.mark.parametrize("what", ["still", "hue"])
def test_a_class_in_still_content_or_in_hue_is_read_from_pixels_and_named_as_no_motion(what: str) -> None:
    rng = np.random.default_rng(5)
    kind = np.arange(480) % 2
    place = rng.integers(0, 4, (480, 2))
    clips = np.full((480, 4, 16, 16, 3), 60, np.uint8)
    for clip, (row, column) in enumerate(place):
        colour = [[200, 80, 80], [80, 200, 80]][kind[clip]] if what == "hue" else [180, 180, 180]
        high = 4 if what == "hue" or kind[clip] else 2
        clips[clip, :, 4 * row : 4 * row + high, 4 * column : 4 * column + 8 - high] = colour
    codes = np.where(clips[:, :, 1::4, 1::4].max(-1) > 60, 1 + kind[:, None, None, None], 0)
    result = found(codes, labels=kind, clips=clips, config={"codebook_size": 8})
    assert result.healthy and result.numbers["probe"]["pixels"] > 0.95
    assert any(one.name == "class shows in still frames" for one in result.findings)


def test_sequences_are_averaged_over_the_sequence_and_not_over_space() -> None:
    rng = np.random.default_rng(6)
    kind = np.arange(480) % 2
    codes = rng.integers(0, 8, (480, 32))
    first = np.sort(rng.choice(32, (480, 2)), 1)
    codes[np.arange(480), np.where(kind == 0, first[:, 0], first[:, 1])] = 8
    codes[np.arange(480), np.where(kind == 1, first[:, 0], first[:, 1])] = 9
    result = found(codes, labels=kind)
    said = " ".join([result.evidence, *map(str, result.findings), *result.notes, result.to_markdown()])
    assert "over space" not in said and "rows and columns" not in said


def test_an_outputs_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(kinetoken.UserError, match="file"):
        found(np.zeros((20, 2, 2, 2), int), out=tmp_path / "file" / "report")


def test_residual_codes_are_read_as_their_sum_too() -> None:
    rng = np.random.default_rng(21)
    depth, size, length, count = 4, 64, 32, 640
    kind = np.arange(count) % 4
    books = rng.normal(size=(depth, size, 8)) * 0.45 ** np.arange(depth)[:, None, None]
    own = 12 * (1 + kind[:, None]) + rng.integers(0, 12, (count, length))
    first = np.where(rng.random((count, length)) < 0.5, rng.integers(0, 12, (count, length)), own)
    codes = np.concatenate([first[..., None], rng.integers(0, size, (count, length, depth - 1))], -1)
    whole = sum(books[level][codes[..., level]] for level in range(depth))
    nearest = []
    for book in books:  # by the quantizer's own rule, so that the table and the latents belong together
        nearest.append(((whole[..., None, :] - book) ** 2).sum(-1).argmin(-1))
        whole = whole - book[nearest[-1]]
    codes = np.stack(nearest, -1)
    latents = sum(books[level][codes[..., level]] for level in range(depth)) + rng.normal(0, 0.02, (count, length, 8))
    result = found(
        codes, labels=kind, latents=latents.astype(np.float32), codebook=books.astype(np.float32), layout="B,T,Q",
        config={"quantizer": "rvq", "codebook_size": size},
    )
    assert result.cause == "healthy", result.evidence
    probe, probes = result.numbers["probe"], result.numbers["probes"]
    assert probe["codes"] > max(reading["codes"] for reading in probes.values() if "codes" in reading) + 0.03
