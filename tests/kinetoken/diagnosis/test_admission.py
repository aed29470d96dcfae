"""What the doctor takes over from the pipeline's own tokenizer."""

import dataclasses

import numpy as np
import pytest
import torch

from kinetoken.diagnosis.admission import _before_rounding
from kinetoken.diagnosis.chain import bounded_latents
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.support.quantizers import FSQ

NETWORK = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=16, coarse_blocks=1)


@pytest.mark.parametrize("activation", ["tanh", "ifsq"])
def test_latents_before_rounding_are_within_half_a_level_of_their_codes(activation: str) -> None:
    tokenizer = Tokenizer(NETWORK, dataclasses.replace(FSQ, activation=activation), 64)
    latents = np.random.default_rng(1).normal(0, 1.5, (500, len(FSQ.levels))).astype(np.float32)
    codes = tokenizer.quantize(torch.from_numpy(latents)[:, :, None, None, None])[0][:, :, 0, 0, 0].detach().numpy()
    bounded = _before_rounding(tokenizer, latents)
    half = 0.5 / (np.array(FSQ.levels) // 2)
    assert (np.abs(bounded - codes) <= half + 1e-5).all() and np.abs(bounded - codes).max() > 0.4 * half.min()
    of_tanh = np.abs(bounded_latents(latents, tuple(FSQ.levels)) - codes)
    assert (of_tanh <= half + 1e-5).all() == (activation == "tanh"), "the levels alone tell it of one of the two"
