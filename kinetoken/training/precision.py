"""On what and how precisely a network runs outside of the training loop: as the training loop would."""

import dataclasses
import os
from contextlib import AbstractContextManager, nullcontext

import torch

from kinetoken.core.stage import Hardware
from kinetoken.training.loop import fabric_device, fabric_precision


@dataclasses.dataclass(frozen=True)
class Inference:
    """A kind of device, and the type that matrix products are made in there; None: the weights' own."""

    kind: str  # "cpu" or "cuda"
    half: torch.dtype | None = None

    @classmethod
    def on(cls, hardware: Hardware) -> "Inference":
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(fabric_precision(hardware))
        return cls(fabric_device(hardware).type, half)

    @property
    def device(self) -> torch.device:
        """Of several GPUs the one that this process trains on."""
        if self.kind == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # Lightning Fabric's

    def precision(self) -> AbstractContextManager[object]:
        return nullcontext() if self.half is None else torch.autocast(self.kind, self.half)
