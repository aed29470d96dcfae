"""Examine a whole tokenizer: one function, and its motion card."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kinetoken.core.extras import naming_extras
from kinetoken.core.outputs import require_free
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.api import DEFAULT, DiagnosisResult
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.cures import require_library
from kinetoken.diagnosis.history import Curves, read_curves
from kinetoken.examination.adapter import TokenizerFacts, VideoTokenizer, facts_of
from kinetoken.examination.behaviour import behaviour
from kinetoken.examination.card import POINTS, CardNumber, CardVerdict, MotionCard, SetFacts
from kinetoken.examination.checking import CheckedTokenizer
from kinetoken.examination.kept import Bound, Reading, image_motion, quantities, read_motion, upper_bounds
from kinetoken.examination.loading import load_adapter
from kinetoken.examination.measuring import Reconstructed, Storage, encode_all, reconstruct, storage
from kinetoken.examination.motion_set import DEFAULT_CLIPS, MotionSet, SetRequest, open_motion_set
from kinetoken.examination.verdict import diagnosed

TRIED = 2  # clips on which facts are checked before the long work
NEVER_QUANTIZED = "never quantized"


def examine(
    tokenizer: VideoTokenizer | str | Path, *, clips: int = DEFAULT_CLIPS, motion_set: str | Path | None = None,
    out: str | Path | None = None, force: bool = False, name: str | None = None, size: int | None = None,
    frames: int | None = None, fps: float | None = None, history: str | Path | None = None, library: str | None = None,
    params: str | Path | Diagnosis = DEFAULT, threads: int = CPU.threads, progress: Progress | None = None,
) -> MotionCard:
    """Show a tokenizer the standard motion set, and write down what it keeps of the motion: its motion card.

    The set is rendered at the tokenizer's size, frames and frame rate. Every clip is encoded, the test clips are
    decoded, the codes are diagnosed with the true tracks beside them, and the tokenizer's behaviour is checked.

    tokenizer: an adapter (see `VideoTokenizer`), `my_module:tokenizer`, or the folder of a model (docs/examine.md).
    clips: how many are rendered, 60 % to train probes on, 30 % to test.
    motion_set: a folder that keeps the rendered clips; they are read from it if they are there already.
    out: a folder for the card; one that holds anything is refused unless `force`.
    name, size, frames, fps, library: go before what the adapter says of itself.
    history: a file of the validation losses of its training, as `kinetoken.diagnose` takes it: did it end too early?
    params: how probes are trained; or a parameter file with section diagnose_codes.
    progress: where progress is shown; by default nowhere.

    Raises UserError for an adapter that lacks a method or a fact, raises, or answers otherwise than its facts say.

    >>> import kinetoken, torch
    >>> from torch.nn.functional import avg_pool3d, interpolate
    >>> class Bright:  # is a block of 2 × 4 × 4 pixels bright?
    ...     size, frames, fps, value_range, codebook_size = 16, 4, 4, (0, 1), 2
    ...     def encode(self, video):
    ...         return (avg_pool3d(video, (2, 4, 4)).mean(1) > 0.3).long()
    ...     def decode(self, indices):
    ...         video = interpolate(indices[:, None].float(), scale_factor=(2, 4, 4))
    ...         return video.expand(-1, 3, -1, -1, -1)
    >>> card = kinetoken.examine(Bright(), clips=40)
    >>> card.numbers["cost.bits"].value  # 2 × 4 × 4 codes of one bit
    32.0
    >>> [check.answer for check in card.checks]
    ['yes', 'yes', 'yes']
    """
    if out is not None:
        require_free(Path(out), force=force, folder=True)
    if library is not None:
        require_library(library)
    if not isinstance(params, Diagnosis):
        params = load_params(params, "diagnose_codes", Diagnosis)
    curves = Curves() if history is None else read_curves(Path(history))
    with naming_extras():
        adapter = load_adapter(str(tokenizer)) if isinstance(tokenizer, str | Path) else tokenizer
        facts = facts_of(adapter, name, size=size, frames=frames, fps=fps, library=library)
        request = SetRequest.of(facts, clips)
        context = Context(progress or Progress.silent(), dataclasses.replace(CPU, threads=threads))
        with tempfile.TemporaryDirectory() as spare:
            folder = Path(spare) / "motion_set" if motion_set is None else Path(motion_set)
            motion = open_motion_set(request, folder, context.progress)
            card = _examined(CheckedTokenizer(adapter, facts), motion, curves, params, context)
    if out is not None:
        card.write(out, force=force)
    return card


def _examined(
    tokenizer: CheckedTokenizer, motion: MotionSet, history: Curves, params: Diagnosis, context: Context
) -> MotionCard:
    progress = context.progress
    progress.phase("trying the tokenizer")
    tests = np.flatnonzero(motion.tracks.split == "test")
    shown = motion.store.take(tests[np.linspace(0, len(tests) - 1, min(8, len(tests))).astype(int)]).pixels
    tokenizer.decode(tokenizer.encode(shown[:TRIED]))
    tokenizer.latents(shown[:TRIED])
    checks = behaviour(tokenizer, shown, progress)
    encoded = encode_all(tokenizer, motion, progress)
    drawn = reconstruct(tokenizer, motion, encoded.codes, params.seed, progress)
    verdict = diagnosed(tokenizer, motion, encoded, drawn.painted, history, params, context)
    true = image_motion(motion)
    kept = read_motion(
        verdict.tokens, motion.tracks.split[verdict.rows], {key: values[verdict.rows] for key, values in true.items()},
        params.seed,
    )
    bounds = upper_bounds(quantities(drawn.tracked), {key: values[tests] for key, values in true.items()})
    numbers = {
        **_reconstruction(drawn), **_motion(kept, bounds), **_reading(verdict.result.numbers),
        **_cost(storage(tokenizer, encoded.codes), tokenizer),
    }
    return MotionCard(
        tokenizer.facts, tokenizer.shape, _set_facts(motion), _verdict(verdict.result, tokenizer.facts, numbers),
        _findings(verdict.result, tokenizer.facts), numbers, checks,
        (*verdict.result.notes, *_notes(tokenizer, motion)), verdict.result.to_json(), verdict.result, drawn.samples,
    )


def _set_facts(motion: MotionSet) -> SetFacts:
    request = motion.request
    return SetFacts(
        request.version, request.seed, request.size, request.frames, request.fps, **motion.counts
    )


def _reconstruction(drawn: Reconstructed) -> dict[str, CardNumber]:
    names = ("psnr_db", "foreground_psnr_db", "centroid_error_px", "radius_error_px", "missed_rate")
    return _present({f"reconstruction.{name}": CardNumber.of(drawn.numbers, name) for name in names})


def _motion(kept: dict[str, dict[str, Reading]], bounds: dict[str, Bound]) -> dict[str, CardNumber]:
    found: dict[str, CardNumber] = {}
    for quantity, readings in kept.items():
        bound = bounds[quantity]
        for point, one in readings.items():
            found[f"{quantity}_r2.{point}"] = CardNumber.rounded(one.r2, 0.0, bound.r2, *one.r2_interval)
            found[f"{quantity}_error_px.{point}"] = CardNumber.rounded(
                one.error, one.baseline, bound.error, *one.error_interval
            )
    return found


def _reading(numbers: dict[str, Any]) -> dict[str, CardNumber]:
    """Class accuracy along the chain, and the use of the codes, as the doctor measured them."""
    probe = numbers.get("probe", {})
    found = {f"class.{point}": CardNumber.of(probe, point) for point in POINTS}
    for name in ("usage", "perplexity", "perplexity_foreground"):
        found[f"codes.{name}"] = CardNumber.of(numbers, name)
    return _present(found)


def _cost(stored: Storage, tokenizer: CheckedTokenizer) -> dict[str, CardNumber]:
    speed = {f"speed.{method}": watch.clips_per_second for method, watch in tokenizer.watch.items()}
    values: dict[str, Any] = {
        "cost.tokens": stored.tokens, "cost.bits": stored.bits, "cost.bits_floor": stored.raw_bits,
        "cost.entropy_bits": stored.entropy_bits, "cost.entropy_bits_ceiling": stored.bits, **speed,
    }
    names = ("cost.tokens", "cost.bits", "cost.entropy_bits", *speed)
    return _present({name: CardNumber.of(values, name) for name in names})


def _present(numbers: dict[str, CardNumber | None]) -> dict[str, CardNumber]:
    return {key: number for key, number in numbers.items() if number is not None}


def _verdict(result: DiagnosisResult, facts: TokenizerFacts, numbers: dict[str, CardNumber]) -> CardVerdict:
    if facts.quantized:
        return CardVerdict(
            result.cause, result.healthy, result.severity, result.degree, result.evidence, result.cure
        )
    read = [f"{numbers[f'class.{point}'].value:.1%} in {point}" for point in ("pixels", "codes")
            if f"class.{point}" in numbers]
    evidence = "The tokenizer returns continuous latents, so there are no codes and nothing is lost in quantizing."
    if read:
        evidence += f" Probes predict the law of motion of {' and '.join(read).replace('codes', 'latents')}."
    return CardVerdict(NEVER_QUANTIZED, None, None, "unknown", evidence, "")


def _findings(result: DiagnosisResult, facts: TokenizerFacts) -> tuple[str, ...]:
    """What stands beside the verdict; of codes only."""
    return tuple(str(finding) for finding in result.findings) if facts.quantized else ()


def _notes(tokenizer: CheckedTokenizer, motion: MotionSet) -> tuple[str, ...]:
    import torch

    facts, counts = tokenizer.facts, motion.counts
    notes = [
        f"Motion set {motion.request.version}: {counts['train']} training, {counts['val']} validation and "
        f"{counts['test']} test clips of {facts.frames} frames of {facts.size} × {facts.size} pixels at {facts.fps:g} "
        "frames a second.",
        f"Speed was measured on {facts.device} with {torch.get_num_threads()} threads and {facts.batch_size} clips a "
        "call.",
    ]
    if tokenizer.clipped:
        notes.append(
            f"Up to {tokenizer.clipped:.1%} of the values of a decoded batch lay far beyond black and white; they were "
            "clipped."
        )
    if facts.quantized and not tokenizer.has_latents:
        notes.append(
            "The adapter has no method latents, so a loss in the encoder cannot be told from one in the quantizer."
        )
    return tuple(notes)
