"""Which way a number is better: for every committed number, and in agreement with the report's headlines."""

import csv
from pathlib import Path

import pytest

from kinetoken.comparison.directions import HIGHER, LOWER, NO_RESULT, better
from kinetoken.report.headline import HEADLINES, Headline

ROOT = Path(__file__).parents[3]
NAMES = sorted({
    row["name"] for table in ROOT.glob("plots/*/numbers*.csv") for row in csv.DictReader(table.open(encoding="utf-8"))
})
CONTROLS = ("coordinates.", "law_fit.", "first_frame.", "nuisance.", "order_blind.", "control.")


@pytest.mark.parametrize("one", HEADLINES, ids=lambda one: one.name)
def test_headlines_have_the_direction_of_the_report(one: Headline) -> None:
    found = better(one.key.replace("*", "linear"))
    if one.key.startswith(CONTROLS):
        assert found == "neither"  # a control or an upper bound is no result
    else:
        assert found == ("lower" if one.lower_is_better else "higher")


def test_every_headline_file_of_a_result_has_a_direction() -> None:
    """What is left without one is a size, a count, a switch, a control, or a measure with no better end."""
    named = {path.name.removesuffix(".json") for path in ROOT.glob("metrics/*/*.json")}
    left = {name for name in named if better(name) == "neither" and not name.startswith(CONTROLS)}
    assert left == {
        "bits_per_clip", "class_gaussian.density", "clips", "codebook_size", "codes_used_share", "deletion.ball",
        "deletion.none", "deletion.random", "on_ball.random_weights", "rank_correlation.difference",
        "effective_rank_codes", "effective_rank_latents", "equation_correct_oracle_form", "gaussian.density", "is_llm",
        "majority.accuracy", "masked.density", "oracle.centroid_error_px", "parameters", "perplexity",
        "perplexity_foreground", "probe.pixels", "reference.accuracy",
        "scored_on_test", "tokens_per_clip", "trainable_parameters_full", "usage",
    }


@pytest.mark.parametrize("pattern", sorted({*HIGHER, *LOWER, *NO_RESULT}))
def test_every_pattern_is_used(pattern: str) -> None:
    from kinetoken.comparison.directions import _fits

    assert any(_fits(name, (pattern,)) for name in NAMES)


@pytest.mark.parametrize(("name", "direction"), [
    ("accuracy", "higher"), ("pooling.new_one.accuracy", "higher"), ("per_class.a.b c", "higher"),
    ("psnr_db", "higher"),
    ("masked.forecast.per_step.01.mse", "lower"), ("transformer.regret", "lower"), ("ood.error_m", "lower"),
    ("control.first_frame.accuracy", "neither"), ("floor.copy.centroid_error_px", "neither"), ("unheard_of", "neither"),
    ("physics.velocity_r2.codes", "higher"), ("physics.velocity_r2.pixels", "neither"), ("parameters", "neither"),
])
def test_examples(name: str, direction: str) -> None:
    assert better(name) == direction
