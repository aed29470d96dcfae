"""Integrated gradients: how much each input added to a number that a network computes.

Sundararajan, Taly and Yan (2017), "Axiomatic attribution for deep networks", arXiv:1703.01365.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kinetoken.training.loop import index_batches

BATCH = 32  # clips on the path at once


def integrated_gradients(
    read: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, chosen: Tensor, steps: int,
    advance: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """(inputs − baseline) · ∫₀¹ ∂ read[chosen] / ∂ inputs at baseline + s (inputs − baseline) ds: (N, …), as inputs.

    read: (B, …) → (B, C), each row from its own input. baseline (…); chosen (N,) the column of each row. The integral
    is a Gauss-Legendre sum of `steps` terms. Completeness: the attributions of a row add up to
    read(inputs)[chosen] − read(baseline)[chosen], but for the error of the sum.
    """
    places, weights = np.polynomial.legendre.leggauss(steps)  # on [−1, 1]
    parts = []
    for rows in index_batches(len(inputs), BATCH):
        given, column = inputs[rows], chosen[rows, None]
        total = torch.zeros_like(given)
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            point = torch.lerp(baseline.expand_as(given), given, float(place)).requires_grad_()
            (gradient,) = torch.autograd.grad(read(point).gather(1, column).sum(), point)
            total += float(weight) * gradient
        parts.append(total * (given - baseline))
        advance(len(rows))
    return torch.cat(parts)
