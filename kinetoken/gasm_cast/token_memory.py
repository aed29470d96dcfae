"""Tokens of frozen backbones, made once and kept in memory: training then costs what the fusion network costs."""

import dataclasses

import torch
from torch import Tensor

from kinetoken.actions.dataset import ActionClips, EpochLoader
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.system import GasmCastSystem
from kinetoken.gasm_cast.variants import VARIANTS
from kinetoken.training.precision import Inference

BYTES = 4  # a number


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Of N clips, one view each, on the CPU: tokens by stream, float32, and labels (N,) int64."""

    streams: dict[str, Tensor]  # semantic (N, frames, P, C), motion (N, segments, M, D)
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


def tokens_mib(params: GasmCastParams, clips: int) -> float:
    """Memory that the tokens of so many clips take, MiB."""
    sizes = params.sizes(classes=2)
    numbers = {
        "semantic": sizes.frames * sizes.patches * sizes.semantic_width,
        "motion": sizes.segments * sizes.cells * sizes.motion_width,
    }
    return clips * BYTES * sum(numbers[name] for name in VARIANTS[params.fusion.variant].streams) / 2**20


def require_memory(params: GasmCastParams, clips: int) -> None:
    """UserError naming the size if the tokens of so many clips are more than the params allow."""
    needed = tokens_mib(params, clips)
    if needed > params.tokens_mib:
        raise UserError(
            f"train_gasm_cast.cache_tokens: the tokens of {clips} clips take {needed:,.0f} MiB, more than tokens_mib, "
            f"{params.tokens_mib}; raise it, or set cache_tokens to false"
        )


@torch.no_grad()
def tokens_of(system: GasmCastSystem, clips: ActionClips, inference: Inference, progress: Progress) -> Tokens:
    """The first evaluation view of each clip, encoded; in a distributed training every process encodes all of them."""
    system.eval().to(inference.device)
    loader = EpochLoader(clips, system.params.scoring_batch, system.params.intake.workers)
    progress.phase("encoding", len(clips), "clips")
    kept: dict[str, Tensor] = {}
    for batch in loader.epoch():
        with inference.precision():
            made = zip(("semantic", "motion"), system.tokens(batch["pixels"][:, 0].to(inference.device)), strict=True)
        for name, tokens in made:
            if tokens is not None:
                if name not in kept:
                    kept[name] = torch.zeros(len(clips), *tokens.shape[1:])
                kept[name][batch["index"]] = tokens.float().cpu()
        progress.advance(len(batch["index"]))
    return Tokens(kept, torch.from_numpy(clips.label))
