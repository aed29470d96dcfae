"""InfoNCE between the latents of two noisy views of the same clips."""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.1


def contrastive_loss(latents: Tensor, others: Tensor) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, arXiv:1807.03748), both ways round as in SimCLR (arXiv:2002.05709).

    Latents (B, D, T, H, W) of two views → (). A time slice, all its places kept, must be told from every other
    slice of the batch by its other view. What all slices share (the background) is taken off first: it would
    make all of them alike.
    """
    left, right = _directions(latents), _directions(others)
    similarity = left @ right.T / TEMPERATURE  # (B T, B T)
    same = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)) / 2


def _directions(latents: Tensor) -> Tensor:
    """(B, D, T, H, W) → (B T, D H W) of unit length, mean taken off."""
    slices = rearrange(latents.float(), "b d t h w -> (b t) (d h w)")
    return F.normalize(slices - slices.mean(0), dim=-1)
