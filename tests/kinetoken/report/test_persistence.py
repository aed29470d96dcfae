"""The section on early decisions: its sentence, tables, charts and pictures, from numbers made for the test."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kinetoken.charts.parts import Figure
from kinetoken.charts.pictures import picture
from kinetoken.core.errors import UserError
from kinetoken.report.persistence import early_decisions
from kinetoken.report.persistence_numbers import best_of, budgets, controls, extractor_table, extractors, groups
from kinetoken.report.results import Numbers, Results

NUMBERS: Numbers = {
    "control.first_frame.accuracy": 0.51, "control.first_frame.accuracy_ci95_low": 0.49,
    "control.first_frame.accuracy_ci95_high": 0.53,
    "magvit.accuracy": 0.9, "magvit.regret": 7.0, "magvit.harmonic_mean": 0.95,
    "reference.accuracy": 1.0, "reference.earliness": 0.5, "reference.mean_decision_frame": 16.0,
    "transformer.accuracy": 0.96, "transformer.accuracy_ci95_low": 0.95, "transformer.accuracy_ci95_high": 0.97,
    "transformer.regret": 2.5, "transformer.harmonic_mean": 0.9, "transformer.mean_decision_frame": 6.0,
    "transformer.earliness": 0.8125, "transformer.compute_saved": 0.82, "transformer.ece": 0.01,
    "transformer.ece_floor": 0.005,
    "transformer.by_lifetime.01-02.accuracy": 0.99, "transformer.by_lifetime.01-02.mean_decision_frame": 4.25,
    "transformer.by_lifetime.01-02.tracks": 20.0, "transformer.by_lifetime.to_the_end.accuracy": 0.97,
}
TABLES = {
    "decisions.csv": "extractor,track_id,actual,predicted,frames\nmagvit,1,transient,transient,4\n"
                     "magvit,2,persistent,transient,8\ntransformer,1,transient,transient,3\n"
                     "transformer,2,persistent,persistent,5\n",
    "operating.csv": "extractor,rule,frames,accuracy\ntransformer,fixed time,4,0.8\ntransformer,fixed time,8,0.97\n"
                     "transformer,confidence,5,0.9\ntransformer,thresholds,6,0.96\nreference,fixed time,4,0.85\n",
    "attention.csv": "extractor,kind,attention\ntransformer,persistent,12.5\ntransformer,transient,0.5\n",
    "budgets.csv": "frames_at_most,extractor,accuracy,rule,frames\n3,,,,\n8,transformer,0.9625,confidence,7.25\n",
}


def spec_of(figure: Figure | None) -> dict[str, Any]:
    """What the figure's chart is drawn from."""
    assert figure is not None
    data = re.search(r'<script type="application/json">(.*?)</script>', figure.drawing)
    assert data is not None
    return dict(json.loads(data[1]))


def bars_of(figure: Figure | None) -> list[dict[str, Any]]:
    return list(spec_of(figure)["data"]["values"])


def results(numbers: Numbers, plots: Path) -> Results:
    return Results({"detect_persistence": numbers}, plots)


@pytest.fixture
def plots(tmp_path: Path) -> Path:
    """All that the stage leaves under plots, tiny."""
    folder = tmp_path / "detect_persistence"
    (folder / "attention").mkdir(parents=True)
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    for name in ("attention/transformer", "attention/transformer_heads", "efficiency"):
        Image.fromarray(np.full((8, 1300, 3), 255, np.uint8)).save(folder / f"{name}.png")
    rows = [
        {"extractor": "transformer", "track_id": i, "actual": "persistent", "decision": kind, "sentence": f"Told {i}."}
        for i, kind in enumerate(["persistent", "transient", "persistent"])
    ]
    (folder / "reasons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_the_sentence_says_what_was_found(plots: Path) -> None:
    early = early_decisions(results(NUMBERS, plots), 1)
    assert early is not None
    for part in ("best extractor, transformer", "96.0 %", "6.0 of 32 frames", "82.0 %", "2.50 points",
                 "The control is at chance."):
        assert part in early.sentence
    off = early_decisions(results(NUMBERS | {"control.first_frame.accuracy_ci95_low": 0.505}, plots), 1)
    assert off is not None and "Not at chance within their intervals: The candidate" in off.sentence
    four_laws = {key: value for key, value in NUMBERS.items() if ".regret" not in key and "control" not in key}
    harder = early_decisions(results(four_laws, plots), 1)
    assert harder is not None
    assert "best extractor, magvit" in harder.sentence  # by harmonic mean
    assert "no optimum is known" in harder.sentence and "controls were not run" in harder.sentence


def test_every_extractor_and_the_reference_have_a_row() -> None:
    run = results(NUMBERS, Path("none"))
    assert extractors(run) == ["magvit", "transformer"] and best_of(run, extractors(run)) == "transformer"
    table = extractor_table(run, extractors(run))
    assert table is not None
    assert [(line.name.partition(":")[0], line.best) for line in table.lines] == [
        ("magvit", False), ("transformer", True), ("reference", False),
    ]
    cells = [dict(zip(table.columns, line.cells, strict=True)) for line in table.lines]
    assert (cells[1]["Decisions right"].text, cells[1]["Decisions right"].below) == ("96.0 %", "95.0 … 97.0")
    assert (cells[1]["ECE"].text, cells[1]["ECE"].below) == ("0.010", "ideal 0.005")
    assert cells[0]["Compute saved"].text == "–" and cells[2]["Harmonic mean"].text == "0.667"
    assert [one.at_chance for one in controls(run)] == [True]
    lives = groups(run, extractors(run))[0]
    assert [(line.name, line.cells[1].text, line.cells[1].below, line.cells[2].text) for line in lives.lines] == [
        ("1–2 frames", "99.0 %", "at frame 4.2", "20"), ("to the end", "97.0 %", "", "–"),
    ]


def test_charts_tables_and_pictures_are_drawn(plots: Path) -> None:
    early = early_decisions(results(NUMBERS, plots), 1)
    assert early is not None and early.operating is not None and early.frames is not None
    assert "a fixed frame from frame 8 on is as often right" in early.operating.caption
    drawn = spec_of(early.operating)["data"]["values"]
    assert len({row["name"] for row in drawn}) == 4 and sum(row["points"] for row in drawn) == 1
    assert ("transformer", 3, 50) in [(row["name"], row["at"], row["y"]) for row in bars_of(early.frames)]
    cells = spec_of(early.confusions["magvit"])["data"]["values"]
    assert [row["text"] for row in cells] == ["0", "1", "0", "1"]
    assert "uniform = 1" in early.attention["transformer"].drawing
    assert [(one.right, one.sentence) for one in early.reasons] == [(True, "Told 0."), (False, "Told 1.")]
    assert [one.title for one in early.pictures] == [one.title for one in early.heads] == ["transformer"]
    assert early.pictures[0].width == 434 and early.cost is not None and early.cost.width == 1300


def test_the_best_for_each_budget_is_read_from_its_table(plots: Path) -> None:
    table = budgets(results(NUMBERS, plots))
    assert table is not None and table.columns == ("Best", "Accuracy", "By rule")
    assert [(line.name, [(cell.text, cell.below) for cell in line.cells]) for line in table.lines] == [
        ("3", [("no extractor decides so early", ""), ("–", ""), ("–", "")]),
        ("8", [("transformer", ""), ("96.2 %", ""), ("confidence", "7.2 frames")]),
    ]


def test_what_is_missing_is_noted_and_the_rest_stays(plots: Path) -> None:
    for name in ("operating.csv", "decisions.csv", "budgets.csv", "reasons.jsonl", "attention/transformer_heads.png"):
        (plots / "detect_persistence" / name).unlink()
    run = results(NUMBERS, plots)
    early = early_decisions(run, 1)
    assert early is not None
    assert early.operating is early.frames is early.budgets is None and early.confusions == {}
    assert list(early.reasons) == [] and early.heads == [] and len(early.pictures) == 1 and len(early.attention) == 1
    for name in ("operating.csv", "reasons.jsonl", "attention/transformer_heads.png", "attention/magvit.png"):
        assert f"plots/detect_persistence/{name}" in run.missing
    bare = Results({}, plots / "none")
    assert early_decisions(bare, 1) is None and bare.missing == ["plots/detect_persistence/numbers.csv"]
    only_plots = early_decisions(Results({}, plots), 1)
    assert only_plots is not None and only_plots.extractors is None and "No extractor" in only_plots.sentence


def test_damaged_files_are_named(plots: Path) -> None:
    table = plots / "detect_persistence" / "decisions.csv"
    table.write_text("extractor,actual\na,b\n")
    with pytest.raises(UserError, match=r"decisions.csv: no column 'predicted'"):
        early_decisions(results(NUMBERS, plots), 1)
    table.write_text("extractor,track_id,actual,predicted,frames\n")
    empty = early_decisions(results(NUMBERS, plots), 1)
    assert empty is not None and empty.frames is None
    (plots / "detect_persistence" / "attention" / "transformer.png").write_text("no picture")
    with pytest.raises(UserError, match=r"transformer.png: not a picture"):
        early_decisions(results(NUMBERS, plots), 1)


def test_pictures_are_averaged_down_and_let_the_page_through(tmp_path: Path) -> None:
    pixels = np.full((4, 8, 3), 255, np.uint8)
    pixels[:, :4] = 40
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made = picture(tmp_path / "a.png", "a", "about", widest=5, clear=True)
    again = picture(tmp_path / "a.png", "a", "about", widest=5, clear=True)
    assert (made.width, made.height) == (4, 2) and made == again
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.source.partition(",")[2]))))
    assert kept[0, :, 3].tolist() == [255, 255, 0, 0] and abs(int(kept[0, 0, 0]) - 40) < 6
    plain = picture(tmp_path / "a.png", "a", "about")
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(plain.source.partition(",")[2])))).shape == (4, 8, 3)
