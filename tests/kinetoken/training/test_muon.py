"""Muon in 32 bits against PyTorch's in bfloat16, and its orthogonalisation against the singular values."""

import pytest
import torch

from kinetoken.training import muon
from kinetoken.training.muon import Muon, orthogonalised

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (32, 32)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix, COEFFICIENTS, 5, 1e-7)
    diagonal = left.T @ found @ right.T
    expected = values / matrix.norm()
    for _ in range(5):  # the quintic on each singular value by itself
        a, b, c = COEFFICIENTS
        expected = a * expected + b * expected**3 + c * expected**5
    torch.testing.assert_close(diagonal, torch.diag(expected), rtol=0, atol=1e-4)
    assert 0.6 < float(expected.min()) and float(expected.max()) < 1.25


def steps(kind: type[torch.optim.Muon]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(size, generator=generator)) for size in ((16, 40), (40, 16))]
    optimizer = kind(weights, lr=0.02, weight_decay=0.1)
    for _ in range(4):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


def test_it_steps_as_pytorch_does_but_for_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: False)
    for ours, theirs in zip(steps(Muon), steps(torch.optim.Muon), strict=True):
        assert not torch.equal(ours, theirs), "both rounded alike"
        torch.testing.assert_close(ours, theirs, rtol=0, atol=4 * 0.02 * 0.03)  # 3 % of four steps


def test_it_is_pytorchs_own_where_bfloat16_is_multiplied_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: True)
    for ours, theirs in zip(steps(Muon), steps(torch.optim.Muon), strict=True):
        assert torch.equal(ours, theirs)
