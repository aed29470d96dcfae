"""The doctor: a patient is measured, judged and reported, whether it comes from the pipeline or from a user's files."""

import dataclasses
from typing import TYPE_CHECKING, Any

from kinetoken.core.stage import Context
from kinetoken.diagnosis import tally
from kinetoken.diagnosis.causes import Verdict, judge
from kinetoken.diagnosis.chain import CHAIN, DECODED, FLOW, STILL, Diagnosis
from kinetoken.diagnosis.checks import checked
from kinetoken.diagnosis.control import planted_labels, planted_motion
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY
from kinetoken.diagnosis.embedding import embed
from kinetoken.diagnosis.measures import FEW_CLIPS, MOVING, PLANTED, Measures, halved, mismatch
from kinetoken.diagnosis.numbers import Readings, examine, information_table, shown_features
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.probes import ProbeResult, read_all, read_linearly, strongest
from kinetoken.diagnosis.reasoning import THRESHOLDS
from kinetoken.diagnosis.statement import Statement, state
from kinetoken.diagnosis.vectors import sums_of_codebooks

if TYPE_CHECKING:
    import pandas as pd

SHOWS = 0.5  # share of what pixels show that what moves alone must show to be planted
LEAST_SHOWN = 8  # clips in a view
SUMS = "codes_sum"  # of the vectors of several codebooks, as a residual quantizer's decoder gets them
MISSED = 0.02  # accuracy that codes lack from which it is asked whether the probes can read such codes at all


@dataclasses.dataclass(frozen=True)
class Report:
    """What the doctor found.

    numbers: nested, numbers only, for metrics; tables: entries, codebooks, positions, levels, position_levels,
    information, history and embedding, a table that could not be made being absent; notes: what was assumed or could
    not be measured.
    """

    verdict: Verdict
    measures: Measures
    numbers: dict[str, Any]
    tables: dict[str, "pd.DataFrame"]
    notes: tuple[str, ...]

    def statement(self, library: str = DEFAULT_LIBRARY) -> Statement:
        """The verdict with all that it rests on, as files and pages hold it; cures in the words of a library."""
        return state(self.verdict, self.measures, self.notes, library)


def diagnose(patient: Patient, params: Diagnosis, context: Context) -> Report:
    """Measure what can be measured, name the cause, and lay out the tables behind it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(context.hardware.threads):
        readings: Readings = {}
        if not patient.unreadable:
            points = [point for point in CHAIN if point in patient.tokens]
            readings = {point: read_all(patient.splits(point), params.probe, context, point) for point in points}
            if "pixels" in points:
                _read_clips_further(readings, patient, params, context)
            if _may_be_missed(readings) and patient.remade is None and patient.depth > 1:
                whole = patient.splits("codes", sums_of_codebooks(patient.tokens["codes"], patient.depth))
                found = read_all(whole, params.probe, context, SUMS)
                readings["codes"] |= {f"{SUMS}_{name}": one for name, one in found.items()}
            if _may_be_missed(readings) and patient.decoded is not None:
                _read_reconstructions(readings, patient, params, context)
            if _may_be_missed(readings):
                _read_planted(readings, patient, params, context)
        context.progress.phase("measuring")
        numbers, measures = examine(patient, readings, params)
        seen = None if patient.facts is None else checked(patient.facts)
        if seen is not None:
            numbers |= seen.numbers
        tables = _tables(patient, readings, params)
    verdict = judge(
        measures, pooled=patient.pooled, over=patient.over, found=() if seen is None else seen.findings,
        too_few="" if patient.unlabelled else patient.unreadable,
    )
    return Report(verdict, measures, numbers, tables, patient.notes + _unmeasured(patient))


def _read_clips_further(readings: Readings, patient: Patient, params: Diagnosis, context: Context) -> None:
    """Also what mean frames and mean motion show, which counts as read from pixels; and where much is misread, all of
    them with half of the training clips."""
    for point in (STILL, FLOW):
        if point in patient.tokens:
            readings[point] = read_linearly(patient.splits(point), params.probe, context, point)
            _join(readings["pixels"], readings[point], point)
    if strongest(readings["pixels"]).gain >= THRESHOLDS.enough:
        return  # no rule asks what more clips would bring
    few = read_all(halved(patient.splits("pixels")), params.probe, context, FEW_CLIPS)
    for point in (STILL, FLOW):
        if point in patient.tokens:
            half = read_linearly(halved(patient.splits(point)), params.probe, context, point)
            _join(few, half, point)
    readings[FEW_CLIPS] = few


def _join(pixels: dict[str, ProbeResult], further: dict[str, ProbeResult], point: str) -> None:
    """Count readers that codes do not have only where they read clearly more: else a fall would be one of readers."""
    if strongest(further).val_accuracy >= strongest(pixels).val_accuracy + THRESHOLDS.clearly:
        pixels |= {f"{point}_{name}": found for name, found in further.items()}


def _read_reconstructions(readings: Readings, patient: Patient, params: Diagnosis, context: Context) -> None:
    """What reconstructions show, by the same readers as the clips: a decoder knows nothing but the codes, so the codes
    hold it. It counts as read from them where reconstructions are known to be of these very codes."""
    assert patient.decoded is not None
    tokens = patient.decoded()
    found = read_all(patient.splits(DECODED, tokens["pixels"]), params.probe, context, DECODED)
    for point in (STILL, FLOW):
        _join(found, read_linearly(patient.splits(point, tokens[point]), params.probe, context, point), point)
    readings[DECODED] = found
    miscoded = mismatch(patient)
    if patient.decodes_these or (miscoded is not None and miscoded <= THRESHOLDS.mismatch):
        readings["codes"] |= {f"{DECODED}_{name}": one for name, one in found.items()}


def _read_planted(readings: Readings, patient: Patient, params: Diagnosis, context: Context) -> None:
    """How well the probes read what is known to be in codes like these: what moves, if that shows the class at all."""
    motion = planted_motion(patient, params.seed) if "pixels" in readings else None
    if motion is not None:
        moving = read_all(motion[0], params.probe, context, MOVING)
        if strongest(moving).gain > SHOWS * strongest(readings["pixels"]).gain:
            readings[MOVING], readings[PLANTED] = moving, read_all(motion[1], params.probe, context, PLANTED)
            return
    if (labels := planted_labels(patient, params.seed)) is not None:
        readings[PLANTED] = read_all(labels, params.probe, context, PLANTED)


def _may_be_missed(readings: Readings) -> bool:
    """Do the codes read worse than the best point before them, or than without error?"""
    if "codes" not in readings:
        return False
    accuracy = {point: strongest(found).accuracy for point, found in readings.items()}
    before = max((accuracy[point] for point in ("pixels", "latents") if point in accuracy), default=1.0)
    return accuracy["codes"] < before - MISSED


def _tables(patient: Patient, readings: Readings, params: Diagnosis) -> dict[str, "pd.DataFrame"]:
    import pandas as pd

    tables = {}
    if patient.tally is not None:
        tables["entries"] = tally.by_entry(patient.tally)
        if patient.tally.depth > 1:
            tables["codebooks"] = tally.by_codebook(patient.tally)
        tables["positions"] = tally.by_position(patient.tally)
        tables["levels"] = tally.level_histograms(patient.tally, patient.meta.levels)
        tables["position_levels"] = tally.levels_by_position(patient.tally, patient.meta.levels)
    if readings:
        known = {point: readings[point] for point in CHAIN if point in readings}
        tables["information"] = information_table(patient, known, params.seed)
    if patient.history:
        tables["history"] = pd.DataFrame(patient.history, columns=["epoch", "val_loss"])
    rows, features = shown_features(patient, params)
    if len(rows) >= LEAST_SHOWN:
        tables["embedding"] = embed(features, patient.label[rows], patient.track_id[rows], params.seed)
    return tables


def _unmeasured(patient: Patient) -> tuple[str, ...]:
    """What is not in the report, and why."""
    said = []
    if patient.unreadable:
        said.append(f"No probe was fitted: {patient.unreadable}.")
    if (counts := patient.tally) is None:
        said.append("Usage, perplexity and information of codes are not measured: the table holds no codes.")
    else:
        if not counts.has_foreground:
            said.append("The foreground is not measured: no clips or tracks show where it is.")
        if counts.positions is None:
            said.append("Usage by position is not counted: the table of positions by codes would be too large.")
        if counts.classes and counts.joint is None:
            said.append("The information of single codes is not measured: codes by classes would be too many to count.")
    spoilt = patient.facts is not None and patient.facts.holes is not None  # then a note of their own says so
    for point, source in (("pixels", "clips"), ("latents", "latents")):
        if point not in patient.tokens and not (point == "latents" and spoilt):
            said.append(f"No {source} were given, so there is no probe on {point}.")
    if patient.motion is None:
        said.append("No tracks were given, so there are no physics probes.")
    return tuple(said)
