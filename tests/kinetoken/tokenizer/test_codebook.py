"""All codes of a quantizer: the vectors are the tokenizer's own, and digits and codes are inverse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.diagnosis.usage import fsq_digits
from kinetoken.prediction.network import PredictorShape
from kinetoken.tokenizer.codebook import Codebook, mixed_radix
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.support.quantizers import quantizer_params

SMALL = NetworkParams(stem="patch", causal=True, fine_channels=4, fine_blocks=0, coarse_channels=4, coarse_blocks=0)
some_levels = st.lists(st.integers(2, 6), min_size=1, max_size=4).map(tuple)


def tokenizer_of(kind: str) -> Tokenizer:
    torch.manual_seed(0)
    changes = {"levels": (3, 5)} if kind == "fsq" else {"codebook_size": 16, "kmeans_start": False}
    return Tokenizer(SMALL, quantizer_params(kind, **changes), 16).eval()


def fsq_codebook(levels: tuple[int, ...]) -> Codebook:
    """Levels evenly over −1 … 1 along each coordinate, the first part counting ones."""
    vectors = torch.cartesian_prod(*(torch.linspace(-1, 1, count) for count in reversed(levels)))
    return Codebook(vectors.reshape(-1, len(levels)).flip(1), levels)


@pytest.mark.parametrize("kind", ["fsq", "lfq", "vq", "simvq"])
def test_vectors_are_what_the_tokenizer_decodes_from(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    book = Codebook.of(tokenizer)
    assert book.size == tokenizer.codebook_size and book.dim == tokenizer.quantizer.dim
    assert book.vectors.dtype == torch.float32 and not book.vectors.requires_grad
    assert book.levels == ((3, 5) if kind == "fsq" else (16,))
    assert len(torch.unique(book.vectors, dim=0)) == book.size
    codes = torch.randint(book.size, (3, 2, 2, 2), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(book.vectors[codes], tokenizer.codes_to_latents(codes).permute(0, 2, 3, 4, 1))


def test_the_digits_of_fsq_are_those_of_its_indices() -> None:
    book = Codebook.of(tokenizer_of("fsq"))
    assert (book.digits().numpy() == fsq_digits(torch.arange(15).int().numpy(), (3, 5))).all()


@given(some_levels)
def test_digits_and_codes_are_inverse(levels: tuple[int, ...]) -> None:
    book = fsq_codebook(levels)
    digits = book.digits()
    assert digits.shape == (book.size, 1 if len(levels) == 1 else len(levels)) and digits.dtype == torch.int64
    assert digits.amax(0).tolist() == [count - 1 for count in levels] and not digits.amin(0).any()
    assert torch.equal(book.codes_of(digits), torch.arange(book.size))
    order = torch.randperm(book.size, generator=torch.Generator().manual_seed(0))
    shuffled = Codebook(book.vectors[order], levels)  # a codebook's order is its own
    assert torch.equal(shuffled.codes_of(shuffled.digits()), torch.arange(book.size))


@given(some_levels)
def test_mixed_radix_counts_up_with_the_first_part_fastest(levels: tuple[int, ...]) -> None:
    assert torch.equal(mixed_radix(fsq_codebook(levels).digits(), levels), torch.arange(fsq_codebook(levels).size))


def test_a_code_without_levels_is_its_own_only_part() -> None:
    book = Codebook(torch.randn(5, 2), (5,))
    assert book.digits().tolist() == [[0], [1], [2], [3], [4]]
    assert torch.equal(book.codes_of(torch.tensor([[3], [1]])), torch.tensor([3, 1]))


def test_an_unfilled_codebook_has_the_sizes_of_the_shape() -> None:
    shape = PredictorShape(
        grid=(4, 8, 8), levels=(3, 2, 2), coordinates=3, codebook_size=12, past_slices=3, slice_frames=4,
        image_size=64, width=16, filters=8, lstm_width=16, transformer_width=16,
    )
    book = Codebook.unfilled(shape)
    assert (book.size, book.dim, book.levels) == (12, 3, (3, 2, 2)) and not book.vectors.any()
    assert book.digits().shape == (12, 3) and book.code_at().shape == (12,)
