"""Ways in which codes go wrong between a tokenizer and the one who examines them, each with a strength.

Each takes a bundle, the strength and a random generator. What a maker does otherwise (fewer steps, a smaller codebook,
a bad start) is no breakage but another option of the maker.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from studies.patients.bundle import Bundle, Codes, Latents
from studies.patients.quantizing import nearest

FAR = 50  # deviations of a codebook's numbers, to where no latent is

Rng = np.random.Generator
Breakage = Callable[[Bundle, Any, Rng], Bundle]


# ---- before codes are extracted


def drift(bundle: Bundle, strength: float, rng: Rng) -> Bundle:
    """The latents move on by so many of their deviations in every channel; the codebook stays."""
    latents = _latents(bundle)
    deviation = latents.reshape(-1, latents.shape[-1]).std(0)
    signs = rng.choice([-1.0, 1.0], latents.shape[-1])
    return bundle.extracted((latents + strength * deviation * signs).astype(np.float32))


def project(bundle: Bundle, rank: int, rng: Rng) -> Bundle:
    """The latents collapse onto so many directions, drawn at random, about their mean."""
    latents = _latents(bundle)
    mean = latents.reshape(-1, latents.shape[-1]).mean(0)
    directions = np.linalg.qr(rng.normal(size=(latents.shape[-1], rank)))[0]
    return bundle.extracted(((latents - mean) @ directions @ directions.T + mean).astype(np.float32))


def scaled_input(bundle: Bundle, factor: float, rng: Rng) -> Bundle:
    """The encoder is given clips in 0 … 255 where it was made for 0 … 1."""
    assert bundle.tokenizer is not None
    return bundle.extracted(bundle.tokenizer.encode(_clips(bundle) * np.float32(factor)))


def frozen_input(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """The encoder sees each clip's mean over time in every frame, mixed with the clip: at 1 it is blind to motion."""
    assert bundle.tokenizer is not None
    clips = _clips(bundle)
    mean = np.repeat(clips.mean(1, keepdims=True), clips.shape[1], 1)
    return bundle.extracted(bundle.tokenizer.encode((share * mean + (1 - share) * clips).astype(np.float32)))


def covered_input(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """The encoder sees nothing of the clip beyond its outer rim; a square of this share of the side is grey."""
    assert bundle.tokenizer is not None
    clips = _clips(bundle).copy()
    size = clips.shape[2]
    edge = round(size * (1 - share) / 2)
    clips[:, :, edge : size - edge, edge : size - edge] = 0.4
    return bundle.extracted(bundle.tokenizer.encode(clips))


def grey_input(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """The encoder sees each pixel's mean over colours, mixed with the clip."""
    assert bundle.tokenizer is not None
    clips = _clips(bundle)
    grey = np.repeat(clips.mean(-1, keepdims=True), 3, -1)
    return bundle.extracted(bundle.tokenizer.encode((share * grey + (1 - share) * clips).astype(np.float32)))


def _latents(bundle: Bundle) -> Latents:
    assert bundle.latents is not None
    return bundle.latents


def _clips(bundle: Bundle) -> NDArray[np.float32]:
    assert bundle.clips is not None
    return bundle.clips.astype(np.float32) / np.float32(255)


# ---- in the table of codes


def rows_of_others(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of the rows hold other clips' codes."""
    rows = _some(bundle, share, rng)
    codes = bundle.codes.copy()
    codes[rows] = bundle.codes[np.roll(rows, 1)]
    return dataclasses.replace(bundle, codes=codes)


def places_moved(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """In a share of the rows the tokens stand at other places, in each row at others."""
    codes, inner = bundle.codes.copy(), _inner(bundle)
    for row in _some(bundle, share, rng):
        flat = codes[row].reshape(int(np.prod(inner)), *codes[row].shape[len(inner) :])
        codes[row] = flat[rng.permutation(len(flat))].reshape(codes[row].shape)
    return dataclasses.replace(bundle, codes=codes)


def swapped(bundle: Bundle, axes: list[int], rng: Rng) -> Bundle:
    """Codes, and what is decoded from them, have two axes of the grid exchanged; 0 is time. The axes are equally long.

    The latents are handed in as they were encoded.
    """
    codes = np.ascontiguousarray(np.swapaxes(bundle.codes, axes[0] + 1, axes[1] + 1))
    return _decoded(bundle, codes)


def reshaped(bundle: Bundle, order: str, rng: Rng) -> Bundle:
    """The codes were flattened in another order, such as `n h w t`, than the one they are laid out in again."""
    codes = rearrange(bundle.codes, f"n t h w -> {order}").reshape(bundle.codes.shape)
    return _decoded(bundle, codes)


def _decoded(bundle: Bundle, codes: Codes) -> Bundle:
    drawn = bundle.reconstructions
    if drawn is not None and bundle.tokenizer is not None:
        drawn = bundle.tokenizer.decode(codes)
    return dataclasses.replace(bundle, codes=codes, reconstructions=drawn)


def noisy_codes(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of all tokens are drawn at random among the codes in use."""
    seen = np.unique(bundle.codes)
    hit = rng.random(bundle.codes.shape) < share
    return dataclasses.replace(bundle, codes=np.where(hit, rng.choice(seen, bundle.codes.shape), bundle.codes))


def one_code(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of all tokens hold the commonest code: the codebook's other vectors lie far from all latents.

    The remaining tokens keep the codes that they had.
    """
    common = np.bincount(bundle.codes.ravel()).argmax()
    codes = np.where(rng.random(bundle.codes.shape) < share, common, bundle.codes)
    book = bundle.codebook
    if book is not None:
        low = bundle.codes.min() if bundle.codes.min() >= len(book) else 0
        book = _far(book, int(common - low))
    return dataclasses.replace(bundle, codes=codes, codebook=book)


def dead_levels(bundle: Bundle, levels: list[int], rng: Rng) -> Bundle:
    """These of the codebooks hold one code only: their first vector is 0, the others lie far from all residuals."""
    codes, books = bundle.codes.copy(), None if bundle.codebook is None else bundle.codebook.copy()
    for level in levels:
        codes[..., level] = 0
        if books is not None:
            books[level] = _far(books[level], 0)
            books[level, 0] = 0
    return dataclasses.replace(bundle, codes=codes, codebook=books)


def _far(book: NDArray[np.float32], kept: int) -> NDArray[np.float32]:
    """The vectors (K, D) with all but one moved to where no latent is."""
    moved = book + np.float32(FAR * max(float(book.std()), 1e-3))
    moved[kept] = book[kept]
    return moved


def few_bits(bundle: Bundle, dtype: str, rng: Rng) -> Bundle:
    """Indices went through a float of few bits: bfloat16 or float16."""
    narrow = torch.from_numpy(bundle.codes).to(getattr(torch, dtype)).to(torch.int64)
    return dataclasses.replace(bundle, codes=narrow.numpy())


def not_a_number(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """From some row on the network gave NaN, and every token is code 0; latents hold the NaN."""
    first = round(len(bundle) * (1 - share))
    codes, latents = bundle.codes.copy(), bundle.latents
    codes[first:] = 0
    if latents is not None:
        latents = latents.copy()
        latents[first:] = np.nan
    return dataclasses.replace(bundle, codes=codes, latents=latents)


def continuous(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """The table holds the latents; nothing was quantized."""
    return dataclasses.replace(bundle, codes=_latents(bundle))


def duplicates(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of the codebook's entries are copies, up to 1e-5, of others; tokens fall on any of an entry's copies."""
    assert bundle.codebook is not None
    size, book = len(bundle.codebook), bundle.codebook.copy()
    copies = rng.permutation(size)[: round(share * size)]
    kept = np.setdiff1d(np.arange(size), copies)
    codes = kept[nearest(_latents(bundle), book[kept])]
    used = np.bincount(codes.ravel(), minlength=size)[kept]
    sources = rng.choice(kept, len(copies), p=used / used.sum())
    book[copies] = book[sources] + rng.normal(0, 1e-5, (len(copies), book.shape[1]))
    for one in np.unique(sources):
        rows = codes == one
        codes[rows] = rng.choice(np.concatenate([[one], copies[sources == one]]), int(rows.sum()))
    return dataclasses.replace(bundle, codes=codes, codebook=book.astype(np.float32))


def relabelled_from(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """The last rows, this share of them, were coded by a codebook whose entries stand in another order."""
    first, order = round(len(bundle) * (1 - share)), rng.permutation(_size(bundle))
    codes = bundle.codes.copy()
    codes[first:] = order[codes[first:]]
    return dataclasses.replace(bundle, codes=codes)


def constant_shift(bundle: Bundle, offset: int, rng: Rng) -> Bundle:
    """All codes have so much added; below 0 and beyond the codebook nothing has a meaning."""
    return dataclasses.replace(bundle, codes=bundle.codes + offset)


# ---- beside it


def labels_shuffled(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of the clips have another clip's label."""
    rows = _some(bundle, share, rng)
    labels = bundle.labels.copy()
    labels[rows] = rng.permutation(labels[rows])
    return dataclasses.replace(bundle, labels=labels)


def classes_confused(bundle: Bundle, pairs: int, rng: Rng) -> Bundle:
    """Within each of the first pairs of classes the labels are drawn at random."""
    labels, names = bundle.labels.copy(), np.unique(bundle.labels)
    for pair in range(pairs):
        rows = np.flatnonzero(np.isin(bundle.labels, names[2 * pair : 2 * pair + 2]))
        labels[rows] = rng.choice(names[2 * pair : 2 * pair + 2], len(rows))
    return dataclasses.replace(bundle, labels=labels)


def few_clips(bundle: Bundle, count: int, rng: Rng) -> Bundle:
    """Only so many clips, each class alike."""
    names, place = np.unique(bundle.labels, return_inverse=True)
    each = count // len(names)
    rows = np.concatenate([rng.permutation(np.flatnonzero(place == one))[:each] for one in range(len(names))])
    return bundle.take(np.sort(rows))


def pooled(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """Whoever reads the codes averages them over space, and says so."""
    return dataclasses.replace(bundle, config=bundle.config | {"pooling": "space"})


def ghosted(bundle: Bundle, count: int, rng: Rng) -> Bundle:
    """The first frames are reconstructed from what a causal decoder filled up: a grey blend of the clip."""
    assert bundle.reconstructions is not None
    drawn = bundle.reconstructions.copy()
    drawn[:, :count] = 0.15 * drawn[:, :count] + 0.85 * drawn.mean((1, 2, 3, 4), keepdims=True)
    return dataclasses.replace(bundle, reconstructions=drawn)


def overshoot(bundle: Bundle, most: float, rng: Rng) -> Bundle:
    """Reconstructions go a little beyond black and white, as decoders' outputs do; nothing is wrong."""
    assert bundle.reconstructions is not None
    drawn = (bundle.reconstructions - 0.5) * np.float32(2 * most - 1) + np.float32(0.5)
    return dataclasses.replace(bundle, reconstructions=drawn)


def again(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """A second extraction of the same clips; a share of its tokens have another code, anywhere."""
    other = noisy_codes(bundle, share, rng).codes if share else bundle.codes.copy()
    return dataclasses.replace(bundle, again=other)


def again_by_batch(bundle: Bundle, batch: int, rng: Rng) -> Bundle:
    """A second extraction in batches of this size; the last quarter of each batch has other codes."""
    late = np.arange(len(bundle)) % batch >= batch * 3 // 4
    other = noisy_codes(bundle, 0.3, rng).codes
    return dataclasses.replace(bundle, again=np.where(_along(late, bundle.codes), other, bundle.codes))


def usage_fell(bundle: Bundle, last: float, rng: Rng) -> Bundle:
    """The training log has a usage that peaked and fell to `last`; the codes are those of the end."""
    kept = np.argsort(-np.bincount(bundle.codes.ravel()))[: max(round(last * _size(bundle)), 2)]
    codes = kept[bundle.codes % len(kept)]
    rising = np.linspace(0.3, 0.98, 8).tolist()
    usage = [*rising, *np.linspace(0.95, last, 8).tolist()]
    losses = np.linspace(0.2, 0.05, 16).tolist()
    log = {"epoch": [float(one) for one in range(1, 17)], "val_loss": losses, "usage": usage}
    return dataclasses.replace(bundle, codes=codes, history=log)


def counters(bundle: Bundle, last: float, rng: Rng) -> Bundle:
    """The training log ends with this usage, whatever the codes show."""
    usage = np.linspace(0.2, last, 16).tolist()
    losses = (0.05 + 0.2 * np.exp(-np.arange(16) / 2)).tolist()
    log = {"epoch": [float(one) for one in range(1, 17)], "val_loss": losses, "usage": usage}
    return dataclasses.replace(bundle, history=log)


def true_counters(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """The training log ends with the usage that the codes show; nothing is wrong."""
    return counters(bundle, len(np.unique(bundle.codes)) / _size(bundle), rng)


def by_ids(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """Labels stand in another order than codes, and both have ids; nothing is wrong."""
    return dataclasses.replace(bundle, order=rng.permutation(len(bundle)))


def padded(bundle: Bundle, share: float, rng: Rng) -> Bundle:
    """Sequences end early, up to this share of them, and are filled up with −1; nothing is wrong."""
    length = bundle.codes.shape[1]
    ends = rng.integers(round(length * (1 - share)), length + 1, len(bundle))
    there = (np.arange(length) < ends[:, None]).reshape(len(bundle), length, *[1] * (bundle.codes.ndim - 2))
    latents = None if bundle.latents is None else (bundle.latents * there[..., None]).astype(np.float32)
    return dataclasses.replace(bundle, codes=np.where(there, bundle.codes, -1), latents=latents)


def as_image(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """Codes (N, H, W) of single frames; nothing is wrong."""
    latents = None if bundle.latents is None else bundle.latents[:, 0]
    return dataclasses.replace(bundle, codes=bundle.codes[:, 0], latents=latents)


def sorted_by_class(bundle: Bundle, switch: bool, rng: Rng) -> Bundle:
    """Rows stand class by class, as folders are read; nothing is wrong."""
    return bundle.take(np.argsort(bundle.labels, kind="stable"))


def _some(bundle: Bundle, share: float, rng: Rng) -> NDArray[np.int64]:
    return rng.permutation(len(bundle))[: round(share * len(bundle))]


def _along(rows: NDArray[Any], codes: Codes) -> NDArray[Any]:
    """Rows (N,) with an axis of length 1 for each further axis of the codes."""
    return rows.reshape(-1, *[1] * (codes.ndim - 1))


def _inner(bundle: Bundle) -> tuple[int, ...]:
    """The grid of a row, without codebooks."""
    shape = bundle.codes.shape[1:]
    return shape[:-1] if bundle.config.get("several", 1) > 1 else shape


def _size(bundle: Bundle) -> int:
    levels = bundle.config.get("levels")
    return int(np.prod(levels)) if levels else int(bundle.config["codebook_size"])


BREAKAGES: dict[str, Breakage] = {
    function.__name__: function for function in (
        drift, project, scaled_input, frozen_input, covered_input, grey_input,
        rows_of_others, places_moved, swapped, reshaped, noisy_codes, one_code, dead_levels, few_bits, not_a_number,
        continuous, duplicates, relabelled_from, constant_shift,
        labels_shuffled, classes_confused, few_clips, pooled, ghosted, again, again_by_batch, usage_fell, counters,
        overshoot, true_counters, by_ids, padded, as_image, sorted_by_class,
    )
}


def stale(bundle: Bundle, other: Bundle, share: float, rng: Rng) -> Bundle:
    """A share of the rows hold the codes of another tokenizer for the same clips, the latents being this one's."""
    rows = _some(bundle, share, rng)
    codes = bundle.codes.copy()
    codes[rows] = other.codes[rows]
    return dataclasses.replace(bundle, codes=codes)


def stale_from(bundle: Bundle, other: Bundle, share: float, rng: Rng) -> Bundle:
    """The last rows, this share of them, hold the codes of another tokenizer, as when a checkpoint changed midway."""
    first = round(len(bundle) * (1 - share))
    return dataclasses.replace(bundle, codes=np.concatenate([bundle.codes[:first], other.codes[first:]]))


FROM_OTHERS: dict[str, Callable[..., Bundle]] = {"stale": stale, "stale_from": stale_from}
