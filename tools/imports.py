"""Which of the project's own files a stage depends on: the transitive closure of its imports.

DVC reruns a stage when a file it depends on changes; this module finds the files, so that dvc.yaml
lists them all and no others. Imports inside functions count, those under ``if TYPE_CHECKING`` do not. A
folder of templates beside a module that names it in a string counts too, file by file.

    python -m tools.imports stages/train_classifier.py     # print the list
    python -m tools.imports --write dvc.yaml               # put every stage's list into dvc.yaml, or a study's
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError

PACKAGES = ("kinetoken", "stages", "studies", "tools")


def closure(script: str | Path, root: str | Path = ".") -> list[str]:
    """Paths relative to `root` of all files that running `script` may import, the script first, then sorted.

    Raises UserError for an import that cannot be followed: a name that does not exist, a module chosen
    at run time, or one of the package's lazy loaders (import it from its module instead).
    """
    root = Path(root).resolve()
    start = (root / script).resolve()
    if not start.is_file():
        raise UserError(f"{script}: no such file")
    found: set[Path] = set()
    waiting = [start, *_package_files(start, root)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            if file.suffix == ".py":
                waiting += _imported_files(file, root)
    rest = sorted((found - {start}), key=lambda file: file.relative_to(root).as_posix())
    return [file.relative_to(root).as_posix() for file in (start, *rest)]


@cache
def _imported_files(file: Path, root: Path) -> tuple[Path, ...]:
    tree = syntax_tree(file.read_text(encoding="utf-8"), file.relative_to(root).as_posix())
    files: list[Path] = []
    for node in _running_nodes(tree):
        for module, name in _imports_of(node, file, root):
            files += _resolve(module, name, root, f"{file.relative_to(root).as_posix()}:{node.lineno}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            files += _files_beside(file, node.value)
    return tuple(files)


def syntax_tree(source: str, name: str) -> ast.Module:
    """The tree of a module's source; UserError naming the line of a fault."""
    try:
        return ast.parse(source, name)
    except SyntaxError as error:
        raise UserError(f"{name}:{error.lineno}: not Python: {error.msg}") from None


def _files_beside(file: Path, name: str) -> list[Path]:
    """The files of a folder `name` without Python in it, beside a module."""
    if not name.isidentifier() or not (file.parent / name).is_dir():
        return []
    files = [path for path in (file.parent / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [] if any(path.suffix == ".py" for path in files) else files


def _running_nodes(tree: ast.AST) -> Iterator[Any]:
    """Every node but those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield other
                yield from _running_nodes(other)
            continue
        yield node
        yield from _running_nodes(node)


def _imports_of(node: ast.AST, file: Path, root: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name imported from it or None) of an import statement or a call of import_module."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            package = file.relative_to(root).parent.parts
            module = ".".join([*package[: len(package) - node.level + 1], *filter(None, [module])])
        for alias in node.names:
            yield module, alias.name
    elif isinstance(node, ast.Call) and _called_name(node) in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value), None
        elif file.name != "__init__.py":  # a package's lazy loaders: whoever uses one is told below
            raise UserError(f"{file.relative_to(root).as_posix()}:{node.lineno}: module chosen at run time")
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PACKAGES:
        if node.attr in _lazy_names(root / node.value.id):
            yield node.value.id, node.attr


def _called_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _resolve(module: str, name: str | None, root: Path, where: str) -> list[Path]:
    """The files behind ``import module`` or ``from module import name``; none if they are not the project's."""
    if module.split(".")[0] not in PACKAGES:
        return []
    place = root.joinpath(*module.split("."))
    if name is not None and name in _lazy_names(place):
        raise UserError(f"{where}: {module}.{name} is loaded lazily; import it from its own module")
    candidates = [place / "__init__.py", place.with_suffix(".py")]
    if name is not None:
        candidates = [place / f"{name}.py", place / name / "__init__.py", *candidates]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise UserError(f"{where}: no module {module}" + (f" or {module}.{name}" if name else ""))
    return [file, *_package_files(file, root)]


def _package_files(file: Path, root: Path) -> list[Path]:
    """The ``__init__.py`` that Python runs on the way to a module."""
    folders = [folder for folder in file.parents if folder != root and root in folder.parents]
    return [init for folder in folders if (init := folder / "__init__.py").is_file()]


@cache
def _lazy_names(package: Path) -> frozenset[str]:
    """Names that a package's ``__getattr__`` resolves from a table of modules, `_LOADERS`."""
    init = package / "__init__.py"
    if not init.is_file():
        return frozenset()
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "_LOADERS" for t in node.targets):
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def is_code(dep: object) -> bool:
    """Whether an entry of deps is of the project's own code, or a hash of it, rather than data."""
    return isinstance(dep, str) and dep.split("/")[0] in ("code", *PACKAGES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="+", help="scripts whose files to print")
    options = parser.parse_args()
    try:
        for script in options.scripts:
            print("\n".join(closure(script)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
