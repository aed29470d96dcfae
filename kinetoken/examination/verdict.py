"""The diagnosis of a tokenizer's codes, with the true tracks that only rendered clips have.

All that the examination uses of the doctor's own modules is here and in `kept`.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.per_track import rows_by_track
from kinetoken.core.progress import Progress
from kinetoken.core.stage import Context
from kinetoken.diagnosis import doctor
from kinetoken.diagnosis.api import DiagnosisResult
from kinetoken.diagnosis.chain import Diagnosis, Painted, Tokens
from kinetoken.diagnosis.columns import Given
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY, libraries
from kinetoken.diagnosis.footage import Grid, read_points
from kinetoken.diagnosis.history import Curves
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.patient import Motion
from kinetoken.examination.adapter import TokenizerFacts
from kinetoken.examination.checking import Array, CheckedTokenizer, Pixels
from kinetoken.examination.measuring import Encoded
from kinetoken.examination.motion_set import MotionSet


@dataclasses.dataclass(frozen=True)
class DiagnosedCodes:
    """The doctor's result, and the sampled clips at every point of the chain with their rows of the motion set."""

    result: DiagnosisResult
    tokens: dict[str, Tokens]
    rows: np.ndarray


def diagnosed(
    tokenizer: CheckedTokenizer, motion: MotionSet, encoded: Encoded, painted: Painted,
    history: Curves, params: Diagnosis, context: Context,
) -> DiagnosedCodes:
    """The doctor on the codes of the motion set, with clips, latents, reconstructions, tracks, training curve."""
    tracks, facts = motion.tracks, tokenizer.facts
    ids = {"track_id": tracks.track_id.astype(np.int64)}
    codes = Given(facts.name, {"codes": encoded.codes, "class": tracks.label, "split": tracks.split, **ids})
    latents = None if encoded.latents is None else Given("latents", {"latents": encoded.latents, **ids})
    files = Files(
        codes=codes, clips=motion.store.folder, latents=latents, codebook=_codebook(tokenizer),
        history=history, config=_config(tokenizer), layout=",".join(tokenizer.layout) if facts.quantized else None,
    )
    patient = take_in(files, params, context.progress)
    rows = rows_by_track(patient.track_id, tracks.track_id)
    patient.motion = Motion(tracks.points[rows], tracks.world.fps, tracks.drawn.iloc[rows])
    patient.painted, patient.decodes_these = painted, True
    patient.decoded = functools.partial(
        _decoded, tokenizer, encoded.codes[rows], motion, patient.meta.grid, context.progress
    )
    report = doctor.diagnose(patient, params, context)
    return DiagnosedCodes(DiagnosisResult(report, facts.name, cure_library(facts)), patient.tokens, rows)


def _decoded(
    tokenizer: CheckedTokenizer, codes: Array, motion: MotionSet, grid: Grid, progress: Progress
) -> dict[str, Tokens]:
    """What is seen in the reconstructions from codes (N, …)."""
    progress.phase("decoding for the probes", len(codes), "clips")

    def batches() -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        for start in range(0, len(codes), tokenizer.facts.batch_size):
            part = np.arange(start, min(start + tokenizer.facts.batch_size, len(codes)))
            yield part, np.rint(tokenizer.decode(codes[part]) * 255).astype(np.uint8)
            progress.advance(len(part))

    return read_points(batches(), len(codes), grid, motion.scene, Path(tokenizer.facts.name))


def cure_library(facts: TokenizerFacts) -> str:
    """Whose words the cures use: the tokenizer's library if there is a table of cures for it, else plain PyTorch."""
    return facts.library if facts.library in libraries() else DEFAULT_LIBRARY


def _config(tokenizer: CheckedTokenizer) -> dict[str, Any]:
    facts = tokenizer.facts
    known = {"codebook_size": facts.codebook_size, "levels": list(facts.levels), "quantizer": facts.quantizer}
    return {key: value for key, value in known.items() if value} if facts.quantized else {}


def _codebook(tokenizer: CheckedTokenizer) -> Given | None:
    found = getattr(tokenizer.adapter, "codebook", None)
    if found is None or not tokenizer.facts.quantized or tokenizer.facts.levels:
        return None
    if hasattr(found, "detach"):
        found = found.detach().float().cpu()
    return Given("codebook", {"codebook": np.asarray(found, np.float32)})
