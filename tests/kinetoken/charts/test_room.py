"""The room of charts: it knows nothing of what it shows, and nothing that trains knows of it."""

import ast
from pathlib import Path

import pytest

from tools.imports import closure

ROOT = Path(__file__).parents[3]
CHARTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "kinetoken" / "charts").glob("*.py"))
LIBRARY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "kinetoken").rglob("*.py"))
DRAWING = ("matplotlib", "altair", "plotly")


def imported(file: str) -> set[str]:
    """Modules that a file names in its own import statements, those inside functions too."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""}
    return found


TRAINING = [
    file for file in LIBRARY if file.startswith("kinetoken/training/") or "kinetoken.training.loop" in imported(file)
]


@pytest.mark.parametrize("file", CHARTS)
def test_charts_rest_on_the_core_alone(file: str) -> None:
    rest = [path for path in closure(file, ROOT) if path != "kinetoken/__init__.py"]
    assert [path for path in rest if not path.startswith(("kinetoken/charts/", "kinetoken/core/"))] == []


@pytest.mark.parametrize("file", TRAINING)
def test_what_trains_reaches_no_drawing(file: str) -> None:
    reached = closure(file, ROOT)
    assert [path for path in reached if path.startswith("kinetoken/charts/")] == []
    drawing = {path: imported(path) for path in reached if path.endswith(".py")}
    assert [path for path, names in drawing.items() if any(name.startswith(DRAWING) for name in names)] == []


def test_there_is_something_to_look_at() -> None:
    assert len(TRAINING) > 15 and "kinetoken/charts/figures.py" in CHARTS


def test_templates_are_code_of_the_page_that_they_make() -> None:
    files = closure("stages/build_report.py", ROOT)
    for folder in ("charts", "report"):
        templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kinetoken" / folder).glob("templates/*.j2")}
        assert templates and templates <= set(files)
    assert "kinetoken/diagnosis/templates/doctor.html.j2" in closure("kinetoken/diagnosis/page.py", ROOT)
    assert not any(path.endswith(".j2") for path in closure("stages/diagnose_codes.py", ROOT))
