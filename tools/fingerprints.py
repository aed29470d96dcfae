"""One hash for all the code that a script runs: DVC reruns a stage when its hash changes, and only then.

The hash covers the syntax trees of the script and of everything that it imports of the project's own. Docstrings,
comments and layout are left out, since they change no result; so are the tables of names that a package resolves on
first use (`_LOADERS`, `__all__`), since code that uses one of these names is refused by `tools.imports`.

    python -m tools.fingerprints stages/train_classifier.py     # print the hash
"""

import argparse
import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from tools.imports import closure, syntax_tree

LAZY_TABLES = ("_LOADERS", "__all__")


def fingerprint(script: str | Path, root: str | Path = ".") -> str:
    """The hash of the code behind `script` (a path relative to `root`), 64 hex digits.

    Raises UserError for an import that cannot be followed or a file that is no Python.
    """
    digest, folder = hashlib.sha256(), Path(root).resolve()
    for name in closure(script, root):
        digest.update(f"{name} {_file_hash(folder / name)}\n".encode())
    return digest.hexdigest()


@cache
def _file_hash(file: Path) -> str:
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return tree_hash(file.read_text(encoding="utf-8"), str(file))


def tree_hash(source: str, name: str = "<source>") -> str:
    """The hash of a module's syntax tree, equal for sources that run alike but for their docstrings."""
    return hashlib.sha256(repr(_plain(syntax_tree(source, name))).encode()).hexdigest()


def _plain(node: Any) -> object:  # noqa: ANN401 - a syntax tree holds anything
    """Nested tuples of a syntax tree; empty fields are left out, as Python's versions do not agree on them."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in _telling_fields(node))
        return (type(node).__name__, *(pair for pair in fields if pair[1] not in (None, ())))
    if isinstance(node, list):
        return tuple(_plain(each) for each in node)
    return (type(node).__name__, repr(node)) if node is not None else None


def _telling_fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list):
            yield name, [each for each in _without_docstring(node, value) if not _is_lazy_table(each)]
        elif name not in ("type_comment", "kind"):
            yield name, value


def _without_docstring(node: ast.AST, body: list[Any]) -> list[Any]:
    if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return body
    return body if ast.get_docstring(node, clean=False) is None else body[1:]


def _is_lazy_table(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(getattr(t, "id", "") in LAZY_TABLES for t in node.targets)


def scripts_under(folder: Path) -> Iterator[Path]:
    """The scripts of a folder and of those below it; packages' own files are none."""
    yield from (path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="+", help="scripts whose hash to print")
    options = parser.parse_args()
    try:
        for script in options.scripts:
            print(fingerprint(script), script)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
