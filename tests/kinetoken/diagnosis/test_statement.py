"""A verdict as data: what is written is read back whole, and the words say what the data hold."""

import dataclasses
import json
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.statement import Measured, Said, Statement, read_statement, write_statement
from kinetoken.diagnosis.text import verdict_page, write_verdict

COLLAPSE = Said(
    "codebook collapse", "kept", 1 / 3, "mild", "likely", "Few codes.", "Bring more.", "Train longer.", "x = 1", ("a",)
)
POOLED = Said("pooling drops position", "kept", 0.0, "none", "likely", "Reading falls.", "", "Keep the grid.", "", ())
STATEMENT = Statement(
    2, "pytorch", False, COLLAPSE, COLLAPSE, (POOLED,),
    (Measured("floor", 0.25), Measured("probe_pixels", None), Measured("top1_share", 1 / 7)),
    (Measured("codebook_size", 10240.0),), ("No tracks were given.",),
)


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    write_verdict(tmp_path / "v.md", tmp_path / "v.json", STATEMENT)
    assert read_statement(tmp_path / "v.json") == STATEMENT
    assert (tmp_path / "v.md").read_text() == verdict_page(STATEMENT)


def test_words_say_what_the_data_hold() -> None:
    page = verdict_page(STATEMENT).splitlines()
    assert page[:27] == [
        "# Verdict: codebook collapse", "",
        "Codebook collapse: one or a few codes carry nearly all tokens; it costs 33% of what can be read.", "",
        "**How are the codes used?** The codes were not counted, so nothing can be said about their use.", "",
        "**What did they keep?** Lost: 33% of what can be read (codebook collapse). "
        "Also: pooling drops position (worth knowing).", "",
        "## Codebook collapse", "",
        "Few codes. Cost: 33% of what can be read (severity: mild). Confidence: likely.", "",
        "**What to do:** Train longer.", "", "```python", "x = 1", "```", "", "Sources: a.", "",
        "**What would make it surer:** Bring more.", "",
        "## Pooling drops position", "", "Reading falls. Confidence: likely.", "", "**What to do:** Keep the grid.",
    ]
    assert "| labels read from pixels | not measured |" in page and "| entries of the codebook | 10,240 |" in page
    most = "| tokens with the most frequent entry | 14.3 % |"
    assert page.index(most) < page.index("## Other measures")
    unknown = dataclasses.replace(STATEMENT, headline=dataclasses.replace(COLLAPSE, severity=None))
    assert unknown.lost == "" and "Few codes. Confidence: likely." in verdict_page(unknown).splitlines()
    assert [one.measure for one in STATEMENT.deciding] == ["top1_share"]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    endless = dataclasses.replace(STATEMENT, others=(Measured("picture_gain_db", float("inf")),))
    write_statement(tmp_path / "v.json", endless)
    assert read_statement(tmp_path / "v.json").others == (Measured("picture_gain_db", None),)


def test_a_damaged_file_is_named_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    with pytest.raises(UserError, match=r"v\.json: no such file"):
        read_statement(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"v\.json: not JSON"):
        read_statement(path)
    write_statement(path, STATEMENT)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in whole.items() if key != "kept"}))
    with pytest.raises(UserError, match=r"v\.json: statement\.kept: missing"):
        read_statement(path)
    path.write_text(json.dumps({**whole, "rests_on": [{"measure": "floor", "value": "much"}]}))
    with pytest.raises(UserError, match=r"rests_on\[0\]\.value: expected a number"):
        read_statement(path)
