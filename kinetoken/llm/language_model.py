"""Which language model is asked, how, and for how much: params, the request and its worst price.

The key is no param: it comes from the environment, and nothing here holds it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from kinetoken.core.params import NonNegativeFloat, Positive, PositiveFloat, Range

TOKENS_PRICED = 1_000_000
STAND_IN = "stand-in"  # how the name of a program begins that plays a language model and is none
TEMPLATE_TOKENS = 64  # that a chat template may put around the messages


@dataclasses.dataclass(frozen=True)
class Price:
    """Currency units per million tokens, from the vendor's price list."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Section describe_motion.language_model."""

    model: str  # the id that the server knows it by
    mode: Literal["live", "replay"]  # replay: answers come from the ledger alone; no key, no cost
    temperature: Annotated[float, Range(ge=0, le=2)] | None  # null: not sent; some models take only their own
    max_tokens: Positive  # of one answer, reasoning included
    # its name in the request; older servers know the latter
    token_limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    concurrency: Annotated[int, Range(ge=1, le=256)]  # requests in flight at once
    attempts: Annotated[int, Range(ge=1, le=20)] = 6  # of one row in one run, the first included
    timeout_s: PositiveFloat = 120.0  # of one attempt, from sending to the last byte
    longest_wait_s: PositiveFloat = 60.0  # between two attempts; a server that asks for more is not waited for
    retry_failed: bool = True  # ask rows again that ended without an answer in an earlier run
    retry_unfit: bool = False  # ask rows again whose answer was not of the form asked for, once the server is mended
    spend_cap: PositiveFloat  # for one set of rows over all its runs, in the currency of the prices
    prices: dict[str, Price]  # by model id

    def __post_init__(self) -> None:
        if not self.model or not self.model.isprintable():
            raise ValueError("model: must be the id of a model")
        if self.model not in self.prices:
            raise ValueError(
                f"prices: none for model '{self.model}', so nothing can keep to spend_cap; add prices.{self.model} "
                "with prompt and completion, per million tokens, from the vendor's list (0 for a server of your own)"
            )

    @property
    def price(self) -> Price:
        return self.prices[self.model]

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost, in the currency of the prices."""
        price = self.price
        return (prompt_tokens * price.prompt + completion_tokens * price.completion) / TOKENS_PRICED

    def worst_cost(self, request: str) -> float:
        """The most that one attempt at the canonical request can cost: no token is shorter than a byte."""
        return self.cost(len(request.encode()) + TEMPLATE_TOKENS, self.max_tokens)


@dataclasses.dataclass(frozen=True)
class Request:
    """One question: `label` names its row in messages to people and is not sent."""

    label: str
    messages: tuple[Mapping[str, str], ...]
    response_format: Mapping[str, Any]

    def body(self, settings: LanguageModel) -> dict[str, Any]:
        """What is sent: model, messages, schema and sampling settings."""
        body: dict[str, Any] = {
            "model": settings.model, "messages": [dict(message) for message in self.messages],
            "response_format": self.response_format, settings.token_limit: settings.max_tokens,
        }
        return body if settings.temperature is None else body | {"temperature": settings.temperature}

    def canonical(self, settings: LanguageModel) -> str:
        """The body as JSON with one spelling only."""
        return json.dumps(
            self.body(settings), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )


def key_of(canonical: str) -> str:
    """SHA-256 of a canonical request, 64 hex digits."""
    return hashlib.sha256(canonical.encode()).hexdigest()
