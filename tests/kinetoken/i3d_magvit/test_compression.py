"""The quantizer over features: few numbers a step, each step one code of a codebook that learns."""

import dataclasses

import pytest
import torch

from kinetoken.i3d_magvit.compression import FeatureQuantizer
from kinetoken.i3d_magvit.params import CompressionParams
from tests.support.i3d_magvit import COMPRESSION

FULL = dataclasses.replace(COMPRESSION, size=256, codebook_size=512)


def built(params: CompressionParams = COMPRESSION, features: int = 32) -> FeatureQuantizer:
    torch.manual_seed(0)
    return FeatureQuantizer(features, params)


def groups(count: int = 64, kinds: int = 4) -> torch.Tensor:
    """Steps (count, 4, 32), each near one of a few directions."""
    draw = torch.Generator().manual_seed(1)
    directions = 3 * torch.randn(kinds, 32, generator=draw)
    which = torch.arange(count * 4).reshape(count, 4) % kinds
    return directions[which] + 0.01 * torch.randn(count, 4, 32, generator=draw)


@pytest.mark.parametrize("kind", ["vq", "simvq"])
def test_full_size_shapes(kind: str) -> None:
    module, features = built(dataclasses.replace(FULL, kind=kind), 2048), torch.randn(2, 8, 2048)
    narrow, loss = module(features)
    assert narrow.shape == (2, 8, 256) and loss.shape == () and torch.isfinite(loss)
    codes = module.eval().indices(features)
    assert codes.shape == (2, 8) and codes.dtype == torch.int64 and 0 <= codes.min() and codes.max() < 512


def test_a_step_comes_out_as_the_vector_of_its_code() -> None:
    module, features = built(), groups()
    module(features)  # k-means starts the codebook here
    module.eval()
    narrow, _ = module(features)
    assert module.quantizer is not None
    codes = module.indices(features)
    vectors = module.quantizer.codes(codes[:, :, None, None]).reshape(*codes.shape[:1], 8, 4).transpose(1, 2)
    torch.testing.assert_close(narrow, vectors)
    assert len(torch.unique(codes)) <= 16 < codes.numel()  # vectors of one code may differ by rounding


def test_steps_alike_get_one_code_and_steps_unlike_do_not() -> None:
    module, features = built(), groups()
    for _ in range(30):  # the running mean and variance settle
        module(features)
    codes = module.eval().indices(features)
    for row in range(4):
        assert len(set(codes[:, row].tolist()) & set(codes[:, (row + 1) % 4].tolist())) == 0


def test_scale_and_offset_of_each_feature_do_not_count_in_training() -> None:
    """They are standardised over clips and steps; in reading by the running mean and variance, which move in training
    alone."""
    params, features = dataclasses.replace(COMPRESSION, quantize=False), groups()
    scale, offset = 1 + torch.rand(32), torch.randn(32)
    one, other = (built(params)(each)[0] for each in (features, scale * features + offset))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    module = built(params).eval()
    assert not torch.allclose(module(7 * features + 3)[0], module(features)[0])


def test_unquantized_is_the_linear_map_alone() -> None:
    module, features = built(dataclasses.replace(COMPRESSION, quantize=False)), groups()
    narrow, loss = module(features)
    wanted = (features - features.mean((0, 1))) / (features.var((0, 1), unbiased=False) + module.norm.eps).sqrt()
    torch.testing.assert_close(narrow, module.down(wanted), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loss, (module.up(narrow) - wanted).square().mean(), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="not quantized"):
        module.indices(features)


def test_training_brings_the_reconstruction_and_the_codebook_nearer() -> None:
    module, features = built(), groups()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = module(features)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_gradients_pass_straight_through_the_codes() -> None:
    module = built()
    features = groups().requires_grad_()
    narrow, _ = module(features)
    narrow.square().sum().backward()
    assert features.grad is not None and features.grad.abs().sum() > 0
    assert module.down.weight.grad is not None and module.down.weight.grad.abs().sum() > 0


def test_reading_changes_no_codebook() -> None:
    module, features = built(), groups()
    module(features)
    module.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module(features + 1)
    module.indices(features - 1)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
