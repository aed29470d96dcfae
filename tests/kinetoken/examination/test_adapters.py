"""The shipped adapters on the real classes of their libraries, untrained; of two that may be absent, the interface."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, LFQ, ResidualFSQ, ResidualVQ, SimVQ, VectorQuantize

from kinetoken.core.errors import UserError
from kinetoken.examination.adapters.cosmos import CosmosTokenizer, from_folder
from kinetoken.examination.adapters.diffusers_vq import DiffusersVQ
from kinetoken.examination.adapters.magvit2 import Magvit2Tokenizer
from kinetoken.examination.adapters.own import KinetokenTokenizer
from kinetoken.examination.adapters.vector_quantize import VectorQuantizeAutoencoder
from kinetoken.examination.checking import CheckedTokenizer
from kinetoken.examination.loading import load_adapter
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, save_tokenizer
from tests.support.quantizers import quantizer_params
from tests.support.tokenizers import checked, small_decoder, small_encoder

CLIPS = np.random.default_rng(1).integers(0, 255, (3, 4, 16, 16, 3)).astype(np.uint8)


def round_trip(adapter: Any, clips: np.ndarray = CLIPS) -> tuple[CheckedTokenizer, np.ndarray]:
    """The adapter after encode, decode and latents were checked against its facts."""
    tokenizer = checked(adapter)
    codes = tokenizer.encode(clips)
    assert tokenizer.decode(codes).shape == clips.shape
    tokenizer.latents(clips)
    return tokenizer, codes


@pytest.mark.parametrize(("quantizer", "kind", "shape", "codebook"), [
    (VectorQuantize(dim=6, codebook_size=32), "vq", (2, 4, 4), (32, 6)),
    (VectorQuantize(dim=6, codebook_size=32, codebook_dim=3), "vq", (2, 4, 4), (32, 3)),
    (VectorQuantize(dim=6, codebook_size=32, heads=2), "vq", (2, 4, 4, 2), (32, 6)),
    (ResidualVQ(dim=6, codebook_size=32, num_quantizers=3), "rvq", (2, 4, 4, 3), (3, 32, 6)),
    (FSQ([5, 3], dim=6), "fsq", (2, 4, 4), None),
    (ResidualFSQ(levels=[5, 3], dim=6, num_quantizers=2), "residual fsq", (2, 4, 4, 2), None),
    (LFQ(dim=6, codebook_size=32), "lfq", (2, 4, 4), None),
    (LFQ(dim=6, codebook_size=8, num_codebooks=2), "lfq", (2, 4, 4, 2), None),
    (SimVQ(dim=6, codebook_size=32), "simvq", (2, 4, 4), (32, 6)),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "")
def test_vector_quantize_pytorch(
    quantizer: nn.Module, kind: str, shape: tuple[int, ...], codebook: tuple[int, ...] | None
) -> None:
    torch.manual_seed(0)
    adapter = VectorQuantizeAutoencoder(small_encoder(6), quantizer, small_decoder(6), size=16, frames=4)
    tokenizer, codes = round_trip(adapter)
    assert tokenizer.shape == shape and tokenizer.facts.quantizer == kind and not quantizer.training
    assert (None if adapter.codebook is None else tuple(adapter.codebook.shape)) == codebook
    # the indices mean what the quantizer itself decodes
    latents = adapter.encoder(tokenizer._video(CLIPS))
    quantized = quantizer(latents.flatten(2).movedim(1, -1))[0].movedim(-1, 1).reshape(latents.shape)
    expected = adapter.decoder(quantized).clamp(0, 1).movedim(1, -1)
    assert np.allclose(tokenizer.decode(codes), expected.detach(), atol=1e-5)
    assert tokenizer.facts.library == "vector-quantize-pytorch"


def test_an_unknown_quantizer_is_refused() -> None:
    with pytest.raises(UserError, match="Linear is no quantizer that this adapter knows"):
        VectorQuantizeAutoencoder(small_encoder(6), nn.Linear(6, 6), small_decoder(6), size=16, frames=4)


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_this_projects_own(kind: str, tmp_path: Path) -> None:
    shape = NetworkParams(
        stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=12, coarse_blocks=1,
    )
    model = Tokenizer(shape, quantizer_params(kind, kmeans_start=False), 32)
    save_tokenizer(tmp_path / "mine", model)
    adapter = load_adapter(str(tmp_path / "mine"))
    assert isinstance(adapter, KinetokenTokenizer)
    clips = np.random.default_rng(2).integers(0, 255, (2, 16, 32, 32, 3)).astype(np.uint8)
    tokenizer, codes = round_trip(adapter, clips)
    assert tokenizer.facts.name == "mine" and tokenizer.shape == (4, 4, 4) and tokenizer.facts.quantizer == kind
    assert np.array_equal(codes, model.eval().encode(torch.from_numpy(clips)).numpy())
    with pytest.raises(UserError, match="a multiple of 4 frames, found 6"):
        checked(adapter).encode(clips[:, :6])


class Encoder(nn.Module):
    """The interface of a Cosmos encoder: 1 + 2 k frames to 1 + k slices; indices and vectors, or latents alone."""

    def __init__(self, discrete: bool) -> None:
        super().__init__()
        self.net = nn.Conv3d(3, 2, (3, 4, 4), (2, 4, 4))
        self.discrete = discrete

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        first = video[:, :, :1].expand(-1, -1, 2, -1, -1)
        latents = self.net(torch.cat([first, video], 2))
        if not self.discrete:
            return latents, latents
        levels = (latents.tanh() * 1.49 + 1.5).round()
        return (levels[:, 0] * 4 + levels[:, 1]).to(torch.int32), levels


class Decoder(nn.Module):
    def __init__(self, discrete: bool) -> None:
        super().__init__()
        self.net = nn.ConvTranspose3d(2, 3, (2, 4, 4), (2, 4, 4))
        self.discrete = discrete

    def forward(self, codes: Tensor) -> Tensor:
        if self.discrete:
            codes = torch.stack([codes // 4, codes % 4], 1).to(self.net.weight.dtype)
        return self.net(codes)[:, :, 1:].tanh()


def save_pair(folder: Path, discrete: bool, dtype: torch.dtype) -> None:
    folder.mkdir()
    for name, module in (("encoder", Encoder(discrete)), ("decoder", Decoder(discrete))):
        torch.jit.script(module.eval().to(dtype)).save(str(folder / f"{name}.jit"))  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("discrete", [True, False])
def test_cosmos_pairs_of_torchscript(discrete: bool, tmp_path: Path) -> None:
    save_pair(tmp_path / "DV", discrete, torch.bfloat16)
    loaded = load_adapter(str(tmp_path / "DV"))
    assert isinstance(loaded, CosmosTokenizer) and (loaded.frames, loaded.name) == (17, "DV")
    assert loaded.levels == ((8, 8, 8, 5, 5, 5) if discrete else ()) and loaded.quantized is discrete
    clips = np.random.default_rng(3).integers(0, 255, (2, 5, 16, 16, 3)).astype(np.uint8)
    adapter = CosmosTokenizer(loaded.encoder, loaded.decoder, size=16, frames=5, levels=(4, 4))
    tokenizer, codes = round_trip(adapter, clips)
    assert tokenizer.shape == ((3, 4, 4) if discrete else (2, 3, 4, 4))
    assert codes.dtype == (np.int32 if discrete else np.float32) and tokenizer.time_axis() == (1 if discrete else 2)


def test_a_pair_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder.jit").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"encoder\.jit: no TorchScript module"):
        from_folder(tmp_path)
    (tmp_path / "encoder.jit").unlink()
    with pytest.raises(UserError, match="a Cosmos tokenizer is a pair encoder.jit and decoder.jit"):
        from_folder(tmp_path)


class ImageQuantizer(nn.Module):
    """The interface of the quantizer in diffusers' VQModel."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 2)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, tuple[None, None, Tensor]]:
        flat = latents.movedim(1, -1).reshape(-1, 2)
        indices = torch.cdist(flat, self.embedding.weight).argmin(1)
        return latents, latents.sum(), (None, None, indices)

    def get_codebook_entry(self, indices: Tensor, shape: tuple[int, ...]) -> Tensor:
        entries: Tensor = self.embedding(indices)
        return entries.view(shape).movedim(-1, 1)


class ImageModel(nn.Module):
    """The interface of diffusers' VQModel."""

    def __init__(self, looks_up: bool) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(lookup_from_codebook=looks_up)
        self.down, self.up, self.quantize = nn.Conv2d(3, 2, 4, 4), nn.ConvTranspose2d(2, 3, 4, 4), ImageQuantizer()

    def encode(self, images: Tensor) -> types.SimpleNamespace:
        return types.SimpleNamespace(latents=self.down(images))

    def decode(
        self, given: Tensor, force_not_quantize: bool = False, shape: tuple[int, ...] | None = None
    ) -> types.SimpleNamespace:
        assert force_not_quantize
        if self.config.lookup_from_codebook:
            assert shape is not None
            given = self.quantize.get_codebook_entry(given, shape)
        return types.SimpleNamespace(sample=self.up(given))


@pytest.mark.parametrize("looks_up", [False, True])
def test_an_image_model_goes_frame_by_frame(looks_up: bool) -> None:
    torch.manual_seed(0)
    model = ImageModel(looks_up)
    tokenizer, codes = round_trip(DiffusersVQ(model, size=16, frames=4))
    assert tokenizer.shape == (4, 4, 4) and tokenizer.facts.codebook_size == 16
    alone = checked(DiffusersVQ(model, size=16, frames=2)).encode(CLIPS[:1, 2:])
    assert np.array_equal(alone[0], codes[0, 2:])


def test_the_real_vqmodel_of_diffusers(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=16, latent_channels=3,
    )
    model.save_pretrained(tmp_path)
    adapter = load_adapter(str(tmp_path))
    assert isinstance(adapter, DiffusersVQ)
    assert round_trip(DiffusersVQ(adapter.model, size=16, frames=4))[0].shape == (4, 8, 8)


def test_without_diffusers_its_folder_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(UserError, match="needs that package: pip install diffusers"):
        load_adapter(str(tmp_path))


class Magvit2Model(nn.Module):
    """The interface of magvit2-pytorch's VideoTokenizer, around the same quantizers."""

    def __init__(self, use_fsq: bool) -> None:
        super().__init__()
        self.image_size, self.time_downsample_factor, self.use_fsq = 16, 2, use_fsq
        self.device = torch.device("cpu")
        self.quantizers = FSQ([5, 3], dim=6) if use_fsq else LFQ(dim=6, codebook_size=32)
        self.net, self.back = nn.Conv3d(3, 6, (2, 4, 4), (2, 4, 4)), nn.ConvTranspose3d(6, 3, (2, 4, 4), (2, 4, 4))

    def encode(self, video: Tensor) -> Tensor:
        latents: Tensor = self.net(torch.cat([video[:, :, :1], video], 2))
        return latents

    def tokenize(self, video: Tensor) -> Tensor:
        indices: Tensor = self.quantizers(self.encode(video))[1]
        return indices

    def decode_from_code_indices(self, codes: Tensor) -> Tensor:
        video: Tensor = self.back(self.quantizers.indices_to_codes(codes))[:, :, 1:]
        return video


@pytest.mark.parametrize("use_fsq", [False, True])
def test_the_interface_of_magvit2(use_fsq: bool) -> None:
    torch.manual_seed(0)
    adapter = Magvit2Tokenizer(Magvit2Model(use_fsq))
    assert adapter.frames == 9
    clips = np.random.default_rng(4).integers(0, 255, (2, 9, 16, 16, 3)).astype(np.uint8)
    tokenizer, codes = round_trip(adapter, clips)
    assert tokenizer.shape == (5, 4, 4) and tokenizer.facts.codebook_size == (15 if use_fsq else 32)
    assert tokenizer.facts.levels == ((5, 3) if use_fsq else ())
    assert int(codes.max()) < (15 if use_fsq else 32)


def test_the_real_tokenizer_of_magvit2_pytorch() -> None:
    magvit2 = pytest.importorskip("magvit2_pytorch")
    model = magvit2.VideoTokenizer(
        image_size=16, init_dim=8, codebook_size=32, use_gan=False, perceptual_loss_weight=0.0,
        layers=("residual", "compress_space", "compress_time"),
    )
    clips = np.random.default_rng(4).integers(0, 255, (2, 5, 16, 16, 3)).astype(np.uint8)
    tokenizer, _ = round_trip(Magvit2Tokenizer(model, frames=5), clips)
    assert tokenizer.shape == (3, 8, 8) and tokenizer.facts.quantizer == "lfq"
