import dataclasses

import pytest

from kinetoken.diagnosis.causes import HEALTHY, POOLING, Measures, judge, verdict_page

SOUND = Measures(
    floor=0.25, probe_pixels=0.97, probe_latents=0.96, probe_codes=0.94, probe_codes_pooled=0.5, codebook_size=1000,
    perplexity_foreground=150.0, top1_share_foreground=0.05, effective_rank_latents=3.4, latent_channels=4,
    quantization_error=0.08, mismatch=0.0, foreground_gain_db=15.0, background_gain_db=4.0, top1_share=0.6,
    late_fall=0.02, loss_fall=0.6, probe_pixels_half=0.95, pair_pixels=0.94, latent_offset=0.3, clips_a_class=400,
    found_elsewhere=0.0, found_moved=0.0,
)

LOST = {"probe_latents": 0.95, "probe_codes": 0.5}
FAULTS = {
    "quantizer bypassed": {"quantization_error": 0.0},
    "codes of other clips": {"mismatch": 0.2, "found_elsewhere": 1.0},
    "tokens out of place": {"mismatch": 0.2, "found_moved": 1.0},
    "codes of another tokenizer": {"mismatch": 0.8, "probe_codes": 0.5},
    "too little data": {"probe_pixels": 0.6, "probe_pixels_half": 0.4, "probe_latents": 0.5, "probe_codes": 0.5},
    "labels not separable in pixels": {"probe_pixels": 0.3, "probe_latents": 0.28, "probe_codes": 0.27},
    "levels too few": {**LOST, "codebook_size": 3, "perplexity_foreground": 2.8, "quantization_error": 0.5},
    "dimensional collapse": {**LOST, "effective_rank_latents": 1.1},
    "encoder and codebook drifted apart": {**LOST, "latent_offset": 4.0, "quantization_error": 3.0},
    "encoder starved": {**LOST, "probe_latents": 0.6, "loss_fall": 0.01, "foreground_gain_db": -0.1},
    "codebook collapse": {**LOST, "loss_fall": 0.1, "perplexity_foreground": 2.0, "top1_share_foreground": 0.8},
    "loss dominated by background": {**LOST, "foreground_gain_db": -0.2, "loss_fall": 0.05},
    "undertrained": {**LOST, "probe_latents": 0.8, "foreground_gain_db": 0.1, "loss_fall": 0.2},
}


def test_few_clips_are_to_blame_where_classes_look_alike_and_only_there() -> None:
    few = dataclasses.replace(SOUND, clips_a_class=8)
    assert judge(few).healthy
    alike = dataclasses.replace(few, pair_pixels=0.55, probe_pixels=0.5, probe_pixels_half=0.49, probe_codes=0.5)
    assert judge(alike).cause == "too little data" and "8 training clips" in judge(alike).evidence
    assert judge(dataclasses.replace(alike, clips_a_class=400)).cause == "labels not separable in pixels"


def test_two_classes_that_look_alike_are_found_though_the_others_are_read() -> None:
    alike = dataclasses.replace(SOUND, pair_pixels=0.52, probe_pixels=0.76, probe_pixels_half=0.75, probe_codes=0.75)
    assert judge(alike).cause == "labels not separable in pixels" and "52.0%" in judge(alike).evidence


def test_every_codes_fault_is_named_before_the_pooling_and_the_pooling_before_the_training() -> None:
    assert judge(dataclasses.replace(SOUND, quantization_error=0.0), pooled=True).cause == "quantizer bypassed"
    assert judge(dataclasses.replace(SOUND, **LOST, probe_codes_pooled=0.3), pooled=True).cause == POOLING


def test_sound_measures_are_healthy_and_name_the_pooling_beside() -> None:
    verdict = judge(SOUND)
    assert verdict.healthy and verdict.cause == HEALTHY and "94.0%" in verdict.evidence
    assert any("Pooling drops position" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("cause", FAULTS)
def test_each_fault_is_named_with_evidence_and_cure(cause: str) -> None:
    verdict = judge(dataclasses.replace(SOUND, **FAULTS[cause]))  # type: ignore[arg-type]
    assert verdict.cause == cause and not verdict.healthy
    assert verdict.evidence.endswith(".") and verdict.cure != judge(SOUND).cure


def test_pooled_codes_are_judged_on_request() -> None:
    assert judge(SOUND, pooled=True).cause == "pooling drops position"
    assert judge(dataclasses.replace(SOUND, probe_codes_pooled=0.93), pooled=True).healthy


def test_a_missing_measure_is_asked_for_only_where_it_decides() -> None:
    bare = {"probe_latents": None, "effective_rank_latents": None, "latent_channels": None, "quantization_error": None,
                "mismatch": None, "foreground_gain_db": None, "background_gain_db": None}
    assert judge(dataclasses.replace(SOUND, **bare)).healthy  # type: ignore[arg-type]
    lost = dataclasses.replace(SOUND, **{**bare, "probe_codes": 0.5})  # type: ignore[arg-type]
    assert judge(lost).cause == "cannot tell without the tokenizer" and not judge(lost).healthy
    blind = dataclasses.replace(SOUND, **{**bare, "probe_codes": 0.3, "probe_pixels": None})  # type: ignore[arg-type]
    assert judge(blind).cause == "cannot tell without the videos"
    unpainted = dataclasses.replace(SOUND, probe_latents=0.5, probe_codes=0.48, foreground_gain_db=None)
    assert judge(unpainted).cause == "cannot tell without reconstructions"


def test_page_states_cause_evidence_cure_and_every_measure() -> None:
    measures = dataclasses.replace(SOUND, mismatch=None)
    page, verdict = verdict_page(judge(measures), measures), judge(measures)
    assert page.startswith("# Verdict: healthy\n") and verdict.evidence in page and verdict.cure in page
    assert "| probe codes | 0.94 |" in page and "| mismatch | not measured |" in page
    assert page.count("\n| ") == len(dataclasses.fields(Measures)) + 1
