import numpy as np
import pytest
import torch

from kinetoken.diagnosis.history import late_fall
from kinetoken.diagnosis.vectors import centroids, fsq_vectors, lfq_vectors, stand_ins
from kinetoken.tokenizer.quantizers import Quantizer, build_quantizer
from tests.support.quantizers import quantizer_params


def own_vectors(quantizer: Quantizer) -> np.ndarray:
    """The quantizer's whole codebook (K, D)."""
    indices = torch.arange(quantizer.codebook_size).reshape(-1, 1, 1, 1)
    return quantizer.codes(indices)[..., 0, 0, 0].numpy()


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (7, 5, 5, 5, 5), (4, 3), (8, 8, 8, 6, 5)])
def test_fsq_vectors_are_the_quantizers_own_to_the_bit(levels: tuple[int, ...]) -> None:
    found, expected = fsq_vectors(levels), own_vectors(build_quantizer(quantizer_params("fsq", levels=levels)))
    assert found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize("size", [2, 64, 1024])
def test_lfq_vectors_are_the_quantizers_own_to_the_bit(size: int) -> None:
    found, expected = lfq_vectors(size), own_vectors(build_quantizer(quantizer_params("lfq", codebook_size=size)))
    assert found.dtype == expected.dtype and np.array_equal(found, expected)


def test_levels_of_two_are_two_distinct_values_of_each_channel() -> None:
    assert fsq_vectors((2, 2)).tolist() == [[-1, -1], [0, -1], [-1, 0], [0, 0]]


def test_centroids_are_means_and_the_unseen_lie_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    codes, latents = rng.integers(0, 3, (10, 2, 2, 2)), rng.standard_normal((10, 2, 2, 2, 4)).astype(np.float32)
    found = centroids(codes.astype(np.int32), latents, 5)
    for code in range(3):
        assert found[code] == pytest.approx(latents[codes == code].mean(0), abs=1e-5)
    assert found[4] == pytest.approx(latents.reshape(-1, 4).mean(0), abs=1e-5)


def test_stand_ins_put_codes_of_like_company_together_and_keep_all_apart() -> None:
    """Codes 2k and 2k + 1 are used in turn for the same thing: their company is the same."""
    rng = np.random.default_rng(1)
    thing = np.repeat(rng.integers(0, 8, (400, 1, 1, 1)), 36, axis=3).reshape(400, 1, 6, 6)
    codes = (2 * thing + rng.integers(0, 2, thing.shape)).astype(np.int32)
    company = stand_ins(codes, 16, seed=0)[:, 12:]
    distance = np.linalg.norm(company[:, None] - company, axis=-1)
    twins = distance[np.arange(16), np.arange(16) ^ 1]
    others = distance[~(np.eye(16, dtype=bool) | np.eye(16, dtype=bool)[np.arange(16) ^ 1])]
    assert twins.max() < 0.3 * others.min()
    assert len(np.unique(stand_ins(np.zeros_like(codes), 16, seed=0), axis=0)) == 16


def test_late_fall_of_settled_straight_and_rising_curves() -> None:
    assert late_fall(np.exp(-np.arange(40) / 3)) < 0.001
    assert late_fall(np.linspace(1, 0, 41)) == pytest.approx(0.25)
    assert late_fall(np.linspace(1, 2, 10)) == 0
