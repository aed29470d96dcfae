"""Text that a user can choose stays text: in Markdown, in tables, in blocks of code and in YAML."""

import html
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetoken.cards.markdown import as_yaml, fenced, portable, render
from kinetoken.charts.markdown import Markdown, plain, table

HOSTILE = (
    "a \"b\" 'c' | d", "`code` *bold* _em_ ~~no~~", "key: value # no comment", "<script>alert(1)</script>",
    "[x](http://e.org) @you $$x$$ www.e.org", "---", "&amp; \\| \\", "- {a: [1]}", "``` ```",
)


def read_back(text: str) -> str:
    """What a reader of the Markdown sees."""
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]#|~])", r"\1", text))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    shown = plain(text)
    assert read_back(shown) == read_back(plain(read_back(shown)))
    assert "\n" not in shown and not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]]", shown) and "<" not in shown
    assert shown == "" or read_back(shown).split() == re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_its_cell(text: str) -> None:
    assert read_back(plain(text)) == text
    row = table(("class", "clips"), [[text, 3]]).splitlines()[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3
    assert "http://" not in row and "@you" not in row


@pytest.mark.parametrize("text", HOSTILE)
def test_a_fence_is_longer_than_any_inside(text: str) -> None:
    first, *inner, last = fenced(text, "yaml").splitlines()
    assert first == last + "yaml" and inner == [text] and last not in text


@pytest.mark.parametrize("text", HOSTILE)
def test_yaml_gives_the_text_back(text: str) -> None:
    written = as_yaml({"name": text, text: [text]})
    assert yaml.safe_load(written) == {"name": text, text: [text]}
    assert not re.search(r"^(---|\.\.\.)\s*$", written, re.MULTILINE)


def test_no_folder_of_a_machine_is_shown() -> None:
    section = {"checkpoint": "/home/someone/r3d.pth", "other": "~/x/y.pth", "third": "C:\\a\\b.pth", "depth": [1]}
    assert portable(section) == {"checkpoint": "r3d.pth", "other": "y.pth", "third": "b.pth", "depth": [1]}
    assert portable("data/sources/mine.csv") == "data/sources/mine.csv"


def test_a_template_escapes_what_is_no_markdown() -> None:
    page = render("index.md.j2", None, {"cards": "*a*", "gaps": Markdown("*b*")})
    assert "\\*a\\*" in page and "\n*b*\n" in page
