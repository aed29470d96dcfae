"""Train a masked prior, hiding some patches of a clip and learning what they hold, and the prior of its plans.

Two tasks share the network, after MAGVIT (arXiv:2212.05199, section 3.2): to fill in patches hidden anywhere, and to
foretell the slices after some point, all of which are hidden.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.codes import CodesTable
from kinetoken.core.params import Fraction, Positive
from kinetoken.core.stage import Context
from kinetoken.generation.masked_prior import MaskedPrior, SamplingParams
from kinetoken.generation.plan import Plan, PlanPrior, plan_step
from kinetoken.training.loop import Batch, History, Step, TensorBatches, Validate, fit, index_batches
from kinetoken.training.muon import MuonParams, muon_and_adamw

MARGINAL_WEIGHT = 0.2  # of each digit by itself, which only says how sure the network is
VALIDATION_BATCH = 240


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanParams(MuonParams):
    """The prior of plans; part of section train_generator."""

    components: Positive  # principal components of the path
    width: Positive
    layers: Positive
    mixture: Positive  # Gaussians a component


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedParams(MuonParams):
    """The masked transformer; part of section train_generator."""

    patch: Positive  # tokens a side that are shown or hidden together
    width: Positive
    layers: Positive
    heads: Positive
    label_dropout: Fraction  # share of clips whose class and plan are withheld, for guidance
    foretelling: Fraction  # share of clips that hide the slices after some point and no others
    sampling: SamplingParams


def train_masked_prior(
    prior: MaskedPrior, codes: CodesTable, seen: Mapping[str, Plan], params: MaskedParams, context: Context
) -> History:
    """Fit the prior to split `train`, keep the epoch that is best on `val`; nothing else is looked at.

    `seen` has what the clips of each of the two splits show, in the order of `codes`.
    """
    parts: dict[str, Batch] = {}
    for split in ("train", "val"):
        rows = np.flatnonzero(codes.split == split)
        digits = prior.to_patches(torch.from_numpy(codes.codes[rows].astype(np.int64)))
        parts[split] = {
            "digits": digits.to(torch.int16), "label": torch.from_numpy(codes.target[rows]),
            "path": seen[split].path, "colour": seen[split].colour,
        }
    return fit(
        prior, masked_step(prior, params), TensorBatches(**parts["train"]), params, context, label="masked",
        validate=_validation(prior, parts["val"], params), monitor="val_loss", optimizers=muon_and_adamw(params),
    )


def train_plan_prior(
    prior: PlanPrior, seen: Mapping[str, Plan], label: Mapping[str, Tensor], params: MuonParams, context: Context,
    *, mirrored: bool = True,
) -> History:
    """Fit the prior to the plans of split `train` and their mirror images, keep the epoch that is best on `val`.

    mirrored: whether a motion in a mirror is of the same class. If not, there are no mirror images.
    """
    prior.settle(seen["train"])
    plans = seen["train"].joined(seen["train"].mirrored()) if mirrored else seen["train"]
    both = prior.to_components(plans)
    held_out, target = prior.to_components(seen["val"]), label["val"]

    def validate(module: nn.Module) -> dict[str, float]:
        device = prior.place.device
        return {"val_loss": -float(module(held_out.to(device), target.to(device)).mean())}

    batches = TensorBatches(components=both, label=torch.cat([label["train"]] * (2 if mirrored else 1)))
    return fit(
        prior, plan_step, batches, params, context, label="plan", validate=validate, monitor="val_loss",
        optimizers=muon_and_adamw(params),
    )


def masked_step(prior: MaskedPrior, params: MaskedParams) -> Step:
    """Cross-entropy of hidden digits: each given those before it in its patch, and each by itself."""

    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        digits, label, plan = batch["digits"].long(), batch["label"], Plan(batch["path"], batch["colour"])
        hidden, foretold = draw_hidden(prior.shape.patches, len(digits), params.foretelling, digits.device)
        # guidance asks what the codes would be with neither class nor plan, and the future comes without
        withheld = (torch.rand(len(label), device=label.device) < params.label_dropout) | foretold
        label = torch.where(withheld, prior.no_class, label)
        loss, marginal = hidden_losses(prior, module(digits, hidden, label, plan, withheld), digits, hidden)
        return loss + MARGINAL_WEIGHT * marginal, {"hidden": loss, "marginal": marginal}

    return step


def draw_hidden(
    patches: tuple[int, int, int], count: int, foretelling: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which patches are hidden (count, P), at least one a clip, and in which clips they are the future (count,).

    Of a clip that is not the future's, a share cos(π/2 · u), u uniform, as MaskGIT draws it.
    """
    slices, rows, columns = patches
    total = slices * rows * columns
    share = torch.cos(math.pi / 2 * torch.rand(count, 1, device=device))
    rank = torch.rand(count, total, device=device).argsort(1).argsort(1)
    hidden = rank < (share * total).ceil().clamp(min=1)
    foretold = (torch.rand(count, device=device) < foretelling) & (slices > 1)
    first = torch.randint(1, max(slices, 2), (count, 1), device=device) * rows * columns
    future = torch.arange(total, device=device) >= first
    return torch.where(foretold[:, None], future, hidden), foretold


def hidden_losses(prior: MaskedPrior, known: Tensor, digits: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Mean nats a hidden digit, in the order of drawing and each by itself. known (B, P, C), digits (B, P, D)."""
    asked, wanted = known[hidden], digits[hidden]  # (M, C), (M, D)
    logits = prior.digit_logits(asked, wanted)  # (M, D, L)
    ordered = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
    alone = torch.split(prior.marginal(asked), list(prior.shape.choices), -1)
    marginal = torch.stack([functional.cross_entropy(part, wanted[:, i]) for i, part in enumerate(alone)]).mean()
    return ordered, marginal


def _validation(prior: MaskedPrior, held_out: Batch, params: MaskedParams) -> Validate:
    """Nats a hidden digit, the same patches hidden each time; and of the last slice foretold without class or plan."""
    state = torch.random.get_rng_state()
    torch.manual_seed(params.seed)
    count = len(held_out["label"])
    hidden, _ = draw_hidden(prior.shape.patches, count, 0.0, torch.device("cpu"))
    torch.random.set_rng_state(state)
    slices, rows, columns = prior.shape.patches
    future = torch.arange(slices * rows * columns).expand(count, -1) >= (slices - 1) * rows * columns

    def validate(module: nn.Module) -> dict[str, float]:
        device = prior.place.device
        losses = {}
        for name, where, planned in (("val_loss", hidden, True), ("val_foretold", future, False)):
            total = 0.0
            for batch in index_batches(count, VALIDATION_BATCH):
                index = torch.from_numpy(batch)
                part = {key: values[index].to(device) for key, values in held_out.items()}
                digits, asked = part["digits"].long(), where[index].to(device)
                given = part["label"] if planned else torch.full_like(part["label"], prior.no_class)
                plan = Plan(part["path"], part["colour"]) if planned else None
                loss, _ = hidden_losses(prior, module(digits, asked, given, plan), digits, asked)
                total += float(loss) * int(asked.sum())
            losses[name] = total / int(where.sum())
        return losses

    return validate
