"""The parts of a code: an FSQ code is a level along each coordinate, and levels lie along a line."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def level_digits(table: Tensor, levels: Sequence[int]) -> Tensor:
    """The level, counted from 0, of each part of each code: (codebook size, parts) int64.

    `table` (codebook size, D) holds the vector of every code. With no levels to part a code into, the code is its
    own and only part.
    """
    if tuple(levels) == (len(table),):
        return torch.arange(len(table), device=table.device)[:, None]
    return torch.stack([torch.unique(column, return_inverse=True)[1] for column in table.T], -1)


def code_of_digits(digits: Tensor, levels: Sequence[int]) -> Tensor:
    """The inverse of `level_digits`: the code at each mixed-radix number, (product of levels,) int64."""
    inverse = torch.zeros(int(np.prod(levels)), dtype=torch.int64, device=digits.device)
    inverse[mixed_radix(digits, levels)] = torch.arange(len(digits), device=digits.device)
    return inverse


def mixed_radix(digits: Tensor, levels: Sequence[int]) -> Tensor:
    """(..., parts) → (...): the digits as one number, the first part counting ones."""
    place = np.cumprod([1, *levels[:-1]])
    return (digits * torch.tensor(place, device=digits.device)).sum(-1)
