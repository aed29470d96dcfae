"""A name means one thing: no two public classes of the library share theirs."""

import ast
from collections import Counter
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "kinetoken"


def test_no_two_public_classes_have_one_name() -> None:
    found = Counter(
        node.name for path in LIBRARY.rglob("*.py") for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert len(found) > 100
    assert [name for name, times in found.items() if times > 1] == []
