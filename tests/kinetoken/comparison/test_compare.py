"""`kinetoken compare` on a small repository of the real layout: two branches, one changed parameter."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinetoken.cli import app
from kinetoken.comparison.comparison import RevisionComparison, compare
from kinetoken.comparison.page import to_html
from kinetoken.comparison.results import Compared, KnownNumber
from kinetoken.comparison.text import to_markdown
from kinetoken.core.errors import UserError
from tests.support.two_revisions import CONFUSION, CURVES, NUMBERS, PICTURE, commit, git, two_revisions


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_revisions(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def found(repository: Path) -> RevisionComparison:
    return compare(repository, "main", "short")


def row(found: RevisionComparison, name: str) -> Compared:
    return next(one for one in (*found.headlines, *found.others) if one.name == name)


def test_causes(found: RevisionComparison) -> None:
    assert [(one.section, one.name, one.b) for one in found.params] == [("train_classifier", "epochs", "4")]
    assert found.fingerprints == ["train_classifier"]
    assert [(one.path, one.added, one.removed) for one in found.code] == [("kinetoken/a.py", 1, 0)]
    (rerun,) = found.reruns
    assert (rerun.stage, rerun.how) == ("train_classifier", "ran again")
    assert rerun.causes == ("parameter train_classifier.epochs",)
    assert rerun.outputs == ("models/classifier",)
    assert found.test_data == []


def test_verdicts_are_by_interval_and_direction(found: RevisionComparison) -> None:
    verdicts = {
        "train_classifier.accuracy": "worse", "train_classifier.pooling.spatial_mean.accuracy": "within",
        "train_position.error_px": "better", "train_classifier.ece": "no interval",
        "train_tokenizer.parameters": "changed", "train_tokenizer.psnr_db": "equal",
    }
    assert {name: row(found, name).verdict for name in verdicts} == verdicts
    one = row(found, "train_classifier.accuracy")
    assert one.difference == pytest.approx(-0.02)
    below, above = math.hypot(0.01, 0.005), math.hypot(0.01, 0.005)
    assert one.interval == pytest.approx((-0.02 - below, -0.02 + above))
    half = math.hypot(0.01, 0.01)
    assert row(found, "train_position.error_px").interval == pytest.approx((-0.05 - half, -0.05 + half))


def test_the_interval_of_lopsided_ends() -> None:
    """Against the sides that face each other; an interval that ends at 0 holds it."""
    a, b = KnownNumber(0.5, None, None, 0.5, 0.6), KnownNumber(0.6, None, None, 0.6, 0.6)
    one = Compared("s", "accuracy", "", "share", "higher", a, b)
    assert one.interval == pytest.approx((0.0, 0.1)) and one.verdict == "within"
    assert Compared("s", "k", "", "", "lower", a, None).verdict == "gone"
    assert Compared("s", "k", "", "", "lower", None, a).verdict == "new"


def test_the_other_way_round_is_the_mirror_image(repository: Path, found: RevisionComparison) -> None:
    back = compare(repository, "short", "main")
    swap = {"better": "worse", "worse": "better", "new": "gone", "gone": "new"}
    assert [one.verdict for one in back.headlines] == [swap.get(one.verdict, one.verdict) for one in found.headlines]
    assert [(one.path, one.added, one.removed) for one in back.code] == [("kinetoken/a.py", 0, 1)]


def test_the_working_tree_is_a_revision(repository: Path, found: RevisionComparison) -> None:
    git(repository, "switch", "--quiet", "--detach", "main")
    git(repository, "restore", "--source=short", "--", ".")
    try:
        for words in (("main", "."), ("main", "workspace")):
            tree = compare(repository / "plots", *words)
            assert tree.headlines == found.headlines and tree.params == found.params and tree.code == found.code
        assert [one.added for one in compare(repository, ".", "main").code] == [0]
    finally:
        git(repository, "restore", ".")
        git(repository, "switch", "--quiet", "main")


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text of each table row by its class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[str]] = {}
        self._row: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self._row = dict(attrs).get("class")
            self.rows.setdefault(self._row or "", []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._row = None if tag == "tr" else self._row

    def handle_data(self, data: str) -> None:
        if self._row is not None:
            self.rows[self._row][-1] += f" {data.strip()}"


def test_the_page(found: RevisionComparison) -> None:
    text = to_html(found)
    page = Page(text)
    assert "Class predicted from codes, position kept" in page.rows["worse"][0]
    assert "−2.0 points" in page.rows["worse"][0] and "99.0 %" in page.rows["worse"][0]
    assert [row for row in page.rows["better"] if "Ball position from codes, error" in row]
    assert [row for row in page.rows["within"] if "codes averaged over space" in row]
    assert [row for row in page.rows["changed"] if "parameters" in row]
    colours = {state for state in page.rows if re.search(rf"\.{state} \.word span {{ background: var\(--", text)}
    assert colours == {"better", "worse", "changed"}  # green and red only beyond the interval
    assert "root of the sum of their squares" in text
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags and text.count("onerror") == text.count("&lt;img src=x onerror")
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href")]
    assert links and all(str(value).startswith("data:") for value in links)
    assert sum(tag == "img" for tag, _ in page.tags) == 2  # the picture of both revisions
    assert text.count('class="confusion"') == 2 and text.count("line c0 dashed") == 2  # loss and val_loss, A dashed
    assert len(text) < 300_000
    equal = text.index("Equal headlines")
    assert text.rindex("<details", 0, equal) > text.index("<h2>Headlines")
    assert "open" not in text[text.rindex("<details", 0, equal):equal]
    assert text == to_html(found)


def test_the_markdown(found: RevisionComparison) -> None:
    text = to_markdown(found)
    lines = text.splitlines()
    assert lines[0] == "# main → short"
    assert any(line.startswith("| train_classifier | epochs | ") and line.endswith(" | 4 |") for line in lines)
    assert any(line.startswith("| Class predicted from codes, position kept | 25.0 % |") and "▼ worse" in line
               for line in lines)
    assert "1 parameter and the code of 1 stage differ. 1 stage ran again." in text
    assert "Reconstruction, all pixels" not in text  # equal
    tables = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} <= {4, 5, 9}
    assert "<img" not in text


def test_the_command(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    words = ["compare", "main", "short", "--repo", str(repository), "--out", str(out)]
    printed = CliRunner().invoke(app, [*words, "--json"])
    assert printed.exit_code == 0, printed.output
    content = json.loads(printed.stdout)
    assert content["params"] == [{"section": "train_classifier", "name": "epochs", "a": "5", "b": "4"}]
    assert {one["name"]: one["verdict"] for one in content["headlines"]}["train_classifier.accuracy"] == "worse"
    assert content["equal"]["headlines"] > 30 and content["pictures"] == [PICTURE]
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1 and "--force" in again.stderr
    assert CliRunner().invoke(app, [*words, "--force"]).stdout.startswith("# main → short")
    assert git(repository, "status", "--porcelain") == ""


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Iterator[Path]:
    git(tmp_path, "clone", "--quiet", str(repository), "copy")
    yield tmp_path / "copy"


@pytest.mark.parametrize(("words", "said"), [
    (("main", "nowhere"), "'nowhere' is no commit, branch or tag"),
    (("main", "--upload-pack=x"), "'--upload-pack=x' is no commit"),
    (("main", ""), "'' is no commit"),
    (("main", "main"), "both the same commit"),
    (("main", "HEAD"), "both the same commit"),
    ((".", "workspace"), "both the working tree"),
])
def test_revisions_that_cannot_be_compared(repository: Path, words: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        compare(repository, *words)


@pytest.mark.parametrize(("path", "content", "said"), [
    ("dvc.lock", None, "HEAD has no dvc.lock; choose a revision that has results"),
    ("plots", None, "HEAD has no plots/<stage>/numbers.csv: it has no results, or is older"),
    ("dvc.lock", "stages: [", "HEAD: dvc.lock: not valid YAML"),
    ("dvc.lock", "stages: 3\n", "HEAD: dvc.lock: expected `stages`"),
    ("params.yaml", "- 1\n", "HEAD: params.yaml: expected keys and values"),
    (NUMBERS, "name,value\n", f"HEAD: {NUMBERS}: not a table of numbers"),
    (CONFUSION, "a,b\n1,2\n", f"HEAD: {CONFUSION}: no column 'actual'"),
    (CURVES, "a,b\n1\n", f"HEAD: {CURVES}: a row has more or fewer"),
    (PICTURE, "no picture", f"HEAD: {PICTURE}: not a picture"),
])
def test_damaged_files_are_named(copy: Path, path: str, content: str | None, said: str) -> None:
    target = copy / path
    if content is None:
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    else:
        target.write_text(content)
    commit(copy, "damage")
    with pytest.raises(UserError) as caught:
        compare(copy, "HEAD~1", "HEAD")
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value) and "/tmp" not in str(caught.value)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not in a git repository"):
        compare(tmp_path, "a", "b")
    with pytest.raises(UserError, match="no such folder"):
        compare(tmp_path / "absent", "a", "b")


def test_links_in_a_commit_are_not_followed(copy: Path) -> None:
    (copy / NUMBERS).unlink()
    (copy / NUMBERS).symlink_to("/etc/hostname")
    commit(copy, "a link")
    found = compare(copy, "HEAD~1", "HEAD")
    assert row(found, "train_classifier.accuracy").verdict == "gone"
