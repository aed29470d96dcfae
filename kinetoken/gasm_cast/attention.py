"""Multi-head attention in groups, fast as a rule, and with its weights kept when someone wants to look."""

import math

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

Kept = list[Tensor] | None  # where weights (B, G, heads, Q, K) are put, one entry a call; None: none are made


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int, bias: Tensor | None = None, keep: Kept = None
           ) -> Tensor:
    """queries (B, G, Q, C), keys and values (B, G, K, C) → what each query finds in its own group, (B, G, Q, C).

    `bias` (B, G, heads, Q, K) is added to the scaled scores; a weight is exactly 0 where it is −inf.
    """
    groups = queries.shape[1]
    q, k, v = (rearrange(x, "b g n (h c) -> (b g) h n c", h=heads) for x in (queries, keys, values))
    added = None if bias is None else bias.flatten(0, 1).to(q.dtype)
    if keep is None:
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
    else:
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        weights = (scores if added is None else scores + added).softmax(-1)
        keep.append(weights.detach().unflatten(0, (-1, groups)))
        found = weights @ v
    return rearrange(found, "(b g) h n c -> b g n (h c)", g=groups)


class ContextAttention(nn.Module):
    """Attention (Vaswani et al. 2017, arXiv:1706.03762) of queries (B, G, Q, C) to a context (B, G, K, D)."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor, keep: Kept = None) -> Tensor:
        keys, values = self.key_value(context).chunk(2, -1)
        found: Tensor = self.out(attend(self.query(queries), keys, values, self.heads, keep=keep))
        return found


def start_at_zero(layer: nn.Linear) -> nn.Linear:
    """The same layer, its output zero until it has been trained: a residual branch then starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
