import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetoken.diagnosis.causes import CANNOT_TELL, Verdict, judge
from kinetoken.diagnosis.finding import CERTAIN, DATA, KEPT, USE, Finding
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.reasoning import THRESHOLDS, Reasoning
from kinetoken.diagnosis.rules import (
    BY_ELIMINATION,
    CAUSES,
    FACTS,
    HEALTHY,
    KEPT_WELL,
    LIMITS,
    NEARLY_KEPT,
    NO_WORSE,
    POOLING,
    UNCERTAIN,
    USES,
    WEAK,
)
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
    "too little data": {
        "probe_pixels": 0.6, "probe_pixels_half": 0.5, "probe_latents": 0.58, "probe_codes": 0.59, "clips_a_class": 40,
        "pair_pixels": 0.8,
    },
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
    alike = dataclasses.replace(
        few, pair_pixels=0.55, probe_pixels=0.5, probe_pixels_half=0.49, probe_latents=0.5, probe_codes=0.5
    )
    assert judge(alike).cause == "too little data" and "8 training clips" in judge(alike).evidence
    assert judge(dataclasses.replace(alike, clips_a_class=400)).cause == "labels not separable in pixels"


def test_two_classes_that_look_alike_are_found_though_the_others_are_read() -> None:
    alike = dataclasses.replace(
        SOUND, pair_pixels=0.52, probe_pixels=0.76, probe_pixels_half=0.75, probe_latents=0.74, probe_codes=0.75
    )
    assert judge(alike).cause == "labels not separable in pixels" and "52.0%" in judge(alike).evidence


def test_every_codes_fault_is_named_before_the_pooling_and_the_pooling_before_the_training() -> None:
    assert judge(dataclasses.replace(SOUND, quantization_error=0.0), pooled=True).cause == "quantizer bypassed"
    assert judge(dataclasses.replace(SOUND, **LOST, probe_codes_pooled=0.3), pooled=True).cause == POOLING  # type: ignore[arg-type]


def test_sound_measures_are_healthy_and_name_the_pooling_beside() -> None:
    verdict = judge(SOUND)
    assert verdict.healthy and verdict.cause == HEALTHY and "94.0%" in verdict.evidence
    assert any(one.name == POOLING and one.severity == 0 for one in verdict.others)


@pytest.mark.parametrize("cause", FAULTS)
def test_each_fault_is_named_with_evidence_and_cure(cause: str) -> None:
    verdict = judge(dataclasses.replace(SOUND, **FAULTS[cause]))  # type: ignore[arg-type]
    assert verdict.cause == cause and not verdict.healthy
    assert verdict.evidence.endswith(".")


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


def test_a_few_points_with_nothing_else_out_of_order_are_healthy_and_said_so_with_their_interval() -> None:
    weak = dataclasses.replace(SOUND, probe_latents=0.96, probe_codes=0.905)
    verdict = judge(weak)
    assert verdict.healthy and "The codes keep 91% of what can be read" in verdict.evidence
    assert "(95 % interval 88% to 94%)" in verdict.evidence  # 1.96 sqrt(0.905 · 0.095 / 640) / 0.72 = 3.2 points
    assert judge(dataclasses.replace(weak, kept_low=0.9, kept_high=0.915)).healthy
    assert judge(dataclasses.replace(weak, effective_rank_latents=1.1)).cause == "dimensional collapse"
    assert judge(dataclasses.replace(weak, probe_codes=0.86)).cause == "encoder starved"


def test_a_large_loss_that_the_interval_excludes_needs_no_training_curve() -> None:
    less = dataclasses.replace(SOUND, loss_fall=None, late_fall=None, probe_codes=0.91, kept_low=0.88, kept_high=0.96)
    verdict = judge(less)
    assert verdict.healthy and "excludes one of more than 12%" in verdict.evidence
    assert "training curve" in verdict.headline.surer and verdict.severity == pytest.approx(0.06 / 0.72)
    assert judge(dataclasses.replace(less, kept_low=0.86)).cause == "too little data"
    assert judge(dataclasses.replace(less, kept_high=0.94)).cause.startswith("lost in")
    assert judge(dataclasses.replace(less, effective_rank_latents=1.1)).cause == "dimensional collapse"


def test_collapse_needs_no_training_curve_where_the_latents_keep_the_class() -> None:
    collapsed = {**FAULTS["codebook collapse"], "loss_fall": None, "late_fall": None}
    assert judge(dataclasses.replace(SOUND, **collapsed)).cause == "codebook collapse"  # type: ignore[arg-type]
    lost = dataclasses.replace(SOUND, **{**LOST, "probe_latents": 0.6, "loss_fall": None})  # type: ignore[arg-type]
    assert judge(lost).cause == "lost in the encoder" and "training curve" in judge(lost).headline.surer


def test_pooled_codes_are_judged_on_request() -> None:
    assert judge(SOUND, pooled=True).cause == "pooling drops position"
    assert judge(dataclasses.replace(SOUND, probe_codes_pooled=0.93), pooled=True).healthy


BARE = {
    "probe_latents": None, "effective_rank_latents": None, "latent_channels": None, "quantization_error": None,
    "latent_offset": None, "mismatch": None, "foreground_gain_db": None, "background_gain_db": None,
    "picture_gain_db": None, "loss_fall": None, "late_fall": None, "perplexity_foreground": None,
    "top1_share_foreground": None, "perplexity": 60.0, "tokens_a_clip": 256.0,
}


def bare(**given: float | None) -> Measures:
    """With codes, labels and clips alone."""
    return dataclasses.replace(SOUND, **{**BARE, **given})  # type: ignore[arg-type]


def test_a_loss_whose_cause_is_not_known_is_named_by_where_it_is_and_asks_for_what_would_show_it() -> None:
    assert judge(bare()).healthy
    verdict = judge(bare(probe_codes=0.5))
    assert verdict.cause == "lost between pixels and codes" and verdict.severity == pytest.approx(0.47 / 0.72)
    assert "encoder's output" in verdict.headline.surer and "training curve" in verdict.headline.surer
    latents = judge(bare(probe_codes=0.5, probe_latents=0.96))
    assert latents.cause == "lost in quantizing"
    assert judge(bare(probe_codes=0.5, probe_latents=0.5)).cause == "lost in the encoder"


def test_a_loss_before_the_latents_is_not_sure_to_be_there_if_only_readers_that_latents_have_not_show_it() -> None:
    seen = bare(probe_codes=0.5, probe_latents=0.5, probe_pixels_alike=0.96)
    assert (judge(seen).cause, judge(seen).headline.confidence) == ("lost in the encoder", "likely")
    moving = judge(dataclasses.replace(seen, probe_pixels_alike=0.51))
    assert (moving.cause, moving.headline.confidence) == ("lost in the encoder", "possible")
    assert "pixels show 51.0% and latents 50.0%" in moving.evidence


def test_without_anything_upstream_nobody_can_tell() -> None:
    for codes in (0.55, 1.0):
        blind = judge(bare(probe_codes=codes, probe_pixels=None, probe_pixels_half=None))
        assert blind.cause == "cannot tell without videos" and not blind.healthy and blind.severity is None
    unread = judge(bare(probe_codes=None, probe_codes_pooled=None, probe_pixels=None, probe_pixels_half=None))
    assert unread.cause == "cannot tell without labels"


def test_what_latents_hold_says_nothing_of_the_encoder() -> None:
    half = judge(bare(probe_latents=0.7, probe_codes=0.7, probe_pixels=None, probe_pixels_half=None))
    assert half.healthy and "encoder kept" in half.headline.surer


# The table of the issue that this logic was built for; each case stands for a kind.


def test_a_barely_trained_tokenizer_is_collapsed_and_more_data_a_side_remark() -> None:
    short = bare(
        probe_pixels=0.71, probe_pixels_half=0.6, probe_codes=0.32, pair_pixels=0.7, clips_a_class=75,
        perplexity_foreground=3.3, top1_share_foreground=0.6, codebook_size=840,
    )
    verdict = judge(short)
    assert verdict.cause == "codebook collapse" and verdict.severity == pytest.approx(0.39 / 0.46)
    data = next(one for one in verdict.others if one.name == "too little data")
    assert data.severity == 0 and "stands" in data.evidence


def test_usage_alone_shows_a_collapse_and_says_nothing_of_information() -> None:
    lone = {"probe_pixels": None, "probe_pixels_half": None, "perplexity": 1.01, "top1_share": 0.998}
    verdict = judge(bare(probe_codes=0.55, codebook_size=512, **lone))
    assert verdict.cause == "codebook collapse" and verdict.headline.question == USE
    assert verdict.headline.severity == pytest.approx(1, abs=0.01)
    assert verdict.kept.name == "cannot tell without videos"


def test_a_probe_too_weak_for_the_vocabulary_blames_nobody() -> None:
    weak = bare(probe_codes=0.425, probe_pixels=1.0, codebook_size=2**18, planted=0.2)
    verdict = judge(weak)
    assert verdict.cause == "probe too weak" and verdict.severity is None and not verdict.healthy
    alone = judge(dataclasses.replace(weak, probe_pixels=None, probe_pixels_half=None))
    assert alone.cause == "cannot tell without videos" and "planted" in alone.evidence
    assert judge(dataclasses.replace(weak, planted=0.9)).cause == "lost between pixels and codes"


def test_latents_without_tracks_are_enough_to_name_a_collapse_in_quantizing() -> None:
    verdict = judge(bare(
        probe_pixels=None, probe_pixels_half=None, probe_latents=1.0, probe_codes=0.55, perplexity=1.01,
        top1_share=0.998, effective_rank_latents=3.5, latent_channels=4, quantization_error=0.6, latent_offset=0.2,
    ))
    assert verdict.cause == "codebook collapse" and verdict.headline.question == KEPT


def test_two_uneven_classes_that_are_read_without_error_are_healthy() -> None:
    assert judge(bare(floor=0.5, probe_pixels=1.0, probe_pixels_half=1.0, probe_codes=1.0, pair_pixels=1.0)).healthy


def test_readings_that_would_rise_with_more_clips_are_compared_all_the_same() -> None:
    steep = bare(probe_pixels=0.84, probe_pixels_half=0.69, probe_codes=0.84)
    assert judge(steep).healthy and any(one.name == "too little data" for one in judge(steep).others)
    unsure = dataclasses.replace(steep, probe_codes=0.77, test_clips=300)
    assert judge(unsure).cause == "too little data" and "15 points" in judge(unsure).evidence


def test_many_classes_far_above_chance_are_readable() -> None:
    many = bare(
        floor=1 / 400, probe_pixels=0.14, probe_pixels_half=0.12, probe_codes=0.14, pair_pixels=0.0,
        pair_pixels_high=0.95, clips_a_class=7, test_clips=1200,
    )
    assert judge(many).healthy


def test_dead_codebooks_are_the_headline_though_the_class_is_kept() -> None:
    dead = Finding("dead codebooks", USE, 0.75, CERTAIN, "Three of four hold one code.")
    verdict = judge(bare(), found=[dead])
    assert verdict.cause == "dead codebooks" and not verdict.healthy and verdict.kept.name == HEALTHY
    lost = judge(bare(probe_codes=0.5), found=[dead])
    assert lost.cause == "dead codebooks" and "lost 65%" in lost.evidence
    remark = judge(bare(), found=[dataclasses.replace(dead, severity=0.0)])
    assert remark.healthy and remark.others[0].name == "dead codebooks"


def test_what_is_peculiar_is_said_first_only_where_nothing_can_be_compared() -> None:
    drift = Finding("drift over the file", USE, 0.0, CERTAIN, "The last rows differ.")
    assert judge(bare(), found=[drift]).healthy
    blind = bare(probe_codes=None, probe_codes_pooled=None, probe_pixels=None, probe_pixels_half=None)
    verdict = judge(blind, found=[drift])
    assert verdict.cause == "drift over the file" and verdict.kept.name == "cannot tell without labels"


def test_axes_that_are_swapped_say_more_than_that_tokens_are_out_of_place() -> None:
    swapped = Finding("axes swapped", KEPT, 0.8, CERTAIN, "Rows and columns.")
    moved = dataclasses.replace(SOUND, mismatch=0.8, found_moved=1.0)
    assert judge(moved).cause == "tokens out of place" and judge(moved, found=[swapped]).cause == "axes swapped"


def test_still_frames_that_show_the_class_are_said_so() -> None:
    assert any(one.name == "class shows in still frames" for one in judge(bare(probe_still=0.96)).others)
    assert not any(one.name == "class shows in still frames" for one in judge(bare(probe_still=0.4)).others)


# Contradictions: random sets of measures, most of them with something missing.

SHARE = st.floats(0, 1)
MAYBE = st.none() | SHARE
ACCURACIES = ("probe_latents", "probe_codes_pooled", "probe_pixels", "probe_pixels_half", "pair_pixels", "probe_still")
SETS = st.fixed_dictionaries({
    "floor": st.sampled_from([0.5, 0.25, 0.1, 1 / 400]), "probe_codes": MAYBE, **dict.fromkeys(ACCURACIES, MAYBE),
    "codebook_size": st.sampled_from([2, 3, 64, 1000, 2**18]), "perplexity_foreground": st.none() | st.floats(1, 2000),
    "top1_share_foreground": MAYBE, "effective_rank_latents": st.none() | st.floats(1, 8),
    "latent_channels": st.just(8), "quantization_error": st.none() | st.floats(0, 3), "mismatch": MAYBE,
    "foreground_gain_db": st.none() | st.floats(-5, 20), "background_gain_db": st.none() | st.floats(-5, 20),
    "perplexity": st.floats(1, 1000), "top1_share": SHARE, "late_fall": MAYBE, "loss_fall": MAYBE,
    "clips_a_class": st.integers(2, 1000), "latent_offset": st.none() | st.floats(0, 5), "found_elsewhere": MAYBE,
    "found_moved": MAYBE, "picture_gain_db": st.none() | st.floats(-9, 20), "planted": MAYBE,
    "probe_reconstructions": MAYBE, "probe_decoded": MAYBE, "probe_pixels_alike": MAYBE,
    "test_clips": st.sampled_from([16, 100, 1200]), "tokens_a_clip": st.sampled_from([1.0, 64.0, 1024.0]),
})


@st.composite
def measure_sets(draw: st.DrawFn) -> Measures:
    """Any set of measures, or a sound one with a few replaced. Readings are at least guessing: below lies chance."""
    drawn: dict[str, Any] = draw(SETS)
    if draw(st.booleans()):
        other = draw(st.sets(st.sampled_from(sorted(drawn)), max_size=4))
        sound = {name: getattr(SOUND, name) for name in drawn}
        drawn = {**drawn, **sound, **{name: drawn[name] for name in other}, "perplexity": 60.0, "tokens_a_clip": 64.0}
    read = ("probe_codes", *ACCURACIES)
    return Measures(**drawn | {name: max(drawn[name], drawn["floor"]) for name in read if drawn[name] is not None})


def contradictions(m: Measures, verdict: Verdict, *, pooled: bool) -> list[str]:
    """What in a verdict its own measures contradict."""
    r = Reasoning(m, THRESHOLDS, pooled)
    found = []
    upstream = [one for one in (m.probe_pixels, m.probe_latents) if one is not None]
    lost = None if m.probe_codes is None or not upstream else max(upstream) - m.probe_codes
    if verdict.healthy:
        if m.probe_codes is None or not upstream:
            found.append("healthy without a comparison")
        if lost is not None and lost > (1 - THRESHOLDS.nearly_kept) * (max(upstream) - m.floor) + 1e-9:
            found.append("healthy though more is lost than sound tokenizers lose")
        if any((one.severity or 0) >= 0.05 and one.question == USE for one in verdict.others):
            found.append("healthy beside a fault of use")
    every = (verdict.headline, *verdict.others)
    for one in every:
        if one.question == DATA and one.severity is None and r.loss_is_sure:
            found.append(f"{one.name} in the place of a loss that is sure")
        if one.severity is not None and not 0 <= one.severity <= 1:
            found.append("a severity beyond [0, 1]")
        if one.name == "codebook collapse" and (m.perplexity_foreground or 0) >= 6 and m.perplexity >= 2:  # type: ignore[operator]
            if (m.top1_share_foreground or 0) <= 0.5 and (m.top1_share or 0) <= 0.97:
                found.append("collapse though many codes are in use")
        if one.name == "levels too few" and m.codebook_size >= 16:
            found.append("too few levels of many")
        if one.name == "undertrained" and (m.loss_fall or 0) >= 0.42 and (m.late_fall or 0) < 0.15:
            found.append("undertrained though the loss fell and settled")
        if one.name == "quantizer bypassed" and (m.quantization_error is None or m.quantization_error > 1e-6):
            found.append("bypassed though something was rounded")
    if verdict.cause.startswith(CANNOT_TELL) and verdict.severity is not None:
        found.append("cannot tell, and yet a severity")
    costs = [one.severity or 0 for one in verdict.others if one.question == USE]
    if not verdict.kept.name.startswith(tuple(rule.cause for rule in FACTS)) and max(costs, default=0) > (
        verdict.severity or 0
    ) and max(costs) >= 0.05:
        found.append("the headline is not the costliest")
    return found


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(measure_sets(), st.booleans())
def test_no_set_of_measures_leads_to_a_verdict_that_they_contradict(m: Measures, pooled: bool) -> None:
    pooled = pooled and m.probe_codes_pooled is not None and m.probe_codes is not None
    assert contradictions(m, judge(m, pooled=pooled), pooled=pooled) == []


@settings(max_examples=800, deadline=None, derandomize=True)
@given(measure_sets(), st.sampled_from(["probe_pixels", "probe_codes", "probe_pixels_half", "clips_a_class"]))
def test_leaving_out_what_codes_are_compared_with_never_makes_anything_healthy(whole: Measures, name: str) -> None:
    less = dataclasses.replace(whole, **{name: None})  # type: ignore[arg-type]
    if judge(less).healthy and not (name == "probe_pixels" and whole.probe_latents is not None):
        assert judge(whole).healthy or judge(whole).kept.question == DATA
    assert not judge(dataclasses.replace(whole, probe_codes=None)).healthy


def test_the_page_on_the_doctor_names_todays_thresholds() -> None:
    text = " ".join((Path(__file__).parents[3] / "docs/doctor.md").read_text(encoding="utf-8").split())
    t = THRESHOLDS
    assert f"whole interval lies below {100 * t.kept:.0f} %" in text and f"or where {100 * t.nearly_kept:.0f} %" in text
    assert f"fewer than {t.few_clips} training clips" in text and t.planted == 0.5 and "less than half of it" in text
    assert f"perplexity below {t.few_codes:.0f} on what moves" in text
    assert f"over {100 * t.one_code_anywhere:.0f} % of all tokens" in text


def test_labels_of_too_few_clips_are_said_so_and_not_taken_for_none() -> None:
    unread = bare(probe_codes=None, probe_codes_pooled=None, probe_pixels=None, probe_pixels_half=None)
    verdict = judge(unread, too_few="label 'a' has 2 clips in split 'train', at least 4 are needed")
    assert verdict.cause == "too little data" and "label 'a' has 2 clips" in verdict.evidence


def test_page_states_cause_evidence_cure_and_every_measure_once() -> None:
    measures = dataclasses.replace(SOUND, mismatch=None)
    verdict = judge(measures)
    page = verdict_page(state(verdict, measures))
    assert page.startswith("# Verdict: healthy\n") and verdict.evidence in page and "None needed." in page
    assert "| labels read from codes | 94.0 % |" in page
    assert "| tokens that the tokenizer codes otherwise than the table | not measured |" in page
    assert page.count("\n| ") == len(dataclasses.fields(Measures)) + 2


def test_page_puts_first_what_the_verdict_rests_on() -> None:
    measures = dataclasses.replace(SOUND, **FAULTS["codebook collapse"])  # type: ignore[arg-type]
    first, rest = verdict_page(state(judge(measures), measures)).split("## Other measures")
    assert first.count("\n| ") == 1 + len(READINGS) + 2
    assert "| perplexity, tokens on what moves | 2 entries in effective use |" in first
    assert "| latents' mean from the codebook's centre, on what moves | 0.3 deviations |" in rest


def test_rules_rest_on_measures_that_there_are() -> None:
    names = {field.name for field in dataclasses.fields(Measures)}
    kept = (KEPT_WELL, NEARLY_KEPT, NO_WORSE, BY_ELIMINATION)
    assert all(set(rule.rests_on) <= names for rule in (*FACTS, *LIMITS, *UNCERTAIN, *WEAK, *kept, *CAUSES, *USES))
    assert all(rule.rests_on for rule in FACTS) and THRESHOLDS.nearly_kept < THRESHOLDS.kept
