"""Small tables of codes as other people's tokenizers make them: clips, latents by fixed filters, real quantizers."""

import dataclasses
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.core.progress import Progress
from kinetoken.diagnosis.api import DEFAULT, Data, _history, _required
from kinetoken.diagnosis.checks import CodeFacts, checked
from kinetoken.diagnosis.finding import Finding
from kinetoken.diagnosis.intake import Files, take_in

GRID = (4, 8, 8)


@dataclasses.dataclass(frozen=True)
class Peer:
    """Clips (n, T, H, W, 3) uint8 of discs that move over textures, and latents (n, T', H', W', 4) of their patches."""

    clips: NDArray[np.uint8]
    latents: NDArray[np.float32]


def peer(count: int = 200, seed: int = 0, grid: tuple[int, int, int] = GRID) -> Peer:
    """Latents of unit variance: mean and slopes of each cell of 2 frames and 4 × 4 pixels."""
    rng = np.random.default_rng(seed)
    frames, height, width = 2 * grid[0], 4 * grid[1], 4 * grid[2]
    t, y, x = np.ogrid[:frames, :height, :width]
    side = np.array([height, width])
    start, end = rng.random((2, count, 2)) * side
    at = start[:, None] + (end - start)[:, None] * np.linspace(0, 1, frames)[:, None]  # (n, T, 2)
    far = np.hypot(y[None] - at[..., 0, None, None], x[None] - at[..., 1, None, None])
    disc = np.clip(5 - far, 0, 1)
    texture = rng.random((count, 1, height, width)) * 0.1 + 0.2 + rng.random((count, 1, 1, 1)) * 0.2
    grey = texture * (1 - disc) + 0.95 * disc
    clips = np.repeat(np.rint(grey * 255).astype(np.uint8)[..., None], 3, -1)
    cells = rearrange(clips[..., 0] / 255.0, "n (t f) (h a) (w b) -> n t h w f a b", f=2, a=4, b=4)
    slopes = [cells.mean((4, 5, 6)), *(np.diff(cells, axis=axis).mean((4, 5, 6)) for axis in (4, 5, 6))]
    latents = np.stack(slopes, -1)
    latents = (latents - latents.mean((0, 1, 2, 3))) / latents.std((0, 1, 2, 3))
    return Peer(clips, latents.astype(np.float32))


def quantized(quantizer: torch.nn.Module, latents: NDArray[np.float32]) -> NDArray[Any]:
    """Indices (n, T', H', W') or (n, T', H', W', Q) by a module of vector-quantize-pytorch, in evaluation mode."""
    flat = torch.from_numpy(latents.reshape(len(latents), -1, latents.shape[-1]))
    with torch.no_grad():
        indices = quantizer.eval()(flat)[1].numpy()
    return indices.reshape(*latents.shape[:4], *indices.shape[2:])


def trained(quantizer: torch.nn.Module, latents: NDArray[np.float32], steps: int = 12) -> torch.nn.Module:
    """The same after so many batches have moved its codebook."""
    flat = torch.from_numpy(latents.reshape(len(latents), -1, latents.shape[-1]))
    quantizer.train()
    for step in range(steps):
        quantizer(flat[step * 16 % (len(flat) - 15) :][:16])
    return quantizer


def facts_of(codes: Data, config: dict[str, Any] | None = None, layout: str | None = None, **beside: Any) -> CodeFacts:
    """What the checks read of codes and the files beside them, as `kinetoken diagnose` takes them in."""
    history = _history(beside.pop("history", None))
    columns = {"labels": "label", "again": "codes"}
    given = {name: _required(data, name, columns.get(name, "")) for name, data in beside.items()}
    files = Files(_required(codes, "codes"), history=history, config=config, layout=layout, **given)
    facts = take_in(files, DEFAULT, Progress.silent()).facts
    assert facts is not None
    return facts


def found(codes: Data, config: dict[str, Any] | None = None, **beside: Any) -> dict[str, Finding]:
    """The findings by name."""
    return {one.name: one for one in checked(facts_of(codes, config, **beside)).findings}


def costly(codes: Data, config: dict[str, Any] | None = None, **beside: Any) -> dict[str, Finding]:
    """Those that cost anything, or whose cost is not known."""
    return {name: one for name, one in found(codes, config, **beside).items() if one.severity != 0}
