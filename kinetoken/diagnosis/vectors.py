"""Code vectors: what a probe reads in place of indices, whose order means nothing.

FSQ's and LFQ's are written out here, equal to those of `tokenizer.quantizers`: building a quantizer takes the
parameters of a training, loads its library for seconds, and refuses FSQ levels of 2, which codes made elsewhere may
have.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import Indices
from kinetoken.diagnosis.usage import fsq_digits

Vectors = NDArray[np.float32]

STAND_IN_WIDTH = 12  # of each half of a stand-in vector
MOST_CODES = 2**15  # of a codebook whose neighbourhoods are counted


def fsq_vectors(levels: tuple[int, ...], codes: NDArray[np.int64] | None = None) -> Vectors:
    """The codebook (K, L) of FSQ, or its rows for some codes: each channel's level on an even scale about 0.

    Mentzer et al. 2023, arXiv:2309.15505.
    """
    codes = np.arange(math.prod(levels)) if codes is None else codes
    half = np.array(levels) // 2
    return np.asarray((fsq_digits(codes, levels) - half) / half, np.float32)


def lfq_vectors(codebook_size: int, codes: NDArray[np.int64] | None = None) -> Vectors:
    """The codebook (K, log2 K) of LFQ, or its rows for some codes: the signs of the index's bits, the highest first."""
    codes = np.arange(codebook_size) if codes is None else codes
    bits = codes[:, None] >> np.arange(codebook_size.bit_length() - 2, -1, -1)
    return np.asarray((bits & 1) * 2 - 1, np.float32)


def centroids(codes: Indices, latents: Vectors, codebook_size: int) -> Vectors:
    """The mean latent (K, D) of each code, codes (..., ), latents (..., D); the overall mean for codes never seen.

    Codes below 0 are padding.
    """
    there = codes.ravel() >= 0
    flat, vectors = codes.ravel()[there], latents.reshape(-1, latents.shape[-1])[there]
    count = np.bincount(flat, minlength=codebook_size)
    sums = np.stack([np.bincount(flat, column, minlength=codebook_size) for column in vectors.T], 1)
    mean = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], vectors.mean(0))
    return np.asarray(mean, np.float32)


def stand_ins(codes: Indices, codebook_size: int, seed: int) -> Vectors:
    """Vectors (K, 2 × STAND_IN_WIDTH) for indices (N, T', H', W') whose codebook is not known.

    Half makes codes alike that occur next to the same ones: the leading singular vectors of the shifted pointwise
    mutual information of neighbouring tokens (Levy & Goldberg 2014). Half is random, so that no two codes are the
    same vector.
    """
    rng = np.random.default_rng(seed)
    identity = rng.standard_normal((codebook_size, STAND_IN_WIDTH))
    company = np.zeros((codebook_size, STAND_IN_WIDTH))
    if codebook_size <= MOST_CODES:
        found = _company(codes, codebook_size, seed)
        company[:, : found.shape[1]] = found
    return np.concatenate([identity, company], 1).astype(np.float32)


def _company(codes: Indices, codebook_size: int, seed: int) -> NDArray[np.float64]:
    from scipy.sparse import coo_array
    from sklearn.utils.extmath import randomized_svd

    pairs = [
        tuple(np.take(codes, np.arange(codes.shape[axis] - 1) + shift, axis).ravel() for shift in (0, 1))
        for axis in (1, 2, 3) if codes.shape[axis] > 1
    ]
    if not pairs:
        return np.zeros((codebook_size, 0))
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    there = (left >= 0) & (right >= 0)  # the rest is padding
    left, right = left[there], right[there]
    if not len(left):
        return np.zeros((codebook_size, 0))
    shape = (codebook_size, codebook_size)
    counts = coo_array((np.ones(2 * len(left)), (np.r_[left, right], np.r_[right, left])), shape=shape).tocsr()
    alone = np.asarray(counts.sum(0)).ravel() / counts.sum()
    found = counts.tocoo()
    row, column = found.coords
    ratio = np.log(found.data / counts.sum() / (alone[row] * alone[column]))
    kept = ratio > 0
    if not kept.any():
        return np.zeros((codebook_size, 0))
    table = coo_array((ratio[kept], (row[kept], column[kept])), shape=shape).tocsr()
    left_vectors, values, _ = randomized_svd(table, min(STAND_IN_WIDTH, codebook_size - 1), random_state=seed)
    company = left_vectors * np.sqrt(values)
    return np.asarray(company / max(float(company.std()), 1e-12))


def code_tokens(codes: Indices, vectors: NDArray[np.float32]) -> Vectors:
    """Codes (N, T', H', W') or (N, T', H', W', Q) as their vectors (K, D), of several codebooks side by side.

    Codes below 0 are padding: zeros.
    """
    if (codes < 0).any():
        vectors = np.concatenate([vectors, np.zeros_like(vectors[:1])])  # the last row, which -1 stands for
    tokens = vectors[codes]
    return np.ascontiguousarray(tokens.reshape(*tokens.shape[:4], -1))


def sums_of_codebooks(tokens: Vectors, depth: int) -> Vectors:
    """(N, T', H', W', D): the sum over Q codebooks of vectors that stand side by side, (N, T', H', W', Q · D)."""
    return np.asarray(tokens.reshape(*tokens.shape[:4], depth, -1).sum(-2))
