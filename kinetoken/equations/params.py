"""What a run of describe_motion may be told."""

import dataclasses
from typing import Annotated, Literal

from kinetoken.core.params import NonNegative, Range
from kinetoken.llm.language_model import LanguageModel
from kinetoken.physics.fitting import PRIOR_QUANTITIES

Provider = Literal["offline", "openai", "hybrid"]


@dataclasses.dataclass(frozen=True)
class DescribeMotion:
    """Section describe_motion."""

    provider: Provider  # offline: a fit, no language model; openai: its answers; hybrid: its form, fitted constants
    points: Literal["estimated", True]  # true: the provider is given the true positions of the past, a control
    seed: NonNegative  # of the bootstrap
    priors: dict[str, tuple[float, float]]  # what is plausible: mean and standard deviation of a quantity
    independence: Annotated[float, Range(gt=0, le=1)]  # share of the points' errors that are independent
    examined: NonNegative  # clips whose equations are simplified, and refitted to the truth for the symbolic match
    reasons: NonNegative  # early decisions that are put in words
    language_model: LanguageModel  # for openai and hybrid

    def __post_init__(self) -> None:
        for name, (_, std) in self.priors.items():
            if name not in PRIOR_QUANTITIES:
                raise ValueError(f"priors.{name}: unknown quantity; known are {', '.join(PRIOR_QUANTITIES)}")
            if std <= 0:
                raise ValueError(f"priors.{name}: the standard deviation must be > 0, is {std:g}")

    @property
    def asks(self) -> bool:
        """Whether a language model is asked."""
        return self.provider != "offline"
