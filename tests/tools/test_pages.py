"""Pages say what the results say: the committed ones, and toy pages whose results are known."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.report.headline import HEADLINES, headline_rows
from kinetoken.report.headline_words import WORDS
from kinetoken.report.results import Results
from tools import pages, studies
from tools.results import MOST_IMPORTANT, TABLES, Source, minutes, read_source, result_table, value

ROOT = Path(__file__).parents[2]
NUMBERS = {
    "train_tokenizer": {"psnr_db": 41.26, "psnr_db_floor": 20.0, "psnr_db_ci95_low": 41.0, "psnr_db_ci95_high": 41.5},
    "train_classifier": {
        "accuracy": 0.9, "accuracy_floor": 0.25, "accuracy_ci95_low": 0.88, "accuracy_ci95_high": 0.92,
        "per_class.linear": 0.96, "prefix.1.accuracy": 0.5, "prefix.2.accuracy": 0.9,
    },
}
TARGETS = {"train_tokenizer.psnr_db": 40.0, "train_classifier.accuracy": 0.97}


@pytest.fixture
def source() -> Source:
    results = Results(NUMBERS, ROOT / "plots")
    return Source(ROOT, results, headline_rows(results, TARGETS))


# ---- the committed pages


def test_pages_say_what_the_results_say() -> None:
    assert [path.name for path in pages.outdated(ROOT)] == [], "run make pages"
    shown = "".join(page.read_text(encoding="utf-8") for page in pages.pages(ROOT))
    assert len(re.findall("<!-- table: studies/", shown)) >= 9
    assert set(re.findall(r"<!-- results: (\w+) -->", shown)) == set(TABLES)


def test_the_front_page_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    source = read_source(ROOT)
    for name in MOST_IMPORTANT:
        row = source.row(name)
        assert f"**{row.title}.**" in text and row.interval != "–" and row.floor != "–", name


def test_each_headline_is_explained_once() -> None:
    assert set(WORDS) == {one.name for one in HEADLINES}
    for one in HEADLINES:
        words = WORDS[one.name]
        assert words.measured.endswith(".")
        rows = {row.name: row for row in read_source(ROOT).rows}
        assert (rows[one.name].floor != "–") == bool(words.baseline), one.name
        assert (rows[one.name].ceiling != "–") == bool(words.upper_bound), one.name


def test_each_study_is_on_its_page() -> None:
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| [^|]*\? \|", text, re.MULTILINE)
    assert sorted(listed) == studies.names(ROOT)


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(cited["version"]) == (project.get("version") or import_module("kinetoken.core.version").__version__)
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
    assert cited["cff-version"] == "1.2.0" and cited["authors"] == [{"name": "The Kinetoken authors"}]
    assert f"[{cited['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---- tables and numbers


def test_a_row_has_baseline_interval_and_target(source: Source) -> None:
    table = result_table("all", source).splitlines()
    assert table[2] == "| *Reconstruction* (`train_tokenizer`) | | | | | |"
    assert table[3].endswith(
        "| **41.3 dB** | 41.0 … 41.5 dB | 20.0 dB (mean of all training clips) | – | ≥ 40.0 dB: met |"
    )
    classifier = next(line for line in table if "position kept" in line)
    assert classifier.endswith(
        "| **90.0 %** | 88.0 … 92.0 % | 25.0 % (most frequent class) | – | ≥ 97.0 %: **missed** |"
    )
    assert len({line.count("|") for line in table}) == 1


def test_accuracy_by_slices_is_in_order(source: Source) -> None:
    assert [line.split("|")[1:3] for line in result_table("by_slices", source).splitlines()[2:]] == [
        [" 1 of 2 ", " **50.0 %** "], [" 2 of 2 ", " **90.0 %** "],
    ]


def test_numbers_within_sentences(source: Source) -> None:
    assert value("train_tokenizer.psnr_db", "dB", source) == "41.3 dB"
    assert value("train_classifier.accuracy", "share", source) == "90.0 %"
    assert value("train_tokenizer.psnr_db", ".2f", source) == "41.26"
    assert value("params.train_classifier.epochs", "", source) == str(
        yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train_classifier"]["epochs"]
    )
    seconds = json.loads((ROOT / "profiles" / "stage_seconds.json").read_text(encoding="utf-8"))
    assert 0 <= 60 * minutes(ROOT) - sum(seconds.values()) < 60


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("train_tokenizer.nothing", "", "no number 'train_tokenizer.nothing'"),
        ("params.train_classifier.nothing", "", "no number 'params.train_classifier.nothing'"),
        ("params.train_classifier", "", "no number 'params.train_classifier'"),
        ("train_tokenizer.psnr_db", "decibels", "no unit 'decibels'"),
    ],
)
def test_an_unknown_number_is_named(name: str, form: str, said: str, source: Source) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        value(name, form, source)


def test_what_this_run_did_not_make_is_named(source: Source) -> None:
    with pytest.raises(UserError, match="no such headline"):
        result_table("headline", source)
    with pytest.raises(UserError, match="train_predictor: no numbers in plots/"):
        result_table("prediction_by_class", source)


# ---- places in pages


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One study with a table, made by a commit that no code followed."""
    files = {
        "studies/toy/dvc.yaml": "# What a toy is worth. make study NAME=toy\nstages: {}\n",
        "studies/toy/made_from.json": '{"commit": "abc1234"}',
        "studies/toy/plots/table.md": "| a |\n|---|\n| 5 |\n",
        "docs/page.md": "Before.\n<!-- table: studies/toy/plots/table.md -->\nold\n<!-- end -->\nAfter.\n",
        "README.md": "```\n<!-- results: nothing -->\n```\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_page_takes_the_table_and_its_source(project: Path) -> None:
    found = pages.outdated(project)
    assert found == {project / "docs/page.md": (
        "Before.\n<!-- table: studies/toy/plots/table.md -->\n| a |\n|---|\n| 5 |\n\n"
        "Made by the code of commit `abc1234`.\n<!-- end -->\nAfter.\n"
    )}, "what a fence shows is left as it is"
    (project / "docs/page.md").write_text(found[project / "docs/page.md"], encoding="utf-8")
    assert pages.outdated(project) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: studies/toy/plots/table.md -->\nno end\n", "has no <!-- end -->"),
        ("<!-- table: studies/toy/plots/table.md -->\n<!-- table: studies/toy/x -->\n<!-- end -->\n", "has no"),
        ("<!-- table: studies/toy/plots/none.md -->\n<!-- end -->\n", "no table 'studies/toy/plots/none.md'"),
        ("<!-- table: README.md -->\n<!-- end -->\n", "no table 'README.md'"),
        ("<!-- value: minutes -->5<!-- end --> minutes\n", "begins a line"),
        ("- <!-- results: all -->\n<!-- end -->\n", "no numbers of any stage"),
        ("<!-- cures: luck -->\n<!-- end -->\n", "no question 'luck'; a page of cures has use, kept, data"),
    ],
)
def test_a_fault_names_its_page(text: str, said: str, project: Path) -> None:
    (project / "docs/page.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"docs/page.md: .*{re.escape(said)}"):
        pages.outdated(project)


def test_a_page_takes_the_cures_of_a_question(project: Path) -> None:
    page = project / "docs/page.md"
    page.write_text("<!-- cures: data -->\n<!-- end -->\n", encoding="utf-8")
    text = pages.outdated(project)[page]
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == [
        "Too little data", "Labels not separable in pixels", "Class shows in still frames",
    ]
    own = text[text.index("### Labels"):]
    assert "| Kinetoken | Change the scene" in own and "```sh\ndvc exp run -S " in own
    page.write_text(text, encoding="utf-8")
    assert pages.outdated(project) == {}


def test_an_unknown_table_is_named(source: Source) -> None:
    with pytest.raises(UserError, match="no table of results 'nothing'; there are all, beyond_training"):
        result_table("nothing", source)
