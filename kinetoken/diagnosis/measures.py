"""The numbers that a verdict rests on, taken from a patient and from what the probes read."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kinetoken.diagnosis.patient import Patient
    from kinetoken.diagnosis.probes import ProbeResult, Splits

FEW_CLIPS = "pixels_half"  # the point of the chain that reads pixels with half the training clips
PLANTED = "planted"  # what was planted in the codes: labels, or what moves
MOVING = "moving"  # what moves, as it was planted


def gain(accuracy: float, baseline: float) -> float:
    """Where an accuracy lies between a baseline, 0, and no error, 1."""
    return (accuracy - baseline) / (1 - baseline) if baseline < 1 else 0.0


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the diagnosis measured; None where its input was missing. Accuracies are balanced over classes."""

    floor: float  # accuracy of the best guess, one over the number of classes
    probe_pixels: float | None
    probe_latents: float | None
    probe_codes: float | None
    probe_codes_pooled: float | None
    codebook_size: int
    perplexity_foreground: float | None
    top1_share_foreground: float | None
    effective_rank_latents: float | None  # on the foreground
    latent_channels: int | None
    quantization_error: float | None  # over the latents' variance, on the foreground
    mismatch: float | None  # share of tokens that the tokenizer itself would code otherwise
    foreground_gain_db: float | None  # foreground PSNR of reconstructions over that of the train mean video
    background_gain_db: float | None  # the same off the mask
    perplexity: float | None = None  # of all tokens
    top1_share: float | None = None  # of the commonest code among all tokens
    late_fall: float | None = None  # share of the validation loss's whole fall that its last quarter brought
    loss_fall: float | None = None  # share of its first value that the validation loss fell by in all of training
    probe_pixels_half: float | None = None  # accuracy on pixels with half the training clips
    clips_a_class: int | None = None  # for training, of the class that has fewest
    pair_pixels: float | None = None  # accuracy on pixels between the two classes told apart worst
    latent_offset: float | None = None  # latents' mean from the codebook's centre, in deviations, on the foreground
    found_elsewhere: float | None = None  # share of miscoded clips whose right codes stand in another row
    found_moved: float | None = None  # share of miscoded clips whose right codes stand at other places of the grid
    picture_gain_db: float | None = None  # PSNR of whole reconstructions over that of the train mean video
    test_clips: float | None = None  # that the readings were taken on; of uneven classes as many as even ones weigh
    kept_low: float | None = None  # 95 % interval of the share that the codes keep of the best reading upstream
    kept_high: float | None = None
    pair_pixels_high: float | None = None  # upper bound of pair_pixels, for as many pairs as there are
    probe_still: float | None = None  # accuracy on the clips' mean frame, in colour
    planted: float | None = None  # gain of the probes on what was planted in the codes, between guessing and 1
    tokens_a_clip: float | None = None
    probe_decoded: float | None = None  # accuracy on reconstructions of these codes, which counts as one on codes
    probe_reconstructions: float | None = None  # the same where they may be of other codes, and it does not count
    probe_pixels_alike: float | None = None  # accuracy on pixels by the probes that latents and codes are read by


def measure(patient: "Patient", readings: Mapping[str, Mapping[str, "ProbeResult"]]) -> Measures:
    """All measures that the patient's inputs allow; `readings` by point of the chain, then by probe."""
    from kinetoken.diagnosis.chain import STILL
    from kinetoken.diagnosis.geometry import effective_rank
    from kinetoken.diagnosis.probes import balancing, best_guess, strongest

    best = {point: strongest(found) for point, found in readings.items()}
    pair = least_pair(best["pixels"]) if "pixels" in best else (None, None)
    tally, drawn, latents = patient.tally, patient.painted, patient.tokens.get("latents")
    seen = tally.usage(tally.foreground.sum(0)) if tally is not None and tally.has_foreground else None
    whole = tally.usage(tally.counts) if tally is not None else None
    test = patient.rows("test")
    return Measures(
        floor=best_guess(patient.target[test]) if readings else 0.0,
        **{f"probe_{point}": best[point].accuracy if point in best else None for point in POINTS},
        codebook_size=patient.meta.codebook_size,
        perplexity_foreground=None if seen is None else seen.perplexity,
        top1_share_foreground=None if seen is None else seen.top1_share,
        effective_rank_latents=None if latents is None else effective_rank(_foreground(patient, latents)),
        latent_channels=None if latents is None else latents.shape[-1],
        quantization_error=_rounding(patient), **_miscoding(patient),
        foreground_gain_db=None if drawn is None else drawn.foreground_psnr_db - drawn.foreground_psnr_db_floor,
        background_gain_db=None if drawn is None else drawn.background_psnr_db - drawn.background_psnr_db_floor,
        picture_gain_db=None if drawn is None else drawn.psnr_db - drawn.psnr_db_floor,
        perplexity=None if whole is None else whole.perplexity, top1_share=None if whole is None else whole.top1_share,
        late_fall=patient.late_fall, loss_fall=_loss_fall(patient),
        clips_a_class=_clips_a_class(patient) if readings else None,
        pair_pixels=pair[0], pair_pixels_high=pair[1],
        latent_offset=_offset(patient),
        test_clips=float(len(test) ** 2 / (balancing(patient.target[test]) ** 2).sum()) if readings else None,
        probe_still=best[STILL].accuracy if STILL in best else None,
        planted=_planted(best),
        tokens_a_clip=float(np.prod(patient.meta.grid)), **_kept_interval(best),
        **_decoded(best, readings), probe_pixels_alike=_alike(readings),
    )


def _alike(readings: Mapping[str, Mapping[str, "ProbeResult"]]) -> float | None:
    from kinetoken.diagnosis.probes import PROBES, strongest

    found = {name: one for name, one in readings.get("pixels", {}).items() if name in PROBES}
    return strongest(found).accuracy if found else None


def _decoded(
    best: Mapping[str, "ProbeResult"], readings: Mapping[str, Mapping[str, "ProbeResult"]]
) -> dict[str, float]:
    """probe_decoded or probe_reconstructions, by whether the reading of reconstructions counts as one of the codes."""
    from kinetoken.diagnosis.chain import DECODED

    if DECODED not in best:
        return {}
    counted = any(name.startswith(DECODED) for name in readings["codes"])
    return {"probe_decoded" if counted else "probe_reconstructions": best[DECODED].accuracy}


def _planted(best: Mapping[str, "ProbeResult"]) -> float | None:
    """The gain on what was planted; where that is the clips' own motion, over the gain on this motion itself."""
    if PLANTED not in best:
        return None
    whole = max(best[MOVING].gain, 1e-6) if MOVING in best else 1.0
    return best[PLANTED].gain / whole


def _kept_interval(best: Mapping[str, "ProbeResult"]) -> dict[str, float]:
    """kept_low and kept_high: 95 % percentile interval by the bootstrap over test clips (Efron 1979), the same clips
    drawn for codes and for the point before them that reads best; empty if there is none, or nothing to be read."""
    before = [best[point] for point in ("pixels", "latents") if point in best]
    if not before or "codes" not in best:
        return {}
    reference, codes = max(before, key=lambda one: one.accuracy), best["codes"]
    floor, count = reference.guess, len(reference.target)
    if reference.accuracy <= floor:
        return {}
    weight = np.random.default_rng(KEPT_SEED).multinomial(count, np.full(count, 1 / count), KEPT_DRAWS) / count
    above = np.maximum(weight @ reference.scores - floor, 1e-9)
    low, high = np.percentile((weight @ codes.scores - floor) / above, [2.5, 97.5])
    return {"kept_low": float(low), "kept_high": float(high)}


KEPT_DRAWS, KEPT_SEED = 1000, 7


def _clips_a_class(patient: "Patient") -> int:
    """Training clips of the class that has fewest: of the whole table where these are a sample of it."""
    if patient.clips_a_class is not None:
        return patient.clips_a_class
    return int(np.unique(patient.target[patient.rows("train")], return_counts=True)[1].min())


def halved(splits: "Splits") -> "Splits":
    """The same with every second training clip of each class: what the data's amount is worth."""
    from kinetoken.diagnosis.chain import even_sample

    rows = even_sample(splits.train.target, max(len(splits.train) // 2, 2))
    train = dataclasses.replace(splits.train, tokens=splits.train.tokens[rows], target=splits.train.target[rows])
    return dataclasses.replace(splits, train=train)


POINTS = ("pixels", "latents", "codes", "codes_pooled", FEW_CLIPS)


def _foreground(patient: "Patient", tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (M, D) of the test clips' tokens (N, T', H', W', D) on the foreground; all where it is unknown."""
    test = tokens[patient.rows("test")]
    known = patient.mask is not None and bool(patient.mask.any())
    return test[patient.mask] if known else test.reshape(-1, test.shape[-1])


def _rounding(patient: "Patient") -> float | None:
    """Quantization error over the latents' variance, on the foreground where it is known."""
    from kinetoken.diagnosis.geometry import quantization_error

    if "latents" not in patient.tokens or not patient.real_vectors:
        return None
    latents, codes = (_foreground(patient, patient.tokens[point]) for point in ("latents", "codes"))
    return quantization_error(patient.before_rounding(latents), codes)


def _offset(patient: "Patient") -> float | None:
    """Root mean square over channels of (latents' mean − codebook's centre) / latents' deviation.

    The centre is 0 for codebooks that are fixed around it (FSQ, LFQ) and the mean of the codes in use otherwise.
    Drift between encoder and codebook: Łańcucki et al. 2020, arXiv:2005.08520.
    """
    if "latents" not in patient.tokens or not patient.real_vectors or patient.codes is None:
        return None
    latents, codes = (_foreground(patient, patient.tokens[point]) for point in ("latents", "codes"))
    centre = 0.0 if patient.meta.quantizer in CENTRED else codes.astype(np.float64).mean(0)
    away = (latents.astype(np.float64).mean(0) - centre) / np.maximum(latents.std(0), 1e-9)
    return float(np.sqrt((away**2).mean()))


CENTRED = ("fsq", "lfq")  # quantizers whose codes lie evenly around 0 whatever the latents do


def least_pair(reading: "ProbeResult") -> tuple[float, float]:
    """Accuracy between the two classes that are distinguished worst, each clip choosing among the two, and its upper
    bound.

    0.5 is guessing; a tie counts half. The bound is one-sided at 95 % for all pairs together (Bonferroni), by the
    normal approximation of Agresti & Coull (1998), which a pair of few clips cannot push below what it shows.
    """
    from scipy.stats import norm

    scores, target = reading.probabilities / np.maximum(reading.share, 1e-12), reading.target
    classes, count = np.unique(target, return_counts=True)
    pairs = [(a, b) for place, a in enumerate(classes) for b in classes[place + 1 :]]
    wins = {a: _wins(scores[target == a], a) for a in classes}  # (C,) of each class against each other
    found = np.array([(wins[a][b] + wins[b][a]) / 2 for a, b in pairs])
    size = dict(zip(classes.tolist(), count.tolist(), strict=True))
    clips = np.array([size[int(a)] + size[int(b)] for a, b in pairs])
    z = float(norm.isf(0.05 / len(pairs)))
    centre = (found * clips + z * z / 2) / (clips + z * z)
    high = centre + z * np.sqrt(centre * (1 - centre) / (clips + z * z))
    worst = int(np.argmin(high))
    return float(found[worst]), float(min(high[worst], 1.0))


def _wins(scores: NDArray[np.float64], own: int) -> NDArray[np.float64]:
    """(C,) how often clips of class `own`, scores (n, C), score it above each other class; a tie counts half."""
    mine = scores[:, own : own + 1]
    return np.asarray(((mine > scores) + 0.5 * (mine == scores)).mean(0))


def _loss_fall(patient: "Patient") -> float | None:
    losses = [loss for _, loss in patient.history]
    return 1 - min(losses) / losses[0] if len(losses) > 1 and losses[0] > 0 else None


def _miscoding(patient: "Patient") -> dict[str, float | None]:
    """mismatch, found_elsewhere and found_moved; None where the tokenizer is unknown."""
    if patient.codes is None or patient.recoded is None:
        return {"mismatch": None}
    elsewhere, moved = misplaced(patient.codes, patient.recoded, patient.all_rows)
    return {"mismatch": mismatch(patient), "found_elsewhere": elsewhere, "found_moved": moved}


def mismatch(patient: "Patient") -> float | None:
    """Share of tokens that the tokenizer itself codes otherwise; None where it is unknown."""
    if patient.codes is None or patient.recoded is None:
        return None
    return float((patient.codes != patient.recoded).mean())


def row_hashes(codes: NDArray[np.int32]) -> frozenset[int]:
    """What is enough to know, within this process, whether a clip's codes are among these (N, T', H', W')."""
    return frozenset(hash(row.tobytes()) for row in np.ascontiguousarray(codes.reshape(len(codes), -1)))


def misplaced(
    codes: NDArray[np.int32], recoded: NDArray[np.int32], all_rows: frozenset[int] | None = None
) -> tuple[float, float]:
    """Of the clips coded otherwise than recoded, both (N, T', H', W'): the shares whose right codes stand in another
    row, and at other places of the same row. (0, 0) if no clip is coded otherwise.

    `all_rows`: the row_hashes of the whole table, where the clips are a sample of it.
    """
    flat, right = codes.reshape(len(codes), -1), recoded.reshape(len(recoded), -1)
    wrong = np.flatnonzero((flat != right).mean(1) > MISCODED)
    if len(wrong) == 0:
        return 0.0, 0.0
    rows = row_hashes(codes) if all_rows is None else all_rows
    elsewhere = np.mean([hash(right[row].tobytes()) in rows for row in wrong])
    moved = (np.sort(flat[wrong], 1) == np.sort(right[wrong], 1)).all(1).mean()
    return float(elsewhere), float(moved)


MISCODED = 0.05  # share of a clip's tokens from which it counts as coded otherwise
