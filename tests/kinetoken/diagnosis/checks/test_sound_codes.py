"""No check finds anything costly in sound codes of any kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, VectorQuantize

from tests.support.peers import Peer, costly, found, peer, quantized, trained

Made = tuple[np.ndarray, dict[str, Any], dict[str, Any]]  # codes, config, files beside


def by_fsq(peer: Peer) -> Made:
    levels = [8, 5, 5, 5]
    return quantized(FSQ(levels), peer.latents), {"levels": levels}, {"clips": peer.clips, "latents": peer.latents}


def by_vq(peer: Peer) -> Made:
    made = trained(VectorQuantize(dim=4, codebook_size=64, kmeans_init=True), peer.latents)
    beside = {"clips": peer.clips, "latents": peer.latents, "codebook": made.codebook.numpy()}
    return quantized(made, peer.latents), {"codebook_size": 64}, beside


def by_rvq(peer: Peer) -> Made:
    made = trained(ResidualVQ(dim=4, codebook_size=32, num_quantizers=4, kmeans_init=True), peer.latents)
    return quantized(made, peer.latents), {"codebook_size": 32, "quantizer": "rvq"}, {"clips": peer.clips}


def by_lfq(peer: Peer) -> Made:
    made = quantized(LFQ(dim=4, codebook_size=16), peer.latents)
    return made, {"codebook_size": 16, "quantizer": "lfq"}, {"latents": peer.latents}


MAKERS: dict[str, Callable[[Peer], Made]] = {"fsq": by_fsq, "vq": by_vq, "rvq": by_rvq, "lfq": by_lfq}
GRIDS = {"video": (4, 8, 8), "long": (12, 4, 6), "image": (1, 8, 8), "sound": (32, 1, 1), "small": (2, 3, 3)}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("maker", MAKERS)
def test_real_quantizers_on_sound_latents(maker: str, grid: str) -> None:
    codes, config, beside = MAKERS[maker](peer(120, len(maker), GRIDS[grid]))
    if "clips" in beside:
        beside["reconstructions"] = beside["clips"] * 0.97
    assert not costly(codes, config | {"grid": list(GRIDS[grid])}, again=codes, **beside)


@pytest.mark.parametrize("seed", range(6))
def test_random_walks_and_random_codes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = [16, 100, 300, 1000, 3000, 9][seed]
    steps = rng.integers(-2, 3, (120, 4, 8, 8)).cumsum(seed % 3 + 1)
    assert not costly(np.abs(steps + size // 2) % size, {"codebook_size": size})
    assert not costly(rng.integers(0, size, (120, 4, 8, 8)), {"codebook_size": size})
    zipf = np.minimum(rng.zipf(1.3, (300, 4, 6, 6)) - 1, size - 1)
    assert not costly(zipf, {"codebook_size": size}, labels=np.arange(300) % 3)


def test_codes_sorted_by_what_they_show_cost_nothing() -> None:
    made = peer(300)
    codes = quantized(FSQ([8, 5, 5, 5]), made.latents)
    order = np.argsort(made.clips.mean((1, 2, 3, 4)))
    findings = found(codes[order], {"levels": [8, 5, 5, 5]}, clips=made.clips[order])
    assert findings["drift over the file"].severity == 0 and not any(one.severity for one in findings.values())


def test_still_clips_of_one_code_are_no_nan() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 50, (100, 2, 4, 4))
    codes[rng.random(codes.shape) < 0.6] = 0  # code 0 is the background
    codes[90:] = 0
    assert "codes of NaN" not in found(codes, {"codebook_size": 50})
    codes = rng.integers(0, 50, (100, 2, 4, 4))
    codes[::10] = 7
    codes[5::20] = 0  # still clips have one code, some of them this one
    assert "codes of NaN" not in found(codes, {"codebook_size": 50})
