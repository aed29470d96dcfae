"""All measures of the diagnosis brought together as numbers, each beside what makes it readable."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.diagnosis import geometry, probes, usage
from kinetoken.diagnosis.chain import CHAIN, DECODED, FLOW, STILL, Diagnosis, even_sample
from kinetoken.diagnosis.information import chance, extrapolated_bits, mutual_information_bits
from kinetoken.diagnosis.measures import FEW_CLIPS, Measures, measure
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.physics import physics_numbers
from kinetoken.diagnosis.probes import ProbeResult
from kinetoken.diagnosis.tally import WINDOW, Tally, by_codebook
from kinetoken.scores import with_interval

if TYPE_CHECKING:
    import pandas as pd

Readings = dict[str, dict[str, ProbeResult]]  # point of the chain → probe → what it read
Numbers = dict[str, Any]

HEADLINES = Headlines(  # of codes that were read with clips, tracks and labels beside them
    required=(
        "healthy", "usage", "perplexity", "perplexity_foreground", "effective_rank_latents", "effective_rank_codes",
        "probe.pixels", "probe.latents", "probe.codes", "probe.codes_pooled", "label_information_bits",
        "label_information_bits_pooled",
    ),
    further=("severity",),
    bounded=("probe.codes", "probe.codes_pooled", "label_information_bits"),
)
HEADLINES_WITHOUT_CLASSES = Headlines(tuple(
    name for name in HEADLINES.required if not name.startswith(("probe.", "label_information"))
))
BEFORE = {"latents": ("pixels",), "codes": ("pixels", "latents"), "codes_pooled": ("codes",)}


def examine(patient: Patient, readings: Readings, params: Diagnosis) -> tuple[Numbers, Measures]:
    """Every number that can be had with its floor, ceiling and interval, and those that the verdict rests on."""
    measures, given = measure(patient, readings), readings
    readings = {point: readings[point] for point in CHAIN if point in readings}
    numbers: Numbers = {"sampled_clips": len(patient)}
    bits = None
    if patient.tally is not None:
        numbers |= _usage_numbers(patient.tally, params.seed) | dict(patient.intake)
        bits = numbers["entropy_bits"] * float(np.prod(patient.meta.grid))
    numbers |= _rank_numbers(patient, params.seed) | _quantization_numbers(patient, params.seed)
    if measures.mismatch is not None:
        numbers["code_mismatch"] = measures.mismatch
    if readings:
        numbers |= _probe_numbers(readings, _floor(patient), params.seed) | _distance_numbers(patient, params)
        numbers |= _information_numbers(patient, params.seed)
    if measures.probe_still is not None:
        numbers["probe"] |= {STILL: measures.probe_still, f"{STILL}_floor": measures.floor}
    if FLOW in given:
        numbers["probe"] |= {FLOW: probes.strongest(given[FLOW]).accuracy, f"{FLOW}_floor": measures.floor}
    if DECODED in given:
        numbers["probe"] |= {
            DECODED: probes.strongest(given[DECODED]).accuracy, f"{DECODED}_floor": measures.floor,
        }
    if measures.planted is not None:
        numbers["probe"] |= {"planted_gain": measures.planted}
    if measures.probe_pixels_half is not None:
        numbers["probe"] |= {FEW_CLIPS: measures.probe_pixels_half, f"{FEW_CLIPS}_floor": measures.floor}
    if patient.painted is not None:
        numbers["reconstruction"] = dataclasses.asdict(patient.painted)
    if patient.late_fall is not None:
        numbers["late_fall"] = patient.late_fall
    if physics := physics_numbers(patient, bits, params.seed):
        numbers["physics"] = physics
    return numbers, measures


def _floor(patient: Patient) -> float:
    return probes.best_guess(patient.target[patient.rows("test")])


def _usage_numbers(tally: Tally, seed: int) -> Numbers:
    size, whole = tally.size, tally.usage(tally.counts)
    intervals, ends = usage.usage_intervals(tally.groups, seed, tally.usage, size), usage.usage_ends(size)
    numbers: Numbers = {"usage_clips": tally.clips} | dataclasses.asdict(whole)
    numbers["perplexity_over_codebook"] = whole.perplexity / size
    if tally.has_foreground:
        seen = tally.usage(tally.foreground.sum(0))
        found = usage.usage_intervals(tally.foreground, seed, tally.usage, size)
        intervals["perplexity_foreground"] = found["perplexity"]
        numbers["perplexity_foreground"] = seen.perplexity
        numbers["foreground"] = dataclasses.asdict(seen) | {
            "token_share": tally.foreground_share, "perplexity_over_codebook": seen.perplexity / size,
        }
    for name, (low, high) in intervals.items():
        numbers |= _bounded(name, numbers[name], ends[name.removesuffix("_foreground")], (low, high))
    if tally.windows:
        numbers["windows"] = _window_numbers(tally)
    if tally.depth > 1:
        table = by_codebook(tally).set_index("codebook")
        numbers["codebooks"] = {str(place): row.to_dict() for place, row in table.iterrows()}
    return numbers


def _window_numbers(tally: Tally) -> Numbers:
    """Usage and perplexity over each WINDOW tokens in a row: mean and extremes."""
    numbers: Numbers = {"tokens": WINDOW, "count": len(tally.windows)}
    for name in ("usage", "perplexity"):
        values = np.array([getattr(window, name) for window in tally.windows])
        numbers[name] = {"mean": values.mean(), "least": values.min(), "most": values.max()}
    return numbers


def _bounded(
    name: str, value: float, ends: tuple[float, float], interval: tuple[float, float]
) -> dict[str, float]:
    return {
        name: value, f"{name}_floor": ends[0], f"{name}_ceiling": ends[1],
        f"{name}_ci95_low": interval[0], f"{name}_ci95_high": interval[1],
    }


def _rank_numbers(patient: Patient, seed: int) -> Numbers:
    numbers: Numbers = {}
    for point in ("latents", "codes"):
        if point in patient.tokens and (point == "latents" or patient.real_vectors):
            tokens = patient.tokens[point][patient.rows("test")]
            ends, interval = (1.0, float(tokens.shape[-1])), geometry.effective_rank_interval(tokens, seed)
            numbers |= _bounded(f"effective_rank_{point}", geometry.effective_rank(tokens), ends, interval)
    return numbers


def _quantization_numbers(patient: Patient, seed: int) -> Numbers:
    if "latents" not in patient.tokens or not patient.real_vectors:
        return {}
    test = patient.rows("test")
    latents, codes = patient.before_rounding(patient.tokens["latents"][test]), patient.tokens["codes"][test]
    interval = geometry.quantization_error_interval(latents, codes, seed)
    numbers = _bounded("quantization_error", geometry.quantization_error(latents, codes), (0.0, 1.0), interval)
    if (mask := patient.mask) is not None and mask.any():
        numbers["quantization_error_foreground"] = geometry.quantization_error(latents[mask], codes[mask])
    return numbers


def _probe_numbers(readings: Readings, floor: float, seed: int) -> Numbers:
    """probe.<point> of the strongest probe, probes.<probe>.<point> of each, and the label's information in bits.

    The ceiling of a point is the best reading before it: what the data are known to hold.
    """
    probe: dict[str, float] = {}
    for point, found in readings.items():
        best = probes.strongest(found)
        probe |= with_interval(point, best.scores, seed) | {f"{point}_floor": floor}
    for point, earlier in BEFORE.items():
        if point in probe and (known := [probe[one] for one in earlier if one in probe]):
            probe[f"{point}_ceiling"] = max(known)
    numbers: Numbers = {"probe": probe, "probes": {
        name: {point: found[name].accuracy for point, found in readings.items() if name in found}
        for name in probes.PROBES
    }}
    for key, point in (("label_information_bits", "codes"), ("label_information_bits_pooled", "codes_pooled")):
        best = probes.strongest(readings[point])
        ends = (0.0, probes.label_entropy_bits(best.target))
        interval = probes.information_interval(best, seed)
        numbers |= _bounded(key, probes.label_information_bits(best), ends, interval)
    return numbers


def _information_numbers(patient: Patient, seed: int) -> Numbers:
    """code_information_bits: what one code, its place unknown, tells of the label; with the permutation test's p."""
    tally, test = patient.tally, patient.rows("test")
    if tally is None or tally.joint is None or patient.codes is None:
        return {}
    found = chance(patient.codes[test], patient.target[test], len(patient.classes), seed)
    bits = extrapolated_bits(tally.joint)
    spread = 1.96 * found.deviation * np.sqrt(found.clips / max(tally.clips, 1))
    ends = (0.0, usage.usage_of(tally.joint.sum((0, 1))).entropy_bits)  # the label's own entropy
    return _bounded("code_information_bits", bits, ends, (max(0.0, bits - spread), bits + spread)) | {
        "code_information_bits_uncorrected": float(mutual_information_bits(tally.joint.sum(0))),
        "code_information_p_value": found.p_value,
    }


def shown_features(
    patient: Patient, params: Diagnosis
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Rows of the test clips shown, and their whole and averaged codes as vectors (n, F)."""
    test = patient.rows("test")
    rows = test[even_sample(patient.label[test], params.shown_clips)]
    return rows, {point: patient.tokens[point][rows].reshape(len(rows), -1) for point in ("codes", "codes_pooled")}


def _distance_numbers(patient: Patient, params: Diagnosis) -> Numbers:
    rows, features = shown_features(patient, params)
    target = patient.target[rows]
    if not 2 <= len(np.unique(target)) < len(target):
        return {}
    found = {point: geometry.class_distances(vectors, target) for point, vectors in features.items()}
    return {
        "distances": {p: dataclasses.asdict(d) | {"separation": d.separation} for p, d in found.items()},
        "silhouette": {
            name: value for point, vectors in features.items()
            for name, value in with_interval(point, geometry.silhouettes(vectors, target), params.seed).items()
        },
    }


def information_table(patient: Patient, readings: Readings, seed: int) -> "pd.DataFrame":
    """One row a point of the chain: the strongest probe's accuracy with floor, interval and bits; then each probe's."""
    import pandas as pd

    rows = []
    for point, found in readings.items():
        best = probes.strongest(found)
        name = next(key for key, reading in found.items() if reading is best)
        rows.append({
            "point": point, "probe": name, **with_interval("accuracy", best.scores, seed),
            "accuracy_floor": _floor(patient), "bits": probes.label_information_bits(best),
            **{name: found[name].accuracy for name in probes.PROBES if name in found},
        })
    return pd.DataFrame(rows)
