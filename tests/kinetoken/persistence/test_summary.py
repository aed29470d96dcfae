"""The best extractor for each budget of frames, as rows and in words."""

import pandas as pd

from kinetoken.persistence.summary import budget_rows, to_markdown

OPERATING = pd.DataFrame(
    [
        ("slow", "fixed time", 4.0, 0.8), ("slow", "confidence", 9.5, 0.99), ("quick", "fixed time", 4.0, 0.7),
        ("quick", "thresholds", 5.25, 0.9), ("quick", "confidence", 7.0, 0.9), ("reference", "fixed time", 3.0, 1.0),
    ],
    columns=["extractor", "rule", "frames", "accuracy"],
)
FIGURES = {
    "accuracy": 0.9, "accuracy_ci95_low": 0.85, "accuracy_ci95_high": 0.95, "early_stop_rate": 1.0,
    "mean_decision_frame": 5.25, "compute_saved": 0.8, "harmonic_mean": 0.875, "ece": 0.02, "ece_floor": 0.01,
    "attention_ratio": 12.0, "attention_ratio_untrained": 1.0,
}


def test_each_budget_names_the_most_accurate_point_within_it_and_the_earliest_of_equals() -> None:
    rows = budget_rows(OPERATING, ("slow", "quick")).set_index("frames_at_most")
    assert rows.loc[3].isna().all()  # the reference is no extractor
    assert rows.loc[4].tolist() == ["slow", 0.8, "fixed time", 4.0]
    assert rows.loc[8].tolist() == ["quick", 0.9, "thresholds", 5.25]
    assert rows.loc[10].tolist() == rows.loc[32].tolist() == ["slow", 0.99, "confidence", 9.5]


def test_words_hold_a_row_an_extractor_and_a_row_a_budget() -> None:
    metrics = {"slow": FIGURES, "quick": {**FIGURES, "regret": 1.5}}
    text = to_markdown(metrics, budget_rows(OPERATING, ("slow", "quick")), ("slow", "quick"))
    figures = "90.0% (85.0%–95.0%) | 100.0% | 5.2 | 80.0% | 0.875 | 0.020 (0.010)"
    assert f"| slow | {figures} | no optimum known | 12.0 (untrained 1.0) |\n" in text
    assert f"| quick | {figures} | 1.50 | 12.0 (untrained 1.0) |\n" in text
    assert "| 3 | none decides so early | | |\n| 4 | slow | 80.0% | fixed time, 4.0 frames |\n" in text


def test_no_point_within_any_budget() -> None:
    rows = budget_rows(OPERATING[:0], ("slow",))
    assert len(rows) == 9 and rows["extractor"].isna().all()
    assert to_markdown({}, rows, ()).count("none decides so early") == 9
