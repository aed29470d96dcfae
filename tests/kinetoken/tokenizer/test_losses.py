"""The foreground-weighted loss against hand-made pictures."""

import pytest
import torch

from kinetoken.tokenizer.losses import LossParams, foreground_weight, reconstruction_loss

PARAMS = LossParams(foreground=9.0, saturation=0.2, margin=0, colour=4.0)


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """A grey clip with one bright pixel and one shaded one, and its background."""
    background = torch.full((1, 1, 4, 4, 3), 0.3)
    target = background.repeat(1, 2, 1, 1, 1)
    target[0, :, 1, 1] = 0.9
    target[0, :, 2, 2] = 0.2
    return target, background


def test_weight_grows_with_the_deviation_until_it_saturates() -> None:
    target, background = scene()
    weight = foreground_weight(target, background, PARAMS)
    assert weight.shape == (1, 2, 4, 4)
    assert weight[0, 0, 0, 0].item() == pytest.approx(1)
    assert weight[0, 0, 1, 1].item() == pytest.approx(10)
    assert weight[0, 0, 2, 2].item() == pytest.approx(1 + 9 * 0.5, rel=1e-5)


def test_an_error_on_the_ball_costs_its_weight() -> None:
    target, background = scene()
    on_ball, beside = target.clone(), target.clone()
    on_ball[0, 0, 1, 1] += 0.02
    beside[0, 0, 0, 0] += 0.02
    ratio = reconstruction_loss(on_ball, target, background, PARAMS) / reconstruction_loss(
        beside, target, background, PARAMS
    )
    assert ratio.item() == pytest.approx(10, rel=1e-4)
    assert reconstruction_loss(target, target, background, PARAMS).item() == 0


def test_an_error_in_hue_counts_colour_times_one_in_brightness() -> None:
    target, background = scene()

    def cost(error: list[float]) -> float:
        return reconstruction_loss(target + torch.tensor(error), target, background, PARAMS).item()

    assert cost([0.02, 0.02, 0.02]) == pytest.approx(0.02**2, rel=1e-4)
    assert cost([0.02, -0.02, 0.0]) == pytest.approx(4 * 0.02**2 * 2 / 3, rel=1e-3)
    assert cost([0.04, 0.04, 0.04]) / cost([0.02, 0.02, 0.02]) == pytest.approx(4, rel=1e-3)


def test_gradient_reaches_the_output_only() -> None:
    target, background = scene()
    output = target.clone().add(0.1).requires_grad_()
    reconstruction_loss(output, target, background, PARAMS).backward()
    assert output.grad is not None and (output.grad > 0).all()


def test_a_margin_weighs_as_much_as_what_it_surrounds() -> None:
    background = torch.zeros(1, 1, 9, 9, 3)
    target = background.repeat(1, 2, 1, 1, 1)
    target[0, 0, 4, 3] = 1.0
    weight = foreground_weight(target, background, LossParams(foreground=9.0, saturation=0.2, margin=2, colour=4.0))
    expected = torch.ones(9, 9)
    expected[2:7, 1:6] = 10.0
    assert torch.equal(weight[0, 0], expected) and (weight[0, 1] == 1).all()


def test_value_and_gradient_equal_those_of_the_plain_formula() -> None:
    torch.manual_seed(0)
    output, target = torch.rand(2, 3, 5, 6, 3), torch.rand(2, 3, 5, 6, 3)
    background = torch.rand(1, 1, 5, 6, 3)
    weight = foreground_weight(target, background, PARAMS).double()
    plain = output.double().requires_grad_()
    error = plain - target
    brightness = error.mean(-1)
    hue = error - brightness.unsqueeze(-1)
    cost = (weight * (brightness**2 + 4.0 * (hue**2).mean(-1))).sum() / weight.sum()
    cost.backward()
    given = output.clone().requires_grad_()
    loss = reconstruction_loss(given, target, background, PARAMS)
    (7 * loss).backward()
    assert loss.item() == pytest.approx(cost.item(), rel=1e-5)
    assert plain.grad is not None and given.grad is not None
    assert torch.allclose(given.grad, 7 * plain.grad.float(), rtol=1e-4, atol=1e-9)
