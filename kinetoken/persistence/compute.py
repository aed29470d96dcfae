"""What a decision costs: multiply-adds of every step that runs before it, features cached, and seconds."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kinetoken.persistence.network import PersistenceNetwork
from kinetoken.persistence.stopping import Steps
from kinetoken.physics.laws import Array


@dataclasses.dataclass(frozen=True)
class Compute:
    """Of one clip: multiply-adds of each step (S,), the extractor, the reader and the head, nothing computed twice."""

    multiply_adds: Array

    def share(self, step: Steps) -> Array:
        """(N,) of a whole clip's that has run when a decision falls after step `step` (N,)."""
        return np.asarray(np.cumsum(self.multiply_adds)[step] / self.multiply_adds.sum())


@contextmanager
def unfused() -> Iterator[None]:
    """No transformer layer as one operation, which would be counted as none."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def count(network: PersistenceNetwork, image_size: int, num_frames: int) -> Compute:
    """By running the network's own steps: matrix products, convolutions and attention; norms and the like are free."""
    frames = torch.zeros(1, network.stride, image_size, image_size, 3, dtype=torch.uint8)
    device = next(network.parameters()).device
    state, counted = None, []
    with torch.no_grad(), unfused():
        for _ in range(num_frames // network.stride):
            with FlopCounterMode(display=False) as counter:
                _, state = network.step(frames.to(device), state)
            counted.append(counter.get_total_flops() / 2)
    return Compute(np.array(counted))


def seconds_a_step(network: PersistenceNetwork, image_size: int, tracks: int, steps: int) -> float:
    """Measured: seconds of one step of so many tracks at once, the median over steps after the first."""
    frames = torch.zeros(tracks, network.stride, image_size, image_size, 3, dtype=torch.uint8)
    device = next(network.parameters()).device
    state, taken = None, []
    with torch.no_grad():
        for _ in range(steps + 1):
            start = time.perf_counter()
            evidence, state = network.step(frames.to(device), state)
            float(evidence.logits.sum())
            taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]))
