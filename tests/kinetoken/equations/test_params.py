"""Params of describe_motion: what cannot be meant is refused before anything is asked or paid."""

from typing import Any

import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.params import build, load_params
from kinetoken.equations.params import DescribeMotion
from kinetoken.llm.language_model import Price

GOOD: dict[str, Any] = {
    "provider": "offline", "points": "estimated", "seed": 1, "priors": {"speed": [1.6, 0.2]}, "independence": 1.0,
    "examined": 8, "reasons": 4,
    "language_model": {
        "model": "m", "mode": "live", "temperature": None, "max_tokens": 100, "token_limit": "max_tokens",
        "concurrency": 8, "attempts": 3, "timeout_s": 10, "longest_wait_s": 5, "retry_failed": True, "spend_cap": 1,
        "prices": {"m": {"prompt": 0.1, "completion": 0.5}},
    },
}


@pytest.mark.parametrize(("change", "message"), [
    ({"provider": "oracle"}, "provider: must be one of offline, openai, hybrid"),
    ({"points": "exact"}, "points: must be one of estimated, True"), ({"points": False}, "points: must be one of"),
    ({"priors": {"mass": [1, 1]}}, "priors.mass"), ({"priors": {"speed": [1.6, 0]}}, "priors.speed"),
    ({"independence": 0}, "independence"), ({"examined": -1}, "examined"), ({"source": "codes"}, "source: unknown key"),
])
def test_params_out_of_range(change: dict[str, object], message: str) -> None:
    build(DescribeMotion, GOOD, "describe_motion")
    with pytest.raises(UserError, match=message):
        build(DescribeMotion, GOOD | change, "describe_motion")


@pytest.mark.parametrize(("change", "message"), [
    ({"model": "gpt-9"}, r"prices: none for model 'gpt-9'.*add prices\.gpt-9"),
    ({"model": ""}, "model: must be the id"),
    ({"mode": "auto"}, "mode: must be one of live, replay"), ({"concurrency": 0}, "concurrency"),
    ({"attempts": 0}, "attempts"), ({"timeout_s": 0}, "timeout_s"), ({"spend_cap": 0}, "spend_cap"),
    ({"temperature": 3}, "temperature"), ({"api_key": "sk-1"}, "api_key: unknown key"),
    ({"prices": {"m": {"prompt": -1, "completion": 0}}}, "prices.m.prompt"),
    ({"prices": {"m": {"prompt": 1}}}, "prices.m.completion: missing"),
])
def test_language_model_out_of_range(change: dict[str, object], message: str) -> None:
    section = {**GOOD, "language_model": GOOD["language_model"] | change}
    with pytest.raises(UserError, match=message):
        build(DescribeMotion, section, "describe_motion")


def test_true_points_are_asked_for_in_so_many_words() -> None:
    assert build(DescribeMotion, {**GOOD, **yaml.safe_load("points: true")}, "describe_motion").points is True


@pytest.mark.parametrize(("provider", "asks"), [("offline", False), ("openai", True), ("hybrid", True)])
def test_a_fit_asks_no_one(provider: str, asks: bool) -> None:
    assert build(DescribeMotion, GOOD | {"provider": provider}, "describe_motion").asks is asks


def test_price_is_that_of_the_model() -> None:
    params = load_params("params.yaml", "describe_motion", DescribeMotion)
    settings = params.language_model
    assert params.provider == "offline" and settings.price == Price(0.1, 0.5) == settings.prices[settings.model]
    assert settings.cost(1_000_000, 2_000_000) == pytest.approx(1.1)
    assert settings.worst_cost("x" * 1000) > settings.cost(1000, settings.max_tokens)
