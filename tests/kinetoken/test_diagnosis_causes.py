import dataclasses

import pytest

from kinetoken.diagnosis.causes import HEALTHY, Measures, judge, verdict_page

SOUND = Measures(
    floor=0.25, probe_pixels=0.97, probe_latents=0.96, probe_codes=0.94, probe_codes_pooled=0.5, codebook_size=1000,
    perplexity_foreground=150.0, top1_share_foreground=0.05, effective_rank_latents=3.4, latent_channels=4,
    quantization_error=0.08, mismatch=0.0, foreground_gain_db=15.0, background_gain_db=4.0,
)

FAULTS = {
    "labels not separable in pixels": {"probe_pixels": 0.3, "probe_latents": 0.28, "probe_codes": 0.27},
    "quantizer bypassed": {"quantization_error": 0.0},
    "codes of another tokenizer": {"mismatch": 0.8, "probe_codes": 0.5},
    "codebook collapse": {"probe_codes": 0.4, "perplexity_foreground": 2.0, "top1_share_foreground": 0.8},
    "levels too few": {"probe_codes": 0.6, "quantization_error": 0.5},
    "rounding drops the class": {"probe_codes": 0.6},
    "loss dominated by background": {"probe_latents": 0.5, "probe_codes": 0.48, "foreground_gain_db": -0.2},
    "undertrained": {"probe_latents": 0.5, "probe_codes": 0.48, "foreground_gain_db": 0.1, "background_gain_db": -20.0},
    "dimensional collapse": {"probe_latents": 0.6, "probe_codes": 0.58, "effective_rank_latents": 1.1},
    "encoder drops the class": {"probe_latents": 0.6, "probe_codes": 0.58},
}


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
