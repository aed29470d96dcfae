"""Cross-attention: what may reach what at each level, and both ways of doing it against a plain second one."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.cross_attention import CrossAttention
from kinetoken.gasm_cast.levels import LEVELS
from kinetoken.gasm_cast.network import TokenPlaces, _grains
from kinetoken.gasm_cast.sizes import TokenSizes, grid_places
from kinetoken.gasm_cast.variants import Stream
from tests.support.token_streams import SHARED_SEGMENTS, SMALL_SIZE, tokens

WIDTHS: dict[Stream, int] = {"semantic": 20, "motion": 16}


def layer(
    level: str, sizes: TokenSizes = SMALL_SIZE, bottleneck: int | None = 12, heads: int = 2, random: bool = True
) -> CrossAttention:
    torch.manual_seed(0)
    where = TokenPlaces(grid_places(sizes.semantic_grid), grid_places(sizes.motion_grid))
    made = CrossAttention(_grains(level, sizes, where), WIDTHS, heads, bottleneck)
    if random:
        for p in made.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return made


def touched(made: CrossAttention, segment: int, cell: int, sizes: TokenSizes) -> tuple[Tensor, Tensor]:
    """Semantic (T, P) and motion (S, M) tokens that change where one motion token does."""
    semantic, motion = tokens(sizes, clips=1)
    changed = motion.clone()
    changed[:, segment, cell] = changed[:, segment, cell].flip(-1)  # a constant more would be normalized away
    before, after = made(semantic, motion), made(semantic, changed)
    s, m = (((a - b).abs() > 1e-7).any(-1)[0] for a, b in zip(after, before, strict=True))
    return s, m


def test_in_a_segment_all_meet_and_no_other_segment_does() -> None:
    semantic, motion = touched(layer("segment", SHARED_SEGMENTS), segment=1, cell=3, sizes=SHARED_SEGMENTS)
    assert semantic[2:4].all() and not semantic[:2].any() and not semantic[4:].any()  # the two frames of segment 1
    assert motion.nonzero().tolist() == [[1, 3]]


@pytest.mark.parametrize("level", ["pattern", "clip"])
def test_patterns_and_the_clip_meet_across_time(level: str) -> None:
    semantic, _ = touched(layer(level), segment=1, cell=3, sizes=SMALL_SIZE)
    assert semantic.all()


def test_updates_are_shared_by_the_patches_of_a_pattern_only() -> None:
    made, (semantic, motion) = layer("pattern"), tokens()
    update = (made(semantic, motion)[0] - semantic).reshape(2, 4, 2, 2, 2, 2, 20)  # b t rows in columns in c
    torch.testing.assert_close(update[:, :, :, 0, :, 0], update[:, :, :, 1, :, 1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(update[:, :, 0, 0, 0, 0], update[:, :, 1, 0, 0, 0], atol=1e-2)


@pytest.mark.parametrize("level", list(LEVELS))
@pytest.mark.parametrize("bottleneck", [12, None])
def test_it_starts_as_the_identity_and_keeps_shapes(level: str, bottleneck: int | None) -> None:
    semantic, motion = tokens()
    fresh = layer(level, bottleneck=bottleneck, random=False)(semantic, motion)
    assert torch.equal(fresh[0], semantic) and torch.equal(fresh[1], motion)
    for before, after in zip((semantic, motion), layer(level, bottleneck=bottleneck)(semantic, motion), strict=True):
        assert after.shape == before.shape and not torch.allclose(before, after)


@pytest.mark.parametrize("bottleneck", [12, None])
def test_one_head_and_one_token_at_a_time_by_hand(bottleneck: int | None) -> None:
    """Query by query in the clip's level, from the layer's own weights."""
    made, (semantic, motion) = layer("clip", bottleneck=bottleneck, heads=1), tokens(clips=1)
    entered = {}
    for name, x in (("semantic", semantic), ("motion", motion)):
        port = getattr(made, name)
        pooled = F.layer_norm(x[0].mean(1), x.shape[-1:], port.norm.weight, port.norm.bias)
        entered[name] = (port.down(pooled) if bottleneck else pooled) + port.code[0]
    asks = made.motion_to_semantic
    width = entered["semantic"].shape[-1]
    keys, values = (entered["motion"] @ w.T for w in asks.key_value.weight.split(width))
    for t in range(4):
        query = asks.query.weight @ entered["semantic"][t]
        scores = torch.stack([query @ key / math.sqrt(width) for key in keys]).exp()
        found = asks.out.weight @ (scores @ values / scores.sum()) + asks.out.bias
        update = made.semantic.up(found)
        got = made(semantic, motion)[0][0, t] - semantic[0, t]
        torch.testing.assert_close(got, update.expand(16, 20), atol=1e-4, rtol=1e-4)


def test_kept_weights_are_those_used() -> None:
    made, (semantic, motion) = layer("segment"), tokens()
    ask_semantic: list[Tensor] = []
    ask_motion: list[Tensor] = []
    looked = made(semantic, motion, ask_semantic, ask_motion)
    for kept, fast in zip(looked, made(semantic, motion), strict=True):
        torch.testing.assert_close(kept, fast, atol=1e-5, rtol=1e-5)
    assert ask_semantic[0].shape == (2, 4, 2, 16, 4) and ask_motion[0].shape == (2, 4, 2, 4, 16)
    torch.testing.assert_close(ask_motion[0].sum(-1), torch.ones(2, 4, 2, 4))


def test_widths_that_heads_do_not_share_are_refused() -> None:
    with pytest.raises(UserError, match="bottleneck: 12 is no multiple of 5 heads"):
        layer("clip", heads=5)
    with pytest.raises(UserError, match="native width: 16 is no multiple of 5 heads"):
        layer("clip", heads=5, bottleneck=None)
    with pytest.raises(UserError, match="bottleneck: 4 numbers cannot hold a position"):
        layer("clip", bottleneck=4)
