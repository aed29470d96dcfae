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


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the diagnosis measured; None where its input was missing."""

    floor: float  # accuracy of the commonest class
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
    test_clips: int | None = None  # that the readings were taken on


def measure(patient: "Patient", readings: Mapping[str, Mapping[str, "ProbeResult"]]) -> Measures:
    """All measures that the patient's inputs allow; `readings` by point of the chain, then by probe."""
    from kinetoken.diagnosis.geometry import effective_rank
    from kinetoken.diagnosis.probes import strongest
    from kinetoken.scores import majority_accuracy

    best = {point: strongest(found) for point, found in readings.items()}
    tally, drawn, latents = patient.tally, patient.painted, patient.tokens.get("latents")
    seen = tally.usage(tally.foreground.sum(0)) if tally is not None and tally.has_foreground else None
    whole = tally.usage(tally.counts) if tally is not None else None
    train, test = patient.rows("train"), patient.rows("test")
    return Measures(
        floor=majority_accuracy(patient.target[train], patient.target[test]) if readings else 0.0,
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
        pair_pixels=least_pair(best["pixels"]) if "pixels" in best else None,
        latent_offset=_offset(patient), test_clips=len(test) if readings else None,
    )


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
    from kinetoken.diagnosis.chain import bounded_latents
    from kinetoken.diagnosis.geometry import quantization_error

    if "latents" not in patient.tokens or not patient.real_vectors:
        return None
    latents, codes = (_foreground(patient, patient.tokens[point]) for point in ("latents", "codes"))
    if patient.codes is not None:
        latents = bounded_latents(latents, patient.meta.levels)
    return quantization_error(latents, codes)


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


def least_pair(reading: "ProbeResult") -> float:
    """Accuracy between the two classes that are told apart worst, each clip choosing among the two: 0.5 is guessing."""
    scores, target = reading.probabilities, reading.target
    classes = np.unique(target)
    found = [
        np.mean([(scores[target == a, a] > scores[target == a, b]).mean(), (scores[target == b, b] >
                 scores[target == b, a]).mean()])
        for a in classes for b in classes if a < b
    ]
    return float(min(found))


def _loss_fall(patient: "Patient") -> float | None:
    losses = [loss for _, loss in patient.history]
    return 1 - min(losses) / losses[0] if len(losses) > 1 and losses[0] > 0 else None


def _miscoding(patient: "Patient") -> dict[str, float | None]:
    """mismatch, found_elsewhere and found_moved; None where the tokenizer is unknown."""
    if patient.codes is None or patient.recoded is None:
        return {"mismatch": None}
    elsewhere, moved = misplaced(patient.codes, patient.recoded, patient.all_rows)
    mismatch = float((patient.codes != patient.recoded).mean())
    return {"mismatch": mismatch, "found_elsewhere": elsewhere, "found_moved": moved}


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
