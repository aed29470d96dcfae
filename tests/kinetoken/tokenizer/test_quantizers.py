"""Every quantizer behind the one interface: indices decode to what was quantized, and it can be trained."""

import dataclasses
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinetoken.diagnosis.usage import usage_of
from kinetoken.tokenizer.quantizers import QUANTIZERS, Quantizer, build_quantizer
from tests.support.quantizers import FSQ, quantizer_params


def built(kind: str, **changes: object) -> Quantizer:
    torch.manual_seed(0)
    return build_quantizer(quantizer_params(kind, **changes))


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_indices_decode_to_what_was_quantized(kind: str) -> None:
    quantizer = built(kind)
    latents = torch.randn(3, quantizer.dim, 2, 4, 5)
    quantizer(latents)  # in training mode: the codebook of vq starts from its first batch
    quantizer.eval()
    quantized, indices, loss = quantizer(latents)
    assert quantized.shape == latents.shape and indices.shape == (3, 2, 4, 5) and indices.dtype == torch.int64
    assert loss.shape == () and not loss
    assert 0 <= indices.min() and indices.max() < quantizer.codebook_size
    torch.testing.assert_close(quantizer.codes(indices), quantized, atol=1e-5, rtol=0)
    assert len(indices.unique()) > 8


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_each_token_is_quantized_by_itself(kind: str) -> None:
    quantizer = built(kind)
    latents = torch.randn(2, quantizer.dim, 2, 3, 4)
    quantizer(latents)
    quantizer.eval()
    other = latents.clone()
    other[0, :, 1, 2, 3] *= -1
    changed = (quantizer(latents)[1] != quantizer(other)[1]).nonzero().tolist()
    assert changed == [[0, 1, 2, 3]]


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_the_nearest_code_is_taken_at_its_own_place(kind: str) -> None:
    """Against all distances worked out place by place: neither the grid nor the channels are mixed up."""
    quantizer = built(kind)
    latents = torch.randn(2, quantizer.dim, 2, 3, 5)
    quantizer(latents)
    quantizer.eval()
    given = torch.tanh(latents) if kind == "fsq" else latents
    book = quantizer.codes(torch.arange(quantizer.codebook_size).reshape(1, -1, 1, 1))[0, :, :, 0, 0].T  # (K, D)
    quantized, indices, _ = quantizer(latents)
    for place in [(0, 0, 0, 0), (1, 0, 2, 4), (0, 1, 1, 3), (1, 1, 0, 1)]:
        b, t, h, w = place
        if kind == "fsq":  # levels of a coordinate are not all as wide, so its code is near, not always the nearest
            assert (book[indices[place]] - given[b, :, t, h, w]).abs().max() < 0.6
        else:
            assert indices[place] == (book - given[b, :, t, h, w]).square().sum(1).argmin()
        torch.testing.assert_close(quantized[b, :, t, h, w], book[indices[place]])


@pytest.mark.parametrize("rotation", [True, False])
@pytest.mark.parametrize("kind", QUANTIZERS)
def test_gradients_reach_every_latent_through_the_rounding(kind: str, rotation: bool) -> None:
    quantizer = built(kind, rotation=rotation)
    latents = torch.randn(2, quantizer.dim, 2, 8, 8, requires_grad=True)
    quantized, _, _ = quantizer(latents)
    (quantized * torch.randn_like(quantized)).sum().backward()
    assert latents.grad is not None and torch.isfinite(latents.grad).all()
    assert (latents.grad.abs() > 1e-6).float().mean() > 0.99


def test_straight_through_passes_the_gradient_on_and_rotation_turns_it() -> None:
    for kind in ("lfq", "vq", "simvq"):
        quantizer = built(kind, rotation=False, commitment=0.0)
        latents = torch.randn(2, quantizer.dim, 1, 3, 4, requires_grad=True)
        weight = torch.randn_like(latents)
        (quantizer(latents)[0] * weight).sum().backward()
        torch.testing.assert_close(latents.grad, weight)
    turned = built("vq", rotation=True, commitment=0.0)
    latents = torch.randn(2, turned.dim, 1, 3, 4, requires_grad=True)
    quantized = turned(latents)[0]
    (quantized * weight[:, : turned.dim]).sum().backward()
    assert latents.grad is not None and not torch.allclose(latents.grad, weight)
    # Fifty et al. 2024, arXiv:2410.06424: rotation and scaling, so lengths change by the ratio of the norms
    ratio = quantized.norm(dim=1) / latents.norm(dim=1)
    torch.testing.assert_close(latents.grad.norm(dim=1), weight.norm(dim=1) * ratio)


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_a_step_through_it_lowers_the_error(kind: str) -> None:
    quantizer = built(kind)
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


def used_after(quantizer: Quantizer, latents: Tensor, steps: int) -> float:
    """Share of codes that the latents use after that many training passes over them."""
    for _ in range(steps):
        quantizer(latents)
    indices = quantizer.eval()(latents)[1]
    return usage_of(torch.bincount(indices.ravel(), minlength=quantizer.codebook_size).numpy()).usage


OFFSET = {"codebook_size": 512, "code_dim": 8}


def offset_latents() -> Tensor:
    """Unit spread about a point far from the origin: where a codebook drawn about the origin does not reach."""
    generator = torch.Generator().manual_seed(2)
    return 10 + torch.randn(4, 8, 4, 16, 16, generator=generator)


def test_a_plain_codebook_collapses_on_offset_latents_and_each_cure_alone_helps() -> None:
    plain = built("vq", **OFFSET, kmeans_start=False, dead_code_threshold=0.0)
    assert used_after(plain, offset_latents(), 20) == 1 / 512
    moved = built("vq", **OFFSET, kmeans_start=False, dead_code_threshold=2.0)
    assert used_after(moved, offset_latents(), 20) > 0.9
    started = built("vq", **OFFSET, kmeans_start=True, dead_code_threshold=0.0)
    assert used_after(started, offset_latents(), 20) > 0.9


def test_kmeans_start_puts_codes_on_the_first_batch() -> None:
    centres = 10 * torch.randn(64, 6, generator=torch.Generator().manual_seed(3))
    latents = centres.T.reshape(1, 6, 1, 8, 8).repeat(1, 1, 16, 1, 1)
    latents = latents + 0.01 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(4))
    quantizer = built("vq", dead_code_threshold=0.0)
    quantizer(latents)
    quantized = quantizer.eval()(latents)[0]
    explained = 1 - F.mse_loss(quantized, latents) / latents.var()
    plain = built("vq", dead_code_threshold=0.0, kmeans_start=False)
    plain(latents)
    assert explained > 0.8 > 1 - F.mse_loss(plain.eval()(latents)[0], latents) / latents.var()


def test_fsq_on_normal_latents_is_the_healthy_mark() -> None:
    """All 1000 codes of [8, 5, 5, 5] in use, perplexity 922 to 943 (measured on the library's own)."""
    latents = torch.randn(20, 4, 16, 16, 16, generator=torch.Generator().manual_seed(5))
    found = usage_of(torch.bincount(built("fsq")(latents)[1].ravel(), minlength=1000).numpy())
    assert found.usage == 1 and 922 <= found.perplexity <= 943


# ---- iFSQ's activation


def likelihoods(levels: int) -> np.ndarray:
    """Of each level, for a normal latent: level k of L begins where 2·sigmoid(1.6·z) − 1 = 2k/L − 1."""
    bounds = [math.log(k / (levels - k)) / 1.6 for k in range(1, levels)]
    return np.diff([0.0, *map(NormalDist().cdf, bounds), 1.0])


@pytest.mark.parametrize(("levels", "even"), [(5, 0.04), (8, 0.11), (32, 0.5)])
def test_ifsq_makes_the_levels_of_normal_latents_equally_likely(levels: int, even: float) -> None:
    """Level by level as worked out, and more evenly than tanh, whose outer levels are half as wide."""
    normal = torch.tensor([NormalDist().inv_cdf((i + 0.5) / 200_000) for i in range(200_000)])
    shares = {}
    for activation in ("tanh", "ifsq"):
        quantizer = built("fsq", levels=(levels,), activation=activation)
        counts = torch.bincount(quantizer(normal.reshape(1, 1, -1, 1, 1))[1].ravel(), minlength=levels)
        shares[activation] = counts.double().numpy() / len(normal)
    np.testing.assert_allclose(shares["ifsq"], likelihoods(levels), atol=1e-4)
    assert np.abs(shares["ifsq"] * levels - 1).max() < even, "of 1, in which all are equal"
    entropy = {name: -(share * np.log(share)).sum() / math.log(levels) for name, share in shares.items()}
    assert entropy["tanh"] < 0.9935 < 0.9969 < entropy["ifsq"]


@pytest.mark.parametrize("levels", [(5,), (8,), (3, 4), (32, 32)])
def test_ifsq_has_the_codes_of_fsq(levels: tuple[int, ...]) -> None:
    """The same vectors at the same indices, all reached and none beyond, however far a latent lies out."""
    plain, other = (built("fsq", levels=levels, activation=name).eval() for name in ("tanh", "ifsq"))
    every = torch.arange(plain.codebook_size).reshape(1, 1, 1, -1)
    assert torch.equal(plain.codes(every), other.codes(every))
    latents = torch.randn(1, len(levels), 1, 100, 1000)
    latents[..., -1] = 1e9
    latents = torch.cat([latents, -latents], 3)
    quantized, indices, _ = other(latents)
    assert len(indices.unique()) == other.codebook_size and indices.min() == 0
    torch.testing.assert_close(other.codes(indices), quantized, atol=1e-6, rtol=0)
    assert torch.equal(plain(latents)[1][..., -1], indices[..., -1]), "ends are ends"


def test_ifsq_passes_the_gradient_of_its_activation_straight_through() -> None:
    quantizer = built("fsq", levels=(8, 5), activation="ifsq")
    latents = torch.randn(2, 2, 1, 3, 4, requires_grad=True)
    quantizer(latents)[0].sum().backward()
    slope = 3.2 * torch.sigmoid(1.6 * latents) * torch.sigmoid(-1.6 * latents)
    wanted = slope * torch.tensor([4 / 4, 2.5 / 2]).reshape(1, 2, 1, 1, 1)
    torch.testing.assert_close(latents.grad, wanted)


def test_only_fsq_has_an_activation_and_a_config_names_it_where_it_is_not_tanh() -> None:
    with pytest.raises(ValueError, match="activation: only FSQ has one; with kind vq leave it at tanh"):
        quantizer_params("vq", activation="ifsq")
    whole = dataclasses.asdict(FSQ)
    assert FSQ.saved() == {name: value for name, value in whole.items() if name != "activation"}
    assert quantizer_params("fsq", activation="ifsq").saved() == {**whole, "activation": "ifsq"}


# ---- training before anything is quantized


@pytest.mark.parametrize("activation", ["tanh", "ifsq"])
def test_unquantized_latents_of_fsq_round_to_its_codes(activation: str) -> None:
    quantizer = built("fsq", activation=activation)
    latents = torch.randn(3, 4, 2, 5, 6)
    steps = torch.tensor(FSQ.levels).reshape(-1, 1, 1, 1) // 2
    rounded = (quantizer.unquantized(latents) * steps).round() / steps
    torch.testing.assert_close(rounded, quantizer(latents)[0])


@pytest.mark.parametrize("kind", ["lfq", "vq", "simvq"])
def test_unquantized_latents_of_the_others_are_the_latents(kind: str) -> None:
    quantizer = built(kind)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    latents = torch.randn(2, quantizer.dim, 1, 3, 4)
    assert torch.equal(quantizer.unquantized(latents), latents)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("kmeans_start", [True, False])
def test_a_restart_lets_the_codebook_start_from_the_next_batch(kind: str, kmeans_start: bool) -> None:
    quantizer = built(kind, kmeans_start=kmeans_start, dead_code_threshold=0.0, decay=0.99)
    generator = torch.Generator().manual_seed(6)
    near, far = (torch.randn(2, quantizer.dim, 4, 8, 8, generator=generator) + place for place in (0, 50))
    quantizer(near)
    quantizer.restart()
    quantized = quantizer(far)[0]
    starts = kind == "vq" and kmeans_start
    assert (F.mse_loss(quantized, far) < 1) == starts


def test_the_codebook_of_vq_is_all_in_its_state() -> None:
    """Saved after a step and loaded elsewhere, the next steps are the same to the bit, moved codes included."""
    first, second = built("vq"), build_quantizer(quantizer_params("vq"))
    batches = [torch.randn(2, 6, 2, 4, 4, generator=torch.Generator().manual_seed(i)) + i for i in range(4)]
    first(batches[0])
    second.load_state_dict(first.state_dict())
    assert not torch.equal(first.codes(torch.arange(64).reshape(1, 1, 8, 8)), torch.zeros(()))
    for seed, batch in enumerate(batches[1:]):
        found = []
        for quantizer in (first, second):
            torch.manual_seed(seed)
            found.append(quantizer(batch))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(torch.equal(a, second.state_dict()[name]) for name, a in first.state_dict().items())


def test_levels_and_sizes_that_cannot_be() -> None:
    assert built("fsq").codebook_size == 1000 and built("fsq").levels == FSQ.levels
    assert built("lfq").dim == 6 and built("vq").levels == ()
    with pytest.raises(ValueError, match="power of two, found 48"):
        quantizer_params("lfq", codebook_size=48)
    assert quantizer_params("vq", codebook_size=48).codebook_size == 48
    with pytest.raises(ValueError, match="each of 3 or more"):
        quantizer_params("fsq", levels=(8, 2))
    with pytest.raises(ValueError, match="at least one"):
        quantizer_params("fsq", levels=())
