"""The first screen's answer, chain and table of marks, against numbers worked out by hand."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.params import build
from kinetoken.report.gaps import not_run
from kinetoken.report.headline import (
    FIRST,
    HEADLINES,
    BuildReport,
    answer,
    averages,
    chain,
    first_rows,
    head,
    headline_rows,
    shown,
)
from kinetoken.report.results import STAGES, Numbers, Results, read_results, read_rows

CLASSIFIED = {"accuracy": 0.9, "accuracy_floor": 0.25, "per_class.linear": 1.0, "per_class.helical": 0.8}


def results(**metrics: Numbers) -> Results:
    return Results(metrics, Path("plots"))


@pytest.mark.parametrize(
    ("codes", "word"), [(0.97, "Yes."), (0.88, "Mostly."), (0.5, "In part."), (0.3, "No."), (0.2, "No.")]
)
def test_answer_is_the_share_of_what_pixels_allow(codes: float, word: str) -> None:
    found = answer(results(
        train_baselines={"majority.accuracy": 0.25, "video.accuracy": 0.97},
        train_classifier={"accuracy": codes, "pooling.spatial_mean.accuracy": codes - 0.2},
    ))
    assert found.word == word
    assert shown(codes, "share") in found.sentence and "97.0 %" in found.sentence and "25.0 %" in found.sentence
    assert "averag" not in found.sentence, "one number a claim"


def test_no_answer_without_a_reader_of_pixels() -> None:
    assert answer(results(train_classifier=CLASSIFIED)).word == "Not known yet."


def test_the_head_names_its_pooling_and_two_readers_of_averages_are_explained() -> None:
    run = results(
        diagnose_codes={"probe.codes_pooled": 0.576},
        train_classifier={
            "accuracy": 0.99, "pooling.soft_argmax.accuracy": 0.99, "pooling.spatial_mean.accuracy": 0.276,
        },
    )
    last = head(run)
    assert last is not None and last.value == 0.99 and "soft argmax" in last.about
    assert "57.6 %" in averages(run) and "27.6 %" in averages(run)
    assert head(results()) is None and averages(results(train_classifier=CLASSIFIED)) == ""


def test_the_first_screen_has_titles_that_stand_alone() -> None:
    rows = headline_rows(results(train_classifier=CLASSIFIED, train_i3d_magvit={"forecast_mae_percent": 4.0}), {})
    assert [row.title for row in first_rows(rows)] == [
        "Class predicted from codes", "Next 4 positions from frames and codes, error",
    ]
    assert set(FIRST) <= {one.name for one in HEADLINES}


def test_chain_marks_the_largest_loss() -> None:
    links = chain(results(diagnose_codes={
        "probe.pixels": 0.9, "probe.pixels_floor": 0.25, "probe.latents": 0.88, "probe.codes": 0.8,
        "probe.codes_pooled": 0.5, "probe.codes_pooled_ci95_low": 0.48, "probe.codes_pooled_ci95_high": 0.52,
    }, train_baselines={"majority.accuracy": 0.3}))
    assert [link.lost for link in links] == [False, False, False, True]
    assert (links[0].floor, links[1].floor) == (0.25, 0.3)
    assert (links[3].low, links[3].high) == (0.48, 0.52)
    assert chain(results(train_classifier=CLASSIFIED)) == []


def test_marks_count_from_zero_ceiling_or_floor() -> None:
    marks = {
        "train_classifier.accuracy": 0.9, "train_classifier.per_class.*": 0.9,
        "train_predictor.transformer.centroid_error_px": 0.5, "describe_motion.equation_correct": 0.1,
        "train_generator.masked.coverage": 0.02,
    }
    rows = {row.name: row for row in headline_rows(results(
        train_classifier=CLASSIFIED,
        train_predictor={"transformer.centroid_error_px": 1.4, "transformer.centroid_error_px_floor": 2.0},
        describe_motion={"equation_correct": 0.4, "equation_correct_ceiling": 0.45},
        train_generator={"masked.coverage": 0.9},
    ), marks)}
    assert {name: (row.mark, row.met) for name, row in rows.items()} == {
        "train_classifier.accuracy": ("≥ 90.0 %", True),
        "train_classifier.per_class.*": ("≥ 90.0 %", False),  # its worst class, 0.8
        "train_predictor.transformer.centroid_error_px": ("≤ 1.50 px", True),
        "describe_motion.equation_correct": ("≥ 35.0 %", True),
        "train_generator.masked.coverage": ("–", None),  # its ceiling is not known
    }


def test_places_run_from_worse_to_better() -> None:
    row = headline_rows(results(train_tokenizer={
        "centroid_error_px": 1.0, "centroid_error_px_floor": 5.0, "centroid_error_px_ceiling": 0.5,
    }), {})[0]
    assert row.places["floor"] == 0 and row.places["floor"] < row.places["value"] < row.places["ceiling"] < 1
    assert row.places["value"] == pytest.approx(0.8)


def test_marks_of_early_decisions_go_both_ways() -> None:
    marks = {"harmonic_mean": 0.85, "ece": 0.02, "regret": 3.0, "attention_ratio": 2.0}
    rows = {row.name.rpartition(".")[2]: row for row in headline_rows(results(detect_persistence={
        "transformer.harmonic_mean": 0.84, "transformer.ece": 0.01, "transformer.ece_floor": 0.005,
        "transformer.regret": 3.5, "transformer.regret_ci95_low": 3.0, "transformer.regret_ci95_high": 4.0,
        "transformer.attention_ratio": 12.0, "transformer.attention_ratio_floor": 1.0,
    }), {f"detect_persistence.transformer.{key}": mark for key, mark in marks.items()})}
    assert {name: (row.value, row.mark, row.met) for name, row in rows.items()} == {
        "harmonic_mean": ("0.840", "≥ 0.850", False), "ece": ("0.010", "≤ 0.020", True),
        "regret": ("3.50 points", "≤ 3.00 points", False), "attention_ratio": ("12.00×", "≥ 2.00×", True),
    }
    assert (rows["ece"].floor, rows["ece"].ceiling) == ("–", "0.005")  # a perfect model's, which is no floor here
    assert rows["regret"].interval == "3.00 … 4.00 points"  # the unit once
    assert rows["harmonic_mean"].places == {"value": 0.84, "mark": 0.85}


def test_unknown_mark_names_the_known_ones() -> None:
    section = {"seed": 0, "clips_per_class": 1, "descriptions": 2, "marks": {"train_tokenizer.psnr": 40.0}}
    with pytest.raises(UserError, match=r"build_report: marks: 'train_tokenizer.psnr' is not a headline; .*psnr_db"):
        build(BuildReport, section, "build_report")
    assert len({one.name for one in HEADLINES}) == len(HEADLINES)


def test_gaps_follow_from_the_metrics() -> None:
    offline = [gap.what for gap in not_run(results(describe_motion={"is_llm": 0.0}), gpu=False)]
    assert "A language model" in offline and "train_tokenizer" in offline and "A GPU" in offline
    more = results(describe_motion={"is_llm": 1.0}, train_gasm_cast={"top1": 0.5})
    asked = [gap.what for gap in not_run(more, gpu=True)]
    assert "A language model" not in asked and "A GPU" not in asked
    assert "train_gasm_cast" in offline and "train_gasm_cast" not in asked
    later = results(train_i3d_magvit={"accuracy": 0.5}, train_gasm_cast={"semantic.pretrained": 1.0})
    assert "train_i3d_magvit" in asked and "train_i3d_magvit" not in [gap.what for gap in not_run(later, gpu=True)]
    assert "Pretrained weights" in asked
    assert "Pretrained weights" not in [gap.what for gap in not_run(later, gpu=True)]
    mixed = results(train_i3d_magvit={"backbone.pretrained": 0.0, "backbone.reduced": 1.0},
                    train_gasm_cast={"semantic.pretrained": 1.0, "motion.pretrained": 1.0})
    told = {gap.what: gap.why for gap in not_run(mixed, gpu=True)}["Pretrained weights"]
    assert told.startswith("Not for I3D: trained from scratch") and told.endswith("replace the published I3D.")


def test_extractors_that_were_left_out_are_named() -> None:
    assert "detect_persistence" in [gap.what for gap in not_run(results(train_gasm_cast={"top1": 0.5}), gpu=True)]
    some = {"magvit.accuracy": 0.9, "transformer.accuracy": 0.9}
    told = [gap.what for gap in not_run(results(detect_persistence=some), gpu=True)]
    assert "detect_persistence" not in told and "Early decisions by i3d_causal and slowfast_causal" in told
    every = some | {"i3d_causal.accuracy": 0.9, "slowfast_causal.accuracy": 0.9}
    assert not [gap for gap in not_run(results(detect_persistence=every), gpu=True) if "Early" in gap.what]


def test_numbers_are_those_of_the_stages_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no numbers of any stage"):
        read_results(tmp_path)
    write_numbers_table(tmp_path / "train_tokenizer/numbers.csv", {"psnr_db": 30, "psnr_db_floor": 26})
    write_numbers_table(tmp_path / "extract_codes/numbers_persistence.csv", {"clips": 7})
    (tmp_path / "a_study").mkdir()
    (tmp_path / "a_study/numbers.csv").write_text("{broken")
    assert read_results(tmp_path).metrics == {
        "train_tokenizer": {"psnr_db": 30.0, "psnr_db_floor": 26.0}, "extract_codes_persistence": {"clips": 7.0},
    }
    (tmp_path / STAGES["describe_motion"]).parent.mkdir()
    (tmp_path / STAGES["describe_motion"]).write_text("{broken")
    with pytest.raises(UserError, match="describe_motion/numbers.csv: not a table of numbers"):
        read_results(tmp_path)


def test_rows_name_the_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "descriptions.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(UserError, match=r"descriptions.jsonl: line 2: not JSON"):
        read_rows(path)
    path.write_text("[1]\n")
    with pytest.raises(UserError, match="line 1: expected one object"):
        read_rows(path)
