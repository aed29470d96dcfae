"""Tokenizers of other make, fitted in seconds: linear patches, a small 3-D convolution, frames of a published backbone.

A maker takes a seed and options and gives a Bundle: all that its owner could hand in.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from studies.patients.bundle import Bundle, Codes, Latents
from studies.patients.moving import filmed
from studies.patients.quantizing import LibraryQuantizer, Quantizer, fitted_quantizer, through

AT_ONCE = 64  # clips in one pass of a network
FITTED = 300  # clips that principal components and codebooks are fitted on
OTHER = 5000  # added to the seed for a second tokenizer on the same clips


@dataclasses.dataclass
class PatchTokenizer:
    """Principal components of patches of `slices` frames and `side` × `side` pixels (scikit-learn), then a quantizer.

    scale (D,): deviations that latents are divided by; gain: what they are multiplied by after that.
    """

    slices: int
    side: int
    components: Any  # sklearn's PCA
    scale: NDArray[np.float32]
    quantizer: Quantizer
    shape: tuple[int, ...]  # of a clip

    def encode(self, clips: NDArray[np.float32]) -> Latents:
        flat = _patches(clips, self.slices, self.side)
        found = self.components.transform(flat.reshape(-1, flat.shape[-1])) / self.scale
        return np.asarray(found.reshape(*flat.shape[:-1], -1), np.float32)

    def quantize(self, latents: Latents) -> Codes:
        return self.quantizer.quantize(latents)

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        vectors = self.quantizer.vectors(codes) * self.scale
        flat = self.components.inverse_transform(vectors.reshape(-1, vectors.shape[-1]))
        drawn = rearrange(
            flat.reshape(*vectors.shape[:-1], -1), "n t h w (f a b c) -> n (t f) (h a) (w b) c", f=self.slices,
            a=self.side, b=self.side,
        )
        return np.asarray(np.clip(drawn, 0, 1), np.float32)


def _patches(clips: NDArray[np.float32], slices: int, side: int) -> NDArray[np.float32]:
    return np.asarray(rearrange(clips, "n (t f) (h a) (w b) c -> n t h w (f a b c)", f=slices, a=side, b=side))


def patch(
    seed: int, *, scene: str, quantizer: str, options: dict[str, Any], channels: int = 6, slices: int = 2,
    side: int = 4, gain: float = 1.0, whiten: bool = True, look: dict[str, Any] | None = None,
    other: bool = False, fitted: int = FITTED,
) -> Bundle:
    """Codes of linear patches. whiten: each component has one deviation; other: as another run would have made it."""
    from sklearn.decomposition import PCA

    pixels, labels = filmed(scene, seed, **(look or {}))
    clips, own = _floats(pixels), seed + OTHER * other
    rows = np.random.default_rng(own).permutation(len(clips))[:fitted]
    flat = _patches(clips[rows], slices, side)
    flat = flat.reshape(-1, flat.shape[-1])
    drawn = np.random.default_rng(own).permutation(len(flat))[:20_000]
    components = PCA(channels, random_state=own).fit(flat[drawn])
    deviation = np.sqrt(components.explained_variance_).astype(np.float32)
    scale = (deviation if whiten else np.full_like(deviation, deviation.mean())) / np.float32(gain)
    tokenizer = PatchTokenizer(slices, side, components, scale, None, clips.shape[1:])  # type: ignore[arg-type]
    latents = tokenizer.encode(clips)
    tokenizer.quantizer = fitted_quantizer(quantizer, latents[rows], own, options)
    return _bundle(tokenizer, tokenizer.quantizer, pixels, labels, latents, decoded=True)


def _floats(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _bundle(
    tokenizer: Any, quantizer: Quantizer, pixels: NDArray[np.uint8], labels: NDArray[np.str_],  # noqa: ANN401
    latents: Latents, *, decoded: bool, history: dict[str, list[float]] | None = None,
) -> Bundle:
    codes = tokenizer.quantize(latents)
    return Bundle(
        codes, labels, pixels, latents, tokenizer.decode(codes) if decoded else None, quantizer.codebook,
        history=history, config=quantizer.config, tokenizer=tokenizer,
    )


class ConvNetwork(nn.Module):
    """A small 3-D convolutional autoencoder (PyTorch), clips (B, T, S, S, 3) ↔ latents (B, T/2, S/4, S/4, D)."""

    def __init__(self, channels: int, latent: int, layers: int) -> None:
        super().__init__()
        inner = [nn.Sequential(nn.Conv3d(channels, channels, 3, padding=1), nn.GELU()) for _ in range(layers)]
        outer = [nn.Sequential(nn.Conv3d(channels, channels, 3, padding=1), nn.GELU()) for _ in range(layers)]
        self.down = nn.Sequential(nn.Conv3d(3, channels, (2, 4, 4), (2, 4, 4)), nn.GELU(), *inner,
                                  nn.Conv3d(channels, latent, 1))
        self.up = nn.Sequential(nn.Conv3d(latent, channels, 1), nn.GELU(), *outer,
                                nn.ConvTranspose3d(channels, 3, (2, 4, 4), (2, 4, 4)))

    def encode(self, clips: Tensor) -> Tensor:
        found: Tensor = self.down(rearrange(clips, "b t h w c -> b c t h w") * 2 - 1)
        return rearrange(found, "b d t h w -> b t h w d")

    def decode(self, latents: Tensor) -> Tensor:
        drawn: Tensor = self.up(rearrange(latents, "b t h w d -> b d t h w"))
        return rearrange(drawn, "b c t h w -> b t h w c") / 2 + 0.5


@dataclasses.dataclass
class ConvTokenizer:
    """The network and its quantizer after training."""

    network: ConvNetwork
    quantizer: LibraryQuantizer

    @torch.no_grad()
    def encode(self, clips: NDArray[np.float32]) -> Latents:
        parts = (self.network.encode(part) for part in torch.from_numpy(clips).split(AT_ONCE))
        return np.asarray(torch.cat(list(parts)).numpy())

    def quantize(self, latents: Latents) -> Codes:
        return self.quantizer.quantize(latents)

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.float32]:
        parts = torch.from_numpy(self.quantizer.vectors(codes)).split(AT_ONCE)
        return np.asarray(torch.cat([self.network.decode(part) for part in parts]).numpy().clip(0, 1))


def conv(
    seed: int, *, scene: str, quantizer: str, options: dict[str, Any], channels: int = 16, latent: int = 6,
    layers: int = 1, steps: int = 160, rate: float = 3e-3, foreground: float = 0.0, look: dict[str, Any] | None = None,
    other: bool = False, fitted: int = 600, commitment: float = 0.1,
) -> Bundle:
    """Codes of a trained 3-D autoencoder; foreground: further weight of pixels that differ from the clip's median.

    history: a validation loss after each eighth of the steps.
    """
    pixels, labels = filmed(scene, seed, **(look or {}))
    torch.manual_seed(seed + OTHER * other)
    network = ConvNetwork(channels, latent, layers)
    book = LibraryQuantizer(quantizer, latent, seed + OTHER * other, options)
    clips = _floats(pixels)
    learned, held = torch.from_numpy(clips[:fitted]), torch.from_numpy(clips[fitted : fitted + 32])
    weights = [*network.parameters(), *(one for one in book.module.parameters() if one.requires_grad)]
    optimizer = torch.optim.Adam(weights, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, max(steps, 2))
    losses = []
    for step in range(steps):
        if step % max(steps // 8, 1) == 0:
            losses.append(_validated(network, book, held, foreground))
        batch = learned[torch.randint(len(learned), (16,))]
        network.train(), book.module.train()
        vectors, loss = through(book, network.encode(batch))
        loss = commitment * loss + _weighted(network.decode(vectors), batch, foreground)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    losses.append(_validated(network, book, held, foreground))
    tokenizer = ConvTokenizer(network.eval(), book)
    history = {"epoch": [float(one) for one in range(1, len(losses) + 1)], "val_loss": losses}
    return _bundle(tokenizer, book, pixels, labels, tokenizer.encode(clips), decoded=True, history=history)


def _weighted(drawn: Tensor, clips: Tensor, foreground: float) -> Tensor:
    """Squared error; pixels that differ by 0.1 from their clip's median weigh 1 + foreground."""
    error = (drawn - clips) ** 2
    if foreground:
        moving = ((clips - clips.median(1, keepdim=True).values).abs().mean(-1, keepdim=True) > 0.1).float()
        error = error * (1 + foreground * moving)
    return error.mean()


@torch.no_grad()
def _validated(network: ConvNetwork, book: LibraryQuantizer, clips: Tensor, foreground: float) -> float:
    network.eval(), book.module.eval()
    return float(_weighted(network.decode(through(book, network.encode(clips))[0]), clips, foreground))


@dataclasses.dataclass
class FrameTokenizer:
    """Features of single frames by a backbone at random weights, their principal components, then a quantizer."""

    backbone: nn.Module
    reach: Callable[[nn.Module, Tensor], Tensor]
    components: Any  # sklearn's PCA
    scale: NDArray[np.float32]
    quantizer: Quantizer

    def encode(self, clips: NDArray[np.float32]) -> Latents:
        found = [self._features(clips[start : start + AT_ONCE]) for start in range(0, len(clips), AT_ONCE)]
        return np.concatenate(found)

    @torch.no_grad()
    def features(self, clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, T, H', W', F)"""
        frames = torch.from_numpy(np.ascontiguousarray(rearrange(clips, "n t h w c -> (n t) c h w")))
        found = self.reach(self.backbone, frames * 4 - 2)
        return np.asarray(rearrange(found, "(n t) f h w -> n t h w f", t=clips.shape[1]).numpy())

    def _features(self, clips: NDArray[np.float32]) -> Latents:
        found = self.features(clips)
        small = self.components.transform(found.reshape(-1, found.shape[-1])) / self.scale
        return np.asarray(small.reshape(*found.shape[:-1], -1), np.float32)

    def quantize(self, latents: Latents) -> Codes:
        return self.quantizer.quantize(latents)

    def decode(self, codes: Codes) -> None:
        return None


def _torchvision() -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    from torchvision.models import resnet18

    def reach(network: nn.Module, frames: Tensor) -> Tensor:
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)  # type: ignore[arg-type]
        return network.layer1(stem(frames))  # type: ignore[operator,no-any-return]

    return resnet18(weights=None).eval(), reach


def _timm() -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    import timm

    network = timm.create_model("convnext_atto", pretrained=False, features_only=True, out_indices=(0,)).eval()
    return network, lambda module, frames: module(frames)[0]


BACKBONES = {"torchvision": _torchvision, "timm": _timm}


def frames(
    seed: int, *, backbone: str, scene: str, quantizer: str, options: dict[str, Any], channels: int = 8,
    look: dict[str, Any] | None = None, other: bool = False, fitted: int = 100,
) -> Bundle:
    """Codes of single frames by one of BACKBONES at random weights; there is no decoder."""
    from sklearn.decomposition import PCA

    pixels, labels = filmed(scene, seed, **(look or {}))
    clips, own = _floats(pixels), seed + OTHER * other
    torch.manual_seed(own)
    network, reach = BACKBONES[backbone]()
    tokenizer = FrameTokenizer(network, reach, None, np.ones(1, np.float32), None)  # type: ignore[arg-type]
    seen = tokenizer.features(clips[:fitted])
    tokenizer.components = PCA(channels, random_state=own).fit(seen.reshape(-1, seen.shape[-1])[::3])
    tokenizer.scale = np.sqrt(tokenizer.components.explained_variance_).astype(np.float32)
    latents = tokenizer.encode(clips)
    tokenizer.quantizer = fitted_quantizer(quantizer, latents[:fitted], own, options)
    return _bundle(tokenizer, tokenizer.quantizer, pixels, labels, latents, decoded=False)
