"""Every quantizer behind the one interface: indices decode to what was quantized, and it can be trained."""

import pytest
import torch
from torch.nn import functional as F

from kinetoken.tokenizer.quantizers import QUANTIZERS, Quantizer, build_quantizer

LEVELS, SIZE, DIM = (8, 5, 5, 5), 64, 6


def built(name: str) -> Quantizer:
    torch.manual_seed(0)
    return build_quantizer(name, LEVELS, SIZE, DIM)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_indices_decode_to_what_was_quantized(name: str) -> None:
    quantizer = built(name)
    latents = torch.randn(3, quantizer.dim, 2, 4, 5)
    quantizer(latents)  # in training mode: the codebook of vq starts from its first batch
    quantizer.eval()
    quantized, indices, _ = quantizer(latents)
    assert quantized.shape == latents.shape and indices.shape == (3, 2, 4, 5) and indices.dtype == torch.int64
    assert 0 <= indices.min() and indices.max() < quantizer.codebook_size
    torch.testing.assert_close(quantizer.codes(indices), quantized, atol=1e-5, rtol=0)
    assert len(indices.unique()) > 8


@pytest.mark.parametrize("name", QUANTIZERS)
def test_each_token_is_quantized_by_itself(name: str) -> None:
    quantizer = built(name)
    latents = torch.randn(2, quantizer.dim, 2, 3, 4)
    quantizer(latents)
    quantizer.eval()
    other = latents.clone()
    other[0, :, 1, 2, 3] *= -1
    changed = (quantizer(latents)[1] != quantizer(other)[1]).nonzero().tolist()
    assert changed == [[0, 1, 2, 3]]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_step_through_it_lowers_the_error(name: str) -> None:
    quantizer = built(name)
    torch.manual_seed(1)
    given = torch.randn(8, 10, 1, 4, 4)
    encoder, decoder = torch.nn.Conv3d(10, quantizer.dim, 1), torch.nn.Conv3d(quantizer.dim, 10, 1)
    weights = [*encoder.parameters(), *decoder.parameters(), *quantizer.parameters()]
    optimizer = torch.optim.Adam([w for w in weights if w.requires_grad], lr=0.01)
    errors = []
    for _ in range(40):
        quantized, _, loss = quantizer(encoder(given))
        error = F.mse_loss(decoder(quantized), given)
        optimizer.zero_grad()
        (error + 0.1 * loss).backward()
        assert encoder.weight.grad is not None and encoder.weight.grad.abs().sum() > 0
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.9 * errors[0]


def test_levels_and_sizes_that_cannot_be() -> None:
    assert built("fsq").codebook_size == 1000 and built("fsq").levels == LEVELS
    assert built("lfq").dim == 6 and built("vq").levels == ()
    with pytest.raises(ValueError, match="power of two, found 48"):
        build_quantizer("lfq", (), 48, 4)
    with pytest.raises(ValueError, match="each of 3 or more"):
        build_quantizer("fsq", (8, 2), 16, 4)
    with pytest.raises(ValueError, match="at least one"):
        build_quantizer("fsq", (), 16, 4)
