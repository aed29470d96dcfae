"""A generator's params, small enough for tests."""

import torch

from kinetoken.generation.generator import GeneratorParams
from kinetoken.generation.masked_prior import SamplingParams
from kinetoken.generation.plan import Plan, PlanShape
from kinetoken.generation.training import MaskedParams, PlanParams

TRAINING = {
    "seed": 1, "batch_size": 16, "learning_rate": 0.01, "warmup_fraction": 0.1, "weight_decay": 0.0,
    "gradient_clip": 1.0, "ema_decay": 0.0, "patience": 0, "muon_learning_rate": 0.02,
}
PLAN_SHAPE = PlanShape(components=4, width=16, layers=1, mixture=2)
PLAN = PlanParams(**TRAINING, epochs=2, components=4, width=16, layers=1, mixture=2)
MASKED = MaskedParams(
    **TRAINING, epochs=30, patch=1, width=16, layers=1, heads=2, label_dropout=0.2, foretelling=0.3,
    sampling=SamplingParams(
        steps=4, order="unsure", temperature=1.0, final_temperature=1.0, guidance=0.0, plan_spread=1.0,
    ),
)
PARAMS = GeneratorParams(
    seed=1, components=3, shrinkage=0.05, plan=PLAN, masked=MASKED, clips_per_class=2, neighbours=2, bootstrap=10
)


def some_seen(count: int, frames: int, seed: int = 0) -> Plan:
    """Paths and colours drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return Plan(torch.randn(count, frames, 3, generator=generator), torch.rand(count, 3, generator=generator))
