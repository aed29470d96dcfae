"""The network: identity at first, order kept or provably withheld, every parameter reached, export and precision."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.gasm_cast.network import GasmCast, TokenPlaces, motion_tokens, smoothed_loss
from kinetoken.gasm_cast.sizes import FULL_SIZE, TokenSizes, grid_places
from kinetoken.gasm_cast.variants import VARIANTS, FusionParams
from tests.support.token_streams import FULL, SHARED_SEGMENTS, SMALL_SIZE, accuracy, network, small, tokens, trained

CHANGES = [{"variant": name} for name in VARIANTS] + [{"layers": 1}, {"layers": 2}, {"heads": 4, "bottleneck": 8}]


def changed(values: dict[str, Any]) -> str:
    return "-".join(f"{k}={v}" for k, v in values.items())


# ---- shapes


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_full_size_shapes(variant: str) -> None:
    with torch.device("meta"):
        made = GasmCast(FULL_SIZE, dataclasses.replace(FULL, variant=variant))
        semantic, motion = torch.empty(2, 8, 196, 768), motion_tokens(torch.empty(2, 512, 8, 7, 7))
        assert motion.shape == (2, 8, 49, 512)
        assert made(semantic, motion).shape == (2, 174)
        fused = made.fuse(semantic, motion)
    shapes = {"semantic": (2, 8 if VARIANTS[variant].ordered else 1, 196, 768), "motion": (2, 8, 49, 512)}
    assert {name: x.shape for name, x in fused.items()} == {name: shapes[name] for name in VARIANTS[variant].streams}


def test_channels_stay_channels_and_time_stays_time() -> None:
    of_map = torch.arange(5 * 4 * 2 * 3).reshape(1, 5, 4, 2, 3)
    as_tokens = motion_tokens(of_map)
    assert as_tokens.shape == (1, 4, 6, 5)
    assert torch.equal(as_tokens[0, 2, 4], of_map[0, :, 2, 1, 1])


def test_params_and_sizes_come_from_sections() -> None:
    section = json.loads(json.dumps(dataclasses.asdict(FULL)))
    assert build(TokenSizes, json.loads(json.dumps(dataclasses.asdict(FULL_SIZE))), "sizes") == FULL_SIZE
    assert build(FusionParams, section, "train_gasm_cast.fusion") == FULL
    with pytest.raises(UserError, match="variant: must be one of gasm_cast, plain"):
        build(FusionParams, {**section, "variant": "late"}, "train_gasm_cast.fusion")
    with pytest.raises(UserError, match="layers: must be >= 1 and <= 3"):
        build(FusionParams, {**section, "layers": 4}, "train_gasm_cast.fusion")


# ---- identity, positions, order


@pytest.mark.parametrize("changes", CHANGES, ids=changed)
def test_untrained_the_fusion_is_the_identity(changes: dict[str, Any]) -> None:
    semantic, motion = tokens(SHARED_SEGMENTS)
    fused = network(SHARED_SEGMENTS, zeros=True, **changes).fuse(semantic, motion)
    if changes.get("variant") == "order_blind":
        semantic = semantic.mean(1, keepdim=True)
    for name, before in (("semantic", semantic), ("motion", motion)):
        if name in fused:
            torch.testing.assert_close(fused[name], before)
    touched = network(SHARED_SEGMENTS, **changes).fuse(semantic.expand(-1, 8, -1, -1), motion)
    acts = any(not torch.allclose(touched[name], fused[name]) for name in fused)
    assert acts


@pytest.mark.parametrize("variant", ["gasm_cast", "plain", "no_graph"])
def test_numbering_of_tokens_does_not_matter_where_places_go_with_them(variant: str) -> None:
    draw = np.random.default_rng(0)
    orders = draw.permutation(16), draw.permutation(4)
    where = TokenPlaces(grid_places((4, 4))[orders[0]], grid_places((2, 2))[orders[1]])
    made, (semantic, motion) = network(variant=variant), tokens()
    renumbered = GasmCast(SMALL_SIZE, small(variant=variant), where).eval()
    renumbered.load_state_dict(made.state_dict())
    permuted = semantic[:, :, orders[0]], motion[:, :, orders[1]]
    torch.testing.assert_close(renumbered(*permuted), made(semantic, motion), atol=1e-5, rtol=1e-5)
    fused, same = made.fuse(semantic, motion), renumbered.fuse(*permuted)
    torch.testing.assert_close(same["semantic"], fused["semantic"][:, :, orders[0]], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(made(*permuted), made(semantic, motion), atol=1e-3)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_order_blind_alone_is_blind_to_order(variant: str) -> None:
    semantic, motion = tokens(SHARED_SEGMENTS, clips=8)
    made = network(SHARED_SEGMENTS, variant=variant)
    logits = made(semantic, motion)
    for seed in range(5):
        frames = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
        segments = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        shuffled = made(semantic[:, frames], motion[:, segments])
        assert torch.equal(shuffled, logits) == (variant == "order_blind"), seed


def test_order_blind_does_not_look_at_motion_that_knows_the_order() -> None:
    semantic, motion = tokens()
    made = network(variant="order_blind")
    assert torch.equal(made(semantic, None), made(semantic, motion))
    assert torch.equal(made(semantic, torch.full_like(motion, torch.nan)), made(semantic, motion))


# ---- learning


def courses(clips: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A thing that goes to the right (1), and the same clips mirrored in time (0), in the tokens of both streams."""
    draw = torch.Generator().manual_seed(seed)
    semantic, motion = tokens(SMALL_SIZE, clips, seed)
    look = 3 * torch.randn(2, 20, generator=torch.Generator().manual_seed(9))
    row = torch.randint(4, (clips,), generator=draw)
    for t in range(4):
        semantic[torch.arange(clips), t, 4 * row + t] += look[0]
        motion[torch.arange(clips), t, 2 * (row // 2) + t // 2] += look[1, :16]
    labels = torch.cat([torch.ones(clips), torch.zeros(clips)]).long()
    return torch.cat([semantic, semantic.flip(1)]), torch.cat([motion, motion.flip(1)]), labels


@pytest.mark.parametrize("variant", ["gasm_cast", "concatenation", "semantic_only", "motion_only"])
def test_the_order_of_mirrored_clips_is_learned(variant: str) -> None:
    made = trained(network(zeros=True, variant=variant), *courses(400, seed=0), steps=60)
    assert accuracy(made, *courses(200, seed=1)) >= 0.99


def test_order_blind_stays_at_chance() -> None:
    made = trained(network(zeros=True, variant="order_blind"), *courses(400, seed=0), steps=60)
    assert accuracy(made, *courses(200, seed=1)) == 0.5  # one of each pair, as both get the same scores


def agreeing(clips: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the two streams bear the same of two signs (1) or not (0): neither tells alone, nor do both added."""
    semantic, motion = tokens(SMALL_SIZE, clips, seed)
    signs = 2.0 * torch.randint(2, (2, clips), generator=torch.Generator().manual_seed(seed)) - 1
    look = torch.randn(2, 20, generator=torch.Generator().manual_seed(9))
    semantic = 0.5 * semantic + signs[0, :, None, None, None] * look[0]
    motion = 0.5 * motion + signs[1, :, None, None, None] * look[1, :16]
    return semantic, motion, (signs[0] == signs[1]).long()


def test_what_only_both_streams_together_tell_takes_cross_attention() -> None:
    fused = trained(network(zeros=True), *agreeing(800, seed=0), steps=80)
    assert accuracy(fused, *agreeing(400, seed=1)) >= 0.99
    beside = trained(network(zeros=True, variant="concatenation"), *agreeing(800, seed=0), steps=80)
    assert accuracy(beside, *agreeing(400, seed=1)) < 0.6


@pytest.mark.parametrize("changes", CHANGES, ids=changed)
def test_the_gradient_reaches_every_parameter(changes: dict[str, Any]) -> None:
    made = network(**changes).train()
    semantic, motion = tokens(clips=6)
    smoothed_loss(made(semantic, motion), torch.arange(6) % 3, 0.1).backward()
    still = [name for name, p in made.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-7]
    assert not still


def test_from_zero_everything_moves_after_a_step() -> None:
    """At the start only the up-projections and the head get a gradient; a step later all do."""
    made = network(zeros=True).train()
    semantic, motion = tokens(clips=6)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.5)
    moved = []
    for _ in range(2):
        optimizer.zero_grad()
        smoothed_loss(made(semantic, motion), torch.arange(6) % 3, 0.1).backward()
        optimizer.step()
        moved.append({name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()})
    assert all("up" in name or name.startswith("head") for name in moved[0])
    assert moved[1] == {name for name, _ in made.named_parameters()}


def test_checkpointing_gives_the_same_gradients_from_less_memory() -> None:
    semantic, motion = tokens(clips=4)
    gradients, stored = [], []
    for wished in (False, True):
        made = network(gradient_checkpointing=wished).train()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            loss = smoothed_loss(made(semantic, motion), torch.arange(4) % 3, 0.1)
        stored.append(sum(sizes))
        loss.backward()
        gradients.append([p.grad for p in made.parameters()])
    for plain, again in zip(*gradients, strict=True):
        assert torch.equal(plain, again)
    assert stored[1] < stored[0] / 3


def test_smoothed_loss_by_hand() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    target = 0.8 * torch.nn.functional.one_hot(labels, 4) + 0.2 / 4
    by_hand = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smoothed_loss(logits, labels, 0.2), by_hand)


# ---- looking inside


def test_attend_shows_the_weights_and_gives_the_same_logits() -> None:
    made, (semantic, motion) = network(SHARED_SEGMENTS), tokens(SHARED_SEGMENTS)
    seen = made.attend(semantic, motion)
    torch.testing.assert_close(seen.logits, made(semantic, motion), atol=1e-5, rtol=1e-5)
    assert [x.shape for x in seen.patch_edges] == [(2, 8, 2, 16, 16)]
    assert [x.shape for x in seen.segment_edges] == [(2, 4, 2, 4, 4)]
    assert [x.shape for x in seen.motion_to_semantic] == [(2, 4, 2, 32, 4), (2, 1, 2, 32, 16), (2, 1, 2, 8, 4)]
    assert [x.shape for x in seen.semantic_to_motion] == [(2, 4, 2, 4, 32), (2, 1, 2, 16, 32), (2, 1, 2, 4, 8)]
    for weights in (*seen.patch_edges, *seen.segment_edges, *seen.motion_to_semantic, *seen.semantic_to_motion):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert not weights.requires_grad
    # a segment's graph joins segments, at each cell: the first is no neighbour of the last unless alike
    assert (seen.segment_edges[0][..., 0, 3] == 0).any() and (seen.segment_edges[0][..., 0, 1] > 0).all()
    bare = network(variant="no_graph", layers=1).attend(*tokens())
    assert not bare.patch_edges and not bare.segment_edges and len(bare.motion_to_semantic) == 1


# ---- bad input


@pytest.mark.parametrize(("changes", "message"), [
    ({"bottleneck": 13}, "bottleneck: 13 is no multiple of 2 heads"),
    ({"graph_width": 7}, "graph_width: 7 is no multiple of 2 heads"),
    ({"heads": 16, "graph_width": 16, "variant": "plain"}, "native width: 20 is no multiple of 16 heads"),
    ({"curves": 5}, "curves: 5 are more than 4 steps"),
    ({"segment_similar": 4}, "neighbours: 4 similar ones of 3 other tokens"),
])
def test_params_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GasmCast(SMALL_SIZE, small(**changes))


def test_tokens_of_another_shape_are_refused() -> None:
    made, (semantic, motion) = network(), tokens()
    with pytest.raises(UserError, match=r"tokens of shape \(2, 4, 16, 19\); expected \(B, 4, 16, 20\)"):
        made(semantic[..., :19], motion)
    with pytest.raises(UserError, match=r"motion stream: tokens of shape \(2, 3, 4, 16\)"):
        made(semantic, motion[:, :3])
    with pytest.raises(UserError, match=r"semantic stream: tokens of shape \(2, 16, 20\)"):
        made(semantic[:, 0], motion)
    with pytest.raises(UserError, match="motion stream: none; expected"):
        made(semantic, None)


# ---- leaving the laboratory


@pytest.mark.parametrize("variant", ["gasm_cast", "plain", "order_blind"])
def test_export_gives_the_same_outputs_for_any_batch(variant: str) -> None:
    made = network(SHARED_SEGMENTS, variant=variant)
    batch = torch.export.Dim("batch", min=1, max=64)
    used = VARIANTS[variant].streams
    semantic, motion = tokens(SHARED_SEGMENTS, clips=3)
    inputs = [semantic if "semantic" in used else None, motion if "motion" in used else None]
    shapes = tuple(None if x is None else {0: batch} for x in inputs)
    exported = torch.export.export(made, tuple(inputs), dynamic_shapes=shapes).module()
    for clips in (3, 1, 7):
        others = [None if x is None else y for x, y in zip(inputs, tokens(SHARED_SEGMENTS, clips, 5), strict=True)]
        torch.testing.assert_close(exported(*others), made(*others), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("by_autocast", [False, True])
def test_half_precision_is_close(by_autocast: bool) -> None:
    semantic, motion = tokens(clips=16)
    made = network()
    exact = made(semantic, motion)
    if by_autocast:
        with torch.autocast("cpu", torch.bfloat16):
            half = made(semantic, motion)
    else:
        half = made.to(torch.bfloat16)(semantic.bfloat16(), motion.bfloat16())
    assert half.dtype == torch.bfloat16
    difference = (half.float() - exact).abs()
    assert difference.max() < 0.1 * exact.std(), (difference.max(), exact.std())
