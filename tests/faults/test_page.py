"""The page of faults names tests that are there, and every test of this folder."""

import ast
import re

from tests.support.fault_stage import ROOT

NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/faults.md").read_text(encoding="utf-8"))


def _tests_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_test_that_the_page_names_is_there() -> None:
    assert not [f"{path}::{name}" for path, name in NAMED if name not in _tests_of(path)]


def test_each_fault_tried_here_is_on_the_page() -> None:
    for path in ("tests/faults/test_killed.py", "tests/faults/test_machine.py", "tests/faults/test_stages.py"):
        rest = _tests_of(path) - {name for place, name in NAMED if place == path}
        assert rest <= {"test_notes_that_cannot_be_kept_end_no_work"}, rest
