"""`kinetoken examine` and `kinetoken compare-cards`: what they print, write, and say of what they cannot use."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kinetoken.cli import app
from kinetoken.diagnosis import api
from kinetoken.examination.motion_set import MotionSet
from tests.kinetoken.examination.test_examine import QUICK

MODULE = """
from tests.support.tokenizers import Constant, Toy

tokenizer = Constant()
class Breaks(Toy):
    def encode(self, video):
        raise RuntimeError("out of memory")
"""


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(api, "DEFAULT", QUICK)
    monkeypatch.delitem(sys.modules, "my_adapters", raising=False)
    (tmp_path / "my_adapters.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examine_and_compare(folder: Path, toy_set: MotionSet) -> None:
    given = ("examine", "my_adapters:tokenizer", "--clips", "80", "--set", toy_set.store.folder, "--threads", "1")
    done = call(*given, "--out", "card", "--json", "--quiet", "--name", "mine", "--library", "magvit2-pytorch")
    assert done.exit_code == 0 and done.stderr == "", done.stderr
    shown = json.loads(done.stdout)
    assert shown == json.loads((folder / "card/card.json").read_text())
    assert shown["verdict"]["cause"] == "codebook collapse"
    assert (shown["tokenizer"]["name"], shown["tokenizer"]["library"]) == ("mine", "magvit2-pytorch")
    refused = call(*given, "--out", "card")
    assert refused.exit_code == 1 and "error: examine: card exists" in refused.stderr
    side = call("compare-cards", "card", "card/card.json", "--out", "both")
    assert side.exit_code == 0 and side.stdout == (folder / "both/comparison.md").read_text()
    assert json.loads(call("compare-cards", "card", "card", "--json").stdout)["names"] == ["mine", "mine (2)"]


def test_progress_goes_to_standard_error_and_the_card_to_standard_output(folder: Path, toy_set: MotionSet) -> None:
    done = call("examine", "my_adapters:tokenizer", "--clips", "80", "--set", toy_set.store.folder,
                "--threads", "1")
    assert done.exit_code == 0 and done.stdout.startswith("# Motion card of Constant: Codebook collapse")
    assert "examine: encoding (80 clips)" in done.stderr and "examine: decoding (24 clips)" in done.stderr


@pytest.mark.parametrize(("words", "message"), [
    (("examine", "my_adapters:absent"), "module my_adapters has no attribute 'absent'"),
    (("examine", "nothing"), "nothing: no such folder, and not module:attribute"),
    (("examine", "my_adapters:tokenizer", "--clips", "10"), "--clips 10: at least 40"),
    (("examine", "my_adapters:tokenizer", "--size", "8"), "size must be a whole number of at least 16, found 8"),
    (("examine", "my_adapters:Breaks", "--clips", "40"), "tokenizer Breaks: encode raised RuntimeError: out of memory"),
    (("examine", "my_adapters:tokenizer", "--set", "."), ".: no motion set"),
    (("compare-cards", "absent", "absent"), "absent: no such file"),
    (("compare-cards", "my_adapters.py", "absent"), "my_adapters.py: not JSON"),
    (("compare-cards", "absent"), "give at least two cards to compare"),
])
def test_bad_input_is_one_message_and_exit_code_1(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = call(*words, *(("--quiet",) if words[0] == "examine" else ()))
    assert done.exit_code == 1 and done.stdout == "" and message in done.stderr
    assert done.stderr.startswith(f"error: {words[0]}: ") and done.stderr.count("\n") == 1
