import dataclasses

import pytest

from kinetoken.diagnosis.causes import judge
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.rules import FACTS, HEALTHY, POOLING, RULES, THRESHOLDS, USE_RULES
from kinetoken.diagnosis.statement import READINGS, state
from kinetoken.diagnosis.text import verdict_page

SOUND = Measures(
    floor=0.25, probe_pixels=0.97, probe_latents=0.96, probe_codes=0.94, probe_codes_pooled=0.5, codebook_size=1000,
    perplexity_foreground=150.0, top1_share_foreground=0.05, effective_rank_latents=3.4, latent_channels=4,
    quantization_error=0.08, mismatch=0.0, foreground_gain_db=15.0, background_gain_db=4.0, top1_share=0.6,
    late_fall=0.02, loss_fall=0.6, probe_pixels_half=0.95, pair_pixels=0.94, latent_offset=0.3, clips_a_class=400,
    found_elsewhere=0.0, found_moved=0.0, picture_gain_db=7.0, test_clips=640,
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
    "loss dominated by background": {
        **LOST, "foreground_gain_db": -0.2, "background_gain_db": -12.0, "picture_gain_db": -5.0, "loss_fall": 0.2,
    },
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
    assert judge(dataclasses.replace(SOUND, **LOST, probe_codes_pooled=0.3), pooled=True).cause == POOLING  # type: ignore[arg-type]


def test_sound_measures_are_healthy_and_name_the_pooling_beside() -> None:
    verdict = judge(SOUND)
    assert verdict.healthy and verdict.cause == HEALTHY and "94.0%" in verdict.evidence
    assert any(remark.cause == POOLING for remark in verdict.remarks)


@pytest.mark.parametrize("cause", FAULTS)
def test_each_fault_is_named_with_evidence_and_cure(cause: str) -> None:
    verdict = judge(dataclasses.replace(SOUND, **FAULTS[cause]))  # type: ignore[arg-type]
    assert verdict.cause == cause and not verdict.healthy
    assert verdict.evidence.endswith(".") and verdict.cure != judge(SOUND).cure


@pytest.mark.parametrize("loss_fall", [0.0, 0.2, 0.5])
def test_a_picture_worse_than_the_mean_video_is_background_wherever_the_loss_went(loss_fall: float) -> None:
    spoiled = {**FAULTS["loss dominated by background"], "loss_fall": loss_fall, "top1_share_foreground": 0.6}
    verdict = judge(dataclasses.replace(SOUND, **spoiled))  # type: ignore[arg-type]
    assert verdict.cause == "loss dominated by background" and "-5.0 dB on the whole picture" in verdict.evidence
    less = judge(dataclasses.replace(SOUND, **{**spoiled, "picture_gain_db": -1.7}))  # type: ignore[arg-type]
    assert less.cause == "codebook collapse"


@pytest.mark.parametrize(("loss_fall", "cause"), [
    (0.05, "loss dominated by background"), (0.2, "undertrained"), (0.6, "loss dominated by background"),
])
def test_a_ball_not_painted_is_background_unless_training_was_on_its_way(loss_fall: float, cause: str) -> None:
    unpainted = dataclasses.replace(
        SOUND, probe_latents=0.95, probe_codes=0.5, foreground_gain_db=0.1, background_gain_db=0.2,
        picture_gain_db=0.1, loss_fall=loss_fall,
    )
    assert judge(unpainted).cause == cause
    painted_over = dataclasses.replace(unpainted, background_gain_db=-5.0)
    assert judge(painted_over).cause == ("undertrained" if cause == "undertrained" else "encoder starved")


@pytest.mark.parametrize(("late", "cause"), [(0.05, "encoder starved"), (0.25, "undertrained")])
def test_a_loss_that_still_falls_at_the_end_is_undertrained_though_it_fell_far(late: float, cause: str) -> None:
    falling = dataclasses.replace(SOUND, probe_latents=0.95, probe_codes=0.7, late_fall=late)
    assert judge(falling).cause == cause


def test_drift_is_told_from_collapse_by_what_training_had_learned() -> None:
    few = {**LOST, "perplexity_foreground": 3.5, "top1_share_foreground": 0.45, "latent_offset": 1.3,
           "quantization_error": 2.6}
    moved = dataclasses.replace(SOUND, **few, loss_fall=0.58)  # type: ignore[arg-type]
    assert judge(moved).cause == "encoder and codebook drifted apart"
    assert judge(dataclasses.replace(moved, loss_fall=0.1)).cause == "codebook collapse"


def test_a_few_points_with_nothing_else_out_of_order_are_healthy_and_said_so_with_their_chance() -> None:
    weak = dataclasses.replace(SOUND, probe_latents=0.96, probe_codes=0.905)
    verdict = judge(weak)
    assert verdict.healthy and "91% of the accuracy above guessing" in verdict.evidence
    assert "±2.3 points by chance" in verdict.evidence  # 1.96 sqrt(0.905 · 0.095 / 640) = 2.27 points
    assert judge(dataclasses.replace(weak, test_clips=None)).healthy
    assert judge(dataclasses.replace(weak, effective_rank_latents=1.1)).cause == "dimensional collapse"
    assert judge(dataclasses.replace(weak, probe_codes=0.86)).cause == "encoder starved"


def test_collapse_needs_no_training_curve_where_the_latents_keep_the_class() -> None:
    collapsed = {**FAULTS["codebook collapse"], "loss_fall": None, "late_fall": None}
    assert judge(dataclasses.replace(SOUND, **collapsed)).cause == "codebook collapse"  # type: ignore[arg-type]
    lost = {**collapsed, "probe_latents": 0.6}
    assert judge(dataclasses.replace(SOUND, **lost)).cause == "cannot tell without the training curve"  # type: ignore[arg-type]


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


def test_page_states_cause_evidence_cure_and_every_measure_once() -> None:
    measures = dataclasses.replace(SOUND, mismatch=None)
    verdict = judge(measures)
    page = verdict_page(state(verdict, measures))
    assert page.startswith("# Verdict: healthy\n") and verdict.evidence in page and verdict.cure in page
    assert "| probe codes | 0.94 |" in page and "| mismatch | not measured |" in page
    assert page.count("\n| ") == len(dataclasses.fields(Measures)) + 2


def test_page_puts_first_what_the_verdict_rests_on() -> None:
    measures = dataclasses.replace(SOUND, **FAULTS["codebook collapse"])  # type: ignore[arg-type]
    first, rest = verdict_page(state(judge(measures), measures)).split("## Other measures")
    assert first.count("\n| ") == 1 + len(READINGS) + 2
    assert "| perplexity foreground | 2 |" in first and "| latent offset | 0.3 |" in rest


def test_rules_rest_on_measures_that_there_are() -> None:
    names = {field.name for field in dataclasses.fields(Measures)}
    assert all(set(rule.rests_on) <= names for rule in (*RULES, *USE_RULES))
    assert all(rule.rests_on for rule in FACTS) and THRESHOLDS.nearly_kept < THRESHOLDS.kept
