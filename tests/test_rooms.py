"""docs/architecture.md against the imports: every room is there, and uses only rooms above it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "kinetoken"
TABLE = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
OWN = {LIBRARY / "__init__.py", LIBRARY / "__main__.py"}  # the package's own, in no room
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path not in OWN)
KNOW_NO_TOKENS = ("core", "physics", "scores", "layers", "training", "scenes")


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Each module of the project that a file imports, and the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if node.module == "kinetoken" else node.module, node.lineno) for name in names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def test_every_room_is_in_the_table_once() -> None:
    assert sorted(TABLE) == sorted({room_of(path) for path in MODULES})


@pytest.mark.parametrize("room", TABLE)
def test_a_room_uses_only_those_above_it(room: str) -> None:
    allowed = set(TABLE[: TABLE.index(room) + 1])
    for path in (path for path in MODULES if room_of(path) == room):
        for module, line in imported(path):
            first, _, rest = module.partition(".")
            assert first not in ("stages", "studies", "tools", "tests"), f"{path}:{line} imports {module}"
            if first == "kinetoken":
                assert rest.split(".")[0] in allowed, f"{path}:{line} imports {module}, a room below"


@pytest.mark.parametrize("folder", ["studies", "benchmarks"])
def test_functions_that_others_need_stand_in_the_library(folder: str) -> None:
    """A study may run a stage as a whole (`from stages import NAME`), but takes no function out of its script."""
    for path in (ROOT / folder).rglob("*.py"):
        assert not [module for module, _ in imported(path) if module.startswith("stages.")], path


def test_the_first_rooms_know_no_video_tokens() -> None:
    for path in (path for path in MODULES if room_of(path) in KNOW_NO_TOKENS):
        assert not [module for module, _ in imported(path) if re.match(r"kinetoken\.(codes|tokenizer)", module)], path
