"""SlowFast: the published structure at full size; small forwards, gradients, pathways, and a causal variant."""

import pytest
import torch
from torch import Tensor

from kinetoken.backbones.resnet3d import TimeConv3d, streaming
from kinetoken.backbones.slowfast import SlowFast, two_pathways
from tests.support.published_keys import numbers, slowfast_r50

SMALL, DEPTHS, BETA = 8, (1, 2, 2, 1), 4
FRAMES = 16


def small(causal: bool = False, classes: int | None = 5, alpha: int = 4) -> SlowFast:
    module = SlowFast(SMALL, DEPTHS, alpha, BETA, classes, causal)
    state = numbers(slowfast_r50(SMALL, DEPTHS, BETA, classes or 1))
    module.load_state_dict({key: state[key] for key in module.state_dict()})
    return module.eval()


def clips(frames: int = FRAMES, side: int = 32) -> Tensor:
    return torch.rand(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def test_full_size_has_the_published_keys_shapes_and_parameters() -> None:
    with torch.device("meta"):
        module = SlowFast()
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == slowfast_r50()
    assert sum(p.numel() for p in module.parameters()) == 34_566_488


@pytest.mark.parametrize(("frames", "side", "cells"), [(32, 224, 7), (16, 64, 2)])
def test_full_size_shapes(frames: int, side: int, cells: int) -> None:
    with torch.device("meta"):
        module = SlowFast(classes=None).eval()
        clip = torch.empty(1, 3, frames, side, side)
        slow, fast = module.pathway_maps(clip)
        assert slow.shape == (1, 2048, frames // 4, cells, cells) and fast.shape == (1, 256, frames, cells, cells)
        assert module.features(clip).shape == (1, frames // 4, 2304)
    assert (module.steps(frames), module.feature_size) == (frames // 4, 2304)


@pytest.mark.parametrize(("frames", "side", "alpha"), [(16, 32, 4), (16, 64, 8), (4, 48, 2), (4, 32, 4)])
def test_small_clips(frames: int, side: int, alpha: int) -> None:
    module, cells = small(alpha=alpha), -(-side // 32)
    features = module.features(clips(frames, side))
    assert features.shape == (2, frames // alpha, 320) == (2, module.steps(frames), module.feature_size)
    assert module.feature_map(clips(frames, side)).shape[3:] == (cells, cells)
    assert module(clips(frames, side)).shape == (2, 5)
    assert torch.isfinite(features).all() and features.std() > 0


def test_two_pathways_are_the_reference_s() -> None:
    clip = torch.arange(32.0).expand(1, 3, 2, 2, 32).permute(0, 1, 4, 2, 3)  # each frame holds its number
    slow, fast = two_pathways(clip, alpha=4)
    assert slow[0, 0, :, 0, 0].tolist() == [0, 4, 8, 13, 17, 22, 26, 31] and torch.equal(fast, clip)
    slow, fast = two_pathways(clip, alpha=4, causal=True)
    assert slow[0, 0, :, 0, 0].tolist() == [3, 7, 11, 15, 19, 23, 27, 31] and torch.equal(fast, clip)
    with pytest.raises(ValueError, match="30 frames are no multiple of alpha, 4"):
        two_pathways(clip[:, :, :30])


def test_a_clip_and_its_two_pathways_give_the_same() -> None:
    module = small()
    with torch.no_grad():
        assert torch.equal(module.features(clips()), module.features(two_pathways(clips())))
        assert torch.equal(module(clips()), module(two_pathways(clips())))
    slow, fast = two_pathways(clips())
    with pytest.raises(ValueError, match="4 slow frames and 8 fast ones: expected 4 fast"):
        module.features((slow, fast[:, :, :8]))


def test_features_hold_both_pathways_at_the_slow_one_s_time() -> None:
    module = small()
    with torch.no_grad():
        slow, fast = module.pathway_maps(clips(side=64))
        features = module.features(clips(side=64))
    torch.testing.assert_close(features[..., :256], slow.mean((3, 4)).mT)
    torch.testing.assert_close(features[..., 256:], fast.mean((3, 4)).unflatten(2, (-1, 4)).mean(-1).mT)


def test_every_weight_gets_a_gradient() -> None:
    module, clip = small(), clips().requires_grad_()
    module(clip).square().sum().backward()
    assert clip.grad is not None and clip.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="without its classification head"):
        small(classes=None)(clips())
    with pytest.raises(ValueError, match="width of 10 is not divided by beta, 4"):
        SlowFast(10, beta=4)


def changed_from(frame: int) -> Tensor:
    clip = clips().clone()
    clip[:, :, frame:] = 1 - clip[:, :, frame:]
    return clip


@pytest.mark.parametrize("step", range(1, FRAMES // 4))
def test_causal_features_do_not_see_later_frames(step: int) -> None:
    module = small(causal=True)
    with torch.no_grad():
        before, after = module.features(clips()), module.features(changed_from(4 * step))
        assert torch.equal(before[:, :step], after[:, :step])
        assert not torch.equal(before[:, step], after[:, step])
        seen = module.features(changed_from(4 * step - 1))  # the last frame of the step before
        assert not torch.equal(before[:, step - 1, :256], seen[:, step - 1, :256])
        assert not torch.equal(before[:, step - 1, 256:], seen[:, step - 1, 256:])
        loose = small(causal=False)
        assert not torch.equal(loose.features(clips())[:, :step], loose.features(changed_from(4 * step))[:, :step])


@pytest.mark.parametrize("alpha", [2, 4, 8])
def test_causal_features_of_a_prefix_are_the_first_features(alpha: int) -> None:
    module = small(causal=True, alpha=alpha)
    with torch.no_grad():
        torch.testing.assert_close(module.features(clips()[:, :, :8]), module.features(clips())[:, : 8 // alpha])


def test_causal_has_the_same_keys() -> None:
    assert list(small(causal=True).state_dict()) == list(small().state_dict())


@pytest.mark.parametrize(("alpha", "pieces"), [(4, [4] * 4), (4, [8, 8]), (4, [4, 12]), (2, [2] * 8), (8, [8, 8])])
def test_causal_maps_come_piece_by_piece_as_they_do_whole(alpha: int, pieces: list[int]) -> None:
    module = small(causal=True, alpha=alpha)
    found, state = [], None
    with torch.no_grad():
        whole = module.feature_map(clips())
        for piece in clips().split(pieces, 2):
            with streaming(module, state) as left:
                found.append(module.feature_map(piece))
            state = left
        torch.testing.assert_close(torch.cat(found, 2), whole, atol=1e-5, rtol=1e-5)
        assert not any(m.streams or m.before is not None for m in module.modules() if isinstance(m, TimeConv3d))
        assert torch.equal(module.feature_map(clips()), whole)


def test_a_stream_that_fails_leaves_nothing_in_the_network() -> None:
    module = small(causal=True)
    with torch.no_grad():
        whole = module.feature_map(clips())
        with pytest.raises(ValueError, match="no multiple of alpha"), streaming(module, None):
            module.feature_map(clips()[:, :, :8])
            module.feature_map(clips()[:, :, :3])
        assert torch.equal(module.feature_map(clips()), whole)
