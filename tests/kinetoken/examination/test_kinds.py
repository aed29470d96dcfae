"""Every kind of codes, from a flat row to several codebooks, gets a whole card."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, SimVQ

from kinetoken.examination.adapters.vector_quantize import VectorQuantizeAutoencoder
from kinetoken.examination.motion_set import MotionSet
from tests.kinetoken.examination.test_examine import card_of
from tests.support.tokenizers import Toy, small_decoder, small_encoder


class Flat(Toy):
    """A row of codes a clip, with no grid: is a block of 2 × 4 × 4 pixels bright?"""

    def encode(self, video: Tensor) -> Tensor:
        return (nn.functional.avg_pool3d(video, (2, 4, 4)).mean(1) > 0.3).long().flatten(1)

    def decode(self, indices: Tensor) -> Tensor:
        blocks = indices.unflatten(1, (1, 2, 4, 4)).float().expand(-1, 3, -1, -1, -1)
        return nn.functional.interpolate(blocks, scale_factor=(2, 4, 4))


def autoencoder(quantizer: nn.Module) -> VectorQuantizeAutoencoder:
    torch.manual_seed(0)
    return VectorQuantizeAutoencoder(small_encoder(6), quantizer, small_decoder(6), size=16, frames=4, fps=4)


@pytest.mark.parametrize(("make", "shape"), [
    (Flat, (32,)),
    (lambda: autoencoder(ResidualVQ(dim=6, codebook_size=16, num_quantizers=3)), (2, 4, 4, 3)),
    (lambda: autoencoder(LFQ(dim=6, codebook_size=2**18)), (2, 4, 4)),
    (lambda: autoencoder(FSQ([8, 5], dim=6)), (2, 4, 4)),
    (lambda: autoencoder(SimVQ(dim=6, codebook_size=32)), (2, 4, 4)),
], ids=["flat", "rvq", "lfq", "fsq", "simvq"])
def test_every_kind_of_codes_gets_a_card(make: Any, shape: tuple[int, ...], toy_set: MotionSet) -> None:
    card = card_of(make(), toy_set)
    assert card.codes_shape == shape and {"class.codes", "position_r2.codes", "codes.usage"} <= set(card.numbers)
    assert card.numbers["reconstruction.psnr_db"].baseline is not None
    json.dumps(card.to_json(), allow_nan=False)
    if len(shape) > 1:
        assert "class.latents" in card.numbers
