"""First frames that a causal tokenizer spoils, by a real causal convolution without its padding."""

import numpy as np
import pytest

from kinetoken.diagnosis.checks.frames import first_frames
from tests.support.peers import found, peer

NAME = "first frames not reconstructed"
MADE = peer(150)
CODES = np.random.default_rng(0).integers(0, 30, (150, 4, 8, 8))


def ghosted(clips: np.ndarray, count: int) -> np.ndarray:
    """The first frames mixed with the last one, as where zeros stand before a clip of another length; noise on all."""
    noise = np.random.default_rng(0).normal(0, 3, clips.shape)
    found = clips + noise
    found[:, :count] = 0.5 * found[:, :count] + 0.5 * found[:, -1:] - 10
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 3])
def test_first_frames_ghosted(count: int) -> None:
    finding = found(CODES, {"codebook_size": 30}, clips=MADE.clips, reconstructions=ghosted(MADE.clips, count))[NAME]
    assert finding.severity == count / 8 and "8 frames, not 4k + 1" in finding.evidence
    assert ("The first frame has" if count == 1 else "The first 3 frames have") in finding.evidence
    assert NAME not in found(CODES, {"codebook_size": 30}, clips=MADE.clips, reconstructions=ghosted(MADE.clips, 0))


def test_clips_of_4k_plus_1_frames_are_read_whole() -> None:
    clips = np.concatenate([MADE.clips[:, :1], MADE.clips], 1)  # 9 frames on 4 slices
    finding = found(CODES, {"codebook_size": 30}, clips=clips, reconstructions=ghosted(clips, 1))[NAME]
    assert "9 frames, which is 2 · 4 + 1" in finding.evidence


def test_frames_that_show_more_or_differ_by_chance_are_not_worse() -> None:
    rng = np.random.default_rng(0)
    energy = np.ones((60, 16))
    energy[:, 0] = 20
    errors = 0.01 * energy * rng.lognormal(0, 0.3, (60, 16))
    assert first_frames(errors, energy) is None
    for seed in range(50):
        wild = np.random.default_rng(seed).lognormal(-5, 1.5, (40, 16))
        assert first_frames(wild, np.ones((40, 16))) is None
    ends = np.full((60, 16), 0.001)
    ends[:, [0, -1]] = 0.01  # both ends are worse: not the first frames' fault
    assert first_frames(ends, np.ones((60, 16))) is None
