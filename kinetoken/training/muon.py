"""Muon (Jordan 2024, github.com/KellerJordan/Muon) that is fast on every processor, beside AdamW for the rest.

`torch.optim.Muon` orthogonalises in bfloat16 whatever the device. A processor with no matrix unit for that format
takes many times as long over it as over the same matrices in 32 bits: two thirds of a whole training step.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from kinetoken.core.params import PositiveFloat
from kinetoken.training.loop import Optimizers, TrainingParams, adamw, multiplies_bfloat16


@dataclasses.dataclass(frozen=True, kw_only=True)
class MuonParams(TrainingParams):
    """Training with Muon for the matrices between hidden layers and AdamW for the rest."""

    muon_learning_rate: PositiveFloat = 0.02  # the peak of Muon's; `learning_rate` is that of AdamW


class HasHiddenMatrices(Protocol):
    """A module that says which of its weights Muon trains."""

    def hidden_matrices(self) -> list[nn.Parameter]: ...


def muon_and_adamw(params: MuonParams) -> Callable[[nn.Module], Optimizers]:
    """Muon for the module's `hidden_matrices`, AdamW for the rest."""

    def choose(module: nn.Module) -> Optimizers:
        hidden = cast(HasHiddenMatrices, module).hidden_matrices()
        inside = {id(p) for p in hidden}
        rest = [p for p in module.parameters() if id(p) not in inside]
        return [adamw(rest, params), Muon(hidden, lr=params.muon_learning_rate, weight_decay=0.0)]

    return choose


class Muon(torch.optim.Muon):
    """`torch.optim.Muon`, orthogonalising in 32 bits where bfloat16 is not multiplied in hardware."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - whatever the closure returns
        """One step on all parameters that have a gradient."""
        first = self.param_groups[0]["params"][0]
        if multiplies_bfloat16(first.device):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        direction = orthogonalised(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameter.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def orthogonalised(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """(M, N) with its singular values brought near 1, between 0.7 and 1.2, by the quintic Newton–Schulz iteration."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
