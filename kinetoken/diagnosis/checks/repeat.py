"""Two extractions of the same clips: do they give the same codes, and if not, does it follow the place in a batch?"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.finding import CERTAIN, LIKELY, USE, Finding

Codes = NDArray[np.int64]
Shares = NDArray[np.float32]

ROUNDING = 0.01  # share of tokens up to which two runs differ by the arithmetic's rounding alone
LARGEST_BATCH = 512  # that is looked for
LOOKED = 2**17  # rows in which it is looked for
SURE = 25.0  # standard deviations by which differences must follow the place in a batch
EXPLAINED = 0.3  # of the variance of rows' differences
LEAST_CHANGES = 4  # of rows that differ to rows that do not, for their spacing to mean anything
KEPT_PAIRS = 2**18  # tokens whose two codes are kept
RENAMED = 0.95  # share of tokens that a one-to-one renaming of codes explains


@dataclasses.dataclass(frozen=True)
class Again:
    """The share of each row's tokens that differ (m,), and pairs of codes.

    pairs (k, 2): the two codes of some tokens of rows that differ, those that agree among them; sample (m,): the rows
    of the file that were compared, None if all were.
    """

    differing: Shares
    pairs: Codes
    sample: Codes | None = None

    def row(self, place: int) -> int:
        """The row of the file at a place among those compared."""
        return place if self.sample is None else int(self.sample[place])

    @property
    def share(self) -> float:
        """Of tokens that differ."""
        return float(self.differing.mean(dtype=np.float64))

    @property
    def clips(self) -> float:
        """Share of clips with any token that differs."""
        return float((self.differing > 0).mean())


def compared(pairs: Iterable[tuple[Codes, Codes]], sample: Codes | None = None) -> Again:
    """The comparison of batches of codes (n, places, Q) of the same rows, in order: all rows, or those of a sample."""
    differing, kept, held = [np.empty(0, np.float32)], [np.empty((0, 2), np.int64)], 0
    for first, second in pairs:
        there = (first >= 0) | (second >= 0)
        other = (first != second) & there
        share = other.sum((1, 2)) / np.maximum(there.sum((1, 2)), 1)
        differing.append(share.astype(np.float32))
        if held < KEPT_PAIRS and share.any():
            odd = share > 0
            found = np.stack([first[odd], second[odd]], -1)[there[odd]][: KEPT_PAIRS - held]
            kept.append(found)
            held += len(found)
    return Again(np.concatenate(differing), np.concatenate(kept), sample)


def together(first: Iterable[Codes], second: Iterable[Codes]) -> Iterator[tuple[Codes, Codes]]:
    """Batches of two streams of the same rows, cut to the same lengths."""
    others, held = iter(second), np.empty((0,), np.int64)
    for batch in first:
        parts = [held] if len(held) else []
        while sum(map(len, parts)) < len(batch):
            parts.append(next(others))
        whole = np.concatenate(parts)
        held = whole[len(batch) :]
        yield batch, whole[: len(batch)]


def differ_between_runs(again: Again | None) -> Finding | None:
    """Codes that a second extraction does not repeat, by the batch if the differences follow it."""
    if again is None or again.share == 0:
        return None
    counted = (
        f"{again.share:.2%} of the tokens and {again.clips:.1%} of the clips differ between the two extractions of "
        f"{len(again.differing):,} clips."
    )
    severity = again.share if again.share > ROUNDING else 0.0
    if batch := batch_pattern(again):
        return Finding(
            "codes depend on the batch", USE, severity, LIKELY, f"{counted} {batch}",
            "Extract with the model in evaluation mode and batches of one size, the last one filled up.",
            ("again.tokens_differing",),
        )
    further = ""
    if again.share <= ROUNDING:
        further = " So few may come from the rounding of the arithmetic on another machine or batch size."
    elif (renamed := _renamed(again.pairs)) >= RENAMED:
        further = (f" A one-to-one renaming of codes explains {renamed:.0%} of the tokens: the codebook's entries are "
                   "the same in another order.")
    elif again.clips == 1:
        further = " Every clip differs: dropout, noise or batch statistics are still on, or the weights are others."
    return Finding(
        "codes differ between runs", USE, severity, CERTAIN, counted + further,
        "Extract in evaluation mode, with no random numbers and the same weights, and compare again.",
        ("again.tokens_differing", "again.clips_differing"),
    )


def batch_pattern(again: Again) -> str:
    """What of the differences follows a row's place in a batch, in a sentence; empty if nothing does."""
    return _at_the_end(again) or _whole_batches(again) or _every(again)


def _at_the_end(again: Again) -> str:
    """Only the last rows differ, fewer than the largest batch: a remainder."""
    odd = np.flatnonzero(again.differing > 0)
    count = len(again.differing)
    if len(odd) == 0 or 2 * odd[0] < count:
        return ""
    first, last = again.row(int(odd[0])), again.row(count - 1)
    most = len(odd) >= 0.5 * (count - odd[0])
    if not most or last - first + 1 > LARGEST_BATCH or len(odd) < 2:
        return ""
    return (f"They lie in rows {first:,} to {again.row(int(odd[-1])):,} of {last + 1:,} only, the file's end, as of a "
            "last batch that is smaller than the others.")


def _whole_batches(again: Again) -> str:
    """Rows that differ and rows that do not change places only at multiples of one number."""
    odd = again.differing > 0
    if again.sample is not None or odd.all():
        return ""
    changes = np.flatnonzero(odd[1:] != odd[:-1]) + 1
    if len(changes) < LEAST_CHANGES:
        return ""
    step = int(np.gcd.reduce(changes))
    if step < 4 or step > LARGEST_BATCH or len(changes) * np.log(step) < np.log(1e6):
        return ""
    return f"Rows differ in whole blocks that begin at multiples of {step}: batches of that size, or a divisor of it."


def _every(again: Again) -> str:
    """Differences by the row's remainder modulo some batch size."""
    values = again.differing[:LOOKED].astype(np.float64)
    rows = np.arange(len(values)) if again.sample is None else again.sample[:LOOKED]
    spread = values.var()
    if len(values) < 16 or spread == 0:
        return ""
    scores = {}
    for size in range(2, min(LARGEST_BATCH, len(values) // 4) + 1):
        place = rows % size
        count = np.bincount(place, minlength=size)
        mean = np.bincount(place, values, minlength=size) / np.maximum(count, 1)
        between = float((count * (mean - values.mean()) ** 2).sum() / len(values) / spread)
        noise = (np.count_nonzero(count) - 1) / len(values)
        scores[size] = (between - noise, (between - noise) / (noise * np.sqrt(2 / max(size - 1, 1))))
    best = max(found[0] for found in scores.values())
    size = next(size for size, (share, _) in scores.items() if share >= 0.9 * best)
    if scores[size][0] < EXPLAINED or scores[size][1] < SURE:
        return ""
    place = rows % size
    mean = np.bincount(place, values, minlength=size) / np.maximum(np.bincount(place, minlength=size), 1)
    worst = int(mean.argmax())
    return (f"They follow the row's place: of rows {worst}, {worst + size}, {worst + 2 * size}, … {mean[worst]:.1%} of "
            f"the tokens differ, of the others {np.delete(mean, worst).mean():.1%}; this explains "
            f"{scores[size][0]:.0%} of the variance, as in batches of {size} or a multiple of it.")


def _renamed(pairs: Codes) -> float:
    """Share of tokens (k, 2) whose second code is the commonest of their first one, and the other way round."""
    if not len(pairs):
        return 0.0
    found, count = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-count, kind="stable")
    best: list[Codes] = []
    for column in (0, 1):
        _, first = np.unique(found[order, column], return_index=True)
        best.append(order[first])
    mutual = np.intersect1d(best[0], best[1])
    distinct = len(np.unique(found[:, 0]))
    return float(count[mutual].sum() / count.sum()) if distinct > 1 and len(mutual) > 1 else 0.0


def again_numbers(again: Again) -> dict[str, float]:
    """again.tokens_differing, again.clips_differing and over how many clips."""
    return {"tokens_differing": again.share, "clips_differing": again.clips, "clips": len(again.differing)}
