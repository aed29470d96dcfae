"""I3D + MAGVIT: shapes at full size, where gradients reach, what a forecast can know, saving and loading."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kinetoken.backbones.params import BackboneParams, Dinov3Params, FrameCnnParams, R3dParams
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.generation.generator import Generator, GeneratorShape
from kinetoken.i3d_magvit.network import I3DMagvit, load_i3d_magvit, require_fitting
from kinetoken.i3d_magvit.params import ForecastParams, TemporalParams
from kinetoken.i3d_magvit.training import (
    ClipSet,
    HeadReadings,
    JointPredictions,
    PartlySeen,
    joint_step,
    read,
    train_network,
)
from kinetoken.prediction.network import HeadReader, Predictor, PredictorShape
from kinetoken.prediction.training import ErrorModel
from kinetoken.scenes.paths import to_path_coordinates
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import Batch, Step, fit
from kinetoken.training.muon import muon_and_adamw
from tests.support.generators import MASKED, PLAN_SHAPE
from tests.support.i3d_magvit import (
    COMPRESSION,
    I3D,
    PARAMS,
    QUIET,
    SHAPE,
    SLOWFAST,
    VARIANTS,
    network,
    some_clips,
    variant,
)
from tests.support.published_keys import i3d_r50, numbers, r3d_18

PAST, SLICES = 12, 3
each_variant = pytest.mark.parametrize("name", VARIANTS)


def batches(module: I3DMagvit, clips: ClipSet) -> PartlySeen:
    return PartlySeen(clips, module.params.video_share, module.past_frames)


def batch(module: I3DMagvit, clips: ClipSet) -> Batch:
    return batches(module, clips).gather(np.arange(len(clips.label)))


def past_of(clips: ClipSet) -> tuple[Tensor, Tensor]:
    return clips.clips[:, :PAST], clips.codes[:, :SLICES]


def open_branches(module: I3DMagvit) -> I3DMagvit:
    """ResNets begin with every residual branch shut by a norm of zeros; here all are open."""
    for norm in module.backbone.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.constant_(norm.weight, 0.5)
    return module


def assert_same_reading(one: JointPredictions, other: JointPredictions) -> None:
    """Bit for bit."""
    for field in dataclasses.fields(JointPredictions):
        first, second = (np.asarray(getattr(each, field.name)) for each in (one, other))
        assert np.array_equal(first, second), field.name


# ---- shapes


def test_full_size_shapes() -> None:
    """The published I3D's (B, T', 2048), compressed to (B, T', 256), read as (B, 512), four classes, four frames."""
    full = dataclasses.replace(
        PARAMS, backbone=dataclasses.replace(I3D, width=64, depths=(3, 4, 6, 3), image_size=32), embedding=512,
        compression=dataclasses.replace(COMPRESSION, size=256, codebook_size=512),
        temporal=TemporalParams(kind="transformer", width=128, layers=2, heads=4),
        forecast=ForecastParams(past_slices=3, filters=16, width=48),
    )
    assert not full.backbone.reduced and full.backbone.title == "i3d"
    module = network(full).eval()
    clips = some_clips(2)
    with torch.no_grad():
        for given, steps in (((clips.clips, clips.codes), 8), (past_of(clips), 6)):
            features = module._features(given[0])
            assert features.shape == (2, steps, 2048)
            assert module.compress(features)[0].shape == (2, steps, 256)
            seen = module.see(*given)
            assert seen.embedding.shape == (2, 512) and seen.logits.shape == (2, 4)
            assert seen.path.shape == (2, len(given[0][0]), 3) and seen.compression.shape == ()
            assert (seen.ahead is None) == (steps == 8)
        assert seen.ahead is not None and seen.ahead.shape == (2, 4, 3)
        codes = module.next_codes(seen, clips.codes[:, :SLICES])
    assert codes.shape == (2, 1, 4, 4) and 0 <= int(codes.min()) and int(codes.max()) < 1000


@pytest.mark.parametrize(("backbone", "per_slice"), [
    (I3D, 2), (dataclasses.replace(I3D, name="i3d_causal"), 2), (SLOWFAST, 1),
    (dataclasses.replace(SLOWFAST, alpha=2), 2),
    (R3dParams(name="r3d", image_size=16, frames=16, pretrained=False, checkpoint=None, width=2, depths=(1, 1, 1, 1),
               head=False), 2),
    (Dinov3Params(name="dinov3", image_size=16, frames=16, pretrained=False, checkpoint=None, width=16, depth=1,
                  heads=2), 4),
    (FrameCnnParams(name="frame_cnn", image_size=16, frames=16, pretrained=False, checkpoint=None, width=4, layers=3),
     4),
])
def test_every_backbone_goes_into_the_slices(backbone: BackboneParams, per_slice: int) -> None:
    module = network(dataclasses.replace(PARAMS, backbone=backbone)).eval()  # type: ignore[arg-type]
    clips = some_clips(3)
    assert module.steps == per_slice
    found = read(module, *past_of(clips), tokens=True)
    assert found.logits.shape == (3, 4) and found.path.shape == (3, 12, 3)
    assert found.ahead is not None and found.ahead.shape == (3, 4, 3)
    assert found.codes is not None and found.codes.shape == (3, 1, 4, 4) and found.codes.dtype == np.int32
    assert read(module, clips.clips, clips.codes).ahead is None


def test_a_quantizer_without_levels_has_its_own_codes() -> None:
    shape = dataclasses.replace(SHAPE, levels=(64,), codebook_size=64)
    torch.manual_seed(0)
    module, clips = I3DMagvit(PARAMS, shape, Codebook(torch.randn(64, 4), (64,))), some_clips(4, shape=shape)
    found = read(module, *past_of(clips), tokens=True)
    assert found.codes is not None and 0 <= found.codes.min() and found.codes.max() < 64
    loss, _ = joint_step(module, clips.codes)(module.train(), batch(module, clips))
    assert torch.isfinite(loss)


def test_pixels_are_averaged_down_to_what_the_backbone_takes() -> None:
    module, clips = network().eval(), some_clips(2)
    coarse = clips.clips.reshape(2, 16, 16, 2, 16, 2, 3).float().mean((3, 5), keepdim=True)
    same = coarse.expand(-1, -1, -1, 2, -1, 2, -1).reshape(clips.clips.shape).round().byte()
    exact = (4 * coarse).round().expand(-1, -1, -1, 2, -1, 2, -1).reshape(clips.clips.shape) / 4
    with torch.no_grad():
        torch.testing.assert_close(module._features(clips.clips), module._features(exact), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(module._features(clips.clips), module._features(255 - same), atol=1e-3)
    for wanted in (64, 16):
        require_fitting(64, wanted)
    for wanted in (48, 128):
        with pytest.raises(UserError, match=rf"image_size: clips of 64 pixels cannot be averaged to {wanted}"):
            require_fitting(64, wanted)


# ---- gradients


@each_variant
def test_the_loss_reaches_every_weight_that_trains(name: str) -> None:
    module, clips = open_branches(network(variant(name))), some_clips(16)
    loss, parts = joint_step(module, clips.codes)(module.train(), batch(module, clips))
    loss.backward()
    known = {"class", "class_of_past", "place", "forecast", "tokens", "compression"}
    assert torch.isfinite(loss) and set(parts) == known | ({"place_by_frames"} if variant(name).tokens else set())
    trainable = {key for key, weights in module.named_parameters() if weights.requires_grad}
    reached = {
        key for key, weights in module.named_parameters() if weights.grad is not None and weights.grad.abs().sum() > 0
    }
    assert reached == trainable
    assert any(key.startswith("backbone.") for key in reached) == (name != "frozen")


@pytest.mark.parametrize(("name", "part"), [
    ("default", "forecast"), ("default", "tokens"), ("no_tokens", "place"),
])
def test_each_part_of_the_loss_teaches_the_frames_something_of_its_own(name: str, part: str) -> None:
    """Beside the class; the place too where no tokens tell it."""
    clips, grads = some_clips(16), []
    for weight in (0.0, 1.0):
        nothing = dataclasses.replace(PARAMS.weights, place=0, forecast=0, tokens=0, compression=0)
        params = dataclasses.replace(variant(name), weights=dataclasses.replace(nothing, **{part: weight}))
        module = open_branches(network(params)).train()
        torch.manual_seed(3)
        loss, _ = joint_step(module, clips.codes)(module, batch(module, clips))
        loss.backward()
        grads.append(module.backbone.get_parameter("blocks.0.conv.weight").grad)
    assert grads[0] is not None and grads[1] is not None and grads[0].abs().sum() > 0
    assert (grads[1] - grads[0]).abs().max() > 1e-3 * grads[0].abs().max()


def test_muon_takes_hidden_matrices_and_adamw_the_rest() -> None:
    for name in VARIANTS:
        params = variant(name)
        module = network(params)
        adamw, muon = muon_and_adamw(params)(module)
        groups = [{id(p) for group in each.param_groups for p in group["params"]} for each in (adamw, muon)]
        assert not groups[0] & groups[1] and all(p.ndim == 2 for g in muon.param_groups for p in g["params"])
        assert groups[0] | groups[1] == {id(p) for p in module.parameters() if p.requires_grad}


def test_a_frozen_backbone_stays_as_it_came() -> None:
    """Its weights and the running statistics of its norms; all else trains. Without frozen they move."""
    clips = some_clips(16)
    for name in ("frozen", "default"):
        params = dataclasses.replace(variant(name), epochs=1)
        module = open_branches(network(params))
        before = {key: value.clone() for key, value in module.state_dict().items()}
        train_network(module, clips, some_clips(4, 1), params, QUIET)
        moved = {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}
        stats = {key for key in before if key.startswith("backbone.") and "running" in key}
        assert stats and (stats <= moved) == (name == "default")
        assert any(key.startswith("backbone.") for key in moved) == (name == "default")
        assert {"classify.2.weight", "foretell.filters", "reader.place.weight", "compress.down.weight"} <= moved
        module.train()
        assert module.backbone.training == (name == "default") and module.classify.training


# ---- what a forecast can know


@each_variant
def test_what_comes_later_changes_no_forecast_by_a_bit(name: str) -> None:
    """Noise for the frames and codes to come: all that is read of the past is the same; what is read of wholes is not.

    A reading of the past is a function of the past's arrays; the control says that the whole clip does count.
    """
    module, clips = network(variant(name)), some_clips(5)
    other = some_clips(5, seed=9)
    changed = dataclasses.replace(
        clips, clips=torch.cat([clips.clips[:, :PAST], other.clips[:, PAST:]], 1),
        codes=torch.cat([clips.codes[:, :SLICES], other.codes[:, SLICES:]], 1),
    )
    assert_same_reading(read(module, *past_of(clips), tokens=True), read(module, *past_of(changed), tokens=True))
    whole = [read(module, each.clips, each.codes) for each in (clips, changed)]
    assert not np.array_equal(whole[0].logits, whole[1].logits)


def test_each_stream_is_read() -> None:
    """Other frames of the past, and other codes of it, change the forecast."""
    module, clips, other = network(), some_clips(5), some_clips(5, seed=9)
    told = read(module, *past_of(clips))
    for frames, codes in ((other.clips, clips.codes), (clips.clips, other.codes)):
        changed = read(module, frames[:, :PAST], codes[:, :SLICES])
        assert told.ahead is not None and changed.ahead is not None
        assert not torch.allclose(told.ahead, changed.ahead, atol=1e-4)
        assert not np.allclose(told.embedding, changed.embedding, atol=1e-4)


def test_without_tokens_no_code_is_read() -> None:
    module, clips, other = network(variant("no_tokens")), some_clips(5), some_clips(5, seed=9)
    codes = other.codes[:, :SLICES]
    assert_same_reading(read(module, *past_of(clips), tokens=True), read(module, clips.clips[:, :PAST], codes, True))


def test_without_frames_the_tokens_say_what_they_said() -> None:
    """What training does with part of each batch: the place is the tokens' alone, the rest is left open."""
    module, clips = network().eval(), some_clips(5)
    with torch.no_grad():
        with_frames, without = module.see(*past_of(clips)), module.see(None, clips.codes[:, :SLICES])
    assert torch.equal(with_frames.path, without.path) and without.ahead.shape == with_frames.ahead.shape
    assert not torch.allclose(with_frames.embedding, without.embedding) and float(without.compression) == 0


@pytest.mark.parametrize("looked", [1, 2, 5])
def test_training_makes_of_clips_what_reading_makes(looked: int) -> None:
    """Whole and as pasts, with the frames of the first and of the last and without those of the rest."""
    module, clips = network().eval(), some_clips(5)
    frames, codes = clips.clips, clips.codes
    with torch.no_grad():
        module.see(*past_of(clips))  # k-means starts the feature codebook in the first reading of all
        seen, told = module(frames[:looked], frames[-looked:, :PAST], codes)
        for found, known, unknown in (
            (seen, module.see(frames[:looked], codes[:looked]), module.see(None, codes)),
            (told, module.see(frames[-looked:, :PAST], codes[-looked:, :SLICES]), module.see(None, codes[:, :SLICES])),
        ):
            with_frames, without = (
                (slice(looked), slice(looked, None)) if found is seen else (slice(5 - looked, None), slice(5 - looked))
            )
            for name in ("logits", "embedding", "path") if found is seen else ("logits", "embedding", "path", "ahead"):
                each = getattr(found, name)
                torch.testing.assert_close(each[with_frames], getattr(known, name), atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(each[without], getattr(unknown, name)[without], atol=1e-4, rtol=1e-4)
    assert seen.ahead is None and told.ahead is not None and told.ahead.shape == (5, 4, 3)


@pytest.mark.parametrize(("share", "count", "looked"), [(0.5, 6, 3), (0.125, 6, 1), (1.0, 6, 6), (0.5, 1, 1)])
def test_frames_are_looked_at_of_the_first_clips_whole_and_of_the_last_as_pasts(
    share: float, count: int, looked: int
) -> None:
    clips, order = some_clips(8), np.random.default_rng(0).permutation(8)[:count]
    found = PartlySeen(clips, share, PAST).gather(order)
    assert torch.equal(found["whole"], clips.clips[order[:looked]])
    assert torch.equal(found["pasts"], clips.clips[order[-looked:], :PAST])
    for name in ("codes", "label", "path"):
        assert torch.equal(found[name], getattr(clips, name)[order])
    module = network()
    loss, _ = joint_step(module, clips.codes)(module.train(), found)
    assert torch.isfinite(loss)


def test_in_training_too_the_past_is_told_nothing_later() -> None:
    module, clips, other = network().eval(), some_clips(5), some_clips(5, seed=9)
    later = torch.cat([clips.codes[:, :SLICES], other.codes[:, SLICES:]], 1)
    with torch.no_grad():
        one, two = (module(clips.clips[:2], clips.clips[-2:, :PAST], codes) for codes in (clips.codes, later))
    for name in ("logits", "embedding", "path", "ahead"):
        assert torch.equal(getattr(one[1], name), getattr(two[1], name))
    assert not torch.allclose(one[0].logits, two[0].logits)


# ---- a position head that reads, and paths that are drawn


def test_a_head_reads_the_codes_and_stays_as_it_is(tmp_path: Path) -> None:
    """The path is the head's, no slice is told of a later one, and training leaves it; so it comes back from a file."""
    module, clips = network(reads=True), some_clips(16)
    assert isinstance(module.reader, HeadReader)
    before = {name: value.clone() for name, value in module.reader.head.state_dict().items()}
    train_network(module, clips, some_clips(6, 1), dataclasses.replace(PARAMS, epochs=1), QUIET)
    assert all(torch.equal(value, before[name]) for name, value in module.reader.head.state_dict().items())
    u, v, radius = module.reader.head.camera.project(module.reader.head.positions(clips.codes.numpy()))
    found = module.read_by_head(clips.codes)
    torch.testing.assert_close(found, to_path_coordinates(u, v, radius, SHAPE.image_size), atol=1e-3, rtol=1e-3)
    assert torch.equal(read(module, *past_of(clips)).path, read(module, clips.clips, clips.codes).path[:, :PAST])
    torch.testing.assert_close(read(module, clips.clips, clips.codes).path, found, atol=1e-5, rtol=1e-5)
    module.save(tmp_path / "model")
    loaded = load_i3d_magvit(tmp_path / "model")
    assert_same_reading(read(module, *past_of(clips), tokens=True), read(loaded, *past_of(clips), tokens=True))
    assert network().read_by_head(clips.codes) is None


def test_what_is_made_of_drawn_paths_is_what_is_made_of_clips_that_read_so() -> None:
    """They come after the clips, with frames left open and the look of no clip; they change nothing of the clips."""
    module, clips = network(reads=True).eval(), some_clips(5)
    drawn = module.read_by_head(clips.codes)[2:]
    with torch.no_grad():
        module.see(*past_of(clips))  # k-means starts the feature codebook in the first reading of all
        alone = module(clips.clips[:2], clips.clips[-2:, :PAST], clips.codes)
        beside = module(clips.clips[:2], clips.clips[-2:, :PAST], clips.codes, drawn=drawn)
        module.reader.look.weight.zero_(), module.reader.look.bias.zero_()  # now a clip's look says no more than theirs
        bare = module.see(None, clips.codes), module.see(None, clips.codes[:, :SLICES])
        plain = module(clips.clips[:2], clips.clips[-2:, :PAST], clips.codes, drawn=drawn)
    for one, many in zip(alone, beside, strict=True):
        torch.testing.assert_close(many.logits[:5], one.logits, atol=1e-5, rtol=1e-5)
    for one, many in zip(bare, plain, strict=True):
        assert len(many.logits) == 8
        torch.testing.assert_close(many.logits[5:], one.logits[2:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain[1].ahead[5:], bare[1].ahead[2:], atol=1e-4, rtol=1e-4)


def test_training_paths_are_off_as_far_as_the_head_is_on_clips_it_does_not_know() -> None:
    """True paths with the errors that were measured, other ones at each draw, of the same spread; and their classes."""
    clips = some_clips(8)
    torch.manual_seed(0)
    measured = 0.1 * torch.randn(4000, 16, 3)
    readings = HeadReadings(ErrorModel(measured), torch.cat([clips.path, clips.path + 50]), clips.label.repeat(2), 400)
    given = PartlySeen(clips, 0.5, PAST, readings).gather(np.arange(8))
    assert not torch.equal(given["read"], clips.path)
    assert float((given["read"] - clips.path).std()) == pytest.approx(0.1, rel=0.2)
    assert float((given["drawn"] - given["drawn_path"]).std()) == pytest.approx(0.1, rel=0.05)
    known = {tuple(path[0].tolist()): int(label) for path, label in zip(readings.path, readings.label, strict=True)}
    assert {tuple(path[0].tolist()) for path in given["drawn_path"]} == set(known)
    pairs = zip(given["drawn_path"], given["drawn_label"], strict=True)
    assert all(known[tuple(path[0].tolist())] == int(label) for path, label in pairs)
    module = network(reads=True)
    loss, parts = joint_step(module, clips.codes)(module.train(), given)
    loss.backward()
    assert torch.isfinite(loss) and module.plain.grad is not None and module.plain.grad.any()


def test_copies_of_a_track_are_drawn_with_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clips of the first copy come before all of the second, as `symmetric_copies` makes them."""
    clips, given = some_clips(8), list[PartlySeen]()
    copies = torch.cat([clips.path + 50, clips.path + 90])
    monkeypatch.setattr(
        "kinetoken.i3d_magvit.training.fit", lambda network, step, batches, *_, **__: given.append(batches)
    )
    train_network(network(reads=True), dataclasses.replace(clips, copies=copies), some_clips(6, 1), PARAMS, QUIET)
    batch = given[0].gather(np.arange(8))
    for path, label in zip(batch["drawn_path"], batch["drawn_label"], strict=True):
        row = int((copies - path).abs().sum((1, 2)).argmin())
        assert torch.equal(copies[row], path) and label == clips.label[row % 8]
    assert len(batch["drawn_label"].unique()) > 1


def test_the_frames_begin_with_no_say_beside_tokens() -> None:
    """Other frames change nothing but the path that they tell alone; without tokens theirs is all that is said."""
    clips, other = some_clips(5), some_clips(5, seed=9)
    module = I3DMagvit(PARAMS, SHAPE, network().codebook).eval()
    one, two = (read(module, frames, clips.codes) for frames in (clips.clips, other.clips))
    assert np.array_equal(one.logits, two.logits) and not torch.equal(one.located, two.located)
    bare = network(variant("no_tokens"))
    assert float(bare.say) == 1 and not bare.say.requires_grad and module.say.requires_grad


def test_readings_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    module, clips = network(), some_clips(5)
    read(module, *past_of(clips))  # k-means would else start the codebook in the first reading
    whole = read(module, *past_of(clips), tokens=True)
    monkeypatch.setattr("kinetoken.i3d_magvit.training.READING_BATCH", 2)
    parts = read(module, *past_of(clips), tokens=True)
    assert np.array_equal(whole.codes, parts.codes)  # type: ignore[arg-type]
    np.testing.assert_allclose(whole.logits, parts.logits, atol=1e-5)
    assert not module.training


def test_the_future_of_a_whole_clip_is_not_told() -> None:
    module, clips = network().eval(), some_clips(2)
    seen = module.see(clips.clips, clips.codes)
    with pytest.raises(ValueError, match="from the past alone"):
        module.next_codes(seen, clips.codes)


def test_validation_clips_choose_and_do_not_train() -> None:
    """With as many epochs as one, the choice is none, and other validation clips leave the same weights."""
    params, clips = dataclasses.replace(PARAMS, epochs=1), some_clips(16)
    states = []
    for seed in (1, 2):
        module = network(params)
        train_network(module, clips, some_clips(6, seed), params, QUIET)
        states.append(module.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# ---- crash and resume


class Crash(Exception):
    pass


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """The feature codebook's sums and flag, the norms' statistics, the average and both optimizers come back."""
    params, clips = dataclasses.replace(PARAMS, epochs=3, ema_decay=0.5), some_clips(32)

    def trained_with(step: Step | None, checkpoints: Path) -> I3DMagvit:
        module = network(params)
        module.form.measure(clips.path)
        context = dataclasses.replace(QUIET, checkpoints=checkpoints)
        fit(
            module, step or joint_step(module, clips.codes), batches(module, clips), params, context,
            optimizers=muon_and_adamw(params),
        )
        return module

    calls = 0

    def crashing(module: torch.nn.Module, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == 4:  # in the second epoch of two steps
            raise Crash
        inner = getattr(module, "module", module)
        return joint_step(inner, clips.codes)(module, part)

    whole = trained_with(None, tmp_path / "whole").state_dict()
    with pytest.raises(Crash):
        trained_with(crashing, tmp_path / "killed")
    resumed = trained_with(crashing, tmp_path / "killed").state_dict()
    assert calls == 4 + 4
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


# ---- saving and loading


@each_variant
def test_a_saved_network_reads_the_same(name: str, tmp_path: Path) -> None:
    params, clips = dataclasses.replace(variant(name), epochs=1), some_clips(16)
    module = network(params)
    module.tokenizer_hash = "abc"
    train_network(module, clips, some_clips(4, 1), params, QUIET)
    module.save(tmp_path / "one")
    loaded = load_i3d_magvit(tmp_path / "one")
    assert (loaded.params, loaded.shape, loaded.tokenizer_hash) == (params, SHAPE, "abc") and not loaded.training
    test = some_clips(3, 7)
    assert_same_reading(read(module, *past_of(test), tokens=True), read(loaded, *past_of(test), tokens=True))
    assert_same_reading(read(module, test.clips, test.codes), read(loaded, test.clips, test.codes))
    loaded.save(tmp_path / "two")
    assert hash_path(tmp_path / "two") == hash_path(tmp_path / "one")


def test_weights_of_a_file_are_kept_when_the_file_is_gone(tmp_path: Path) -> None:
    path, state = tmp_path / "i3d.pyth", numbers(i3d_r50(2, (1, 1, 1, 1)))
    torch.save({"model_state": state}, path)
    module = network(dataclasses.replace(PARAMS, backbone=dataclasses.replace(I3D, checkpoint=str(path)), frozen=True))
    assert module.loaded.trained and module.loaded.source == str(path)
    assert all(torch.equal(state[key], value) for key, value in module.backbone.state_dict().items())
    clips = some_clips(3)
    read(module, *past_of(clips))  # k-means starts the feature codebook in the first reading of all
    module.save(tmp_path / "model")
    path.unlink()
    loaded = load_i3d_magvit(tmp_path / "model")
    assert_same_reading(read(module, *past_of(clips)), read(loaded, *past_of(clips)))
    kept = json.loads((tmp_path / "model/config.json").read_text())
    assert kept["backbone"]["source"] == str(path) and kept["backbone"]["tensors"] == len(state) - 2


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(numbers(r3d_18(2, (1, 1, 1, 1), 5)), tmp_path / "r3d.pth")
    backbone = dataclasses.replace(I3D, checkpoint=str(tmp_path / "r3d.pth"))
    with pytest.raises(UserError, match="it holds torchvision r3d_18, not pytorchvideo i3d_r50"):
        network(dataclasses.replace(PARAMS, backbone=backbone))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model folder"):
        load_i3d_magvit(tmp_path)
    codebook = network().codebook
    Predictor(PredictorShape(
        grid=(4, 4, 4), levels=(8, 5, 5, 5), coordinates=4, codebook_size=1000, past_slices=3, slice_frames=4,
        image_size=32, width=8, filters=2, lstm_width=8, transformer_width=8,
    ), codebook).save(tmp_path / "predictor")
    Generator(GeneratorShape(
        ("a", "b"), (4, 4, 4), (8, 5, 5, 5), 1000, coordinates=4, slice_frames=4, components=4, plan=PLAN_SHAPE,
        patch=2, width=8, layers=1, heads=2,
    ), codebook, MASKED.sampling).save(tmp_path / "generator")
    for name in ("predictor", "generator"):
        with pytest.raises(UserError, match=f"{name}: not a model of train_i3d_magvit"):
            load_i3d_magvit(tmp_path / name)
    network().save(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["params"]["embedding"] = 25
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="has shape"):
        load_i3d_magvit(tmp_path / "model")


@pytest.mark.parametrize(("changes", "message"), [
    ({"forecast": ForecastParams(past_slices=4, filters=4, width=16)}, "past_slices: 4 of 4 slices leave no future"),
    ({"backbone": dataclasses.replace(SLOWFAST, alpha=8)}, "slowfast makes 2 steps of 16 frames, which do not go"),
    ({"backbone": dataclasses.replace(SLOWFAST, alpha=16)}, "slowfast makes 1 steps of 16 frames, which do not go"),
    ({"backbone": dataclasses.replace(I3D, frames=12)}, "frames: 12, but the clips have 16"),
    ({"backbone": dataclasses.replace(I3D, image_size=24)}, "clips of 32 pixels cannot be averaged to 24"),
])
def test_sizes_that_do_not_fit_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(dataclasses.replace(PARAMS, **changes))  # type: ignore[arg-type]


def test_params_that_contradict_themselves_are_named() -> None:
    with pytest.raises(ValueError, match="no multiple of 3 heads"):
        dataclasses.replace(PARAMS.temporal, heads=3)
    with pytest.raises(ValueError, match=r"video_share: must be 1 without tokens, nothing else being seen, is 0\.5"):
        dataclasses.replace(PARAMS, tokens=False)


def test_a_loaded_network_knows_where_its_weights_came_from(tmp_path: Path) -> None:
    torch.save({"model_state": numbers(i3d_r50(2, (1, 1, 1, 1)))}, tmp_path / "i3d.pyth")
    backbone = dataclasses.replace(I3D, checkpoint=str(tmp_path / "i3d.pyth"))
    module = network(dataclasses.replace(PARAMS, backbone=backbone))
    module.save(tmp_path / "model")
    assert load_i3d_magvit(tmp_path / "model").loaded == module.loaded


def test_the_loss_of_compressing_leaves_the_features_alone() -> None:
    module, clips = open_branches(network()).train(), some_clips(8)
    seen = module.see(clips.clips, clips.codes)
    seen.compression.backward()
    grads = [weights.grad for weights in module.backbone.parameters()]
    assert all(grad is None or not grad.any() for grad in grads)
