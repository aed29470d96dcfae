import numpy as np
import pytest
import torch

from kinetoken.diagnosis.history import late_fall
from kinetoken.diagnosis.vectors import centroids, fsq_vectors, lfq_vectors, stand_ins


def test_fsq_and_lfq_vectors_are_the_quantizers_own() -> None:
    from vector_quantize_pytorch import FSQ, LFQ

    expected = FSQ([8, 5, 5, 5]).indices_to_codes(torch.arange(1000)).numpy()
    assert fsq_vectors((8, 5, 5, 5)) == pytest.approx(expected)
    signs = LFQ(codebook_size=64).indices_to_codes(torch.arange(64)).numpy()
    assert (lfq_vectors(64) == signs).all()


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
