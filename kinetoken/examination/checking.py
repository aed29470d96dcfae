"""A tokenizer whose every answer is checked: each departure from its own facts is one sentence."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.examination.adapter import TokenizerFacts
from kinetoken.examination.loading import described

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

FAR = 8.0  # times the declared range: values beyond it mean that another range was declared
SPARE = 0.25  # of the range that values may lie beyond it before that is said
UNIT_RANGE, LEAST_WHITE = 1.5, 16  # fractions up to here are of [−1, 1]; from 0 to here or more they are all black
TALL = 4  # axes of indices whose order needs no saying: B, T, H, W


@dataclasses.dataclass
class Stopwatch:
    """Clips and seconds of one method, without its first call, which often compiles or allocates."""

    calls: int = 0
    clips: int = 0
    seconds: float = 0.0

    def add(self, clips: int, seconds: float) -> None:
        self.calls += 1
        if self.calls > 1:
            self.clips, self.seconds = self.clips + clips, self.seconds + seconds

    @property
    def clips_per_second(self) -> float | None:
        """None before there were two calls."""
        return self.clips / self.seconds if self.seconds > 0 else None


class CheckedTokenizer:
    """encode, decode and latents of an adapter on clips (B, T, H, W, 3) uint8 and arrays.

    Raises UserError when the adapter raises, or returns what its facts do not allow.
    """

    def __init__(self, adapter: Any, facts: TokenizerFacts) -> None:  # noqa: ANN401 - any VideoTokenizer
        self.adapter, self.facts = adapter, facts
        self.layout = _axes(facts)
        self.watch = {"encode": Stopwatch(), "decode": Stopwatch()}
        self.clipped = 0.0  # greatest share of a reconstruction's values that lay far beyond black and white
        self._shape: tuple[int, ...] | None = None
        self._dtype: np.dtype[Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one clip's codes, known after the first call of `encode`."""
        assert self._shape is not None
        return self._shape

    @property
    def has_latents(self) -> bool:
        return callable(getattr(self.adapter, "latents", None))

    def encode(self, pixels: Pixels) -> Array:
        """(B, T, H, W, 3) → indices (B, …), or latents (B, …) of a tokenizer that is not quantized."""
        codes = self._called("encode", pixels, lambda: self.adapter.encode(self._video(pixels)))
        self._check_rows(codes, len(pixels), "encode")
        if self.facts.quantized:
            codes = self._indices(codes)
        elif not np.issubdtype(codes.dtype, np.floating):
            raise self._error(f"encode returned {codes.dtype}, but quantized is False; latents are floats")
        elif not np.isfinite(codes).all():
            raise self._error("encode returned NaN or infinite latents")
        self._check_same(codes)
        return codes

    def decode(self, codes: Array) -> Floats:
        """Codes (B, …) as `encode` gave them → (B, T, H, W, 3) in [0, 1], values beyond clipped."""
        given = torch.from_numpy(np.ascontiguousarray(codes)).to(self.facts.device)
        video = self._called("decode", codes, lambda: self.adapter.decode(given))
        wanted = (len(codes), 3, self.facts.frames, self.facts.size, self.facts.size)
        if video.shape != wanted:
            raise self._error(f"decode returned shape {list(video.shape)}, expected {list(wanted)}: "
                              "B, 3, frames, height, width")
        if not np.issubdtype(video.dtype, np.floating) and video.dtype != np.uint8:
            raise self._error(f"decode returned {video.dtype}; a video holds floats, or uint8")
        if not np.isfinite(video).all():
            raise self._error("decode returned NaN or infinite values")
        black, white = self.facts.value_range
        if black == 0 and white > LEAST_WHITE and np.abs(video).max() <= UNIT_RANGE and (video % 1).any():
            raise self._error(f"decode returned values from {video.min():.4g} to {video.max():.4g}, which are all black"
                              f" on ({black:g}, {white:g}); declare the range that encode and decode share, such as "
                              "(0, 1) or (-1, 1)")
        shares = (video.astype(np.float32) - np.float32(black)) / np.float32(white - black)
        if np.abs(shares - 0.5).max() > FAR:
            raise self._error(f"decode returned values from {video.min():.4g} to {video.max():.4g}, but value_range is "
                              f"({black:g}, {white:g}); declare the range that encode and decode share")
        self.clipped = max(self.clipped, float((np.abs(shares - 0.5) > 0.5 + SPARE).mean()))
        return np.ascontiguousarray(np.moveaxis(np.clip(shares, 0, 1), 1, -1))

    def latents(self, pixels: Pixels) -> Floats | None:
        """(B, T, H, W, 3) → what is quantized (B, …); None if the adapter gives none."""
        if not self.has_latents:
            return None
        found = self._called("latents", pixels, lambda: self.adapter.latents(self._video(pixels)))
        self._check_rows(found, len(pixels), "latents")
        if not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
            raise self._error(f"latents returned {found.dtype} values; they must be finite floats, before quantizing")
        self._check_channels(found)
        return found.astype(np.float32)

    def time_axis(self) -> int | None:
        """The axis of time slices in what `encode` returns; None if it is not known."""
        return self.layout.index("T") if "T" in self.layout else None

    def _video(self, pixels: Pixels) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 → (B, 3, T, H, W) float32 on the adapter's range and device."""
        black, white = self.facts.value_range
        clips = torch.from_numpy(np.moveaxis(pixels, -1, 1).astype(np.float32) / np.float32(255))
        return (clips * (white - black) + black).contiguous().to(self.facts.device)

    def _called(self, method: str, given: Array, call: Callable[[], Any]) -> Array:
        started = time.perf_counter()
        try:
            with torch.no_grad():
                found = call()
            array = _array(found)
        except UserError:
            raise
        except Exception as error:
            shape = given.shape if method == "decode" else np.moveaxis(given, -1, 1).shape  # as the adapter gets it
            raise self._error(f"{method} raised {described(error)} (given {list(shape)})") from error
        if method in self.watch:  # after the copy from the device, which waits for its work
            self.watch[method].add(len(given), time.perf_counter() - started)
        if array.dtype == object or array.ndim == 0:
            kind = type(found).__name__
            raise self._error(f"{method} returned {kind}; it must return one tensor or array"
                              + (", not several" if isinstance(found, tuple | list) else ""))
        return array

    def _indices(self, codes: Array) -> Array:
        """Whole numbers inside the codebook."""
        if not np.issubdtype(codes.dtype, np.integer):
            raise self._error(
                f"encode returned {codes.dtype}; return the indices as whole numbers, or declare quantized = False for "
                "continuous latents"
            )
        if codes.dtype in (np.uint16, np.uint32, np.uint64):  # torch has no arithmetic for them
            codes = codes.astype(np.int64)
        size, low, high = self.facts.codebook_size, int(codes.min()), int(codes.max())
        if low < 0 or (size is not None and high >= size):
            known = "" if size is None else f", but codebook_size is {size}: they must run from 0 to {size - 1}"
            raise self._error(f"encode returned indices from {low} to {high}{known or '; none may be below 0'}")
        return codes

    def _check_rows(self, found: Array, clips: int, method: str) -> None:
        if found.ndim < 2 or len(found) != clips:
            raise self._error(f"{method} returned shape {list(found.shape)} for {clips} clips; the first axis must be "
                              f"the clips: [{clips}, …]")

    def _check_same(self, codes: Array) -> None:
        """The same shape and type in every call, and as many axes as the layout has."""
        if self._shape is None:
            self._check_layout(codes)
            self._shape, self._dtype = codes.shape[1:], codes.dtype
        if codes.shape[1:] != self._shape:
            raise self._error(f"encode changed the shape of a clip's codes between calls, from {list(self._shape)} to "
                              f"{list(codes.shape[1:])}; every clip must give the same")
        if codes.dtype != self._dtype:
            raise self._error(f"encode changed its type between calls, from {self._dtype} to {codes.dtype}")

    def _check_layout(self, codes: Array) -> None:
        if not self.layout and self.facts.quantized:
            if codes.ndim not in (2, TALL):
                raise self._error(
                    f"encode returned shape {list(codes.shape)}, whose axes could be read in several ways; declare "
                    "layout, such as layout = 'B,T,H,W,Q' for Q codebooks"
                )
            self.layout = ("B", "T", "H", "W") if codes.ndim == TALL else ("B", "N")
        elif self.layout and len(self.layout) != codes.ndim:
            raise self._error(f"encode returned shape {list(codes.shape)}, but the layout {self.facts.layout} has "
                              f"{len(self.layout)} axes")
        elif not self.layout:
            self.layout = ("B", "D", "T", "H", "W") if codes.ndim == TALL + 1 else ("B",)

    def _check_channels(self, latents: Array) -> None:
        """Latents of one FSQ or LFQ on the codes' grid, with as many channels as a code has numbers."""
        if self.layout != ("B", "T", "H", "W") or not (self.facts.levels or self.facts.quantizer == "lfq"):
            return
        grid = self.shape
        wanted = len(self.facts.levels) or (self.facts.codebook_size or 2).bit_length() - 1
        if latents.shape[1:] not in ((*grid, wanted), (wanted, *grid)):
            raise self._error(
                f"latents returned shape {list(latents.shape)}, expected {[len(latents), *grid, wanted]}: what the "
                "quantizer rounds, after its projection, on the codes' grid"
            )

    def _error(self, text: str) -> UserError:
        return UserError(f"tokenizer {self.facts.name}: {text}")


def _axes(facts: TokenizerFacts) -> tuple[str, ...]:
    """The declared layout as axes; empty if none is. Raises UserError for one that does not begin with the clips."""
    axes = tuple(part.strip().upper() for part in (facts.layout or "").split(",") if part.strip())
    if axes and (axes[0] != "B" or len(set(axes)) != len(axes)):
        raise UserError(f"tokenizer {facts.name}: layout {facts.layout} must begin with B and name each axis once, "
                        "such as B,T,H,W")
    return axes


def _array(found: Any) -> Array:  # noqa: ANN401
    """A tensor of any device and type, or what numpy makes of the answer."""
    if isinstance(found, torch.Tensor):
        tensor = found.detach()
        tensor = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
        return np.asarray(tensor.cpu().numpy())
    if isinstance(found, tuple | list):
        return np.array(None, dtype=object)
    return np.asarray(found)
