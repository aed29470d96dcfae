"""What an examination needs of a tokenizer: two methods and a few facts."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SIZE = 16  # px a side: below it the ball is a single pixel


@runtime_checkable
class VideoTokenizer(Protocol):
    """Any object with these methods and attributes can be examined.

    `encode` takes a float32 tensor (B, 3, T, H, W) whose values run from black to white of `value_range`, and returns
    whole numbers (B, T', H', W'), as a tensor or an array. `decode` takes a tensor of such indices, of the type and
    on the device that `encode` gave, and returns a video like the input. B is `batch_size` at most, and any number
    from 1 on. Both are called without gradients; the model has to be in eval mode.

    Facts that must be there: size (pixels a side of the square frames), frames (T), fps, value_range (black, white).

    Facts that may be there: codebook_size; levels (of FSQ, in place of codebook_size); codebook (an array (K, D) of
    the vectors of a learned codebook); quantizer (fsq, lfq, vq, rvq, …); layout, the axes of what `encode` returns
    where they are not B,T,H,W: B,T,H,W,Q for Q codebooks, B,N for a flat row; quantized (False if `encode` returns
    continuous latents (B, D, T', H', W'), and then `decode` takes those); name; library (what the cures are written
    for); device (cpu); batch_size (16); and a method `latents(video)`, what is quantized, on the codes' grid with
    channels first or last.

    >>> import kinetoken, torch
    >>> from torch.nn.functional import avg_pool3d, interpolate
    >>> class Bright:  # is a block of 2 × 4 × 4 pixels bright?
    ...     size, frames, fps, value_range, codebook_size = 16, 4, 4, (0, 1), 2
    ...     def encode(self, video):
    ...         return (avg_pool3d(video, (2, 4, 4)).mean(1) > 0.3).long()
    ...     def decode(self, indices):
    ...         video = interpolate(indices[:, None].float(), scale_factor=(2, 4, 4))
    ...         return video.expand(-1, 3, -1, -1, -1)
    >>> isinstance(Bright(), kinetoken.VideoTokenizer)
    True
    """

    size: int
    frames: int
    fps: float
    value_range: tuple[float, float]

    def encode(self, video: "Tensor") -> Any:  # noqa: ANN401 - a tensor or an array
        """(B, 3, T, H, W) → indices (B, T', H', W')."""

    def decode(self, indices: "Tensor") -> Any:  # noqa: ANN401
        """Indices → (B, 3, T, H, W)."""


@dataclasses.dataclass(frozen=True)
class TokenizerFacts:
    """The facts of `VideoTokenizer`, checked, with the defaults of those that were not given."""

    name: str
    size: int
    frames: int
    fps: float
    value_range: tuple[float, float]
    codebook_size: int | None = None
    levels: tuple[int, ...] = ()
    quantizer: str = "unknown"
    layout: str | None = None
    quantized: bool = True
    library: str | None = None
    device: str = "cpu"
    batch_size: int = 16


def facts_of(
    tokenizer: object, name: str | None = None, *, size: int | None = None, frames: int | None = None,
    fps: float | None = None, library: str | None = None,
) -> TokenizerFacts:
    """The facts of a tokenizer; what is given here goes before what it says itself.

    Raises UserError for a method or a fact that is missing, of another kind or out of range.
    """
    called = name or str(getattr(tokenizer, "name", "") or type(tokenizer).__name__)
    for method in ("encode", "decode"):
        if not callable(getattr(tokenizer, method, None)):
            raise UserError(f"tokenizer {called}: it has no method {method}(…); an adapter needs encode and decode")
    read = _Reader(tokenizer, called)
    levels = read.levels()
    codebook_size = read.whole("codebook_size", least=2, default=None)
    if levels and codebook_size not in (None, math.prod(levels)):
        raise UserError(f"tokenizer {called}: levels {list(levels)} make {math.prod(levels)} codes, but codebook_size "
                        f"is {codebook_size}")
    return TokenizerFacts(
        called,
        _given(read, "size", size, LEAST_SIZE), _given(read, "frames", frames, 2),
        read.number("fps", fps), read.value_range(),
        math.prod(levels) if levels else codebook_size, levels,
        read.text("quantizer") or ("fsq" if levels else "unknown"),
        read.text("layout"), bool(getattr(tokenizer, "quantized", True)), library or read.text("library"),
        read.text("device") or "cpu", read.whole("batch_size", least=1, default=16) or 16,
    )


def _given(read: "_Reader", name: str, value: int | None, least: int) -> int:
    found = read.whole(name, least=least, default=..., given=value)
    assert found is not None
    return found


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Facts of one tokenizer, each checked; UserError names the tokenizer and the fact."""

    tokenizer: object
    called: str

    def whole(self, name: str, *, least: int, default: Any, given: int | None = None) -> int | None:  # noqa: ANN401
        value = given if given is not None else getattr(self.tokenizer, name, default)
        if value is None:
            return None
        if value is ...:
            raise self._missing(name)
        if isinstance(value, bool) or not _is_number(value) or int(value) != value or value < least:
            raise self._wrong(name, value, f"a whole number of at least {least}")
        return int(value)

    def number(self, name: str, given: float | None) -> float:
        value = given if given is not None else getattr(self.tokenizer, name, ...)
        if value is ...:
            raise self._missing(name)
        if not _is_number(value) or not 0 < float(value) < 1e4:
            raise self._wrong(name, value, "a number above 0")
        return float(value)

    def value_range(self) -> tuple[float, float]:
        value = getattr(self.tokenizer, "value_range", ...)
        if value is ...:
            raise self._missing("value_range")
        try:
            black, white = (float(each) for each in value)
        except (TypeError, ValueError):
            raise self._wrong("value_range", value, "two numbers, black and white, such as (-1, 1)") from None
        if not (math.isfinite(black) and math.isfinite(white)) or black == white:
            raise self._wrong("value_range", value, "two different numbers, black and white")
        return black, white

    def levels(self) -> tuple[int, ...]:
        value = getattr(self.tokenizer, "levels", None)
        try:
            levels = () if value is None else tuple(int(each) for each in value)
        except (TypeError, ValueError):
            raise self._wrong("levels", value, "whole numbers, those of FSQ") from None
        if any(level < 2 for level in levels):
            raise self._wrong("levels", value, "whole numbers of at least 2")
        return levels

    def text(self, name: str) -> str | None:
        value = getattr(self.tokenizer, name, None)
        return None if value is None or value == "" else str(value)

    def _missing(self, name: str) -> UserError:
        return UserError(f"tokenizer {self.called}: the fact {name} is missing; give it as an attribute, as in "
                         f"`{name} = {_EXAMPLES[name]}`")

    def _wrong(self, name: str, value: object, wanted: str) -> UserError:
        return UserError(f"tokenizer {self.called}: {name} must be {wanted}, found {value!r}")


_EXAMPLES = {"size": "64", "frames": "16", "fps": "16", "value_range": "(-1, 1)"}


def _is_number(value: object) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, str) and math.isfinite(float(value))
