"""Inputs in 0 … 255 for an encoder made for −1 … 1."""

import numpy as np
import torch
from vector_quantize_pytorch import FSQ, VectorQuantize

from kinetoken.diagnosis.checks import checked
from tests.support.peers import facts_of, found, peer, quantized, trained

NAME, MADE = "inputs on another scale", peer(150)
LEVELS = [8, 5, 5, 5]


def encoded(scale: float, shift: float = 0) -> np.ndarray:
    """Latents of clips by a convolution as it is initialised, for inputs of −1 … 1 times a scale."""
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(3, 4, (2, 4, 4), (2, 4, 4))
    pixels = torch.from_numpy(MADE.clips).float().movedim(-1, 1) / 127.5 - 1
    with torch.no_grad():
        return layer(pixels * scale + shift).movedim(1, -1).numpy()


def test_fsq_saturates() -> None:
    sick, well = encoded(127.5, 127.5), encoded(1)
    finding = found(quantized(FSQ(LEVELS), sick), {"levels": LEVELS}, latents=sick, clips=MADE.clips)[NAME]
    assert finding.confidence == "likely" and finding.severity is not None and finding.severity > 0.5
    assert "read as [0, 255]" in finding.evidence
    codes = quantized(FSQ(LEVELS), encoded(400))  # of several corners
    assert found(codes, {"levels": LEVELS})[NAME].confidence == "possible"
    assert checked(facts_of(codes, {"levels": LEVELS})).numbers["saturated_tokens"]["share"] > 0.9
    assert NAME not in found(quantized(FSQ(LEVELS), well), {"levels": LEVELS}, latents=well)


def test_latents_far_beyond_a_learned_codebook() -> None:
    sick, well = encoded(127.5), encoded(1)
    vq = trained(VectorQuantize(dim=4, codebook_size=32, kmeans_init=True), well)
    table = vq.codebook.numpy()
    finding = found(quantized(vq, sick), {"codebook_size": 32}, latents=sick, codebook=table)[NAME]
    assert "times less" in finding.evidence
    assert NAME not in found(quantized(vq, well), {"codebook_size": 32}, latents=well, codebook=table)


def test_one_corner_code_is_a_collapse_and_binary_levels_are_no_ends() -> None:
    codes = np.zeros((60, 2, 4, 4), int)
    assert NAME not in found(codes, {"levels": LEVELS})
    binary = np.random.default_rng(0).integers(0, 16, (60, 2, 4, 4))
    assert NAME not in found(binary, {"levels": [2, 2, 2, 2]}) and NAME not in found(binary, {"levels": [3, 3, 3]})
