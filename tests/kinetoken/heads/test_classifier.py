"""The classifier of codes: prefixes, calibration, its folder, its params."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.core.stage import CPU, Context
from kinetoken.heads import classifier
from kinetoken.heads.classifier import (
    CHANGES,
    ClassifierParams,
    CodeClassifier,
    ShiftedCodes,
    build_classifier,
    load_classifier,
    prefix_step,
    save_classifier,
    train_head,
)
from kinetoken.heads.poolings import POOLINGS, CodeFeatures
from kinetoken.physics import laws
from kinetoken.tokenizer.quantizers import build_quantizer
from kinetoken.training.loop import History, Validate
from tests.support.quantizers import FSQ

GRID = (4, 8, 8)
COORDINATES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
PARAMS = ClassifierParams(
    seed=5, epochs=1, batch_size=4, learning_rate=0.001, warmup_fraction=0.0, weight_decay=0.0, gradient_clip=0.0,
    ema_decay=0.0, patience=0, poolings=("soft_argmax", "spatial_mean"), channels=6, blocks=1, maps=2, width=12,
    code_features="both", dropout=0.5, prefix_weight=0.25, augment=(),
)


def head(pooling: str = "soft_argmax") -> CodeClassifier:
    return build_classifier(PARAMS, pooling, ("a", "b", "c"), COORDINATES, GRID).eval()


def random_codes(count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (count, *GRID)).astype(np.int32)


def test_a_prefix_reads_as_the_whole_clip_does_after_it() -> None:
    module, codes = head(), random_codes()
    with torch.no_grad():
        every = module(torch.from_numpy(codes.astype(np.int64))).log_softmax(-1).numpy()  # (N, 4, C)
    for count in range(1, 5):
        found = module.log_probabilities(codes[:, :count], batch_size=2)
        assert found.shape == (5, 3)
        np.testing.assert_allclose(found, every[:, count - 1], atol=1e-5)
        np.testing.assert_allclose(np.exp(found).sum(1), 1)
    assert np.abs(every[:, 0] - every[:, 3]).max() > 1e-3
    assert module.embedding(codes).shape == (5, PARAMS.width)


def test_temperature_is_that_of_the_prefix() -> None:
    module, codes = head(), random_codes()
    before = module.log_probabilities(codes[:, :2]), module.log_probabilities(codes)
    module.temperature[1] = 2.0
    np.testing.assert_array_equal(module.log_probabilities(codes), before[1])
    halved = before[0] / 2 - np.log(np.exp(before[0] / 2).sum(1, keepdims=True))
    np.testing.assert_allclose(module.log_probabilities(codes[:, :2]), halved, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 5, 8, 8), (5, 0, 8, 8), (5, 4, 4, 8), (4, 8, 8)])
def test_codes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        head().log_probabilities(np.zeros(shape, np.int32))


def test_loss_of_a_known_answer() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, codes: torch.Tensor) -> torch.Tensor:
            sure = torch.tensor([0.0, 0.0, math.log(3.0)])  # the class has 1/4 after 2 slices, then 3/5
            return torch.stack([torch.tensor([0.0, math.log(0.5), math.log(0.5)]), torch.zeros(3), sure])[None]

    batch = {"codes": torch.zeros(1, 3, 8, 8, dtype=torch.int64), "target": torch.tensor([2])}
    loss, parts = prefix_step(0.25)(Fixed(), batch)
    expected = 0.75 * -math.log(3 / 5) + 0.25 * (-math.log(0.25) - math.log(1 / 3)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert parts["train_accuracy"].item() == 1


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("code_features", ["both", "index"])
def test_folder_rebuilds_the_head_with_no_other_file(tmp_path: Path, pooling: str, code_features: CodeFeatures) -> None:
    params = dataclasses.replace(PARAMS, code_features=code_features)
    module, codes = build_classifier(params, pooling, ("a", "b", "c"), COORDINATES, GRID).eval(), random_codes()
    module.temperature[:] = torch.tensor([1.0, 1.2, 1.4, 1.6])
    save_classifier(tmp_path / "classifier", module, params, "f" * 64)
    loaded = load_classifier(tmp_path / "classifier")
    assert (loaded.classes, loaded.tokenizer_hash, loaded.pooling) == (("a", "b", "c"), "f" * 64, pooling)
    for count in (1, 4):
        np.testing.assert_array_equal(
            loaded.log_probabilities(codes[:, :count]), module.log_probabilities(codes[:, :count])
        )
    (tmp_path / "classifier/config.json").write_text('{"pooling": "mode"}')
    with pytest.raises(UserError, match="not a classifier"):
        load_classifier(tmp_path / "classifier")


def test_a_head_on_means_over_time_cannot_tell_the_order() -> None:
    """Not even from how the running means differ: it reads the last one."""
    codes = random_codes()
    slices_mixed = codes[:, [2, 0, 3, 1]]
    all_mixed = np.random.default_rng(1).permuted(codes.reshape(5, -1), axis=1).reshape(codes.shape)
    blind, over_time = head("global_mean"), head("temporal_mean")
    np.testing.assert_allclose(blind.log_probabilities(all_mixed), blind.log_probabilities(codes), atol=1e-5)
    np.testing.assert_allclose(
        over_time.log_probabilities(slices_mixed), over_time.log_probabilities(codes), atol=1e-5
    )
    for name in ("spatial_mean", "attention", "none"):
        module = head(name)
        assert np.abs(module.log_probabilities(slices_mixed) - module.log_probabilities(codes)).max() > 1e-4


def test_unknown_or_repeated_pooling_is_refused() -> None:
    values = {**dataclasses.asdict(PARAMS), "poolings": ["soft_argmax", "mode"], "augment": []}
    with pytest.raises(UserError, match="poolings: no 'mode'; known are attention, cell_mean, global_mean, moving_"):
        build(ClassifierParams, values, "train_classifier")
    with pytest.raises(UserError, match="each once"):
        build(ClassifierParams, {**values, "poolings": ["soft_argmax", "soft_argmax"]}, "train_classifier")


def test_unknown_code_features_and_changes_are_refused() -> None:
    values = {**dataclasses.asdict(PARAMS), "poolings": ["soft_argmax"], "augment": []}
    with pytest.raises(UserError, match="code_features: must be one of coordinates, index, both, is 'levels'"):
        build(ClassifierParams, {**values, "code_features": "levels"}, "train_classifier")
    with pytest.raises(UserError, match=r"augment\[0\]: must be one of mirror, reverse, is 'rotate'"):
        build(ClassifierParams, {**values, "augment": ["rotate"]}, "train_classifier")
    with pytest.raises(UserError, match="augment: each change once"):
        build(ClassifierParams, {**values, "augment": ["mirror", "mirror"]}, "train_classifier")


# ---- changed clips


def test_changes_are_a_mirror_and_a_clip_played_backwards() -> None:
    clips = np.arange(2 * 3 * 4 * 5 * 3).reshape(2, 3, 4, 5, 3)
    np.testing.assert_array_equal(CHANGES["mirror"](clips)[1, 0, 2, 0], clips[1, 0, 2, 4])
    np.testing.assert_array_equal(CHANGES["reverse"](clips)[1, 0, 2, 1], clips[1, 2, 2, 1])
    for change in CHANGES.values():
        np.testing.assert_array_equal(change(change(clips)), clips)
        assert (change(clips) != clips).any()


TIMES = np.arange(16) / 16.0
END = TIMES[-1]
START, VELOCITY, MIRROR = np.array([[0.3, -0.2, 2.8]]), np.array([[1.1, 0.9, -0.4]]), np.array([-1.0, 1.0, 1.0])
GRAVITY, DOWN = np.array([4.5]), np.array([0.0, 1.0, 0.0])


def helix(omega: float, phase: float, yaw: float, pitch: float, centre: np.ndarray = START) -> np.ndarray:
    return laws.helical(TIMES, centre, *(np.array([value]) for value in (0.3, omega, phase, yaw, 0.4, pitch)))


def test_a_motion_keeps_its_law_in_a_mirror() -> None:
    """Left for right gives a motion of the same law: a helix turns the other way round."""
    line, throw = laws.linear(TIMES, START, VELOCITY), laws.parabolic(TIMES, START, VELOCITY, GRAVITY)
    np.testing.assert_allclose(line * MIRROR, laws.linear(TIMES, START * MIRROR, VELOCITY * MIRROR))
    np.testing.assert_allclose(throw * MIRROR, laws.parabolic(TIMES, START * MIRROR, VELOCITY * MIRROR, GRAVITY))
    for pitch in (0.0, 0.8):
        np.testing.assert_allclose(
            helix(5.0, 0.7, 1.1, pitch) * MIRROR, helix(-5.0, np.pi - 0.7, np.pi - 1.1, -pitch, START * MIRROR),
        )


def test_a_motion_keeps_its_law_backwards() -> None:
    """Played backwards it is a motion of the same law from its end: a throw falls with the same gravity."""
    line, throw = laws.linear(TIMES, START, VELOCITY), laws.parabolic(TIMES, START, VELOCITY, GRAVITY)
    np.testing.assert_allclose(line[:, ::-1], laws.linear(TIMES, line[:, -1], -VELOCITY), atol=1e-12)
    last = VELOCITY - GRAVITY * END * DOWN
    np.testing.assert_allclose(throw[:, ::-1], laws.parabolic(TIMES, throw[:, -1], -last, GRAVITY), atol=1e-12)
    axis = laws.axis_frame(np.array([1.1]), np.array([0.4]))[2]
    for pitch in (0.0, 0.8):
        risen = START + pitch * 5.0 * END / (2 * np.pi) * axis
        np.testing.assert_allclose(
            helix(5.0, 0.7, 1.1, pitch)[:, ::-1], helix(-5.0, 0.7 + 5.0 * END, 1.1, pitch, risen), atol=1e-12
        )


# ---- training

FSQ_COORDINATES = build_quantizer(FSQ).codes(torch.arange(1000).reshape(-1, 1, 1, 1))[..., 0, 0, 0]
LEARNING = dataclasses.replace(
    PARAMS, seed=1, epochs=40, batch_size=16, learning_rate=0.01, warmup_fraction=0.1, weight_decay=0.01,
    gradient_clip=1.0, channels=8, maps=4, width=32, dropout=0.0, prefix_weight=0.3,
)
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def odd_one_out(train: int) -> CodesTable:
    """240 clips, the first `train` to train on: their class is the direction in which the one odd code moves."""
    rng = np.random.default_rng(0)
    codes = np.zeros((240, 4, 8, 8), np.int32)
    label = np.array(["left", "right"])[np.arange(240) % 2]
    for row, name in enumerate(label):
        first, height = rng.integers(0, 4), rng.integers(0, 8)
        places = first + np.arange(4)
        codes[row, np.arange(4), height, places if name == "right" else places[::-1]] = 500
    split = np.where(np.arange(240) < train, "train", np.where(np.arange(240) < 200, "val", "test"))
    meta = CodesMeta(GRID, 1000, "fsq", FSQ.levels, "")
    return CodesTable(np.arange(240, dtype=np.int32), label, split, codes, meta)


def test_place_is_learnt_by_the_pooling_that_keeps_it() -> None:
    """The mean of the codes cannot tell which way the odd one moves."""
    table = odd_one_out(train=160)
    test, right = table.of_split("test"), {}
    for pooling in LEARNING.poolings:
        trained, _ = train_head(LEARNING, pooling, table, FSQ_COORDINATES, SILENT)
        right[pooling] = float((trained.log_probabilities(test.codes).argmax(1) == test.target).mean())
    assert right["soft_argmax"] > 0.9
    assert right["spatial_mean"] < 0.75


def test_an_epoch_is_judged_by_the_head_that_it_would_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head far too sure: its loss on val is that at its temperature, the raw one is higher."""
    seen = []

    def too_sure(head: CodeClassifier, *_: object, validate: Validate, **__: object) -> History:
        with torch.no_grad():
            head.read.weight.mul_(300.0)
        seen.append(validate(head)["val_loss"])
        return History()

    monkeypatch.setattr(classifier, "fit", too_sure)
    codes = odd_one_out(train=160)
    trained, _ = train_head(LEARNING, "none", codes, FSQ_COORDINATES, SILENT)
    val = codes.of_split("val")

    def loss() -> float:
        return float(-trained.log_probabilities(val.codes)[np.arange(len(val)), val.target].mean())

    assert seen == [pytest.approx(loss(), abs=1e-5)]
    trained.temperature.fill_(1.0)
    assert loss() > seen[0] + 0.1


def test_few_clips_have_a_pooling_of_their_own_and_shifted_codes() -> None:
    params = dataclasses.replace(PARAMS, few_clips=100, poolings=("soft_argmax", "spatial_mean"))
    assert params.poolings_for(99) == ("moving_argmax", "spatial_mean") and params.shift_for(99) == params.few_shift
    assert params.poolings_for(100) == params.poolings == PARAMS.poolings_for(1) and params.shift_for(100) == 0
    with pytest.raises(ValueError, match="no 'gone'"):
        dataclasses.replace(PARAMS, few_pooling="gone")


def test_shifted_codes_keep_time_and_neighbours() -> None:
    codes = torch.arange(4 * 8 * 8).reshape(1, *GRID).repeat(40, 1, 1, 1)
    torch.manual_seed(0)
    batch = ShiftedCodes(2, codes=codes, target=torch.arange(40)).gather(np.arange(40))
    assert torch.equal(batch["target"], torch.arange(40))
    places = batch["codes"] - codes[:, :, :1, :1]  # 8 × row + column, in all slices
    assert torch.equal(places, places[:, :1].expand_as(places)), "all slices are shifted alike"
    rows, columns = places[:, 0, :, 0] // 8, places[:, 0, 0] % 8
    shifts = {(int(row[4]) - 4, int(column[4]) - 4) for row, column in zip(rows, columns, strict=True)}
    assert len(shifts) > 12 and {abs(each) for shift in shifts for each in shift} == {0, 1, 2}
    for row, column, place in zip(rows, columns, places[:, 0], strict=True):
        assert torch.equal(row, (torch.arange(8) + row[4] - 4).clamp(0, 7))
        assert torch.equal(place, 8 * row[:, None] + column)
    same = ShiftedCodes(0, codes=codes, target=torch.arange(40)).gather(np.arange(3))
    assert torch.equal(same["codes"], codes[:3])
