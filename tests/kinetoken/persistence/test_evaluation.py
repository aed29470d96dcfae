"""What decisions are judged by, and detectors that come back from disk."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.persistence.compute import Compute
from kinetoken.persistence.evaluation import (
    BATCH,
    Trial,
    area,
    by_group,
    decision_metrics,
    ideal_calibration_error,
    predict_clips,
    rules,
)
from kinetoken.persistence.network import Detector, PersistenceNetwork, build_network, load_detector, save_detector
from kinetoken.persistence.params import ExtractorName, PersistenceParams
from kinetoken.persistence.stopping import best_fixed_step, decide, sigmoid, steps_seen
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from tests.support.quantizers import FSQ

ROOT = Path(__file__).parents[3]
SIZE, FRAMES = 32, 16
ALL: tuple[ExtractorName, ...] = ("magvit", "transformer", "i3d_causal", "slowfast_causal")
ODDS = np.array([[2.5, 3.0, 3.0, 3.0], [1.0, -3.0, -4.0, -4.0], [0.5, 0.4, -0.3, 0.2], [-5.0, -5.0, -5.0, 1.0]])
PERSISTENT = np.array([True, False, False, True])


def trial() -> Trial:
    """Decided after 2, 4, 8 and 2 of 8 frames: right, right, wrong, wrong."""
    return Trial(ODDS, decide(ODDS, 2.0, -2.0), 1, steps_seen(2, 8), Compute(np.array([4.0, 3.0, 2.0, 1.0])), 8)


def test_the_best_fixed_step_is_the_one_that_costs_least() -> None:
    seen = steps_seen(2, 8)
    right = (ODDS > 0) == PERSISTENT[:, None]
    assert right.sum(0).tolist() == [1, 2, 3, 3]
    assert best_fixed_step(ODDS, PERSISTENT, seen, 8, 0.4) == 2
    assert best_fixed_step(ODDS, PERSISTENT, seen, 8, 8.0) == 0, "watching is dear"


def test_metrics_of_four_decisions_by_hand() -> None:
    assert trial().frames.tolist() == [2, 4, 8, 2]
    found = decision_metrics(trial(), PERSISTENT, np.array([0.1, 0.1, 0.3, 0.1]), 0.4)
    right = np.array([1.0, 1.0, 0.0, 0.0])
    confidence = sigmoid(np.array([2.5, 3.0, 0.2, 5.0]))
    expected = {
        "accuracy": 0.5, "accuracy_floor": 0.5, "early_stop_rate": 0.75, "mean_decision_frame": 4.0, "earliness": 0.5,
        "harmonic_mean": 0.5, "compute_saved": 1 - (0.4 + 0.7 + 1 + 0.4) / 4, "accuracy_whole_clip": 0.75,
        "ece": np.abs(confidence - right).mean(),  # four tracks, each in a bin of its own
        "regret": 100 * np.mean([0.1 - 0.1, 0.2 - 0.1, 1.4 - 0.3, 1.1 - 0.1]),
        # right are 2, 3, 3 and 2 of 4 tracks by sign after 2, 4, 6 and 8 frames, and before any half of them
        "area": 0.25 * (0.5 / 2 + ((ODDS > 0) == PERSISTENT[:, None]).mean(0)[:3].sum() + 0.75 / 2),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    # all at once after 4 frames: by their signs right, right, wrong and wrong
    expected = {"fixed.frame": 4, "fixed.accuracy": 0.5, "fixed.harmonic_mean": 0.5, "fixed.compute_saved": 0.3,
                "fixed.regret": 100 * np.mean([0.2 - 0.1, 0.2 - 0.1, 1.2 - 0.3, 1.2 - 0.1]),
                "gain_over_fixed": 100 * np.mean([0.2 - 0.1, 0.2 - 0.2, 1.2 - 1.4, 1.2 - 1.1])}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    for name in ("accuracy", "compute_saved", "regret", "gain_over_fixed"):
        assert found[f"{name}_ci95_low"] <= found[name] <= found[f"{name}_ci95_high"]
    assert not any("regret" in name for name in decision_metrics(trial(), PERSISTENT, None, 0.4))


@pytest.mark.parametrize("steps", [2, 4, 16])
def test_the_area_is_one_less_the_way_up_and_half_for_chance(steps: int) -> None:
    persistent = np.arange(20) % 2 == 0
    for odds, expected in ((np.where(persistent, 1.0, -1.0), 1 - 0.25 / steps), (np.full(20, 3.0), 0.5)):
        every = np.repeat(odds[:, None], steps, 1)
        seen = steps_seen(2, 2 * steps)
        made = Trial(every, decide(every, 2.0, -2.0), 0, seen, Compute(np.ones(steps)), 2 * steps)
        assert area(made, persistent) == pytest.approx(expected)


def test_a_calibrated_models_error_is_that_of_a_binomial_mean() -> None:
    for count in (600, 6000):  # 15 bins of it
        spread = np.sqrt(0.8 * 0.2 / (count / 15))
        expected = spread * np.sqrt(2 / np.pi)
        assert ideal_calibration_error(np.full(count, 0.8), draws=60) == pytest.approx(expected, rel=0.15)
    assert ideal_calibration_error(np.ones(50)) == 0


def test_groups_are_counted_apart() -> None:
    found = by_group(trial(), PERSISTENT, np.array(["b", "a", "b", "b"]))
    assert list(found) == ["a", "b"]
    assert found["a"] == {"accuracy": 1.0, "tracks": 1, "mean_decision_frame": 4.0}
    assert found["b"] == pytest.approx({"accuracy": 1 / 3, "tracks": 3, "mean_decision_frame": 4.0})


def test_the_rules_beside_it_are_the_simple_one_and_fixed_times() -> None:
    found = rules(trial(), PERSISTENT, float(sigmoid(np.array(3.5))))
    assert set(found) == {"confidence", "fixed_4", "fixed_8"}
    assert found["confidence"] == {"accuracy": 0.5, "mean_decision_frame": (8 + 6 + 8 + 2) / 4}
    assert found["fixed_4"] == {"accuracy": 0.5, "mean_decision_frame": 4.0}
    assert found["fixed_8"] == {"accuracy": 0.75, "mean_decision_frame": 8.0}


@pytest.fixture(scope="module")
def params() -> PersistenceParams:
    read = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    small = {name: dataclasses.replace(read.of(name), channels=8) for name in ALL}
    small["transformer"] = dataclasses.replace(read.transformer, channels=8, heads=2)
    return dataclasses.replace(
        read, head=dataclasses.replace(read.head, width=8, heads=2), **small  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    torch.manual_seed(0)
    shape = NetworkParams(stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=8, coarse_blocks=1)
    save_tokenizer(folder := tmp_path_factory.mktemp("tokenizer"), Tokenizer(shape, FSQ, SIZE))
    return load_tokenizer(folder)


def lively(name: str, params: PersistenceParams, tokenizer: Tokenizer) -> PersistenceNetwork:
    """Untrained, every weight moved off its first value, so that none is hidden behind a zero."""
    network = build_network(name, params, SIZE, tokenizer)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def clips(count: int) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, FRAMES, SIZE, SIZE, 3), generator=drawn).byte()


@pytest.mark.parametrize("name", ALL)
def test_what_is_watched_in_batches_is_what_the_network_says(
    name: str, params: PersistenceParams, tokenizer: Tokenizer
) -> None:
    network = lively(name, params, tokenizer)
    kept = network.extractor.kept(clips(BATCH + 1))
    watched = predict_clips(network, kept, torch.device("cpu"))
    with torch.no_grad():
        evidence = network(kept[-1:])  # of the second batch, and in no company there
    for found, expected in (
        (watched.logits, evidence.logits), (watched.place, evidence.seen.place),
        (watched.presence, evidence.seen.presence.sigmoid()), (watched.over_space, evidence.seen.attention.mean(2)),
        (watched.over_time, evidence.over_time.mean(1)),
    ):
        np.testing.assert_allclose(found[-1:], expected, atol=1e-5, rtol=1e-4)
    assert len(watched.logits) == BATCH + 1
    assert (watched.over_space.sum(-1) < 1).all()  # the rest is nowhere
    np.testing.assert_allclose(watched.over_time.sum(-1), 1, atol=1e-5)
    assert (np.triu(watched.over_time, 1) == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_attention_piece_by_piece_is_that_of_whole_clips(
    name: str, params: PersistenceParams, tokenizer: Tokenizer
) -> None:
    network, state = lively(name, params, tokenizer), None
    with torch.no_grad():
        whole = network(network.extractor.kept(clips(2)))
        for step, piece in enumerate(clips(2).split(network.stride, 1)):
            evidence, state = network.step(piece, state)
            assert evidence.over_time.shape == (2, params.head.heads, 1, step + 1)
            torch.testing.assert_close(evidence.seen.attention[:, 0], whole.seen.attention[:, step], atol=1e-5, rtol=0)
            torch.testing.assert_close(evidence.seen.content[:, 0], whole.seen.content[:, step], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_places_and_presence_do_not_change_by_one_bit_with_later_frames(
    name: str, params: PersistenceParams, tokenizer: Tokenizer
) -> None:
    network, first = lively(name, params, tokenizer), clips(1)
    with torch.no_grad():
        whole = network(network.extractor.kept(first)).seen
        for t in range(1, FRAMES):
            other = torch.cat([first[:, :t], 255 - first[:, t:]], 1)
            changed = network(network.extractor.kept(other)).seen
            frames = t // network.stride * network.stride
            assert torch.equal(whole.presence[:, :frames], changed.presence[:, :frames])
            assert torch.equal(whole.place[:, :frames], changed.place[:, :frames])
            assert not torch.equal(whole.presence[:, frames:], changed.presence[:, frames:])


def test_a_network_is_built_alike_whatever_was_drawn_before(params: PersistenceParams, tokenizer: Tokenizer) -> None:
    for name in ALL:
        one = build_network(name, params, SIZE, tokenizer).state_dict()
        torch.rand(7)
        two = build_network(name, params, SIZE, tokenizer).state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one) and not any("tokenizer" in key for key in one)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_detector_says_the_same_to_the_bit(
    name: str, params: PersistenceParams, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = lively(name, params, tokenizer)
    digest = tokenizer.hash if name == "magvit" else ""
    steps = FRAMES // network.stride
    detector = Detector(name, network, tuple(0.5 + 0.1 * k for k in range(steps)), 2.25, -1.5, FRAMES, digest)
    save_detector(tmp_path / "model", detector, params, SIZE)
    again = load_detector(tmp_path / "model", tokenizer if name == "magvit" else None)
    assert not again.network.training
    assert dataclasses.replace(again, network=network) == detector
    with torch.no_grad():
        kept = network.extractor.kept(clips(1))
        assert torch.equal(again.network(kept).logits, network(kept).logits)


def test_models_that_are_none_of_these_are_refused(
    params: PersistenceParams, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    detector = Detector("magvit", lively("magvit", params, tokenizer), (1.0,) * 4, 2.0, -2.0, FRAMES, tokenizer.hash)
    save_detector(tmp_path, detector, params, SIZE)
    with pytest.raises(UserError, match=f"reads codes of tokenizer {tokenizer.hash[:12]}, none was given"):
        load_detector(tmp_path)
    with torch.no_grad():
        tokenizer.down.bias[0] += 1
    save_tokenizer(tmp_path / "other", tokenizer)
    other = load_tokenizer(tmp_path / "other")
    with torch.no_grad():
        tokenizer.down.bias[0] -= 1
    with pytest.raises(UserError, match=f"tokenizer {tokenizer.hash[:12]}, {other.hash[:12]} was given"):
        load_detector(tmp_path, other)
    with pytest.raises(UserError, match="not a model folder"):
        load_detector(tmp_path / "nothing")
    whole = json.loads((tmp_path / "config.json").read_text())
    for key in ("temperatures", "persistent_above", "num_frames", "image_size", "tokenizer"):
        (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        with pytest.raises(UserError, match="not a model of detect_persistence, or one that was never calibrated"):
            load_detector(tmp_path, tokenizer)
    wider = {**whole, "params": {**whole["params"], "head": {**whole["params"]["head"], "width": 16}}}
    (tmp_path / "config.json").write_text(json.dumps(wider))
    with pytest.raises(UserError, match="has shape"):
        load_detector(tmp_path, tokenizer)
