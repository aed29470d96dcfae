"""What the DVC extension of VS Code is given: `dvc plots diff --json --split`, whose anchors it fills in itself."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc_render.vega import OPTIONAL_ANCHOR_RANGES

from tools.smoke import environment

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".dvc" / "plots").glob("*.json"))
ANCHOR = re.compile(r"<DVC_METRIC_\w+>")
NEEDED = {"<DVC_METRIC_DATA>", "<DVC_METRIC_TITLE>", "<DVC_METRIC_X>", "<DVC_METRIC_X_LABEL>", "<DVC_METRIC_Y>",
          "<DVC_METRIC_Y_LABEL>"}
BUILT_IN = {"bar_horizontal", "bar_horizontal_sorted", "confusion", "confusion_normalized", "linear", "scatter",
            "scatter_jitter", "simple", "smooth"}


def strings(node: Any) -> list[str]:
    """All texts of a template, those of its keys left out."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_has_the_anchors_that_dvc_fills(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    texts = strings(content)
    assert re.fullmatch(r"https://vega\.github\.io/schema/vega-lite/v5\.json", content["$schema"])
    assert content["data"] == {"values": "<DVC_METRIC_DATA>"}
    assert {anchor for text in texts for anchor in ANCHOR.findall(text)} >= NEEDED
    assert "datum.rev" in json.dumps(content) or '"rev"' in json.dumps(content), "revisions must be told apart"
    assert path.stem not in BUILT_IN


def colours(node: Any) -> list[Any]:
    """What each encoding says of the colour."""
    if isinstance(node, list):
        return [one for value in node for one in colours(value)]
    if not isinstance(node, dict):
        return []
    own = node.get("encoding", {}).get("color")
    return [one for value in node.values() for one in colours(value)] + ([] if own is None else [own])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_revisions_have_the_colours_that_dvc_and_its_extension_give_them(path: Path) -> None:
    """DVC fills them in where a template leaves that to it; it says nothing of one that does not."""
    found = colours(json.loads(path.read_text(encoding="utf-8")))
    assert not [one for one in found if isinstance(one, dict) and one.get("field") == "rev"]
    assert ("<DVC_METRIC_COLOR>" in found) == (path.stem in ("calibration", "intervals"))
    for one in found if path.stem.startswith("lines") else []:  # a line a revision where a table has one series
        assert one["field"] == "series" and one["scale"]["range"][:4] == OPTIONAL_ANCHOR_RANGES["color"][:4]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Title → the plots of it, of the working tree and the last commit, as the extension asks for them."""
    command = [str(Path(sys.executable).parent / "dvc"), "plots", "diff", "HEAD", "--json", "--split", "-o",
               str(tmp_path_factory.mktemp("plots"))]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert not found.get("errors")
    data: dict[str, list[dict[str, Any]]] = found["data"]
    return data


def test_every_plot_is_handed_over_with_both_revisions(shown: dict[str, list[dict[str, Any]]]) -> None:
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    assert list(shown) == [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    for title, plots in shown.items():
        assert {revision for plot in plots for revision in plot["revisions"]} >= {"workspace"}, title
        assert {plot["type"] for plot in plots} == {"image" if title.endswith(".png") else "vega"}


def test_what_is_left_for_the_extension_is_defined_and_whole(shown: dict[str, list[dict[str, Any]]]) -> None:
    """An anchor that the extension fills must be a whole text: it puts a number, a list or nothing in its place."""
    for title, plots in shown.items():
        for plot in (each for each in plots if each["type"] == "vega"):
            left = [text for text in strings(plot["content"]) if ANCHOR.search(text)]
            assert left and {*left} <= {*plot["anchor_definitions"]}, title
            assert plot["anchor_definitions"]["<DVC_METRIC_DATA>"], title
            assert plot["anchor_definitions"].get("<DVC_METRIC_COLOR>", {"field": "rev"})["field"] == "rev", title
            assert plot["anchor_definitions"]["<DVC_METRIC_TITLE>"] == title
