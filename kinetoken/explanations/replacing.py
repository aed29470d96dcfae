"""Deletion and insertion: what the classifier still predicts when tokens are replaced by the baseline.

Deletion replaces a clip's first tokens in some order, insertion all but these (Petsiuk et al. 2018, arXiv:1806.07421).
An order is judged against a random one, since replaced tokens are unlike any that the network was trained on.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinetoken.explanations.reader import FeatureReader

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ranks = NDArray[np.int64]


def ranks_of(scores: Array) -> Ranks:
    """Place of each token in its clip, from 0, the highest score first, ties as they lie: (N, T', H', W') → so."""
    flat = scores.reshape(len(scores), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], 1)
    return ranks.reshape(scores.shape)


def first_of(ranks: Ranks, counts: NDArray[np.int64]) -> Mask:
    """The first tokens of each clip, as many as counts (N,) says."""
    return np.asarray(ranks < counts[:, None, None, None])


def right_without(
    reader: FeatureReader, features: Tensor, baseline: Tensor, replaced: Mask, target: NDArray[np.int64]
) -> Array:
    """1.0 for each clip whose class is predicted although the masked tokens are replaced by the baseline, else 0.0."""
    mask = torch.from_numpy(replaced).to(features.device)[..., None]
    found = reader.chosen(torch.where(mask, baseline, features))
    return np.asarray(found.cpu().numpy() == target, np.float64)
