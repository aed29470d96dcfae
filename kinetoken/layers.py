"""Places of the cells of an image, for reading where a map looks."""

import torch
from einops import repeat
from torch import Tensor


def centred_grid(height: int, width: int) -> Tensor:
    """(h w, 2) places (x, y) of the cells of an image, from −1 to 1, row-major."""
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack([repeat(x, "w -> (h w)", h=height), repeat(y, "h -> (h w)", w=width)], -1)
