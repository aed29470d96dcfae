"""Cross-attention between the two streams, both ways at once, through a bottleneck or at native width.

The bottleneck is that of CAST (Lee et al. 2023, arXiv:2311.18825): narrow, attend, widen, and the widening starts at
zero. Multiply-adds of a layer with n semantic tokens of width s and m motion tokens of width w in each of G groups:

    bottleneck b  G (2 b (n s + m w) + 4 b² (n + m) + 4 b n m)
    native        G (2 n s² + 2 m w² + 2 (n + m) s w + 2 (s + w) n m)
"""

from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.attention import ContextAttention, Kept, start_at_zero
from kinetoken.gasm_cast.levels import COORDINATES, Grain, position_code
from kinetoken.gasm_cast.variants import Stream


class Port(nn.Module):
    """One stream's way into a layer and out of it: pooled, normalized, narrowed, told its position; and back."""

    code: Tensor

    def __init__(self, grain: Grain, width: int, bottleneck: int | None) -> None:
        """None: at native width, with nothing to narrow or widen."""
        super().__init__()
        self.width = bottleneck or width  # inside the layer
        if self.width < 2 * COORDINATES:
            raise UserError(f"bottleneck: {self.width} numbers cannot hold a position; at least {2 * COORDINATES} can")
        self.grain, self.norm = grain, nn.LayerNorm(width)
        self.register_buffer("code", position_code(grain.coordinates, self.width), persistent=False)  # (G, n, width)
        self.down = nn.Linear(width, bottleneck) if bottleneck else nn.Identity()
        self.up = (
            nn.Sequential(nn.GELU(), start_at_zero(nn.Linear(bottleneck, width))) if bottleneck else nn.Identity()
        )

    def enter(self, tokens: Tensor) -> Tensor:
        """(B, T, N, C) → (B, G, n, width)."""
        entered: Tensor = self.down(self.norm(self.grain.gather(tokens))) + self.code
        return entered

    def leave(self, tokens: Tensor, found: Tensor) -> Tensor:
        """Tokens (B, T, N, C) with what their cells found, (B, G, n, width), added."""
        return tokens + self.grain.spread(self.up(found))


class CrossAttention(nn.Module):
    """One layer: semantic (B, T, P, C) and motion (B, S, M, D) → both, each with what it found in the other added.

    Both look at what the other was before the layer. The identity until trained.
    """

    def __init__(
        self, grains: dict[Stream, Grain], widths: dict[Stream, int], heads: int, bottleneck: int | None
    ) -> None:
        """Raises UserError if a width to attend in is no multiple of `heads`."""
        super().__init__()
        self.semantic = Port(grains["semantic"], widths["semantic"], bottleneck)
        self.motion = Port(grains["motion"], widths["motion"], bottleneck)
        for port in (self.semantic, self.motion):
            if port.width % heads:
                name = "bottleneck" if bottleneck else "native width"
                raise UserError(f"{name}: {port.width} is no multiple of {heads} heads")
        self.motion_to_semantic = ContextAttention(self.semantic.width, self.motion.width, heads)
        self.semantic_to_motion = ContextAttention(self.motion.width, self.semantic.width, heads)
        if bottleneck is None:
            start_at_zero(self.motion_to_semantic.out)
            start_at_zero(self.semantic_to_motion.out)

    def forward(
        self, semantic: Tensor, motion: Tensor, keep_semantic: Kept = None, keep_motion: Kept = None
    ) -> tuple[Tensor, Tensor]:
        """Weights go to `keep_semantic` where semantic tokens ask, to `keep_motion` where motion tokens do."""
        s, m = self.semantic.enter(semantic), self.motion.enter(motion)
        to_semantic = self.motion_to_semantic(s, m, keep_semantic)
        to_motion = self.semantic_to_motion(m, s, keep_motion)
        return self.semantic.leave(semantic, to_semantic), self.motion.leave(motion, to_motion)
