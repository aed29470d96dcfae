"""Figures are the same bytes whatever backend and style the environment asks for, and change nothing around them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinetoken.charts import figures
from kinetoken.charts.figures import STYLE, figure_style, new_figure, save_png
from tests.support.drawn import DRAWERS

ROOT = Path(__file__).parents[3]
FOLDERS = ("kinetoken", "stages", "studies", "benchmarks")
NAMES = [name for drawers in DRAWERS.values() for name in drawers]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


SOURCES = {_module(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def _draw_all(folder: Path, **environment: str) -> dict[str, bytes]:
    """The figures as a process with these environment variables draws them."""
    folder.mkdir(parents=True, exist_ok=True)
    cleared = {name: text for name, text in os.environ.items() if name not in ("MPLBACKEND", "DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.drawn", str(folder)], cwd=ROOT, capture_output=True, text=True,
        env=cleared | environment,
    )
    assert done.returncode == 0, done.stderr
    return {name: (folder / f"{name}.png").read_bytes() for name in NAMES}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The figures with nothing said by the environment."""
    return _draw_all(tmp_path_factory.mktemp("drawn"))


def test_the_environments_backend_and_style_change_no_byte(drawn: dict[str, bytes], tmp_path: Path) -> None:
    """A backend that is not installed, as a notebook's elsewhere, and a style of the user's own."""
    (tmp_path / "matplotlibrc").write_text(
        "backend: GTK4Agg\nfont.size: 20\naxes.facecolor: black\nlines.linewidth: 5\nsavefig.bbox: tight\n"
    )
    found = _draw_all(tmp_path / "drawn", MPLBACKEND="module://gone", MATPLOTLIBRC=str(tmp_path / "matplotlibrc"))
    assert [name for name in NAMES if found[name] != drawn[name]] == []


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_no_module_goes_through_pyplot() -> None:
    """pyplot takes the backend of the environment; `new_figure` is the one way to a figure."""
    found = {name: _imported(path) for name, path in SOURCES.items()}
    assert {name for name, names in found.items() if any("pyplot" in each for each in names)} == set()
    own = {name for name, names in found.items() if "matplotlib" in names}
    assert own == {figures.__name__}


def test_every_module_that_draws_is_tried() -> None:
    taken = {name for name, path in SOURCES.items() if f"{figures.__name__}.new_figure" in _imported(path)}
    assert taken == set(DRAWERS)


def test_nothing_around_a_figure_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: its backend, its style and its open figures are its own."""
    import matplotlib
    from matplotlib import pyplot

    monkeypatch.setenv("MPLBACKEND", "svg")
    with matplotlib.rc_context({"font.size": 17.0}):
        pyplot.switch_backend("svg")
        theirs, before = pyplot.figure(), dict(matplotlib.rcParams)

        @figure_style()
        def draw() -> None:
            assert matplotlib.rcParams["font.size"] == STYLE["font.size"]
            figure = new_figure(figsize=(2, 1))
            figure.subplots().plot(np.arange(3))
            save_png(figure, tmp_path / "new" / "a.png")

        draw()
        assert dict(matplotlib.rcParams) == before and pyplot.get_fignums() == [theirs.number]
        assert os.environ["MPLBACKEND"] == "svg" and pyplot.get_backend() == "svg"
        pyplot.close(theirs)
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
