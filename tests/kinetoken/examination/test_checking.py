"""What an adapter may do wrong: each is one sentence that says what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.examination.adapter import VideoTokenizer, facts_of
from kinetoken.examination.checking import CheckedTokenizer
from tests.support.tokenizers import Continuous, Lossless, Toy, checked

CLIPS = np.random.default_rng(0).integers(0, 255, (3, 4, 16, 16, 3)).astype(np.uint8)


def having(base: type[Toy] = Toy, **changes: Any) -> Any:
    """A toy with other facts or methods."""
    return type("Changed", (base,), changes)()


def returning(value: Any) -> Callable[..., Any]:
    return lambda self, given: value(given) if callable(value) else value


def test_a_toy_is_a_video_tokenizer_and_its_facts_are_read() -> None:
    assert isinstance(Toy(), VideoTokenizer) and not isinstance(object(), VideoTokenizer)
    facts = facts_of(having(levels=(8, 5), codebook_size=None, name="mine"))
    assert (facts.name, facts.codebook_size, facts.quantizer, facts.batch_size) == ("mine", 40, "fsq", 16)
    given = facts_of(Toy(), "yours", size=32, frames=8, fps=2, library="plain")
    assert (given.name, given.size, given.frames, given.fps, given.library) == ("yours", 32, 8, 2.0, "plain")


@pytest.mark.parametrize(("changes", "message"), [
    ({"encode": None}, "has no method encode"),
    ({"size": ...}, "the fact size is missing; give it as an attribute, as in `size = 64`"),
    ({"size": 8}, "size must be a whole number of at least 16, found 8"),
    ({"frames": 2.5}, "frames must be a whole number of at least 2"),
    ({"fps": 0}, "fps must be a number above 0"),
    ({"value_range": (0, 0)}, "value_range must be two different numbers"),
    ({"value_range": 255}, "value_range must be two numbers, black and white"),
    ({"codebook_size": 1}, "codebook_size must be a whole number of at least 2"),
    ({"codebook_size": 100, "levels": (8, 5)}, r"levels \[8, 5\] make 40 codes, but codebook_size is 100"),
    ({"batch_size": "many"}, "batch_size must be a whole number"),
])
def test_facts_that_are_missing_or_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^tokenizer Changed: .*{message}"):
        facts_of(having(**changes))


def test_clips_reach_the_adapter_on_its_own_range_and_come_back() -> None:
    seen: list[torch.Tensor] = []

    def encode(self: Any, video: torch.Tensor) -> torch.Tensor:
        seen.append(video)
        return (video[:, 0] > 0).int()

    tokenizer = checked(having(value_range=(-1, 1), encode=encode))
    codes = tokenizer.encode(CLIPS)
    assert seen[0].shape == (3, 3, 4, 16, 16) and seen[0].dtype == torch.float32
    assert np.allclose(seen[0].numpy(), np.moveaxis(CLIPS, -1, 1) / 127.5 - 1, atol=1e-6)
    assert codes.dtype == np.int32 and tokenizer.shape == (4, 16, 16) and tokenizer.time_axis() == 1
    video = tokenizer.decode(codes)  # codes 0 and 1 on a range of -1 to 1
    assert video.shape == (3, 4, 16, 16, 3) and set(np.unique(video)) == {np.float32(0.5), np.float32(1)}
    lossless = checked(Lossless())
    assert np.array_equal(np.rint(lossless.decode(lossless.encode(CLIPS)) * 255).astype(np.uint8), CLIPS)


def fails(given: object) -> None:
    raise ValueError("mat1 and mat2 cannot be multiplied\nand much more")


@pytest.mark.parametrize(("encode", "message"), [
    (fails, r"encode raised ValueError: mat1 and mat2 cannot be multiplied \(given \[3, 3, 4, 16, 16\]\)"),
    (lambda video: video.mean(1), "encode returned float32; return the indices as whole numbers, or declare"),
    (lambda video: (video.mean(1).long(), video), "encode returned tuple; it must return one tensor or array, not"),
    (lambda video: None, "encode returned NoneType"),
    (lambda video: torch.zeros(4, 16, 16, dtype=torch.int64), r"returned shape \[4, 16, 16\] for 3 clips"),
    (lambda video: torch.zeros(3, 16, 16, dtype=torch.int64), "could be read in several ways; declare layout"),
    (lambda video: torch.full((3, 4, 16, 16), 2), "from 2 to 2, but codebook_size is 2: they must run from 0 to 1"),
    (lambda video: torch.full((3, 4, 16, 16), -1), "indices from -1 to -1"),
])
def test_encode_answers_that_are_refused(encode: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^tokenizer Changed: {message}" if "raised" in message else message) as caught:
        checked(having(encode=returning(encode))).encode(CLIPS)
    assert "\n" not in str(caught.value)


def test_a_shape_or_a_type_that_changes_between_calls_is_refused() -> None:
    for second, message in (
        (lambda video: torch.zeros(len(video), 2, 16, 16, dtype=torch.int64), r"from \[4, 16, 16\] to \[2, 16, 16\]"),
        (lambda video: torch.zeros(len(video), 4, 16, 16, dtype=torch.int32), "changed its type between calls"),
    ):
        answers = iter([Toy().encode, second])
        tokenizer = checked(having(encode=lambda self, video, answers=answers: next(answers)(video)))
        tokenizer.encode(CLIPS)
        with pytest.raises(UserError, match=message):
            tokenizer.encode(CLIPS[:1])


@pytest.mark.parametrize(("decode", "message"), [
    (fails, r"decode raised ValueError"),
    (lambda codes: codes, r"decode returned shape \[3, 4, 16, 16\], expected \[3, 3, 4, 16, 16\]"),
    (lambda codes: torch.zeros(3, 4, 16, 16, 3), "expected .*: B, 3, frames, height, width"),
    (lambda codes: torch.full((3, 3, 4, 16, 16), torch.nan), "decode returned NaN"),
    (lambda codes: torch.full((3, 3, 4, 16, 16), 255.0), r"values from 255 to 255, but value_range is \(0, 1\)"),
    (lambda codes: torch.zeros(3, 3, 4, 16, 16, dtype=torch.int64), "decode returned int64"),
])
def test_decode_answers_that_are_refused(decode: Callable[[Any], Any], message: str) -> None:
    tokenizer = checked(having(decode=returning(decode)))
    codes = tokenizer.encode(CLIPS)
    with pytest.raises(UserError, match=message):
        tokenizer.decode(codes)


def test_pictures_that_are_black_on_the_declared_range_are_refused() -> None:
    answer = {"decode": returning(lambda codes: torch.rand(3, 3, 4, 16, 16)), "value_range": (0, 255)}
    with pytest.raises(UserError, match=r"all black on \(0, 255\); declare the range .* such as \(0, 1\)"):
        checked(having(**answer)).decode(np.zeros((3, 4, 16, 16), np.int64))
    for dark in (torch.zeros(3, 3, 4, 16, 16), torch.ones(3, 3, 4, 16, 16, dtype=torch.uint8)):  # a decoder's own black
        painted = checked(having(**answer | {"decode": returning(lambda codes, dark=dark: dark)}))
        assert painted.decode(np.zeros((3, 4, 16, 16), np.int64)).max() <= 1 / 255


def test_values_a_little_beyond_black_and_white_are_clipped_and_far_ones_are_counted() -> None:
    tokenizer = checked(having(decode=returning(lambda codes: torch.full((3, 3, 4, 16, 16), 1.2))))
    assert (tokenizer.decode(tokenizer.encode(CLIPS)) == 1).all() and tokenizer.clipped == 0
    tokenizer = checked(having(decode=returning(lambda codes: torch.full((3, 3, 4, 16, 16), 3.0))))
    tokenizer.decode(tokenizer.encode(CLIPS))
    assert tokenizer.clipped == 1


@pytest.mark.parametrize(("changes", "message"), [
    ({"latents": returning(lambda video: video.long())}, "latents returned int64"),
    ({"latents": returning(lambda video: video / 0)}, "must be finite floats"),
    ({"latents": returning(fails)}, "latents raised ValueError"),
    ({"levels": (8, 5), "codebook_size": None, "latents": returning(lambda video: video)},
     r"latents returned shape \[3, 3, 4, 16, 16\], expected \[3, 4, 16, 16, 2\]: what the quantizer rounds"),
])
def test_latents_that_are_refused(changes: dict[str, Any], message: str) -> None:
    tokenizer = checked(having(**changes))
    tokenizer.encode(CLIPS)
    with pytest.raises(UserError, match=message):
        tokenizer.latents(CLIPS)


def test_layouts_are_checked_and_tell_where_time_is() -> None:
    assert checked(having(layout="B,Q,T,H,W")).layout == ("B", "Q", "T", "H", "W")
    for layout in ("T,H,W", "B,T,T,W"):
        with pytest.raises(UserError, match="must begin with B and name each axis once"):
            CheckedTokenizer(Toy(), facts_of(having(layout=layout)))
    with pytest.raises(UserError, match="has 3 axes"):
        checked(having(layout="B,T,N")).encode(CLIPS)
    flat = checked(having(encode=returning(lambda video: (video.mean(1) > 0.5).long().flatten(1))))
    assert flat.encode(CLIPS).shape == (3, 1024) and flat.time_axis() is None


def test_a_continuous_tokenizer_returns_floats_only() -> None:
    tokenizer = checked(Continuous())
    assert tokenizer.encode(CLIPS).shape == (3, 3, 2, 4, 4) and tokenizer.time_axis() == 2
    with pytest.raises(UserError, match="encode returned int64, but quantized is False"):
        checked(having(Continuous, encode=Toy.encode)).encode(CLIPS)
    with pytest.raises(UserError, match="NaN or infinite latents"):
        checked(having(Continuous, encode=returning(lambda video: video / 0))).encode(CLIPS)


def test_speed_leaves_out_the_first_call() -> None:
    tokenizer = checked(Toy())
    tokenizer.encode(CLIPS)
    assert tokenizer.watch["encode"].clips_per_second is None
    tokenizer.encode(CLIPS[:2])
    assert tokenizer.watch["encode"].clips == 2 and (tokenizer.watch["encode"].clips_per_second or 0) > 0
