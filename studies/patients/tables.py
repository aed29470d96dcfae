"""Tables of codes made by hand, as other tokenizers leave them: no clips, but a codebook and latents near its vectors.

Each maker plants the class in the codes, so that it is known what can be read from them. The codebook is drawn; a
token's latent is its code's vector with a little noise, and its code is the vector nearest to its latent.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.patients.bundle import Bundle, Codes, Latents
from studies.patients.quantizing import nearest

Array = NDArray[np.float64]

APART = 1.5  # how far the codes of body and ground lie on either side of 0
NEAR = 0.1  # deviation of latents about their code's vector, whose numbers have deviation 1


@dataclasses.dataclass
class NearestVector:
    """Codes of latents by the nearest of the codebook's vectors (K, D), of residuals where there are several (Q, K, D).

    It has latents and no clips: it cannot encode or decode.
    """

    codebook: NDArray[np.float32]

    def encode(self, clips: NDArray[np.float32]) -> Latents:
        raise NotImplementedError

    def decode(self, codes: Codes) -> None:
        return None

    def quantize(self, latents: Latents) -> Codes:
        if self.codebook.ndim == 2:
            return nearest(latents, self.codebook)
        left, found = latents, []
        for book in self.codebook:
            found.append(nearest(left, book))
            left = left - book[found[-1]]
        return np.stack(found, -1)


def classes_of(count: int, shares: list[float] | int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A class for each of `count` clips: so many alike, or of these shares."""
    if isinstance(shares, int):
        return rng.permutation(np.arange(count) % shares)
    ends = np.round(np.cumsum(shares) * count).astype(int)
    return rng.permutation(np.searchsorted(ends, np.arange(count), side="right"))


def track(
    seed: int, *, count: int = 900, classes: list[float] | int = 4, grid: tuple[int, int, int] = (4, 8, 8),
    size: int = 256, dim: int = 6, still: int = 12, body: int = 0, low: int = 0, other: bool = False,
    lfq: bool = False,
) -> Bundle:
    """A body of 2 × 2 tokens walks over a still ground; each class has a direction of its own.

    still: codes of the ground, of which each clip has its own few; body: codes of the body, by default all others (of
    LFQ those with the highest bit). As in a real latent space the two lie apart, in the first channel.
    low: the least code, for vocabularies that begin elsewhere; lfq: the vectors are corners (±1) and size is 2^dim.
    """
    rng = np.random.default_rng(seed)
    book = _corners(dim) if lfq else np.random.default_rng(seed + 5000 * other).normal(size=(size, dim))
    size = len(book)
    if not lfq:
        book[:still, 0] -= APART
        book[still:, 0] += APART
    which = classes_of(count, classes, rng)
    number = int(which.max()) + 1
    slices, rows, columns = grid
    ground = rng.integers(0, still, (count, 3))[np.arange(count)[:, None], rng.integers(0, 3, (count, rows * columns))]
    codes = np.repeat(ground.reshape(count, 1, rows, columns), slices, 1)
    turn = 2 * np.pi * which / number + rng.uniform(-0.25, 0.25, count) * min(1.0, 4 / number)
    along = np.stack([np.sin(turn), np.cos(turn)], -1)  # rows, columns
    reach = 0.33 * np.array([rows, columns])
    way = np.linspace(-1, 1, slices) if slices > 1 else np.ones(1)
    place = np.array([rows, columns]) / 2 + reach * along[:, None] * way[None, :, None]
    place = np.clip(np.floor(place + rng.uniform(-1.5, 0.5, (count, 1, 2))), 0, [rows - 2, columns - 2]).astype(int)
    first, end = size // 2 if lfq else still, still + body if body else size
    for down, right in np.ndindex(2, 2):
        where = np.arange(count)[:, None], np.arange(slices), place[..., 0] + down, place[..., 1] + right
        codes[where] = rng.integers(first, end, (count, slices))
    return _table(codes, [f"way {one}" for one in which], book, rng, low, "lfq" if lfq else "vq")


def words(
    seed: int, *, count: int = 900, classes: list[float] | int = 6, length: int = 60, size: int = 512, dim: int = 8,
    vocabulary: int = 120, own: int = 4, share: float = 0.5, shape: tuple[int, ...] = (), other: bool = False,
) -> Bundle:
    """Sequences, as of sound: each class has `own` codes that make up a share of its tokens; the rest are common.

    shape: of a row, such as the rows and columns of an image, in the place of one sequence of `length`.
    """
    rng = np.random.default_rng(seed)
    which = classes_of(count, classes, rng)
    shape = shape or (length,)
    common = rng.integers(0, vocabulary, (count, *shape))
    typical = vocabulary + which.reshape(-1, *[1] * len(shape)) * own + rng.integers(0, own, (count, *shape))
    codes = np.where(rng.random((count, *shape)) < share, typical, common)
    book = np.random.default_rng(seed + 5000 * other).normal(size=(size, dim))
    found = _table(codes, [f"sound {one:02d}" for one in which], book, rng, 0, "vq")
    return dataclasses.replace(found, layout="B,T" if len(shape) == 1 else None)


def residual(
    seed: int, *, count: int = 900, classes: list[float] | int = 4, length: int = 40, size: int = 64, depth: int = 4,
    dim: int = 8, other: bool = False,
) -> Bundle:
    """Codes of several codebooks (N, length, Q): the first has the class's codes, each further one refines.

    The codebooks' vectors become smaller from one to the next, as residuals do.
    """
    rng = np.random.default_rng(seed)
    which = classes_of(count, classes, rng)
    books = np.random.default_rng(seed + 5000 * other).normal(size=(depth, size, dim))
    books *= 0.45 ** np.arange(depth)[:, None, None]
    own = size // (int(which.max()) + 2)
    first = np.where(
        rng.random((count, length)) < 0.5, rng.integers(0, own, (count, length)),
        own * (1 + which[:, None]) + rng.integers(0, own, (count, length)),
    )
    codes = np.concatenate([first[..., None], rng.integers(0, size, (count, length, depth - 1))], -1)
    latents = sum(books[level][codes[..., level]] for level in range(depth))
    latents = (latents + rng.normal(0, 0.02, latents.shape)).astype(np.float32)
    tokenizer = NearestVector(books.astype(np.float32))
    config = {"quantizer": "rvq", "codebook_size": size, "several": depth}
    labels = np.array([f"sound {one}" for one in which])
    return Bundle(tokenizer.quantize(latents), labels, latents=latents, codebook=tokenizer.codebook, config=config,
                  layout="B,T,Q", tokenizer=tokenizer)


def hashed(seed: int, *, count: int = 900, classes: int = 4, length: int = 16, bits: int = 18) -> Bundle:
    """LFQ codes that determine the class fully in a way that no small reader finds: by the parity of all bits.

    The class is the sum of the first two codes' bits, modulo the number of classes; codes hardly ever come twice.
    """
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (count, length))
    ones = (codes[:, :2, None] >> np.arange(bits) & 1).sum((1, 2))
    labels = np.array([f"class {one}" for one in ones % classes])
    return Bundle(codes, labels, config={"quantizer": "lfq", "codebook_size": 2**bits}, layout="B,T")


def _corners(dim: int) -> Array:
    """(2^D, D) of ±1, the highest bit first."""
    return np.asarray((np.arange(2**dim)[:, None] >> np.arange(dim - 1, -1, -1) & 1) * 2.0 - 1, np.float64)


def _table(codes: Codes, labels: list[str], book: Array, rng: np.random.Generator, low: int, kind: str) -> Bundle:
    vectors = book.astype(np.float32)
    latents = (vectors[codes] + rng.normal(0, NEAR, (*codes.shape, vectors.shape[1]))).astype(np.float32)
    config: dict[str, Any] = {"quantizer": kind, "codebook_size": len(vectors)}
    tokenizer = NearestVector(vectors)
    return Bundle(tokenizer.quantize(latents) + low, np.array(labels), latents=latents,
                  codebook=None if kind == "lfq" else vectors, config=config, tokenizer=tokenizer)
