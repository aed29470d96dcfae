"""Where maps over the cells of an image look: the cells' centres, and the place that is expected under a map.

Reading a place as the mean of the cells' centres under a softmax is the soft-argmax of Levine et al. (2016,
arXiv:1504.00702). The softmax stays with the networks, which differ in what it runs over.
"""

from typing import Literal

import torch
from einops import repeat
from torch import Tensor

Ends = Literal["edges", "centres"]  # what lies at the ends of an image's span: edges of its outermost cells, or centres


def cell_centres(
    rows: int, columns: int, low: float, high: float, ends: Ends = "edges", *,
    dtype: torch.dtype = torch.float32, device: torch.device | None = None,
) -> Tensor:
    """(rows · columns, 2) centres (x, y) of equal cells of an image that spans `low` to `high`, row-major.

    Spans in use: −2 … 2 of path coordinates, 0 … 1, −0.5 … size − 0.5 of pixels (whose centres are whole numbers),
    and −1 … 1 from centre to centre of the outermost cells (one cell alone lies in the middle).
    """
    y, x = (_CENTRES[ends](count, low, high, dtype, device) for count in (rows, columns))
    return torch.stack([repeat(x, "w -> (h w)", h=rows), repeat(y, "h -> (h w)", w=columns)], -1)


def expected_places(weights: Tensor, places: Tensor) -> Tensor:
    """Soft-argmax: the mean place under each map, (..., M, D) of weights (..., M, S) over S cells that sum to 1.

    places: (S, D) the same for all, (..., S, D) the clip's own, or (..., M, S, D) the map's own.
    """
    if places.ndim == 2:
        return weights @ places  # not as an einsum, which adds up in another order: trained models would move
    return torch.einsum("...ms,...sd->...md" if places.ndim == weights.ndim else "...ms,...msd->...md", weights, places)


def _between_edges(
    count: int, low: float, high: float, dtype: torch.dtype, device: torch.device | None
) -> Tensor:
    index = torch.arange(count, dtype=dtype, device=device)
    return (index + 0.5) * (high - low) / count + low


def _between_centres(
    count: int, low: float, high: float, dtype: torch.dtype, device: torch.device | None
) -> Tensor:
    if count == 1:
        return torch.full((1,), (low + high) / 2, dtype=dtype, device=device)
    return torch.linspace(low, high, count, dtype=dtype, device=device)


_CENTRES = {"edges": _between_edges, "centres": _between_centres}
