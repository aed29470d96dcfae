"""Train both backbones and the fusion together, or the fusion alone on tokens that were made once."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinetoken.actions.dataset import ActionClips, Footage
from kinetoken.core.stage import Context
from kinetoken.gasm_cast.batches import TrainingBatches, gathered, scoring_batches
from kinetoken.gasm_cast.network import smoothed_loss
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.system import GasmCastSystem
from kinetoken.gasm_cast.token_memory import Tokens, require_memory, tokens_of
from kinetoken.training.loop import Batch, History, Optimizers, Step, TensorBatches, Validate, adamw, fit, index_batches
from kinetoken.training.precision import Inference

TRAINED_ON, VALIDATED_ON = "train", "validation"


def train_system(system: GasmCastSystem, footage: Footage, context: Context, label: str) -> History:
    """Fit to the split `train`, keep the epoch that is best on `validation`; nothing else is looked at.

    UserError, before any work, for tokens that are to be kept and would not fit into the memory that they may take.
    """
    params, inference = system.params, Inference.on(context.hardware)
    val = ActionClips(single_view(footage), VALIDATED_ON, training=False)
    if not params.cache_tokens:
        train = ActionClips(footage, TRAINED_ON, training=True, seed=params.seed)
        return fit(
            system, _step(params), TrainingBatches(train, params), params, context, label=label,
            validate=_validation(val, params, inference), monitor="val_loss", optimizers=optimizers(params),
        )
    train = ActionClips(single_view(footage), TRAINED_ON, training=False)
    require_memory(params, len(train) + len(val))
    shown, held_out = (tokens_of(system, each, inference, context.progress) for each in (train, val))
    return fit(
        system.fusion, _token_step(params), TensorBatches(**shown.streams, label=shown.label), params, context,
        label=label, validate=_token_validation(held_out, params, inference), monitor="val_loss",
        optimizers=optimizers(params),
    )


def single_view(footage: Footage) -> Footage:
    """Evaluated in one view: the middle of the picture, the middles of the segments."""
    return dataclasses.replace(footage, views=dataclasses.replace(footage.views, clips=1, crops=1))


def optimizers(params: GasmCastParams) -> Callable[[nn.Module], Optimizers]:
    """AdamW; the backbones, where they train, at their share of the learning rate."""

    def choose(module: nn.Module) -> Optimizers:
        backbones = {
            id(p) for name, p in module.named_parameters() if name.partition(".")[0] in ("semantic", "motion")
        }
        chosen = adamw((p for p in module.parameters() if id(p) not in backbones), params)
        slower = dataclasses.replace(params, learning_rate=params.learning_rate * params.backbone_rate)
        inside = [p for p in module.parameters() if id(p) in backbones and p.requires_grad]
        for group in adamw(inside, slower).param_groups if inside else ():
            chosen.add_param_group(group)
        return [chosen]

    return choose


def _step(params: GasmCastParams) -> Step:
    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return smoothed_loss(module(batch["pixels"]), batch["label"], params.fusion.label_smoothing), {}

    return step


def _token_step(params: GasmCastParams) -> Step:
    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = module(batch.get("semantic"), batch.get("motion"))
        return smoothed_loss(logits, batch["label"], params.fusion.label_smoothing), {}

    return step


def _validation(clips: ActionClips, params: GasmCastParams, inference: Inference) -> Validate:
    loader = None

    def validate(module: nn.Module) -> dict[str, float]:
        nonlocal loader
        loader = loader or scoring_batches(clips, params)  # here, where it is known which process this is
        sums = torch.zeros(2, dtype=torch.float64, device=inference.device)
        for batch in loader.epoch():
            with inference.precision():
                logits = module(batch["pixels"][:, 0].to(inference.device))
            sums += _sums(logits, batch["label"].to(inference.device))
        return _means(gathered(sums), len(clips))

    return validate


def _token_validation(val: Tokens, params: GasmCastParams, inference: Inference) -> Validate:
    def validate(module: nn.Module) -> dict[str, float]:
        sums = torch.zeros(2, dtype=torch.float64, device=inference.device)
        for rows in index_batches(len(val), params.scoring_batch):
            given = {name: tokens[torch.from_numpy(rows)].to(inference.device) for name, tokens in val.streams.items()}
            with inference.precision():
                logits = module(given.get("semantic"), given.get("motion"))
            sums += _sums(logits, val.label[torch.from_numpy(rows)].to(inference.device))
        return _means(sums, len(val))

    return validate


def _sums(logits: Tensor, label: Tensor) -> Tensor:
    """Summed cross-entropy, no label smoothed, and how many are right."""
    loss = nn.functional.cross_entropy(logits.float(), label, reduction="sum")
    return torch.stack([loss.double(), (logits.argmax(1) == label).sum().double()])


def _means(sums: Tensor, clips: int) -> dict[str, float]:
    loss, right = (sums / clips).tolist()
    return {"val_loss": loss, "val_top1": right}
