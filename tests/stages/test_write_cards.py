"""The stage writes whole pages into its folder, says what has no card, and runs from its command line."""

from pathlib import Path

import pytest

from kinetoken.cards.models import MODELS
from kinetoken.cards.params import WriteCards
from kinetoken.core.stage import Context, run_stage
from stages import write_cards
from stages.write_cards import Paths
from tests.support.card_run import take_away, write_run

PARAMS = WriteCards("mit", ("Someone",), None, None)


def test_the_folder_holds_a_card_for_each_model(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    paths = Paths(run.plots, run.models, run.data, run.settings, tmp_path / "plots" / "cards")
    write_cards.run(PARAMS, paths, Context.silent())
    found = {path.name: path.read_bytes() for path in paths.cards.iterdir()}
    assert set(found) == {f"{model.name}.md" for model in MODELS} | {"dataset.md", "README.md"}
    assert all(page.startswith(b"---\nlicense: mit\n") for name, page in found.items() if name != "README.md")
    assert all(page.endswith(b"\n") and b"\r" not in page for page in found.values())


def test_its_command_line_replaces_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path)
    take_away(run.models / "generator", "the clips have no classes")
    monkeypatch.chdir(tmp_path)
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "generator.md").write_text("of a run before")
    words = ["--params", str(run.settings), "--cards", str(cards)]
    assert run_stage(write_cards.run, WriteCards, Paths, argv=words) == 0
    assert not (cards / "generator.md").exists() and (cards / "tokenizer.md").exists()
    assert "| `models/generator` | the clips have no classes |" in (cards / "README.md").read_text(encoding="utf-8")
    (run.models / "tokenizer" / "config.json").write_text("{")
    assert run_stage(write_cards.run, WriteCards, Paths, argv=words) == 1
    assert "error: write_cards: models/tokenizer: not a model folder" in capsys.readouterr().err
    assert (cards / "tokenizer.md").exists(), "a run that fails leaves what was there"
