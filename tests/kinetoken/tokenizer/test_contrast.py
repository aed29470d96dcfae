"""InfoNCE: low where two views of a slice agree and slices differ, log of their number where they say nothing."""

import math

import pytest
import torch

from kinetoken.tokenizer.losses import CONTRAST_TEMPERATURE, contrastive_loss


def latents(seed: int) -> torch.Tensor:
    return torch.randn(4, 6, 3, 5, 5, generator=torch.Generator().manual_seed(seed))


def test_agreeing_views_cost_nothing_and_strangers_more_than_chance() -> None:
    assert contrastive_loss(latents(0), latents(0)) < 0.01
    assert contrastive_loss(latents(0), latents(1)) > math.log(12)


def test_collapsed_latents_cost_the_log_of_the_slices() -> None:
    same = torch.ones(4, 6, 3, 5, 5)
    assert contrastive_loss(same, same).item() == pytest.approx(math.log(12))


def test_what_all_slices_share_does_not_count() -> None:
    offset = 100 * torch.randn(1, 6, 1, 5, 5)
    near = latents(0) + 0.5 * latents(1)
    torch.testing.assert_close(
        contrastive_loss(latents(0) + offset, near + offset), contrastive_loss(latents(0), near), rtol=1e-3, atol=1e-4
    )


def test_it_is_the_cross_entropy_worked_out_pair_by_pair() -> None:
    one, two = latents(0), latents(0) + latents(1)
    rows = [
        [x[b, :, t].flatten() for b in range(4) for t in range(3)]
        for x in (one - one.mean((0, 2), keepdim=True), two - two.mean((0, 2), keepdim=True))
    ]
    total = 0.0
    for left, right in (rows, rows[::-1]):
        for i, anchor in enumerate(left):
            scores = [math.exp(float(torch.cosine_similarity(anchor, r, dim=0)) / CONTRAST_TEMPERATURE) for r in right]
            total -= math.log(scores[i] / sum(scores)) / 24
    assert contrastive_loss(one, two).item() == pytest.approx(total, rel=1e-4)


def test_gradients_pull_views_together() -> None:
    one, two = latents(0).requires_grad_(), latents(0) + latents(1)
    before = contrastive_loss(one, two)
    before.backward()
    assert one.grad is not None and torch.isfinite(one.grad).all()
    assert contrastive_loss(one.detach() - 50 * one.grad, two) < before
