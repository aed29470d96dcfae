"""All measures of the diagnosis brought together as numbers, each beside what makes it readable."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis import geometry, probes, usage
from kinetoken.diagnosis.causes import Measures
from kinetoken.diagnosis.chain import CHAIN, Diagnosis, Painted, Walk, bounded_latents, even_sample
from kinetoken.diagnosis.probes import Reading
from kinetoken.heads.scoring import majority_accuracy, with_interval

if TYPE_CHECKING:
    import pandas as pd

Readings = dict[str, dict[str, Reading]]  # point of the chain → probe → what it read


def examine(
    chain: Walk, readings: Readings, mask: NDArray[np.bool_], drawn: Painted, params: Diagnosis
) -> tuple[dict[str, Any], Measures]:
    """Every number of the diagnosis with its floor, ceiling and interval, and those that the verdict rests on.

    mask (N test clips, T', H', W'): tokens on the ball.
    """
    test, meta = chain.rows("test"), chain.table.meta
    numbers = _usage_numbers(chain, mask, params.seed) | _rank_numbers(chain, params.seed)
    latents, codes = bounded_latents(chain.tokens["latents"][test], meta.levels), chain.tokens["codes"][test]
    numbers["quantization_error"] = geometry.quantization_error(latents, codes)
    numbers["quantization_error_foreground"] = geometry.quantization_error(latents[mask], codes[mask])
    numbers["code_mismatch"] = chain.mismatch
    target = chain.table.target
    floor = majority_accuracy(target[chain.rows("train")], target[test])
    numbers |= _probe_numbers(readings, floor, params.seed) | _distance_numbers(chain, params)
    numbers["reconstruction"] = dataclasses.asdict(drawn)
    measures = Measures(
        floor=floor, **{f"probe_{point}": numbers["probe"][point] for point in CHAIN},
        codebook_size=meta.codebook_size, perplexity_foreground=numbers["perplexity_foreground"],
        top1_share_foreground=numbers["foreground"]["top1_share"],
        effective_rank_latents=numbers["effective_rank_latents"], latent_channels=latents.shape[-1],
        quantization_error=numbers["quantization_error_foreground"], mismatch=chain.mismatch,
        foreground_gain_db=drawn.foreground_psnr_db - drawn.foreground_psnr_db_floor,
        background_gain_db=drawn.background_psnr_db - drawn.background_psnr_db_floor,
    )
    return numbers, measures


def _usage_numbers(chain: Walk, mask: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    codes, size = chain.table.codes[chain.rows("test")], chain.table.meta.codebook_size
    counts, ball = usage.clip_counts(codes, size), usage.clip_counts(codes, size, mask)
    whole, seen = usage.usage_of(counts.sum(0)), usage.usage_of(ball.sum(0))
    intervals = usage.usage_intervals(counts, seed)
    intervals["perplexity_foreground"] = usage.usage_intervals(ball, seed)["perplexity"]
    numbers: dict[str, Any] = dataclasses.asdict(whole) | {"perplexity_foreground": seen.perplexity}
    for name, (low, high) in intervals.items():
        ends = (1 / size, 1.0) if name == "usage" else (1.0, float(size))
        numbers |= _bounded(name, numbers[name], ends, (low, high))
    numbers["foreground"] = dataclasses.asdict(seen) | {"token_share": float(mask.mean())}
    return numbers


def _bounded(
    name: str, value: float, ends: tuple[float, float], interval: tuple[float, float]
) -> dict[str, float]:
    return {
        name: value, f"{name}_floor": ends[0], f"{name}_ceiling": ends[1],
        f"{name}_ci95_low": interval[0], f"{name}_ci95_high": interval[1],
    }


def _rank_numbers(chain: Walk, seed: int) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for point in ("latents", "codes"):
        tokens = chain.tokens[point][chain.rows("test")]
        ends, interval = (1.0, float(tokens.shape[-1])), geometry.effective_rank_interval(tokens, seed)
        numbers |= _bounded(f"effective_rank_{point}", geometry.effective_rank(tokens), ends, interval)
    return numbers


def _probe_numbers(readings: Readings, floor: float, seed: int) -> dict[str, Any]:
    """probe.<point> of the strongest probe, probes.<probe>.<point> of each, and the label's information in bits."""
    probe: dict[str, float] = {}
    for point, found in readings.items():
        best = probes.strongest(found)
        probe |= with_interval(point, best.correct.astype(np.float64), seed) | {f"{point}_floor": floor}
    numbers: dict[str, Any] = {"probe": probe, "probes": {
        name: {point: found[name].accuracy for point, found in readings.items()} for name in probes.PROBES
    }}
    for key, point in (("label_information_bits", "codes"), ("label_information_bits_pooled", "codes_pooled")):
        best = probes.strongest(readings[point])
        ends = (0.0, probes.label_entropy_bits(best.target))
        interval = probes.information_interval(best, seed)
        numbers |= _bounded(key, probes.label_information_bits(best), ends, interval)
    return numbers


def shown_features(chain: Walk, params: Diagnosis) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Rows of the test clips shown, and their whole and averaged codes as vectors (n, F)."""
    test = chain.rows("test")
    rows = test[even_sample(chain.table.label[test], params.shown_clips)]
    return rows, {point: chain.tokens[point][rows].reshape(len(rows), -1) for point in ("codes", "codes_pooled")}


def _distance_numbers(chain: Walk, params: Diagnosis) -> dict[str, Any]:
    rows, features = shown_features(chain, params)
    target = chain.table.target[rows]
    found = {point: geometry.class_distances(vectors, target) for point, vectors in features.items()}
    return {
        "distances": {p: dataclasses.asdict(d) | {"separation": d.separation} for p, d in found.items()},
        "silhouette": {point: geometry.silhouette(vectors, target) for point, vectors in features.items()},
    }


def physics_numbers(chain: Walk, points: NDArray[np.float64], fps: float) -> dict[str, Any]:
    """R² of a linear reading of where the ball is (each frame) and of its mean velocity; the floor is 0."""
    velocity = (points[:, -1] - points[:, 0]) * fps / (points.shape[1] - 1)  # (N, 3) m/s
    quantities = {"position_r2": points.reshape(len(points), -1), "velocity_r2": velocity}
    rows = [chain.rows(split) for split in ("train", "val", "test")]
    numbers: dict[str, Any] = {name: {} for name in quantities}
    for point in ("codes", "codes_pooled"):
        splits = chain.splits(point)
        for name, values in quantities.items():
            numbers[name][point] = probes.ridge_r2(splits, *(values[part] for part in rows))
    return numbers


def information_table(chain: Walk, readings: Readings, seed: int) -> "pd.DataFrame":
    """One row a point of the chain: the strongest probe's accuracy with floor, interval and bits; then each probe's."""
    import pandas as pd

    floor = majority_accuracy(chain.table.target[chain.rows("train")], chain.table.target[chain.rows("test")])
    rows = []
    for point, found in readings.items():
        best = probes.strongest(found)
        rows.append({
            "point": point, "probe": best.probe, **with_interval("accuracy", best.correct.astype(np.float64), seed),
            "accuracy_floor": floor, "bits": probes.label_information_bits(best),
            **{name: reading.accuracy for name, reading in found.items()},
        })
    return pd.DataFrame(rows)
