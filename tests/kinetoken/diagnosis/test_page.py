"""The doctor's page: every finding can be shown, the codebook is a map, numbers have names, nothing is fetched."""

import dataclasses
import html
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kinetoken
from kinetoken.charts.cells import STEPS, Shades, cell_map
from kinetoken.diagnosis import cures, plain
from kinetoken.diagnosis.api import DEFAULT, DiagnosisResult
from kinetoken.diagnosis.causes import CANNOT_TELL, WITHOUT, Verdict
from kinetoken.diagnosis.cure_tables.findings import MEANINGS
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.finding import CERTAIN, KEPT, USE, Finding
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.page import MOST_MAPS, codebook_maps, rows_of, table_rows, to_html, to_json, to_markdown
from kinetoken.diagnosis.rules import HEALTHY
from kinetoken.diagnosis.tally import MOST_BINS, Tally, by_entry
from tests.support.json_schema import faults

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "kinetoken/diagnosis/report.schema.json").read_text(encoding="utf-8"))
QUICK = dataclasses.replace(
    DEFAULT, shown_clips=40, probe=dataclasses.replace(DEFAULT.probe, epochs=4, width=16, heads=2)
)
MEASURED = Measures(
    floor=0.25, probe_pixels=0.97, probe_latents=None, probe_codes=0.5, probe_codes_pooled=0.3, codebook_size=1000,
    perplexity_foreground=150.0, top1_share_foreground=0.05, effective_rank_latents=None, latent_channels=None,
    quantization_error=None, mismatch=None, foreground_gain_db=None, background_gain_db=None, perplexity=60.0,
    top1_share=0.2, kept_low=0.3, kept_high=0.4, planted=0.8, test_clips=640.0,
)
SOUND = Finding(HEALTHY, KEPT, 0.01, CERTAIN, "Codes read as well as pixels.")
NAMES = [(question, name) for question, names in MEANINGS.items() for name in names]
INFORMATION = pd.DataFrame({
    "point": ["pixels", "codes", "codes_pooled"], "probe": "linear", "accuracy": [0.97, 0.5, 0.3],
    "accuracy_ci95_low": [0.95, 0.46, 0.26], "accuracy_ci95_high": [0.98, 0.54, 0.34], "accuracy_floor": 0.25,
    "bits": [1.8, 0.5, 0.1],
})


def report_of(headline: Finding, kept: Finding = SOUND, entries: pd.DataFrame | None = None) -> Report:
    verdict = Verdict(headline, kept, () if headline == kept else (kept,))
    numbers = {"usage": 0.5, "usage_floor": 0.001, "perplexity": 60.0, "probe": {"codes": 0.5, "codes_floor": 0.25}}
    tables = {"information": INFORMATION} | ({} if entries is None else {"entries": entries})
    return Report(verdict, MEASURED, numbers, tables, ("Something was assumed.",))


def counted(counts: list[int], **given: Any) -> pd.DataFrame:
    tally = Tally((1, 1, 1), len(counts), 0, 7, **given)
    tally.groups[0] = counts
    return by_entry(tally)


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.parametrize(("question", "name"), NAMES)
def test_every_finding_is_shown_with_its_sentence_evidence_and_cure(question: Any, name: str) -> None:
    finding = Finding(name, question, 0.4, CERTAIN, f"Evidence of {name}.", "Bring more of it.")
    report = report_of(finding, finding if question == KEPT else SOUND)
    statement = report.statement()
    assert statement.sentence.startswith(f"{name[:1].upper()}{name[1:]}: ") and "it costs 40% of" in statement.sentence
    assert statement.sentence.count(". ") == 0 and statement.sentence.endswith(".")
    for page in (text_of(to_html(report, "x")), to_markdown(report)):
        assert statement.sentence in page and finding.evidence in page and "Bring more of it." in page
        assert "How are the codes used?" in page and "What did they keep?" in page
    assert list(faults(to_json(report), SCHEMA, SCHEMA)) == []


@pytest.mark.parametrize("what", WITHOUT)
def test_what_cannot_be_told_says_what_to_bring_and_no_cost(what: str) -> None:
    unknown = Finding(f"{CANNOT_TELL}{what}", KEPT, None, CERTAIN, "Nothing to compare.", "Bring the thing (--thing).")
    statement = report_of(unknown, unknown).statement()
    assert "not known what the codes kept" in statement.sentence and "%" not in statement.sentence
    page = text_of(to_html(report_of(unknown, unknown), "x"))
    assert page.index("Bring the thing (--thing).") < page.index("Evidence, and what to do")


def test_the_cost_is_a_share_of_what_the_finding_is_about() -> None:
    dead = Finding("dead codebooks", USE, 0.75, CERTAIN, "Three of four.")
    lost = dataclasses.replace(SOUND, name="lost in quantizing", severity=0.6)
    assert "it costs 75% of the codebooks." in report_of(dead).statement().sentence
    both = report_of(dead, lost).statement().sentence
    assert both.endswith("it costs 75% of the codebooks, and the codes lost 60% of what can be read.")
    worse = report_of(dataclasses.replace(dead, severity=0.9), dataclasses.replace(lost, severity=0.9))
    assert worse.statement().sentence.endswith("it costs 90% of what can be read.")
    unknown = report_of(Finding("probe too weak", KEPT, None, CERTAIN, "Control missed.")).statement()
    assert unknown.sentence.endswith("what it costs is not known.") and unknown.lost == ""


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = to_html(report_of(SOUND, SOUND, counted([3, 0, 5])), "x")
    assert "<script" not in page and "script-src" not in page and "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) and "url(" not in page and "@import" not in page


def test_the_chain_is_drawn_between_guessing_and_no_error_with_the_control_beside_it() -> None:
    page = to_html(report_of(SOUND), "x")
    assert "pixels 96%, codes 33%, averaged codes 7%, planted control 80%" in page
    assert "codes: 33.3%, 95 % interval 28.0% to 38.7%" in page and page.count('class="hollow"') == 1
    bare = dataclasses.replace(report_of(SOUND), tables={})
    assert "no error" not in to_html(bare, "x")


def test_the_map_has_a_cell_an_entry_and_shows_the_dead() -> None:
    maps = codebook_maps(report_of(SOUND, entries=counted([0, 1, 10, 100, 0])))
    assert maps is not None and maps.all[0].caption == "3 of 5 entries occur (60.0%)."
    drawing = maps.all[0].drawing
    runs = re.findall(r"M\d+ \d+h(\d+)v1", drawing)
    assert sum(map(int, runs)) == 5
    dead = re.search(r'class="dead" d="([^"]*)"', drawing)
    assert dead is not None and dead[1] == "M0 0h1v1h-1zM1 1h1v1h-1z"
    opacities = [float(one) for one in re.findall(r'fill-opacity="([\d.]+)"', drawing)]
    assert opacities == sorted(opacities) and len(opacities) == 3 and opacities[-1] == 1


def test_shades_follow_the_logarithm() -> None:
    shades = Shades.over([0, 1, 10**4, 10**8])
    assert [shades.of(value) for value in (0, 1, 10**4, 10**8)] == [0, 1, 1 + STEPS // 2, STEPS]
    assert Shades.over([5, 5]).of(5) == STEPS and Shades.over([]).of(0) == 0
    assert 'viewBox="0 0 64 63"' in cell_map([1.0] * 4000, Shades(1, 1), "x")


def test_a_large_codebook_is_binned_and_keeps_its_counts() -> None:
    counts = np.zeros(2**18, int)
    counts[::7] = 3
    table = counted(counts.tolist())
    assert len(table) == MOST_BINS and table["entries"].unique().tolist() == [64]
    assert table["count"].sum() == counts.sum() and table["used"].sum() == (counts > 0).sum()
    maps = codebook_maps(report_of(SOUND, entries=table))
    assert maps is not None and "A cell is 64 entries in a row." in maps.all[0].caption


def test_a_codebook_too_large_to_count_is_binned_by_the_codes_that_occur() -> None:
    codes = np.array([0, 2**61, 2**62 - 1])
    table = counted([4, 5, 6], sizes=(3,), declared=(2**62,), codes=codes)
    assert len(table) == MOST_BINS and table["count"].tolist().count(0) == MOST_BINS - 3
    assert table.loc[0, "count"] == 4 and table["count"].iloc[-1] == 6 and table["used"].sum() == 3
    assert table["entries"].sum() == 2**62


def test_several_codebooks_are_mapped_one_by_one() -> None:
    table = counted([1, 0, 0, 2, 2, 2], sizes=(3, 3))
    maps = codebook_maps(report_of(SOUND, entries=table))
    assert maps is not None
    assert [one.title for one in maps.all] == ["codebook 1", "codebook 2"] and maps.left_out == ""
    assert [one.caption[:6] for one in maps.all] == ["1 of 3", "3 of 3"]
    many = codebook_maps(report_of(SOUND, entries=counted([1] * 60, sizes=(2,) * 30)))
    assert many is not None and len(many.all) == MOST_MAPS and "of 30 codebooks" in many.left_out
    assert codebook_maps(report_of(SOUND)) is None


def test_numbers_have_plain_names_and_what_has_none_is_folded_away() -> None:
    report = dataclasses.replace(report_of(SOUND), numbers={
        "usage": 0.5, "usage_floor": 0.001, "usage_ci95_low": 0.4, "usage_ci95_high": 0.6, "odd": {"key": 3.0},
        "codebooks": {"1": {"usage": 0.2}, "2": {"usage": 0.25}}, "dead_codes": 12345,
    })
    page = to_html(report, "x")
    seen = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    words = text_of(seen)
    assert "entries that occur 50.0 % 0.1 % 40.0 … 60.0 %" in words and "never occur 12,345" in words
    assert "codebook 1: entries that occur 20.0 %" in words and "codebook 2: entries that occur 25.0 %" in words
    assert "codes keep, of what the best point before them shows 34.7 % 0.0 % 100.0 % 30.0 … 40.0 %" in words
    assert "odd.key" in page and "odd.key" not in seen and page.count("<details>") == 1


def test_every_measure_has_a_plain_name() -> None:
    assert {field.name for field in dataclasses.fields(Measures)} <= plain.MEASURES.keys()
    assert set(plain.TITLES) == set(plain.NUMBERS)


# Reports of real examinations, of several kinds.


@pytest.fixture(scope="module")
def examined() -> dict[str, DiagnosisResult]:
    rng = np.random.default_rng(0)
    levels = np.stack([rng.integers(0, 8, (60, 4, 2, 2)), np.full((60, 4, 2, 2), 3)], -1)
    kind = np.arange(160) % 2  # read without error by the simplest probe, so that no other is trained
    plain_codes = rng.integers(0, 2, (160, 2, 2, 2)) + 2 * kind[:, None, None, None]
    clips = np.kron(plain_codes, np.ones((1, 1, 4, 4), np.uint8)).astype(np.uint8) * 60
    label = np.array(["dark", "bright"])[kind]
    given = {"params": QUICK, "threads": 1}
    return {
        "flat": kinetoken.diagnose(np.zeros((200, 4, 2, 2), int), config={"codebook_size": 512}, **given),
        "residual": kinetoken.diagnose(levels, layout="B,T,H,W,Q", config={"codebook_size": 8}, **given),
        "features": kinetoken.diagnose(plain_codes + rng.normal(0, 0.1, plain_codes.shape), **given),
        "compared": kinetoken.diagnose(plain_codes, labels=label, clips=clips, library="kinetoken", **given),
    }


def test_real_reports_keep_to_the_schema(examined: dict[str, DiagnosisResult]) -> None:
    for name, found in examined.items():
        report = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert list(faults(report, SCHEMA, SCHEMA)) == [], name
        if importlib.util.find_spec("jsonschema") is not None:
            importlib.import_module("jsonschema").validate(report, SCHEMA)


def test_the_schema_finds_faults(examined: dict[str, DiagnosisResult]) -> None:
    report = examined["flat"].to_json()
    assert list(faults(report | {"schema": 1}, SCHEMA, SCHEMA)) == ["$.schema: 1 is not 2"]
    broken = report | {"numbers": {"usage": {"mean": "much"}}, "kept": {**report["kept"], "severity": 2}}
    assert len(list(faults(broken, SCHEMA, SCHEMA))) == 2
    assert list(faults({}, SCHEMA, SCHEMA)) == [f"$: {name} is missing" for name in SCHEMA["required"]]


def test_real_pages_say_the_sentence_and_every_number(examined: dict[str, DiagnosisResult]) -> None:
    for name, found in examined.items():
        page, markdown = to_html(found.report, name), found.to_markdown()
        assert found.statement.sentence in text_of(page) and found.statement.sentence in markdown
        named = {row for _, rows in plain.grouped(table_rows(found.report)) for row in rows}
        raw = plain.unnamed(table_rows(found.report))
        assert len(named) + len(raw) >= len(rows_of(found.numbers)) - 1
        assert all(f'<th scope="row">{row.name}</th>' in page for row in raw)
        assert all(html.escape(row.words, quote=False).replace("'", "&#39;") in page for row in named)
        assert ("The codebook as a map" in page) == (name != "features")
    assert "codebook 2: 1 of 8" in to_html(examined["residual"].report, "x")


def test_a_report_writes_its_entries(examined: dict[str, DiagnosisResult], tmp_path: Path) -> None:
    examined["residual"].write(tmp_path / "report")
    table = pd.read_csv(tmp_path / "report/entries.csv")
    assert list(table.columns) == ["codebook", "entry", "entries", "used", "count"] and len(table) == 16
    assert table[table["codebook"] == 2]["count"].tolist() == [0, 0, 0, 960, 0, 0, 0, 0]


# What docs/doctor.md says.


def test_docs_name_every_finding_and_every_field_of_the_report() -> None:
    page = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([a-zA-Z4 ]+?) \|", page, re.MULTILINE)
    for name in cures.names():
        assert name == HEALTHY or name in table, f"docs/doctor.md has no row for {name}"
    verdict = SCHEMA["properties"]["verdict"]["properties"]
    for field in (*SCHEMA["properties"], *verdict):
        assert f"`{field}`" in page, f"docs/doctor.md does not describe {field}"
