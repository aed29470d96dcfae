"""Codes that no small probe reads, and a decoder does: reconstructions show what is in the codes they were made of."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinetoken.diagnosis.api import DiagnosisResult
from tests.kinetoken.diagnosis.test_strangers import clips_and_codes, found

SIZE = 64
BOOK = np.random.default_rng(11).standard_normal((SIZE, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def masked() -> dict[str, NDArray[Any]]:
    """Clips of four directions, and codes with a stream of random numbers added that each clip's first token seeds: a
    decoder undoes it, a probe cannot. Latents are a little off their codes' vectors."""
    clips, codes, label = clips_and_codes(800)
    seeds = np.random.default_rng(12).integers(0, SIZE, len(codes))
    flat = codes.reshape(len(codes), -1)
    stream = np.stack([np.random.default_rng(seed).integers(0, SIZE, flat.shape[1]) for seed in range(SIZE)])
    hidden = (flat + stream[seeds]) % SIZE
    hidden[:, 0] = seeds
    hidden = hidden.reshape(codes.shape)
    latents = BOOK[hidden] + np.random.default_rng(13).normal(0, 0.05, (*hidden.shape, 6)).astype(np.float32)
    return {"codes": hidden, "labels": label, "clips": clips, "latents": latents, "reconstructions": clips // 2 + 60}


def diagnosed(given: dict[str, NDArray[Any]], *without: str, **instead: Any) -> DiagnosisResult:
    beside = {key: value for key, value in given.items() if key not in ("codes", *without)} | instead
    return found(given["codes"], **beside)


def test_what_reconstructions_of_these_codes_show_was_kept(masked: dict[str, NDArray[Any]]) -> None:
    result = diagnosed(masked, codebook=BOOK)
    assert result.cause == "healthy" and "from the codes, through their reconstructions, and" in result.evidence
    assert result.numbers["probe"]["codes"] == result.numbers["probe"]["reconstructions"] > 0.9
    assert result.numbers["probes"]["linear"]["codes"] < 0.5


def test_reconstructions_that_show_nothing_do_not_help(masked: dict[str, NDArray[Any]]) -> None:
    grey = np.full_like(masked["clips"], 90)
    noise = np.random.default_rng(14).integers(0, 20, grey.shape, dtype=np.uint8)
    assert not diagnosed(masked, codebook=BOOK, reconstructions=grey + noise).healthy


@pytest.mark.parametrize("without", ["latents", "codebook"])
def test_reconstructions_that_may_be_of_other_codes_only_stop_the_blame(
    masked: dict[str, NDArray[Any]], without: str
) -> None:
    beside = {} if without == "codebook" else {"codebook": BOOK}
    result = diagnosed(masked, *(() if without == "codebook" else (without,)), **beside)
    assert result.cause == "probe too weak" and "from the reconstructions" in result.evidence
    assert "--latents" in result.kept.surer and not result.healthy
    blamed = diagnosed(masked, "reconstructions", *(() if without == "codebook" else (without,)), **beside)
    assert blamed.cause != "healthy" and "reconstructions" not in blamed.evidence


def test_right_reconstructions_do_not_hide_codes_of_other_clips(masked: dict[str, NDArray[Any]]) -> None:
    rolled = np.roll(masked["codes"], 7, 0)
    result = diagnosed(masked | {"codes": rolled}, codebook=BOOK)
    assert result.cause == "codes of other clips"
