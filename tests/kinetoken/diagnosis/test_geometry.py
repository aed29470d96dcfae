import numpy as np
import pytest

from kinetoken.diagnosis.chain import bounded_latents
from kinetoken.diagnosis.geometry import (
    class_distances,
    effective_rank,
    effective_rank_interval,
    quantization_error,
    quantization_error_interval,
    silhouettes,
)


def with_singular_values(values: list[float], count: int = 64) -> np.ndarray:
    """Centred vectors whose matrix has exactly these singular values."""
    rng = np.random.default_rng(0)
    random = rng.standard_normal((count, len(values)))
    left = np.linalg.qr(random - random.mean(0))[0]
    return (left * np.array(values) + 3.0).astype(np.float64)


@pytest.mark.parametrize("values", [[1, 1, 1, 1], [1, 0, 0, 0], [3, 1, 0, 0], [5, 2, 1, 0.5]])
def test_effective_rank_is_the_exponential_of_the_entropy(values: list[float]) -> None:
    share = np.array(values)[np.array(values) > 0] / sum(values)
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(with_singular_values(values)) == pytest.approx(expected, rel=1e-3)


def test_effective_rank_of_one_repeated_vector_is_one() -> None:
    assert effective_rank(np.ones((10, 3, 4), np.float32)) == 1


def test_effective_rank_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    tokens = rng.standard_normal((200, 6, 4)).astype(np.float32) * np.array([4, 2, 1, 1])
    share = np.array([4, 2, 1, 1]) / 8
    low, high = effective_rank_interval(tokens, seed=0)
    assert low < np.exp(-(share * np.log(share)).sum()) < high and high - low < 0.3


def test_quantization_error_runs_from_nothing_to_everything() -> None:
    latents = np.random.default_rng(3).standard_normal((500, 4)).astype(np.float32)
    assert quantization_error(latents, latents) == 0
    assert quantization_error(latents, np.broadcast_to(latents.mean(0), latents.shape)) == pytest.approx(1, rel=1e-4)
    half = np.round(latents * 2) / 2
    assert quantization_error(latents, half) == pytest.approx(0.25 / 12, rel=0.1)  # a uniform error of width ½


def test_quantization_error_interval_holds_the_estimate_and_narrows() -> None:
    rng = np.random.default_rng(6)
    latents = rng.standard_normal((400, 2, 2, 3)).astype(np.float32)
    noisy = (latents + 0.3 * rng.standard_normal(latents.shape)).astype(np.float32)
    few, many = (quantization_error_interval(latents[:n], noisy[:n], seed=0) for n in (40, 400))
    assert many[0] < quantization_error(latents, noisy) < many[1] and many[0] < 0.09 < many[1]
    assert many[1] - many[0] < 0.6 * (few[1] - few[0])


def test_bounded_latents_round_to_the_quantizers_codes() -> None:
    import torch
    from vector_quantize_pytorch import FSQ

    levels = (8, 5, 5, 5)
    latents = 2 * np.random.default_rng(4).standard_normal((1, 400, 4)).astype(np.float32)
    codes = FSQ(list(levels))(torch.from_numpy(latents))[0].numpy()
    half = np.array(levels) // 2
    assert np.abs(np.round(bounded_latents(latents, levels) * half) / half - codes).max() < 1e-6
    assert bounded_latents(latents, ()) is latents


def test_class_distances_of_two_tight_clusters() -> None:
    features = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2], [2, 2, 2, 2]], np.float32)
    found = class_distances(features, np.array([0, 0, 1, 1]))
    assert (found.within, found.between, found.means_least, found.means_most) == (0, 2, 2, 2)
    assert found.pairwise == pytest.approx(2 * 8 / 12)


def test_class_distances_and_silhouette_of_shuffled_labels_show_nothing() -> None:
    rng = np.random.default_rng(5)
    features, target = rng.standard_normal((300, 8)).astype(np.float32), rng.integers(0, 3, 300)
    assert class_distances(features, target).separation == pytest.approx(1, abs=0.02)
    assert abs(silhouettes(features, target).mean()) < 0.05
    apart = features + 20 * target[:, None].astype(np.float32)
    assert class_distances(apart, target).separation > 3 and silhouettes(apart, target).mean() > 0.8


def test_class_distances_need_two_classes() -> None:
    with pytest.raises(ValueError, match="two classes"):
        class_distances(np.zeros((3, 2), np.float32), np.zeros(3, int))
