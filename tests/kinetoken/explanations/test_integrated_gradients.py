"""Integrated gradients against closed forms, their completeness, and a second implementation."""

import torch
from torch import Tensor, nn

from kinetoken.explanations.integrated_gradients import integrated_gradients

BASELINE = torch.tensor([0.5, -1.0, 2.0])


def inputs(count: int = 70) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Linear(16, 4), nn.LogSoftmax(-1)).requires_grad_(False)


def test_of_a_linear_map_it_is_weight_times_difference() -> None:
    weights = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    given, chosen = inputs(), torch.arange(70) % 2
    found = integrated_gradients(lambda x: x @ weights.T, given, BASELINE, chosen, steps=1)
    torch.testing.assert_close(found, weights[chosen] * (given - BASELINE))


def test_of_a_product_it_is_shared() -> None:
    """x y from (0, 0): both carry half of it (section 3 of the paper: symmetric)."""
    given = torch.tensor([[2.0, 3.0]])
    read = lambda x: x.prod(-1, keepdim=True)  # noqa: E731
    found = integrated_gradients(read, given, torch.zeros(2), torch.zeros(1, dtype=torch.int64), 2)
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0]]))


def test_they_add_up_to_the_rise_over_the_baseline_of_the_chosen_class() -> None:
    read, given, chosen = network(), inputs(), torch.arange(70) % 4
    rise = (read(given) - read(BASELINE)).gather(1, chosen[:, None])[:, 0]
    errors = [
        float((integrated_gradients(read, given, BASELINE, chosen, steps).sum(1) - rise).abs().max())
        for steps in (1, 4, 16)
    ]
    assert errors[0] > 0.01 and errors[0] > errors[1] > errors[2] and errors[2] < 1e-4


def test_progress_counts_every_row() -> None:
    done: list[int] = []
    integrated_gradients(network(), inputs(), BASELINE, torch.zeros(70, dtype=torch.int64), 1, done.append)
    assert sum(done) == 70


def test_captum_finds_the_same() -> None:
    from captum.attr import IntegratedGradients

    read, given, chosen = network(), inputs(), torch.arange(70) % 4
    other = IntegratedGradients(read).attribute(
        given, BASELINE[None], target=chosen, n_steps=16, method="gausslegendre"
    )
    found = integrated_gradients(read, given, BASELINE, chosen, 16)
    torch.testing.assert_close(found, other.float(), atol=1e-5, rtol=1e-4)
