"""What is painted is what the models' own functions give."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.errors import UserError
from kinetoken.generation.generator import load_generator
from kinetoken.inference import generate, open_any, open_clips, predict, reconstruct
from kinetoken.inference.coding import joined_codes
from kinetoken.inference.painting import PaintedClips, painted
from kinetoken.prediction.judging import decode_in_batches
from kinetoken.prediction.network import load_predictor
from kinetoken.report.samples import psnr_db
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import to_bytes
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer


def joined_clips(parts: Sequence[PaintedClips]) -> PaintedClips:
    """Blocks of one shape as one, for few enough clips that memory holds them all."""
    first = parts[0]
    original = None if first.original is None else np.concatenate([part.original for part in parts])
    return PaintedClips(
        np.concatenate([part.name for part in parts]), np.concatenate([part.pixels for part in parts]),
        joined_codes([part.codes for part in parts]), first.fps, original,
    )


@pytest.fixture(scope="module")
def tokenizer(applied: Path) -> Tokenizer:
    return load_tokenizer(applied / "models" / "tokenizer")


@pytest.fixture(scope="module")
def test_codes(applied: Path) -> CodesTable:
    return read_codes(applied / "codes.parquet").of_split("test")


def test_reconstructions_are_the_tokenizers(applied: Path, tiny_data: Path, tokenizer: Tokenizer) -> None:
    store = ClipStore(tiny_data / "videos")
    (block,) = reconstruct(open_clips(store.folder, split="val"), applied / "models" / "tokenizer")
    pixels = store.read("val").pixels
    assert len(pixels) == 16
    there = to_bytes(tokenizer.reconstruct(torch.from_numpy(pixels)).numpy())
    np.testing.assert_array_equal(block.pixels, there)
    np.testing.assert_array_equal(block.original, pixels)
    assert block.psnr_db.tolist() == [psnr_db(one, other) for one, other in zip(pixels, there, strict=True)]
    codes = read_codes(applied / "codes.parquet").of_split("val")
    assert (block.codes.codes != codes.codes).mean() < 1e-4 and block.fps == 16


def test_side_by_side(applied: Path, tiny_data: Path) -> None:
    (block,) = reconstruct(open_clips(tiny_data / "videos", limit=2), applied / "models" / "tokenizer")
    sheet = block.side_by_side()
    assert sheet.shape == (2, 16, 64, 192, 3)
    original, rebuilt, apart = (sheet[..., i : i + 64, :].astype(int) for i in (0, 64, 128))
    np.testing.assert_array_equal(original, block.original)
    np.testing.assert_array_equal(rebuilt, block.pixels)
    np.testing.assert_array_equal(apart, np.minimum(4 * np.abs(original - rebuilt), 255))


@pytest.mark.parametrize("dynamics", [None, "lstm", "transformer"])
def test_predictions_are_those_of_the_stage(
    applied: Path, test_codes: CodesTable, tokenizer: Tokenizer, dynamics: str | None
) -> None:
    models = applied / "models"
    predictor = load_predictor(models / "predictor")
    ahead = predictor.predict(test_codes.codes[:, :3], dynamics)
    whole = np.concatenate([test_codes.codes[:, :3], ahead], 1)
    (block,) = predict(open_any(applied / "codes.parquet", split="test"), models / "predictor", models / "tokenizer",
                       dynamics=dynamics)
    np.testing.assert_array_equal(block.codes.codes, whole)
    shown = np.concatenate([frames for _, frames in decode_in_batches(tokenizer, whole, 4)])  # as judge_frames sees it
    np.testing.assert_array_equal(block.pixels, to_bytes(shown))
    assert block.given == 12 and block.codes.meta == test_codes.meta


def test_the_future_of_clips_is_not_looked_at(applied: Path, tiny_data: Path) -> None:
    models, pixels = applied / "models", ClipStore(tiny_data / "videos").read(limit=3).pixels
    other = pixels.copy()
    other[:, 12:] = np.random.default_rng(0).integers(0, 256, other[:, 12:].shape)
    blocks = [
        joined_clips(list(predict(source, models / "predictor", models / "tokenizer", with_past=True)))
        for source in (pixels, other, pixels[:, :12])
    ]
    for block in blocks[1:]:
        np.testing.assert_array_equal(block.pixels, blocks[0].pixels)
    assert blocks[0].pixels.shape[1] == 16
    last = joined_clips(list(predict(open_clips(pixels, window="last"), models / "predictor", models / "tokenizer")))
    first = joined_clips(list(predict(pixels[:, 4:], models / "predictor", models / "tokenizer")))
    np.testing.assert_array_equal(last.pixels, first.pixels)
    assert last.name.tolist() == ["0:4", "1:4", "2:4"]


@pytest.mark.parametrize("prior", ["masked", "class_gaussian", "gaussian"])
def test_generated_clips_are_the_generators(applied: Path, tokenizer: Tokenizer, prior: str) -> None:
    models = applied / "models"
    generator = load_generator(models / "generator")
    blocks = list(generate(models / "generator", models / "tokenizer", ["helical", "linear"], count=3, seed=5,
                           prior=prior))
    for block, name in zip(blocks, ("helical", "linear"), strict=True):
        there = generator.sample(prior, name, 3, 5)
        np.testing.assert_array_equal(block.codes.codes, there)
        np.testing.assert_array_equal(block.pixels, painted(tokenizer, there))
        assert block.name.tolist() == [f"{name}-{i}" for i in range(3)] and set(block.codes.label) == {name}
    assert joined_clips(blocks).codes.track_id.tolist() == list(range(6))
    (again,) = generate(models / "generator", models / "tokenizer", ["helical"], count=3, seed=5, prior=prior)
    np.testing.assert_array_equal(again.pixels, blocks[0].pixels)
    (other,) = generate(models / "generator", models / "tokenizer", ["helical"], count=3, seed=6, prior=prior)
    assert (other.codes.codes != again.codes.codes).any()
    every = list(generate(models / "generator", models / "tokenizer", prior=prior))
    assert [block.codes.label.tolist() for block in every] == [[name] for name in generator.classes]


def test_what_models_do_not_know_is_refused(applied: Path, tiny_data: Path) -> None:
    models = applied / "models"

    def refused(words: str, function: object, *args: object, **options: object) -> None:
        with pytest.raises(UserError, match=words):
            list(function(*args, **options))  # type: ignore[operator]

    generator = (models / "generator", models / "tokenizer")
    refused("--class zigzag: .*generator knows circular, helical, linear, parabolic", generate, *generator, ["zigzag"])
    refused("--prior lstm: .*generator has gaussian, class_gaussian, masked", generate, *generator, prior="lstm")
    refused("--count 0", generate, *generator, count=0)
    refused("--seed -1", generate, *generator, seed=-1)
    refused("a predictor; needed is a generator", generate, models / "predictor", models / "tokenizer")
    clips = tiny_data / "videos"
    refused("--dynamics gru: .*predictor has lstm, transformer", predict, clips, models / "predictor",
            models / "tokenizer", dynamics="gru")
    refused("2 more asked for", predict, clips, models / "predictor", models / "tokenizer", slices=2)
    refused("a classifier of codes; needed is a tokenizer", reconstruct, clips, models / "classifier")
    refused("--frames 10: .*tokenizer reads a multiple of 4", reconstruct, clips, models / "tokenizer", frames=10)
    refused("array: 8 frames, .*predictor reads 12", predict, np.zeros((8, 64, 64, 3), np.uint8), models / "predictor",
            models / "tokenizer")


def test_only_reconstructions_have_originals(applied: Path) -> None:
    block: PaintedClips = next(generate(applied / "models" / "generator", applied / "models" / "tokenizer"))
    for ask in (lambda: block.psnr_db, block.side_by_side):
        with pytest.raises(ValueError, match="not reconstructed from others"):
            ask()
