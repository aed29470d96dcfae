"""DINOv3, R3D-18 and GASM-CAST as one network: pixels in, class scores out.

    pixels (B, T, H, W, 3) uint8 ─┬─ DINOv3 on one frame of each part ─ semantic tokens ─┬─ GasmCast ─ logits
                                  └─ R3D-18 on all frames ───────────── motion tokens ───┘

A stream that the variant does not look at is not built.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinetoken.backbones.loading import LoadReport
from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.gasm_cast.network import GasmCast
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.streams import MotionStream, SemanticStream, TokenStream
from kinetoken.gasm_cast.variants import VARIANTS


class GasmCastSystem(nn.Module):
    """pixels (B, T, H, W, 3) uint8 → logits (B, classes)."""

    def __init__(self, params: GasmCastParams, classes: Sequence[str]) -> None:
        """What is not loaded is drawn from torch's global generator. UserError for params that do not fit together."""
        super().__init__()
        self.params, self.classes, self.temperature = params, tuple(classes), 1.0
        used = VARIANTS[params.fusion.variant].streams
        frames, frozen = params.motion.frames, params.frozen
        self.semantic = SemanticStream(params.semantic, frames, frozen=frozen) if "semantic" in used else None
        self.motion = MotionStream(params.motion, frozen=frozen) if "motion" in used else None
        self.fusion = GasmCast(params.sizes(len(self.classes)), params.fusion)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.fusion(*self.tokens(pixels))
        return logits

    def tokens(self, pixels: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Semantic tokens (B, frames, P, C) and motion tokens (B, segments, M, D); None of a stream not used."""
        semantic = None if self.semantic is None else self.semantic(pixels)
        return semantic, None if self.motion is None else self.motion(pixels)

    def streams(self) -> Iterator[tuple[str, TokenStream]]:
        """The backbones that are there, by name."""
        for name, stream in (("semantic", self.semantic), ("motion", self.motion)):
            if stream is not None:
                yield name, stream

    @property
    def loaded(self) -> dict[str, LoadReport]:
        """Where each backbone's weights came from."""
        return {name: stream.loaded for name, stream in self.streams()}

    def save(self, folder: Path) -> None:
        """The model folder: weights, and a config that rebuilds the network."""
        save_model(folder, self, {
            "params": dataclasses.asdict(self.params), "classes": list(self.classes), "temperature": self.temperature,
            "backbones": {name: dataclasses.asdict(report) for name, report in self.loaded.items()},
        })


def build_system(params: GasmCastParams, classes: Sequence[str]) -> GasmCastSystem:
    """The network before training; what is not loaded comes from the params' seed."""
    torch.manual_seed(params.seed)
    return GasmCastSystem(params, classes)


def blind_twin(system: GasmCastSystem) -> GasmCastSystem:
    """Of the same params but for the variant, order_blind: it begins with the system's own semantic backbone.

    What each frame shows it need not learn again, only what can be told without their order.
    """
    params = system.params
    fusion = dataclasses.replace(params.fusion, variant="order_blind")
    epochs = params.order_blind_epochs or params.epochs
    twin = build_system(dataclasses.replace(params, fusion=fusion, epochs=epochs), system.classes)
    if twin.semantic is not None and system.semantic is not None:
        twin.semantic.load_state_dict(system.semantic.state_dict())
    return twin


def load_gasm_cast(folder: Path | str) -> GasmCastSystem:
    """The network in eval mode; UserError if the folder is another kind of model."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        try:
            section: dict[str, Any] = config["params"]
            # its own weights follow: no others are fetched
            backbones = {
                name: {**section[name], "pretrained": False, "checkpoint": None} for name in ("semantic", "motion")
            }
            classes, temperature = [str(name) for name in config["classes"]], float(config["temperature"])
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{folder}: not a model of train_gasm_cast (config.json lacks its params or classes)"
            ) from None
        params = build(GasmCastParams, {**section, **backbones}, f"{folder}/config.json: params")
        system = GasmCastSystem(params, classes)
        load_weights(folder, system)
        system.temperature = temperature
    return system.eval()
