"""Twenty questions that people ask in public about their codes, each answered by name from the files they have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange, repeat
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, VectorQuantize

import kinetoken
from kinetoken.diagnosis.api import DiagnosisResult
from tests.support.peers import Peer, peer, quantized, trained

LEVELS = [8, 5, 5, 5]
Files = dict[str, Any]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def made() -> Peer:
    return peer(200)


def asked(folder: Path, **files: Any) -> DiagnosisResult:
    """The doctor on these files: arrays become .npy, mappings JSON, the config stays as it is."""
    given: Files = {}
    for name, content in files.items():
        given[name] = content
        if isinstance(content, np.ndarray):
            given[name] = folder / f"{name}.npy"
            np.save(given[name], content)
        elif name == "history":
            given[name] = folder / f"{name}.json"
            given[name].write_text(json.dumps(content))
    return kinetoken.diagnose(given.pop("codes"), threads=1, **given)


def fsq(latents: np.ndarray) -> np.ndarray:
    return quantized(FSQ(LEVELS), latents)


def painted(latents: np.ndarray) -> np.ndarray:
    """Clips of the mean of each cell, as a decoder without detail paints them."""
    grey = repeat(np.clip(60 + 50 * latents[..., 0], 0, 255), "n t h w -> n (t 2) (h 4) (w 4) 3")
    return np.rint(grey).astype(np.uint8)


def half_unused_after_bfloat16(made: Peer) -> Files:
    quantizer = FSQ(LEVELS)
    codes = quantizer(torch.from_numpy(made.latents.reshape(200, -1, 4)))[0]
    indices = quantizer.codes_to_indices(codes.to(torch.bfloat16)).numpy().reshape(-1, 4, 8, 8)
    return {"codes": indices, "config": {"levels": LEVELS}}


def lfq_usage_falls(made: Peer) -> Files:
    codes = quantized(LFQ(dim=4, codebook_size=16), made.latents) % 4
    usage = [0.4, 0.7, 0.9, 0.95, 0.9, 0.7, 0.5, 0.35, 0.3, 0.25]
    return {"codes": codes, "config": {"codebook_size": 16}, "history": {"epoch": list(range(10)), "usage": usage}}


def simvq_near_all_and_then_little(made: Peer) -> Files:
    usage = [0.8, 0.97, 0.99, 0.99, 0.98, 0.5, 0.1, 0.07, 0.07, 0.07]
    codes = fsq(made.latents) % 18
    return {"codes": codes, "config": {"codebook_size": 256}, "history": {"epoch": list(range(10)), "usage": usage}}


def indices_to_codes_with_axes_swapped(made: Peer) -> Files:
    drawn = painted(made.latents.transpose(0, 1, 3, 2, 4))
    return {"codes": fsq(made.latents), "config": {"levels": LEVELS}, "clips": made.clips, "reconstructions": drawn}


def perplexity_depends_on_the_batch(made: Peer) -> Files:
    return {"codes": RNG.integers(0, 4096, (40, 2, 4, 4)), "config": {"codebook_size": 4096}}


def training_counters_against_evaluation(made: Peer) -> Files:
    history = {"epoch": list(range(10)), "usage": np.linspace(0.2, 0.98, 10).tolist()}
    return {"codes": RNG.integers(0, 16, (200, 4, 8, 8)), "config": {"codebook_size": 64}, "history": history}


def full_use_with_duplicates(made: Peer) -> Files:
    vectors = np.repeat(RNG.standard_normal((32, 16)), 16, 0).astype(np.float32)
    return {"codes": RNG.integers(0, 512, (100, 4, 8, 8)), "config": {"codebook_size": 512}, "codebook": vectors}


def rvq_levels_after_the_first_unused(made: Peer) -> Files:
    module = trained(ResidualVQ(dim=4, codebook_size=32, num_quantizers=4, kmeans_init=True), made.latents)
    codes = quantized(module, made.latents)
    codes[..., 1:] = 5
    return {"codes": codes, "config": {"codebook_size": 32, "grid": [4, 8, 8]}}


def a_range_never_used(made: Peer) -> Files:
    codes = RNG.integers(0, 1000, (400, 4, 8, 8))
    return {"codes": np.where((codes > 300) & (codes < 500), codes + 300, codes), "config": {"codebook_size": 1000}}


def nan_then_code_zero(made: Peer) -> Files:
    latents = made.latents.copy()
    latents[150:] = np.nan
    module = trained(VectorQuantize(dim=4, codebook_size=64, kmeans_init=True), made.latents)
    return {"codes": quantized(module, latents), "config": {"codebook_size": 64}}


def one_code_left(made: Peer) -> Files:
    return {"codes": np.full((100, 4, 8, 8), 7), "config": {"codebook_size": 512}}


def inputs_in_0_to_255(made: Peer) -> Files:
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(3, 4, (2, 4, 4), (2, 4, 4))
    with torch.no_grad():
        latents = layer(torch.from_numpy(made.clips).float().movedim(-1, 1)).movedim(1, -1).numpy()
    return {"codes": fsq(latents), "config": {"levels": LEVELS}, "latents": latents, "clips": made.clips}


def another_extraction_differs(made: Peer) -> Files:
    torch.manual_seed(0)
    dropout = torch.nn.Dropout(0.1)
    twice = [fsq(dropout(torch.from_numpy(made.latents)).numpy()) for _ in range(2)]
    return {"codes": twice[0], "again": twice[1], "config": {"levels": LEVELS}}


def codes_depend_on_the_batch(made: Peer) -> Files:
    """Batch statistics at inference: the last batch of 36 is not full."""
    def extracted(fill: bool) -> np.ndarray:
        parts = []
        for start in range(0, 200, 36):
            part = made.latents[start : start + 36]
            whole = np.concatenate([part, np.zeros((36 - len(part), *part.shape[1:]), np.float32)]) if fill else part
            parts.append((part - whole.mean((0, 1, 2, 3))) / whole.std((0, 1, 2, 3)))
        return fsq(np.concatenate(parts))

    return {"codes": extracted(False), "again": extracted(True), "config": {"levels": LEVELS}}


def wrong_reshape(made: Peer) -> Files:
    codes = rearrange(fsq(made.latents), "n t h w -> n h w t").reshape(200, 4, 8, 8)
    drawn = painted(made.latents)
    return {"codes": codes, "config": {"levels": LEVELS}, "clips": made.clips, "reconstructions": drawn}


def chunked_and_concatenated(made: Peer) -> Files:
    change = RNG.random((80, 4, 3, 4, 4)) < 0.3
    change[:, :, 0] = RNG.random((80, 4, 4, 4)) < 0.9
    codes = np.where(change, RNG.integers(0, 200, change.shape), -1).reshape(80, 12, 4, 4)
    before = RNG.integers(0, 200, (80, 4, 4))
    for time in range(12):
        codes[:, time] = before = np.where(codes[:, time] < 0, before, codes[:, time])
    return {"codes": codes, "config": {"codebook_size": 200}}


def first_frames_ghosted(made: Peer) -> Files:
    drawn = np.clip(made.clips + RNG.normal(0, 3, made.clips.shape), 0, 255)
    drawn[:, :3] = 0.5 * drawn[:, :3] + 0.5 * drawn[:, -1:] - 10
    drawn = np.clip(drawn, 0, 255).astype(np.uint8)
    return {"codes": fsq(made.latents), "config": {"levels": LEVELS}, "clips": made.clips, "reconstructions": drawn}


def still(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Clips (count, 2, 16, 16, 1) of a tall or a wide bar that stands still, and which."""
    kind = np.arange(count) % 2
    clips = np.full((count, 2, 16, 16, 1), 40, np.uint8)
    for clip, (row, column) in enumerate(RNG.integers(0, 9, (count, 2))):
        high, wide = (8, 3) if kind[clip] else (3, 8)
        clips[clip, :, row : row + high, column : column + wide] = 200
    return clips, kind


def class_in_still_frames(made: Peer) -> Files:
    clips, kind = still()
    codes = np.where(clips[:, :, 2::4, 2::4, 0] > 100, 1 + kind[:, None, None, None], 0)
    return {"codes": codes, "labels": kind, "clips": clips}


def labels_shuffled_against_clips(made: Peer) -> Files:
    clips, kind = still(480)
    codes = np.where(clips[:, :, 2::4, 2::4, 0] > 100, 1 + kind[:, None, None, None], 0)
    return {"codes": codes, "labels": np.random.default_rng(5).permutation(kind), "clips": clips}


QUESTIONS: dict[Callable[[Peer], Files], str] = {
    half_unused_after_bfloat16: "indices rounded by low precision",
    lfq_usage_falls: "usage fell during training",
    simvq_near_all_and_then_little: "usage fell during training",
    indices_to_codes_with_axes_swapped: "axes swapped",
    perplexity_depends_on_the_batch: "perplexity depends on the count",
    training_counters_against_evaluation: "training counters differ",
    full_use_with_duplicates: "duplicate entries",
    rvq_levels_after_the_first_unused: "dead codebooks",
    a_range_never_used: "part of the vocabulary unused",
    nan_then_code_zero: "codes of NaN",
    one_code_left: "codebook collapse",
    inputs_in_0_to_255: "inputs on another scale",
    another_extraction_differs: "codes differ between runs",
    codes_depend_on_the_batch: "codes depend on the batch",
    wrong_reshape: "tokens out of place",
    chunked_and_concatenated: "encoded in chunks",
    first_frames_ghosted: "first frames not reconstructed",
    class_in_still_frames: "class shows in still frames",
    labels_shuffled_against_clips: "labels not separable in pixels",
}
BESIDE = {  # worth knowing, and no fault of the codes: not the headline
    "perplexity depends on the count", "part of the vocabulary unused", "encoded in chunks",
    "class shows in still frames",
}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.__name__)
def test_the_question_is_answered_by_name(question: Callable[[Peer], Files], made: Peer, tmp_path: Path) -> None:
    name = QUESTIONS[question]
    result = asked(tmp_path, **question(made))
    if name in BESIDE:
        assert name in {one.name for one in result.findings} and result.cause not in QUESTIONS.values()
    else:
        assert result.cause == name and not result.healthy
    assert result.evidence and result.cure


@pytest.mark.parametrize(("code", "reason"), [(-3, "negative|below|padding|overflow"), (1000, "codebook")])
def test_indices_that_are_negative_or_out_of_range_are_one_sentence(
    made: Peer, tmp_path: Path, code: int, reason: str
) -> None:
    codes = fsq(made.latents)
    codes[12, 1, 2, 3] = code
    with pytest.raises(kinetoken.UserError, match=reason) as said:
        asked(tmp_path, codes=codes, config={"codebook_size": 900} if code > 0 else {"levels": LEVELS})
    assert "row 12" in str(said.value) or code > 0
