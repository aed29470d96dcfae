"""What pyproject.toml declares, what modules import, and a process that sees no more than the core dependencies."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OWN = {"kinetoken", "stages", "tools", "studies", "tests", "benchmarks"}
NAMES = {  # import → distribution
    "PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "ruamel": "ruamel-yaml",
    "vl_convert": "vl-convert-python",
}

BLOCKING = """
from importlib.machinery import PathFinder

class Sparse:
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else PathFinder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(PathFinder, name)

sys.meta_path = [Sparse() if finder is PathFinder else finder for finder in sys.meta_path]
"""


@dataclass(frozen=True)
class Imported:
    """An import of somebody else's package: where, and whether Python runs it when the module is imported."""

    package: str  # as imported, without submodules
    path: Path
    line: int
    at_once: bool

    @property
    def distribution(self) -> str:
        return normal(NAMES.get(self.package, self.package))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Distributions by extra; those of the core under an empty name."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {_name(requirement) for requirement in found} for extra, found in lists.items()}


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None, requirement
    return normal(match[0])


def imports(folder: str) -> Iterator[Imported]:
    """All imports of others' packages under a folder, but for those that only type checkers follow."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node, at_once in _running(ast.parse(path.read_text(encoding="utf-8")), True):
            for package in _packages(node):
                if package not in sys.stdlib_module_names and package not in OWN:
                    yield Imported(package, path.relative_to(ROOT), getattr(node, "lineno", 0), at_once)


def _running(tree: ast.AST, at_once: bool) -> Iterator[tuple[ast.AST, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node, at_once
        yield from _running(node, at_once and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))


def _packages(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def closure(distributions: Iterable[str]) -> set[str]:
    """The distributions and all that they require, here or elsewhere, without extras."""
    found: set[str] = set()
    waiting = list(distributions)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            try:
                required = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # for another system
                continue
            waiting += [_name(each) for each in required if not re.search(r"\bextra\s*==", each)]
    return found


def beyond_core() -> list[str]:
    """Packages that are installed here and would not be with the core dependencies alone."""
    core = closure(declared()[""])
    return sorted(
        package for package, owners in metadata.packages_distributions().items()
        if not {normal(owner) for owner in owners} & core and package != "kinetoken"
        and package not in sys.stdlib_module_names
    )


def run_with_core_alone(code: str, folder: Path) -> list[str]:
    """Run code in `folder`, in a process in which no package beyond the core's can be imported; what it printed."""
    prelude = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nBLOCKED = set({json.dumps(beyond_core())})\n{BLOCKING}\n"
    done = subprocess.run([sys.executable, "-c", prelude + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
