"""I3D: the published structure at full size; small forwards, gradients, and a causal variant that is one."""

import pytest
import torch
from torch import Tensor

from kinetoken.backbones.i3d import I3D
from kinetoken.backbones.resnet3d import Streams, TimeConv3d, streaming
from tests.support.published_keys import i3d_r50, numbers

SMALL, DEPTHS = 4, (2, 3, 2, 2)
FRAMES = 8


def small(causal: bool = False, classes: int | None = 5) -> I3D:
    module = I3D(SMALL, DEPTHS, classes, causal)
    state = numbers(i3d_r50(SMALL, DEPTHS, classes or 1))
    module.load_state_dict({key: state[key] for key in module.state_dict()})
    return module.eval()


def clips(frames: int = FRAMES, side: int = 32) -> Tensor:
    return torch.rand(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def test_full_size_has_the_published_keys_shapes_and_parameters() -> None:
    with torch.device("meta"):
        module = I3D()
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == i3d_r50()
    assert sum(p.numel() for p in module.parameters()) == 28_043_472


@pytest.mark.parametrize(("frames", "side", "steps", "cells"), [(16, 224, 8, 7), (8, 224, 4, 7), (16, 64, 8, 2)])
def test_full_size_shapes(frames: int, side: int, steps: int, cells: int) -> None:
    with torch.device("meta"):
        module = I3D(classes=None).eval()
        clip = torch.empty(1, 3, frames, side, side)
        assert module.feature_map(clip).shape == (1, 2048, steps, cells, cells)
        assert module.features(clip).shape == (1, steps, 2048)
    assert (module.steps(frames), module.feature_size) == (steps, 2048)


@pytest.mark.parametrize(("frames", "side"), [(2, 32), (7, 32), (8, 64), (4, 48)])
def test_small_clips(frames: int, side: int) -> None:
    module = small()
    features, cells = module.features(clips(frames, side)), -(-side // 32)
    assert features.shape == (2, frames // 2, 32 * SMALL) == (2, module.steps(frames), module.feature_size)
    assert module.feature_map(clips(frames, side)).shape[3:] == (cells, cells)
    assert module(clips(frames, side)).shape == (2, 5)
    assert torch.isfinite(features).all() and features.std() > 0


def test_features_are_the_mean_of_the_map_over_space() -> None:
    with torch.no_grad():
        found, seen = small().feature_map(clips(side=64)), small().features(clips(side=64))
    torch.testing.assert_close(seen, found.mean((3, 4)).mT)


def test_pixels_are_normalised_inside() -> None:
    module = small()
    x = (clips() - 0.45) / 0.225
    with torch.no_grad():
        for block in module.blocks[:6]:
            x = block(x)
        torch.testing.assert_close(module.feature_map(clips()), x)


def test_every_weight_gets_a_gradient() -> None:
    module, clip = small(), clips().requires_grad_()
    module(clip).square().sum().backward()
    assert clip.grad is not None and clip.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_what_it_cannot_read_is_refused() -> None:
    module = small(classes=None)
    with pytest.raises(ValueError, match="without its classification head"):
        module(clips())
    with pytest.raises(ValueError, match="two frames or more"):
        module.features(clips(frames=1))
    with pytest.raises(ValueError, match=r"expected \(B, 3, T, H, W\)"):
        module.features(clips().transpose(1, 2))
    with pytest.raises(ValueError, match="divide bytes by 255"):
        module.features((clips() * 255).byte())


def changed_from(frame: int) -> Tensor:
    clip = clips().clone()
    clip[:, :, frame:] = 1 - clip[:, :, frame:]
    return clip


@pytest.mark.parametrize("step", range(1, FRAMES // 2))
def test_causal_features_do_not_see_later_frames(step: int) -> None:
    module = small(causal=True)
    with torch.no_grad():
        before, after = module.features(clips()), module.features(changed_from(2 * step))
        assert torch.equal(before[:, :step], after[:, :step])
        assert not torch.equal(before[:, step], after[:, step])
        seen = module.features(changed_from(2 * step - 1))  # the last frame of the step before
        assert not torch.equal(before[:, step - 1], seen[:, step - 1])
        loose = small(causal=False)
        assert not torch.equal(loose.features(clips())[:, :step], loose.features(changed_from(2 * step))[:, :step])


def test_causal_features_of_a_prefix_are_the_first_features() -> None:
    module = small(causal=True)
    with torch.no_grad():
        torch.testing.assert_close(module.features(clips()[:, :, :4]), module.features(clips())[:, :2])


def test_causal_has_the_same_keys() -> None:
    assert list(small(causal=True).state_dict()) == list(small().state_dict())


def streamed(module: I3D, clip: Tensor, pieces: list[int]) -> Tensor:
    """The feature map of a clip that arrives in pieces of so many frames."""
    found, state = [], None
    with torch.no_grad():
        for piece in clip.split(pieces, 2):
            with streaming(module, state) as left:
                found.append(module.feature_map(piece))
            state = left
    return torch.cat(found, 2)


def streams(module: I3D) -> list[TimeConv3d]:
    return [m for m in module.modules() if isinstance(m, TimeConv3d) and (m.before is not None or m.streams)]


@pytest.mark.parametrize("pieces", [[2] * 6, [4] * 3, [2, 6, 4], [12]])
def test_causal_maps_come_piece_by_piece_as_they_do_whole(pieces: list[int]) -> None:
    module, clip = small(causal=True), clips(12)
    with torch.no_grad():
        whole = module.feature_map(clip)
    torch.testing.assert_close(streamed(module, clip, pieces), whole, atol=1e-5, rtol=1e-5)
    assert not streams(module)
    with torch.no_grad():
        assert torch.equal(module.feature_map(clip), whole)  # no stream goes on outside of one


def test_what_came_before_a_piece_counts() -> None:
    module = small(causal=True)
    with torch.no_grad():
        alone = module.feature_map(clips(12)[:, :, 4:6])
    assert not torch.allclose(streamed(module, clips(12), [2] * 6)[:, :, 2:3], alone, atol=1e-3)


def test_two_streams_may_take_turns() -> None:
    module, both = small(causal=True), (clips(8), clips(8).flip(2))
    found: list[list[Tensor]] = [[], []]
    states: list[Streams | None] = [None, None]
    with torch.no_grad():
        for start in range(0, 8, 2):
            for i, clip in enumerate(both):
                with streaming(module, states[i]) as left:
                    found[i].append(module.feature_map(clip[:, :, start : start + 2]))
                states[i] = left
        for parts, clip in zip(found, both, strict=True):
            torch.testing.assert_close(torch.cat(parts, 2), module.feature_map(clip), atol=1e-5, rtol=1e-5)


def test_a_stream_that_fails_leaves_nothing_in_the_network() -> None:
    module = small(causal=True)
    with torch.no_grad():
        whole = module.feature_map(clips())
        with pytest.raises(ValueError, match="expected"), streaming(module, None) as left:
            module.feature_map(clips()[:, :, :2])
            assert streams(module)
            module.feature_map(clips().transpose(1, 2))
        assert not left and not streams(module)
        assert torch.equal(module.feature_map(clips()), whole)


def test_a_state_of_another_network_leaves_nothing_in_this_one() -> None:
    module = small(causal=True)
    with torch.no_grad():
        with streaming(module, None) as left:
            module.feature_map(clips()[:, :, :2])
        whole = module.feature_map(clips())
        for wrong in (left[:-1], left + left[:1]):
            with pytest.raises(ValueError), streaming(module, wrong):
                pass
            assert not streams(module)
            assert torch.equal(module.feature_map(clips()), whole)
