"""Which entries are used, which can be: float types too short, NaN, dead codebooks, copies, unused ranges."""

from typing import Any

import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, SimVQ, VectorQuantize

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.checks import checked
from kinetoken.diagnosis.checks.entries import copies, reachable, representable
from tests.support.peers import costly, facts_of, found, peer, quantized, trained

TYPES = {2**8: torch.bfloat16, 2**11: torch.float16}
ROUNDED = "indices rounded by low precision"
LEVELS = {"short": [8, 5, 5, 5], "long": [8, 8, 8, 6, 5]}


@pytest.mark.parametrize("limit", TYPES)
def test_what_a_float_type_holds(limit: int) -> None:
    codes = np.arange(60_000)
    held = torch.from_numpy(codes).to(TYPES[limit]).double().numpy() == codes
    assert (representable(codes, limit) == held).all()
    for size in (2, limit - 1, limit, limit + 1, limit + 2, 1000, 4096, 15_360, 60_000):
        assert reachable(size, limit) == held[:size].sum(), size


def in_type(name: str, kind: torch.dtype) -> np.ndarray:
    """Indices of codes that went through a type, as FSQ's own codes_to_indices makes them: 512 clips (4, 8, 8)."""
    levels, rng = LEVELS[name], torch.Generator().manual_seed(0)
    quantizer = FSQ(levels)
    codes = quantizer(torch.randn(512, 256, len(levels), generator=rng) * 1.5)[0]
    return quantizer.codes_to_indices(codes.to(kind)).numpy().reshape(-1, 4, 8, 8)


@pytest.mark.parametrize(("name", "kind", "said", "lost"), [
    ("short", torch.bfloat16, "bfloat16", 0.494), ("long", torch.bfloat16, "bfloat16", 0.934),
    ("long", torch.float16, "float16", 0.675),
])
def test_fsq_in_a_type_too_short(name: str, kind: torch.dtype, said: str, lost: float) -> None:
    codes, levels = in_type(name, kind), LEVELS[name]
    assert codes.max() == np.prod(levels), "rounded up, beyond the last code"
    for config in ({"levels": levels}, {"codebook_size": int(np.prod(levels))}, {}):
        rounded = found(codes, config)[ROUNDED]
        assert said in rounded.evidence and rounded.severity == pytest.approx(lost, abs=0.002)
    assert ROUNDED not in found(in_type(name, torch.float32), {"levels": levels})


def test_fsq_in_float16_is_exact_up_to_2048() -> None:
    assert ROUNDED not in found(in_type("short", torch.float16), {"levels": LEVELS["short"]})


def test_even_codes_of_other_causes_are_not_rounded() -> None:
    made = peer(100).latents
    made[..., 0] = -9  # the first channel is dead, so every code is a multiple of 8
    assert ROUNDED not in found(quantized(FSQ([8, 5, 5, 5]), made), {"levels": [8, 5, 5, 5]})
    few = np.random.default_rng(0).integers(0, 257, (100, 2, 4, 4))
    few[0] = 300
    assert ROUNDED not in found(few, {"codebook_size": 512})


NAN = "codes of NaN"


def with_nan(latents: np.ndarray, start: int) -> np.ndarray:
    return np.where(np.arange(len(latents))[:, None, None, None, None] >= start, np.nan, latents).astype(np.float32)


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "lfq", "simvq"])
def test_nan_from_some_row_on_is_seen_in_codes_and_in_latents(quantizer: str) -> None:
    made = peer(200).latents
    module = {
        "vq": lambda: trained(VectorQuantize(dim=4, codebook_size=64, kmeans_init=True), made),
        "rvq": lambda: trained(ResidualVQ(dim=4, codebook_size=64, num_quantizers=2, kmeans_init=True), made),
        "lfq": lambda: LFQ(dim=4, codebook_size=16), "simvq": lambda: SimVQ(dim=4, codebook_size=64),
    }[quantizer]()
    sick, config = with_nan(made, 150), {"codebook_size": 16 if quantizer == "lfq" else 64}
    codes = quantized(module, sick)
    assert (codes[150:] == 0).all()
    by_codes = found(codes, config)
    assert by_codes[NAN].severity == 0.25 and "row 150 to the end (row 199)" in by_codes[NAN].evidence
    by_latents = found(codes, config, latents=sick)[NAN]
    assert by_latents.confidence == "certain" and by_latents.severity == 0.25
    assert "50 of 200" in by_latents.evidence and "commonest code is 0 (100%" in by_latents.evidence
    assert NAN not in found(quantized(module, made), config, latents=made)


def test_scattered_rows_of_nan_and_latents_of_nothing_else() -> None:
    made = peer(200).latents
    codes = quantized(FSQ([8, 5, 5, 5]), made)
    codes[::20] = 0
    scattered = found(codes, {"levels": [8, 5, 5, 5]})[NAN]
    assert scattered.severity == 0.05 and scattered.confidence == "possible"
    facts = facts_of(codes, {"levels": [8, 5, 5, 5]}, latents=np.full_like(made, np.nan))
    assert facts.holes is not None and facts.holes.count == 200 and facts.latents is None


def test_fsq_of_nan_is_refused_and_the_refusal_says_why() -> None:
    made = peer(40).latents
    made[7] = np.nan
    with pytest.raises(UserError, match="row 7: code -2147483648 .*NaN or infinity"):
        facts_of(quantized(FSQ([8, 5, 5, 5]), made), {"levels": [8, 5, 5, 5]})


@pytest.mark.parametrize(("changed", "reason"), [
    (-1, "padding only at the end of a row: mark"), (-20_000, "read with one: read them as uint16"),
    (-(2**40), "store the indices as int64"), (64, "64 is a special token .* has 65 entries"),
    (90_000, "true size .* offset of a language model"),
])
def test_codes_outside_the_codebook_are_refused_with_likely_reasons(changed: int, reason: str) -> None:
    codes = np.random.default_rng(0).integers(0, 64, (30, 2, 4, 4))
    codes[3, 0, 1, 2] = changed
    with pytest.raises(UserError, match=reason) as caught:
        facts_of(codes, {"codebook_size": 64})
    assert f"row 3: code {changed}" in str(caught.value) and "\n" not in str(caught.value)


DEAD = "dead codebooks"


@pytest.mark.parametrize("dead", [1, 3])
def test_rvq_levels_that_hold_one_code(dead: int) -> None:
    made = peer(150).latents
    codes = quantized(
        trained(ResidualVQ(dim=4, codebook_size=32, num_quantizers=4, kmeans_init=True), made), made
    )
    config = {"codebook_size": 32, "grid": [4, 8, 8]}
    assert DEAD not in found(codes, config)
    codes[..., 4 - dead :] = 5
    finding = found(codes, config)[DEAD]
    assert finding.severity == dead / 4 and f"{dead} of 4" in finding.evidence and ", 1." in finding.evidence


def test_clips_that_are_all_alike_have_no_dead_codebooks() -> None:
    codes = np.zeros((50, 2, 4, 4, 3), int)
    assert DEAD not in found(codes, {"codebook_size": 8}, layout="B,T,H,W,Q")


def test_duplicate_entries_are_counted_once() -> None:
    rng = np.random.default_rng(0)
    true = rng.standard_normal((32, 16)).astype(np.float32)
    vectors = np.repeat(true, 16, 0) * (1 + 1e-6 * rng.standard_normal((512, 1)).astype(np.float32))
    codes = rng.integers(0, 512, (100, 4, 8, 8))
    facts = facts_of(codes, {"codebook_size": 512}, codebook=vectors)
    assert checked(facts).numbers["duplicates"] == {
        "entries": 512, "distinct": 32, "used": 512, "used_distinct": 32, "usage_distinct": 1 / 16,
    }
    finding = found(codes, {"codebook_size": 512}, codebook=vectors)["duplicate entries"]
    assert finding.severity == 1 - 1 / 16
    assert "512 of 512" in finding.evidence and "only 32 different" in finding.evidence


@pytest.mark.parametrize(("size", "width"), [(4096, 1), (4096, 2), (8192, 8), (1000, 256)])
def test_sound_codebooks_have_no_duplicates_and_copies_are_found(size: int, width: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((size, width)).astype(np.float32)
    counted = copies(vectors, np.arange(size))
    assert counted.distinct > 0.98 * size and counted.used == size
    doubled = np.concatenate([vectors, vectors, vectors])
    assert copies(doubled, np.arange(3 * size)).distinct <= size
    assert copies(np.ones((500, width), np.float32), np.arange(500)).distinct == 1


def test_a_range_of_the_vocabulary_that_never_occurs() -> None:
    codes = np.random.default_rng(0).integers(0, 1000, (400, 4, 8, 8))
    config: dict[str, Any] = {"codebook_size": 1000}
    assert "part of the vocabulary unused" not in found(codes, config)
    moved = np.where((codes > 300) & (codes < 500), codes + 300, codes)
    finding = found(moved, config)["part of the vocabulary unused"]
    assert "301–499" in finding.evidence and finding.severity == 0 and not costly(moved, config)


def test_perplexity_says_over_how_much_it_was_counted() -> None:
    name = "perplexity depends on the count"
    few = np.random.default_rng(0).integers(0, 2**18, (40, 4, 8, 8))
    assert "10,240 tokens were counted for 262,144 entries" in found(few, {"codebook_size": 2**18})[name].evidence
    kinds = np.arange(400)[:, None, None, None] // 50 * 64 + np.random.default_rng(0).integers(0, 64, (400, 4, 8, 8))
    grown = found(kinds, {"codebook_size": 512})[name]
    assert "windows of 16,384 tokens" in grown.evidence and grown.severity == 0
    assert name not in found(np.random.default_rng(1).permutation(kinds), {"codebook_size": 512})
