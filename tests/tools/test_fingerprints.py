"""The hash of a script's code: what changes it and what does not."""

import shutil
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from tools.fingerprints import fingerprint, tree_hash

ROOT = Path(__file__).parents[2]
CODE = '''"""Doc."""
import math

LIMIT = 3  # a comment


class Thing:
    """Doc."""

    size: int = 2

    def area(self, by: float = 1.0) -> float:
        """Doc."""
        return self.size * by  # m
'''


@pytest.mark.parametrize("old, new", [
    ('"""Doc."""', '"""Other words."""'),
    ("# a comment", ""),
    ("LIMIT = 3", "LIMIT = (\n    3\n)"),
    ("import math\n", 'import math\n\n__all__ = ["LIMIT"]\n_LOADERS = {"a": "b"}\n'),
])
def test_words_and_layout_leave_the_hash(old: str, new: str) -> None:
    assert old in CODE and tree_hash(CODE.replace(old, new)) == tree_hash(CODE)


@pytest.mark.parametrize("old, new", [
    ("LIMIT = 3", "LIMIT = 4"),
    ("LIMIT = 3", "LIMIT = 3.0"),
    ("LIMIT = 3", "LIMIT = True"),
    ("LIMIT = 3", "LIMIT = None"),
    ("LIMIT = 3", "LIMIT = '3'"),
    ("size: int", "size: float"),
    ("by: float = 1.0", "by: float"),
    ("self.size * by", "self.size / by"),
    ("return self", "self"),
    ('    """Doc."""\n        return self', '    assert """Doc."""\n        return self'),
    ("import math", "from math import pi"),
])
def test_anything_that_runs_changes_the_hash(old: str, new: str) -> None:
    assert old in CODE and tree_hash(CODE.replace(old, new)) != tree_hash(CODE)


def test_a_string_that_is_no_docstring_counts() -> None:
    assert tree_hash("x = 1\n'a'\n") != tree_hash("x = 1\n'b'\n")
    assert tree_hash("def f(): return\n") != tree_hash("def f(): return None\n")


def test_code_that_is_no_python_is_named() -> None:
    with pytest.raises(UserError, match="broken.py:2: not Python"):
        tree_hash("x = 1\nx =\n", "broken.py")


def test_every_file_of_the_closure_counts_and_no_other(tmp_path: Path) -> None:
    for name, text in {
        "stages/go.py": "from kinetoken import a\n",
        "kinetoken/__init__.py": "",
        "kinetoken/a.py": "def f():\n    from kinetoken import b\n",
        "kinetoken/b.py": "x = 1\n",
        "kinetoken/c.py": "x = 1\n",
    }.items():
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_text(text)
    before = fingerprint("stages/go.py", tmp_path / "one")
    counts = {"kinetoken/b.py": True, "kinetoken/a.py": True, "kinetoken/c.py": False, "stages/go.py": True}
    for name, changes in counts.items():
        copy = Path(shutil.copytree(tmp_path / "one", tmp_path / name.replace("/", "_")))
        (copy / name).write_text((copy / name).read_text() + "\nedited = 2\n")
        assert (fingerprint("stages/go.py", copy) != before) is changes, name
