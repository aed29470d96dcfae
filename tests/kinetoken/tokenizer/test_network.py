"""The network: causal in both directions, lossless stems, one meaning of indices, saved whole."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import kinetoken
from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import (
    CellStem,
    NetworkParams,
    Tokenizer,
    check_shape,
    haar_basis,
    load_tokenizer,
    require_causal,
    save_tokenizer,
)
from tests.support.quantizers import FSQ, quantizer_params

SMALL = NetworkParams(
    stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=12, coarse_blocks=1,
)


def lively(**changes: object) -> Tokenizer:
    """A small untrained tokenizer whose every weight matters: larger than at the start of training."""
    torch.manual_seed(3)
    tokenizer = Tokenizer(dataclasses.replace(SMALL, **changes), FSQ, 32).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return tokenizer


def clips(count: int = 2, frames: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, frames, 32, 32, 3), generator=torch.Generator().manual_seed(seed)).byte()


@pytest.mark.parametrize("stem", ["patch", "haar"])
def test_codes_depend_on_their_slice_and_the_past_only(stem: str) -> None:
    tokenizer = lively(stem=stem)
    first = clips()
    for slices in (1, 2, 3):
        other = first.clone()
        other[:, 4 * slices :] = clips(seed=1)[:, 4 * slices :]
        latents, changed = tokenizer.latents(first), tokenizer.latents(other)
        assert torch.equal(latents[:, :, :slices], changed[:, :, :slices])
        assert torch.equal(tokenizer.encode(first)[:, :slices], tokenizer.encode(other)[:, :slices])
        assert not torch.equal(latents[:, :, slices], changed[:, :, slices])


def test_without_causality_the_future_shows() -> None:
    tokenizer = lively(causal=False)
    first, other = clips(), clips()
    other[:, 8:] = clips(seed=1)[:, 8:]
    assert not torch.equal(tokenizer.latents(first)[:, :, :2], tokenizer.latents(other)[:, :, :2])


def test_the_past_reaches_later_codes() -> None:
    tokenizer = lively()
    first, other = clips(), clips()
    other[:, :4] = clips(seed=1)[:, :4]
    assert not torch.equal(tokenizer.latents(first)[:, :, 1], tokenizer.latents(other)[:, :, 1])


def test_decoded_prefix_ignores_later_codes() -> None:
    tokenizer = lively()
    codes = tokenizer.encode(clips())
    other = codes.clone()
    other[:, 2:] = (codes[:, 2:] + 457) % tokenizer.codebook_size
    video, changed = tokenizer.decode(codes), tokenizer.decode(other)
    assert torch.equal(video[:, :8], changed[:, :8])
    assert not torch.equal(video[:, 8:12], changed[:, 8:12])


@pytest.mark.parametrize("slices", [1, 2, 3, 5])
def test_any_number_of_slices_decodes(slices: int) -> None:
    tokenizer = lively()
    codes = tokenizer.encode(clips(frames=20))
    video = tokenizer.decode(codes[:, :slices])
    assert video.shape == (2, 4 * slices, 32, 32, 3)
    assert 0 <= video.min() and video.max() <= 1
    torch.testing.assert_close(video, tokenizer.decode(codes)[:, : 4 * slices], atol=1e-5, rtol=0)


def test_indices_say_all_that_is_decoded() -> None:
    tokenizer = lively()
    quantized, indices, _ = tokenizer.quantize(tokenizer.latents(clips()))
    assert indices.shape == (2, *tokenizer.grid(16)) and indices.dtype == torch.int64
    torch.testing.assert_close(tokenizer.codes_to_latents(indices), quantized)
    assert torch.equal(tokenizer.reconstruct(clips()), tokenizer.decode(tokenizer.encode(clips())))
    assert len(indices.unique()) > 10


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_the_last_frames_decoded_alone_are_those_of_the_whole(causal: bool, blocks: int) -> None:
    tokenizer = lively(causal=causal, fine_blocks=blocks)
    codes = torch.randint(0, tokenizer.codebook_size, (2, 4, 4, 4), generator=torch.Generator().manual_seed(5))
    whole = tokenizer.decode(codes)
    for last in (2, 4, 6, 16):
        torch.testing.assert_close(tokenizer.decode(codes, last), whole[:, -last:], atol=1e-5, rtol=0)
    for wrong in (0, 3, 18):
        with pytest.raises(ValueError, match="last"):
            tokenizer.decode(codes, wrong)



@pytest.mark.parametrize("stem", ["patch", "haar"])
@pytest.mark.parametrize("pieces", [[4] * 6, [8] * 3, [4, 12, 8], [24]])
def test_codes_come_piece_by_piece_as_they_do_whole(stem: str, pieces: list[int]) -> None:
    tokenizer, whole = lively(stem=stem, fine_blocks=2, coarse_blocks=2), clips(frames=24)
    codes, features, past = [], [], None
    for piece in whole.split(pieces, 1):
        indices, after, past = tokenizer.step(piece, past)
        assert indices.shape == (2, *tokenizer.grid(piece.shape[1])) and indices.dtype == torch.int64
        codes.append(indices)
        features.append(after)
    expected = tokenizer.encode(whole)
    assert torch.equal(torch.cat(codes, 1), expected)
    torch.testing.assert_close(torch.cat(features, 1), tokenizer.code_features(expected), atol=1e-5, rtol=1e-5)


def test_what_came_before_a_piece_counts() -> None:
    tokenizer, whole = lively(), clips()
    _, _, past = tokenizer.step(whole[:, :8])
    _, after, _ = tokenizer.step(whole[:, 8:], past)
    assert not torch.allclose(after, tokenizer.step(whole[:, 8:])[1], atol=1e-3)


def test_clips_of_one_batch_may_go_on_alone_and_a_past_may_be_used_twice() -> None:
    tokenizer, whole = lively(), clips()
    _, _, past = tokenizer.step(whole[:, :8])
    _, both, _ = tokenizer.step(whole[:, 8:], past)
    for row in range(2):
        _, alone, _ = tokenizer.step(whole[row : row + 1, 8:], [each[row : row + 1] for each in past])
        torch.testing.assert_close(alone[0], both[row], atol=1e-5, rtol=1e-5)


def test_without_causality_there_are_no_pieces() -> None:
    with pytest.raises(ValueError, match="a tokenizer that is not causal needs whole clips"):
        lively(causal=False).step(clips())


def test_bytes_and_floats_are_the_same_clip() -> None:
    tokenizer = lively()
    assert torch.equal(tokenizer.encode(clips()), tokenizer.encode(clips().float() / 255))


def test_stem_paints_one_colour_behind_the_mask() -> None:
    """A cell whose channels say "this colour, these pixels" comes out as that colour on those pixels only."""
    stem = CellStem("patch", 8)
    shown = torch.zeros(2, 4, 4)
    shown[0, 1, 2] = shown[1, 3, :2] = 1
    colour = torch.tensor([0.5, -0.25, 0.1])
    with torch.no_grad():
        for layer in (stem.project, stem.mask, stem.colour):
            layer.weight.zero_(), layer.bias.zero_()
        stem.mask.bias.copy_(200 * shown.flatten() - 100)
        stem.colour.bias.copy_(stem.opponent @ colour)
        painted = stem.inverse(torch.randn(1, 1, 1, 1, 8))
    torch.testing.assert_close(painted[0], shown[..., None] * colour)


@pytest.mark.parametrize("kind", ["patch", "haar"])
def test_stem_loses_nothing(kind: str) -> None:
    stem, x = CellStem(kind, 96), torch.rand(2, 8, 32, 32, 3)
    stem.norm = torch.nn.Identity()
    with torch.no_grad():
        stem.embed.weight.copy_(torch.eye(96)), stem.embed.bias.zero_()
        stem.project.weight.copy_(torch.linalg.inv(stem.analysis @ stem.synthesis))
        stem.colour.weight.zero_(), stem.colour.bias.zero_()
    cells = stem(x)
    assert cells.shape == (2, 4, 8, 8, 96)
    torch.testing.assert_close(stem.inverse(cells), x)
    torch.testing.assert_close(stem.synthesis.T @ stem.synthesis, torch.eye(96))  # orthonormal


def test_grey_has_no_chroma() -> None:
    stem = CellStem("haar", 96)
    with torch.no_grad():
        stem.embed.weight.copy_(torch.eye(96)), stem.embed.bias.zero_()
    cells = stem(torch.rand(1, 4, 16, 16, 1).expand(-1, -1, -1, -1, 3))
    assert cells[..., 32:].abs().max() < 1e-5 < cells[..., :32].abs().max()


def test_haar_separates_the_mean_from_detail() -> None:
    basis = haar_basis()
    np.testing.assert_allclose(basis @ basis.T, np.eye(32), atol=1e-6)
    flat = basis @ np.ones(32, np.float32)
    assert flat[0] == pytest.approx(np.sqrt(32)) and np.abs(flat[1:]).max() < 1e-6


def test_an_untrained_tokenizer_shows_the_bare_background() -> None:
    tokenizer = Tokenizer(SMALL, FSQ, 32).eval()
    tokenizer.background.copy_(torch.rand(32, 32, 3))
    error = (tokenizer.reconstruct(clips()) - tokenizer.background).abs()
    assert error.mean() < 0.1


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    tokenizer = lively(stem="haar")
    save_tokenizer(tmp_path / "a", tokenizer)
    save_tokenizer(tmp_path / "b", tokenizer)
    loaded = kinetoken.load_tokenizer(tmp_path / "a")
    assert not loaded.training
    assert torch.equal(loaded.encode(clips()), tokenizer.encode(clips()))
    assert len(loaded.hash) == 64 and loaded.hash == load_tokenizer(tmp_path / "b").hash
    assert (loaded.levels, loaded.codebook_size, loaded.quantizer_name) == ((8, 5, 5, 5), 1000, "fsq")
    with torch.no_grad():
        tokenizer.down.bias[0] += 1
    save_tokenizer(tmp_path / "b", tokenizer)
    assert load_tokenizer(tmp_path / "b").hash != loaded.hash


def test_ifsq_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tokenizer = Tokenizer(SMALL, dataclasses.replace(FSQ, activation="ifsq"), 32).eval()
    save_tokenizer(tmp_path, tokenizer)
    loaded = load_tokenizer(tmp_path)
    assert loaded.quantizer.params.activation == "ifsq"
    assert torch.equal(loaded.encode(clips()), tokenizer.encode(clips()))
    plain = Tokenizer(SMALL, FSQ, 32).eval()
    plain.load_state_dict(tokenizer.state_dict())
    assert not torch.equal(plain.encode(clips()), tokenizer.encode(clips()))


@pytest.mark.parametrize("kind", ["fsq", "lfq", "vq", "simvq"])
def test_without_quantizing_the_decoder_gets_the_latents(kind: str) -> None:
    """And the quantizer is neither asked nor changed, until it starts."""
    torch.manual_seed(3)
    tokenizer = Tokenizer(SMALL, quantizer_params(kind), 32)
    given = clips().float() / 255
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    output, losses = tokenizer(given, quantizing="off")
    wanted = tokenizer.decode_latents(tokenizer.quantizer.unquantized(tokenizer.latents(given)))
    assert torch.equal(output, wanted) and losses.keys() == {"quantizer"} and losses["quantizer"] == 0
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())
    torch.manual_seed(4)
    started = tokenizer(given, quantizing="starting")[0]
    assert not torch.equal(started, output)
    tokenizer.load_state_dict(before)
    torch.manual_seed(4)
    assert torch.equal(tokenizer(given)[0], started), "which is what any first batch does"


def test_a_folder_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model folder"):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_sees_later_frames_is_no_ground_for_a_forecast(tmp_path: Path) -> None:
    require_causal(lively(causal=True), tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path}: trained with causal: false"):
        require_causal(lively(causal=False), tmp_path)


def test_wrong_sizes_are_named(tiny_data: Path) -> None:
    tokenizer = lively()
    with pytest.raises(ValueError, match="T a multiple of 4"):
        tokenizer.encode(clips(frames=6))
    with pytest.raises(ValueError, match=r"expected \(B, T, 32, 32, 3\)"):
        tokenizer.encode(torch.zeros(1, 8, 64, 64, 3))
    with pytest.raises(UserError, match="64×64, the tokenizer takes 32×32"):
        check_shape(tokenizer, ClipStore(tiny_data / "videos"))
    with pytest.raises(UserError, match="multiple of 8, not 30"):
        Tokenizer(SMALL, FSQ, 30)
