"""What a step costs, against a count by hand; what share of a clip's has run at a decision."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.params import load_params
from kinetoken.persistence.compute import Compute, count, seconds_a_step
from kinetoken.persistence.network import PersistenceNetwork, build_network
from kinetoken.persistence.params import PersistenceParams, TransformerParams
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[3]
ALL = ("magvit", "transformer", "i3d_causal", "slowfast_causal")
SIZE, FRAMES, CHANNELS, WIDTH, HEADS = 32, 16, 16, 8, 2


def tiny() -> PersistenceParams:
    params = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    small = {name: dataclasses.replace(params.of(name), channels=CHANNELS) for name in ALL}
    small["transformer"] = dataclasses.replace(params.transformer, channels=CHANNELS, heads=HEADS, blocks=2)
    head = dataclasses.replace(params.head, width=WIDTH, heads=HEADS)
    return dataclasses.replace(params, head=head, **small)  # type: ignore[arg-type]


def network(name: str) -> PersistenceNetwork:
    shape = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=8, coarse_blocks=1)
    return build_network(name, tiny(), SIZE, Tokenizer(shape, FSQ, SIZE) if name == "magvit" else None).eval()


def by_hand(params: TransformerParams, step: int) -> int:
    """Multiply-adds of the transformer's step number `step`, from 0: extractor, reader, head."""
    c, n, w = CHANNELS, (SIZE // 8) ** 2, WIDTH
    embed = (SIZE // 2) ** 2 * 16 * 3 * c // 4 + (SIZE // 4) ** 2 * 16 * c // 4 * c // 2 + n * 16 * c // 2 * c
    attention = 3 * n * c * c + 2 * n * n * c + n * c * c  # queries, keys, values; scores and sums; out
    block = attention + 2 * n * c * 2 * c
    reader = n * c * HEADS + n * c * c + n * c * (c + 2) + n * c + n * c + 2 * n + n
    gru = 3 * w * 2 * w
    over_time = w * w + (step + 1) * (2 * w * w + 2 * w) + w * w
    head = 13 * w + w * w + gru + c * w + over_time + 2 * w * w + w
    return embed + params.blocks * block + reader + head


@pytest.mark.parametrize("training", [False, True])
def test_the_transformers_multiply_adds_are_those_counted_by_hand(training: bool) -> None:
    """In eval mode PyTorch may fuse a whole layer into one operation, which must not count as nothing."""
    found = count(network("transformer").train(training), SIZE, 4).multiply_adds
    expected = [by_hand(tiny().transformer, step) for step in range(4)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ALL)
def test_a_step_costs_the_same_but_for_attention_over_the_steps_before(name: str) -> None:
    module = network(name)
    found = count(module, SIZE, FRAMES).multiply_adds
    assert found.shape == (FRAMES // module.stride,)
    growth = np.diff(found)  # one more step to attend to: its score and its share of the sum, its key and its value
    assert (growth == growth[0]).all() and 2 * WIDTH <= growth[0] <= 2 * WIDTH * WIDTH + 2 * WIDTH


def test_counting_leaves_the_network_as_it_was() -> None:
    module = network("i3d_causal")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    count(module, SIZE, 4)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_the_share_is_of_all_steps_so_far() -> None:
    compute = Compute(np.array([4.0, 3.0, 2.0, 1.0]))
    np.testing.assert_allclose(compute.share(np.array([3, 0, 2, 0, 1])), [1.0, 0.4, 0.9, 0.4, 0.7])


def test_a_step_takes_time() -> None:
    assert 0 < seconds_a_step(network("transformer"), SIZE, 2, 2) < 60
