"""A tokenizer named on the command line: what is found, and what is said of what is not."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.examination.loading import load_adapter

MODULE = """
from tests.support.tokenizers import Toy

tokenizer = Toy()
class Inner:
    made = Toy
def make():
    return Toy()
def wants(path):
    return Toy()
number = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "adapters_here.py").write_text(MODULE)
    (tmp_path / "breaks_here.py").write_text("raise RuntimeError('no weights')")
    (tmp_path / "needs_here.py").write_text("import never_heard_of")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("attribute", ["tokenizer", "Inner.made", "make"])
def test_an_object_a_class_or_a_function_of_the_current_folder(folder: Path, attribute: str) -> None:
    assert type(load_adapter(f"adapters_here:{attribute}")).__name__ == "Toy"


@pytest.mark.parametrize(("spec", "message"), [
    ("adapters_here", "adapters_here: no such folder, and not module:attribute"),
    ("adapters_here:", "no such folder, and not module:attribute"),
    ("adapters_gone:tokenizer", "adapters_gone: no such module in the current folder"),
    ("adapters_here.deep:tokenizer", "no such module in the current folder"),
    ("adapters_here:absent", "module adapters_here has no attribute 'absent'"),
    ("adapters_here:wants", "calling this function without arguments failed: TypeError"),
    ("breaks_here:tokenizer", "importing it failed: RuntimeError: no weights"),
    ("needs_here:tokenizer", "it imports never_heard_of, which is not installed"),
])
def test_what_cannot_be_loaded_is_one_sentence(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_adapter(spec)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_model(folder: Path) -> None:
    with pytest.raises(UserError, match="neither a tokenizer of this project"):
        load_adapter(str(folder))
