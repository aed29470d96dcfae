"""Checks of the codebook's entries: which are used, which can be used at all, and which are the same thing twice."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.checks.facts import CodeFacts, Floats
from kinetoken.diagnosis.finding import CERTAIN, LIKELY, POSSIBLE, USE, Finding
from kinetoken.diagnosis.tally import WINDOW, Tally

Codes = NDArray[np.int64]

# The largest whole number up to which each type holds all of them; above, only multiples of 2, 4, 8 … (IEEE 754).
PRECISIONS = (("bfloat16", 2**8), ("float16 or TensorFloat-32", 2**11), ("float32", 2**24))
CHANCE = 1e-6  # of a pattern in sound codes, below which it is reported
LEAST_BELOW = 8  # used codes that the type holds, for their last digit to say whether low codes are even, too
ODD = 0.25  # share of those that must be odd: an FSQ whose first channel is dead has even codes only, or none
ONE_CODE = 1.05  # perplexity up to which a codebook holds one code: more than 99 % of its tokens
ALIVE = 2.0  # perplexity of another codebook from which one of a single code is dead and not the clips all alike
NEAR = 1e-3  # distance of two entries, in deviations of the codebook, up to which they are one
SPACING = 0.01  # the same, in mean spacings of entries spread evenly: few dimensions hold many entries close together
REDUNDANT = 0.02  # share of the used entries that must be copies of others
GAP = 1 / 16  # of the codebook, from which a range that is never used is worth a word
WELL_COUNTED = 100  # tokens an entry from which it is: of few clips many codes are missing by chance, and together
MOST_STEPS = 1024  # along the direction in which copies are looked for; further ones of a dense heap are not found
COUNTED = 10  # tokens an entry from which usage is no longer a question of how many were counted
GROWS = 1.5  # times that perplexity or usage over all tokens exceeds that over a window of them
TAIL = 2  # rows of code 0 at the file's end
SCATTERED = 0.01  # of all rows
ORDINARY = 0.25  # share of code 0 in another row, from which a row of code 0 only is nothing unusual
ORDINARY_TAIL = 0.75  # the same of all rows of the file's end, where code 0 is rare otherwise
MANY = 0.05  # share of rows of code 0 only that no clips explain where no other row is of one code
LEAST_MANY = 8
RARE = 0.15  # share of code 0 in all other rows together: it is no background


@dataclasses.dataclass(frozen=True)
class Entries:
    """One codebook's place (from 1), its declared size, the codes that were counted (k,) and how often each (k,)."""

    place: int
    size: int
    codes: Codes
    counts: Codes

    @property
    def used(self) -> Codes:
        return self.codes[self.counts > 0]


def books_of(tally: Tally) -> Iterator[Entries]:
    """The codebooks of a tally."""
    ends = np.cumsum(tally.sizes).tolist()
    counts = tally.counts
    for place, (end, size, declared) in enumerate(zip(ends, tally.sizes, tally.declared, strict=True)):
        yield Entries(place + 1, declared, tally.codes[end - size : end], counts[end - size : end])


def representable(codes: Codes, limit: int) -> NDArray[np.bool_]:
    """Which whole numbers a type of floats holds that holds all up to `limit`, a power of 2."""
    excess = np.maximum(np.ceil(np.log2(np.maximum(codes, 1) / limit)), 0).astype(np.int64)
    return np.asarray(codes % (1 << np.minimum(excess, 62)) == 0)


def reachable(size: int, limit: int) -> int:
    """How many of 0 … size − 1 such a type holds."""
    count, low, step = min(size, limit + 1), limit, 1
    while low < size - 1:
        low, step, top = low * 2, step * 2, min(low * 2, size - 1)
        count += top // step - low // 2 // step
    return count


def rounding(used: Codes) -> tuple[str, int] | None:
    """The type of floats, and its limit, through which codes (k,) must have gone, or nothing.

    All codes above the limit are numbers that it holds, which of that many codes would not happen by chance; below it
    odd codes are as common as ever.
    """
    for name, limit in PRECISIONS:
        above, below = used[used > limit], used[used <= limit]
        if not len(above):
            return None
        held = (reachable(int(above.max()) + 1, limit) - limit - 1) / (int(above.max()) - limit)
        if len(above) * np.log(max(held, 1e-12)) > np.log(CHANCE) or len(below) < LEAST_BELOW:
            continue
        if (below % 2 == 1).mean() >= ODD and representable(above, limit).all():
            return name, limit
    return None


def rounded(facts: CodeFacts) -> Finding | None:
    """Indices that were computed in a float type too short for them.

    vector-quantize-pytorch's issue 114: FSQ of 1,000 codes in bfloat16 uses half of them.
    """
    found = [(book, through) for book in books_of(facts.tally) if (through := rounding(book.used)) is not None]
    if not found:
        return None
    said, lost = [], 0.0
    for book, (name, limit) in found:
        above = book.used[book.used > limit]
        out = book.size - reachable(book.size, limit)
        lost += out / book.size
        said.append(
            f"{_of_book(facts, book)}All {len(above)} used codes above {limit:,} are multiples of 2, 4, 8, … as "
            f"{name} holds them ({_first(above)}), while {int((book.used[book.used <= limit] % 2).sum())} odd codes up "
            f"to {limit:,} are used. So {out:,} of the {book.size:,} codes can never occur."
        )
    return Finding(
        "indices rounded by low precision", USE, lost / facts.tally.depth, LIKELY, " ".join(said),
        "Compute the indices in float32 (integers for the sum of digits) and extract the codes again.",
        ("usage", "dead_codes"),
    )


def dead_codebooks(facts: CodeFacts) -> Finding | None:
    """Of several codebooks those that hold one code only, such as RVQ levels after the first."""
    found = facts.tally.codebooks(facts.tally.counts)
    if facts.tally.depth == 1 or max((one.perplexity for one in found if one), default=0) < ALIVE:
        return None
    dead = [place + 1 for place, one in enumerate(found) if one is None or one.perplexity <= ONE_CODE]
    if not dead:
        return None
    each = ", ".join(f"{0 if one is None else one.perplexity:.4g}" for one in found)
    return Finding(
        "dead codebooks", USE, len(dead) / len(found), CERTAIN,
        f"{len(dead)} of {len(found)} codebooks hold one code only: {_listed(dead)}. Perplexities in order: {each}. "
        f"These codebooks carry nothing; a clip's codes could leave them out.",
        rests_on=tuple(f"codebooks.{place}.perplexity" for place in dead),
    )


@dataclasses.dataclass(frozen=True)
class Copies:
    """Entries of a codebook: all, those used, and how many different vectors these are."""

    entries: int
    distinct: int
    used: int
    used_distinct: int
    tolerance: float


def copies(vectors: Floats, used: Codes) -> Copies:
    """Count vectors (K, D) that are (nearly) equal to one another as one; `used` (k,) are the codes that occur.

    Two are one if their distance is at most NEAR deviations of the codebook (of few dimensions: less). Neighbours are
    looked for along a random direction, so it takes K log K.
    """
    values = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    tolerance = min(NEAR, SPACING * len(values) ** (-1 / values.shape[1]))
    radius = tolerance * float(np.sqrt((values**2).sum(1).mean()))
    group = _groups(values, radius)
    alive = used[used < len(vectors)]
    return Copies(
        len(vectors), int(group.max()) + 1, len(alive), len(np.unique(group[alive])), tolerance,
    )


def _groups(values: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    """(K,) the group of each vector, where those closer than the radius are in one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    directions = np.random.default_rng(0).standard_normal((values.shape[1], 2))
    along, across = (values @ (directions / np.linalg.norm(directions, axis=0))).T
    order = np.argsort(along, kind="stable")
    along, across = along[order], across[order]
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    first, shift = np.arange(len(values) - 1), 1
    while len(first) and shift <= MOST_STEPS:  # pairs `shift` apart; of equal ones the next is enough
        second = first + shift
        near = along[second] - along[first] <= radius
        first, second = first[near], second[near]
        same = np.abs(across[first] - across[second]) <= radius
        one, two = order[first[same]], order[second[same]]
        same[same] = ((values[one] - values[two]) ** 2).sum(1) <= radius**2
        left.append(order[first[same]])
        right.append(order[second[same]])
        shift += 1
        first = first[~same]
        first = first[first + shift < len(values)]
    rows, columns = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(values), len(values)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def copies_of_all(facts: CodeFacts) -> list[Copies]:
    """Of each codebook whose vectors were given."""
    if not facts.vectors:
        return []
    return [copies(table, book.used) for table, book in zip(facts.vectors, books_of(facts.tally), strict=True)]


def duplicates(facts: CodeFacts, counted: list[Copies]) -> Finding | None:
    """Entries that are the same vector, so that full usage counts one thing several times."""
    used, distinct = sum(one.used for one in counted), sum(one.used_distinct for one in counted)
    if not used or used - distinct < REDUNDANT * used or used - distinct < 2:
        return None
    size = sum(facts.tally.declared)
    return Finding(
        "duplicate entries", USE, 1 - distinct / used, CERTAIN,
        f"{used:,} of {size:,} entries are used ({used / size:.1%}), but they are only {distinct:,} different vectors "
        f"({distinct / size:.1%} of the codebook): the others are within {counted[0].tolerance:.1g} of the codebook's "
        "spread from another entry.",
        "Count usage over distinct vectors, and have dead entries replaced by encoder outputs of different clips.",
        ("usage", "duplicates.usage_distinct"),
    )


def unused_ranges(facts: CodeFacts) -> Finding | None:
    """The longest ranges of codes that never occur, longer than chance would leave them."""
    said, shares = [], []
    for book in books_of(facts.tally):
        if book.counts.sum() < WELL_COUNTED * book.size or not len(book.used):
            continue
        ends = np.r_[-1, book.used, book.size]
        gaps = np.diff(ends) - 1
        share = len(book.used) / book.size
        longest = np.argsort(gaps, kind="stable")[::-1][:3]
        odd = [
            place for place in longest.tolist()
            if gaps[place] >= max(GAP * book.size, 2) and
            np.log(book.size) + gaps[place] * np.log1p(-min(share, 1 - 1e-9)) < np.log(CHANCE)
        ]
        if odd:
            ranges = _listed([f"{ends[place] + 1:,}–{ends[place + 1] - 1:,}" for place in sorted(odd)])
            said.append(f"{_of_book(facts, book)}Codes {ranges} of {book.size:,} never occur in "
                        f"{int(book.counts.sum()):,} tokens.")
            shares.append(float(gaps[odd].sum() / book.size))
    if not said:
        return None
    return Finding(
        "part of the vocabulary unused", USE, 0.0, CERTAIN,
        " ".join(said) + " These clips do not need them, or the encoder never reaches them.",
        "Clips of other kinds: if they do not use these codes either, the codebook is larger than it need be.",
        ("usage", "dead_codes"),
    )


def counts_matter(facts: CodeFacts) -> Finding | None:
    """Usage and perplexity that depend on how many tokens are counted: over a window of them, and over all."""
    tally = facts.tally
    tokens = int(tally.counts.sum() / tally.depth)
    if tokens < COUNTED * tally.size and tokens < tally.size * tally.usage(tally.counts).usage * COUNTED:
        return Finding(
            "perplexity depends on the count", USE, 0.0, CERTAIN,
            f"{tokens:,} tokens were counted for {tally.size:,} entries, {tokens / tally.size:.2g} an entry: usage and "
            f"perplexity ({tally.usage(tally.counts).perplexity:.4g}) rise with every further clip, and an entry that "
            "did not occur need not be dead.",
            f"Codes of {COUNTED * tally.size // max(int(np.prod(tally.grid)), 1):,} clips or more.",
            ("usage", "perplexity"),
        )
    if not tally.windows:
        return None
    whole = tally.usage(tally.counts)
    within = {name: float(np.mean([getattr(one, name) for one in tally.windows])) for name in ("usage", "perplexity")}
    if whole.perplexity < GROWS * within["perplexity"] and whole.usage < GROWS * within["usage"]:
        return None
    return Finding(
        "perplexity depends on the count", USE, 0.0, CERTAIN,
        f"Over windows of {WINDOW:,} tokens perplexity is {within['perplexity']:.4g} and usage "
        f"{within['usage']:.1%}; over all {tokens:,} tokens they are {whole.perplexity:.4g} and {whole.usage:.1%}. "
        "Compare such figures only over the same number of tokens: a batch's, a logger's and these differ by that "
        "alone.", "", ("windows.perplexity.mean", "perplexity", "windows.usage.mean", "usage"),
    )


def codes_of_nan(facts: CodeFacts) -> Finding | None:
    """Rows that NaN became: latents that hold it, or whole rows of code 0 while others never come near that."""
    if facts.holes is not None:
        return _holes(facts)
    seen = facts.passage
    tail = seen.rows - seen.tail
    scattered = seen.zero_rows - tail
    if not seen.other_tokens or seen.other_constant_rows:
        return None
    rare = seen.other_zeros < RARE * seen.other_tokens and seen.most_zeros < ORDINARY_TAIL
    ends = tail >= TAIL and rare
    many = seen.zero_rows >= max(MANY * seen.rows, LEAST_MANY) and seen.other_zeros < RARE * seen.other_tokens
    if not ends and not many and (seen.most_zeros >= ORDINARY or scattered < max(SCATTERED * seen.rows, TAIL)):
        return None
    where = []
    if tail >= TAIL:
        where.append(f"from row {seen.tail:,} to the end (row {seen.rows - 1:,}) every token is code 0")
    if scattered:
        where.append(f"{scattered:,} {'further ' if where else ''}rows hold nothing but code 0")
    return Finding(
        "codes of NaN", USE, seen.zero_rows / seen.rows, LIKELY if ends else POSSIBLE,
        f"{'; '.join(where).capitalize()}. In the other {seen.rows - seen.zero_rows:,} rows code 0 is "
        f"{seen.other_zeros / seen.other_tokens:.2%} of the tokens and never more than {seen.most_zeros:.0%} of a "
        "row's. A nearest-neighbour or sign quantizer gives code 0 for NaN.",
        "The latents of these rows (--latents): NaN there settles it.", ("perplexity",),
    )


def _holes(facts: CodeFacts) -> Finding:
    holes = facts.holes
    assert holes is not None
    total = max(sum(count for _, count in holes.codes), 1)
    common = f" Their commonest code is {holes.codes[0][0]} ({holes.codes[0][1] / total:.0%} of their tokens)." \
        if holes.codes else ""
    return Finding(
        "codes of NaN", USE, holes.count / holes.clips, CERTAIN,
        f"The latents of {holes.count:,} of {holes.clips:,} sampled clips hold NaN or infinite values: rows "
        f"{_listed([f'{row:,}' for row in holes.rows])}{', …' if holes.count > len(holes.rows) else ''}.{common}",
        "Find the step at which the encoder's output or its weights became NaN; train again from before it.",
        ("latents",),
    )


def _of_book(facts: CodeFacts, book: Entries) -> str:
    return "" if facts.tally.depth == 1 else f"Codebook {book.place}: "


def _first(codes: Codes) -> str:
    return ", ".join(f"{code}" for code in codes[:4].tolist()) + ", …"


def _listed(items: "list[str] | list[int]") -> str:
    return ", ".join(str(item) for item in items)
