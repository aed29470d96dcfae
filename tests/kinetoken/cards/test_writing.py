"""Cards of the committed results, of a run without classes, of own classes, of damaged and missing files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import DatasetCardData, ModelCardData

from kinetoken.cards.models import MODELS, Model
from kinetoken.cards.params import WriteCards
from kinetoken.cards.writing import Cards, Run, make_cards
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers, write_numbers_table
from kinetoken.core.params import load_params
from tests.kinetoken.cards.test_markdown import HOSTILE, read_back
from tests.support.card_run import ROOT, take_away, write_clips, write_run

PARAMS = WriteCards("apache-2.0", ("A: \"B\" # 'C'", "<b>|"), "some-lab", "https://example.org/kinetoken")
NO_CLASSES = "the clips have no classes"
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def cards(run: Run) -> Cards:
    return make_cards(run, PARAMS)


def front_matter(page: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(page.split("\n---\n")[0])
    return found


def links(page: str) -> list[str]:
    outside_code = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)]+)\)", outside_code)


def test_there_is_a_page_for_every_model_the_clips_and_an_index(cards: Cards) -> None:
    assert set(cards.pages) == {f"{model.name}.md" for model in MODELS} | {"dataset.md", "README.md"}
    assert cards.gaps == {} and "No card" not in cards.pages["README.md"]
    assert {f"{model.name}.md" for model in MODELS} | {"dataset.md"} == set(links(cards.pages["README.md"]))


@each_model
def test_the_hub_reads_the_same_results(model: Model, cards: Cards, run: Run) -> None:
    """Each number of the model index is that of the stage's table, and its baseline and interval are in the text."""
    page = cards.pages[f"{model.name}.md"]
    card = ModelCard(page)
    data = card.data
    assert isinstance(data, ModelCardData)
    assert (data.license, data.library_name, data.datasets) == ("apache-2.0", "kinetoken", ["some-lab/kinetoken-clips"])
    assert data.pipeline_tag == model.pipeline_tag and "kinetoken" in data.tags
    assert data.model_name == f"kinetoken-{model.name.replace('_', '-')}"
    wanted = {
        one.name: read_numbers(run.plots / one.name.partition(".")[0] / "numbers.csv").get(one.name.partition(".")[2])
        for one in model.measures if one.metric is not None
    }
    values = [value for value in wanted.values() if value is not None]
    assert values and sorted(values) == sorted(result.metric_value for result in data.eval_results)
    names = [result.metric_name for result in data.eval_results]
    assert len(set(names)) == len(names) and not any("…" in name for name in names)
    assert {result.metric_type for result in data.eval_results} == set(data.metrics)
    assert all(result.dataset_split == "test" for result in data.eval_results)
    assert data.to_dict() == front_matter(page)
    assert card.text.count("\n## Results\n") == 1 and "| baseline | upper bound |" in card.text


def test_a_row_has_baseline_upper_bound_and_interval(cards: Cards, run: Run) -> None:
    numbers = read_numbers(run.plots / "train_classifier" / "numbers.csv")
    row = next(line for line in cards.pages["classifier.md"].splitlines() if "**Class predicted from codes" in line)
    for key, words in (("accuracy", "**"), ("accuracy_floor", " (most frequent class)"), ("accuracy_ci95_low", "")):
        assert f"{100 * numbers[key]:.1f}" in row and words in row
    assert "(classifier on true positions)" in row


@each_model
def test_a_card_says_all_that_a_user_needs(model: Model, cards: Cards) -> None:
    page = cards.pages[f"{model.name}.md"]
    for part in ("Licence:** `apache-2.0`", "`make repro`", "  seed: ", "| train | ", "| 15 |", "<https://example.org/",
                 f"hf download some-lab/kinetoken-{model.name.replace('_', '-')} --local-dir models/{model.name}"):
        assert part in page, part
    assert f"\n{model.stage}:\n" in page and len(re.findall(r"^- ", page.split("## Limits")[1], re.MULTILINE)) >= 3
    assert not re.search(r"\b(FRAMES|SIZE|FOLDER|None|Undefined)\b", re.sub(r"`see\(None|see\(None", "", page))
    assert "<b>" not in page.split("\n---\n", 1)[1] and read_back(page).count("<b>|") >= 1
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)$", page, re.M)}
    assert all(link.removeprefix("#") in anchors for link in links(page))


def test_the_dataset_card_is_one(cards: Cards) -> None:
    page = cards.pages["dataset.md"]
    data = DatasetCard(page).data
    assert isinstance(data, DatasetCardData)
    assert data.to_dict() == front_matter(page)
    assert data.size_categories == ["n<1K"] and data.task_categories == ["video-classification"]
    assert {one["config_name"] for one in data.configs} == {
        f"{name}_{what}" for name in ("motion", "persistence") for what in ("videos", "trajectories")
    }
    assert "| circular | 2 | 2 | 2 | 2 |" in page and "| all | 8 | 8 | 8 | 8 |" in page
    assert "| Something falling down | 1 | 1 | 1 |" in page and "Control: class from the first frame" in page


def test_the_same_files_give_the_same_bytes_and_no_traces(cards: Cards, tmp_path: Path) -> None:
    again = make_cards(write_run(tmp_path), PARAMS)
    assert again == cards
    whole = "\n".join(cards.pages.values())
    assert str(ROOT) not in whole and str(tmp_path.parent) not in whole
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\b[0-9a-f]{12,}\b", whole)


@pytest.fixture(scope="module")
def without_classes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A folder of videos without labels, as the stages leave it."""
    folder = tmp_path_factory.mktemp("bare")
    run = write_run(folder)
    tracks = "the source is a folder of videos, in which true positions are not known"
    for name in ("classifier", "video_classifier", "generator", "i3d_magvit"):
        take_away(run.models / name, NO_CLASSES)
    for name in ("position", "predictor"):
        take_away(run.models / name, tracks)
    for stage in ("train_classifier", "train_baselines", "train_generator", "train_i3d_magvit"):
        take_away(run.plots / stage / "numbers.csv", NO_CLASSES)
    for stage in ("train_position", "train_predictor"):
        take_away(run.plots / stage / "numbers.csv", tracks)
    take_away(run.data / "motion", "to be written again")
    (run.data / "motion" / "not_measured.json").unlink()
    write_clips(run.data / "motion", ("unlabelled",), ("train", "val", "test"))
    take_away(run.data / "motion" / "trajectories.parquet", tracks)
    return run


def test_what_was_not_trained_has_no_card_but_a_reason(without_classes: Run) -> None:
    found = make_cards(without_classes, PARAMS)
    assert set(found.pages) == {"tokenizer.md", "gasm_cast.md", "persistence.md", "dataset.md", "README.md"}
    index = found.pages["README.md"]
    assert index.count(NO_CLASSES) == 4 and "| `models/position` | the source is a folder of videos" in index
    page = found.pages["tokenizer.md"]
    assert "clips cut from a folder of videos" in page and "the ball (PSNR)" not in page and "what moves (PSNR)" in page
    assert "shadow" not in page and ModelCard(page).data.eval_results
    page = found.pages["dataset.md"]
    assert "These clips have no classes." in page and "There are no true positions: the source is" in page
    configs = [one["config_name"] for one in DatasetCard(page).data.configs]
    assert "motion_videos" in configs and "motion_trajectories" not in configs


def test_own_classes_stay_text(tmp_path: Path) -> None:
    names = HOSTILE
    run = write_run(tmp_path, names)
    per_class = {name: round(0.5 + place / 100, 2) for place, name in enumerate(names)}
    for stage in ("train_classifier", "train_i3d_magvit"):
        numbers = {"accuracy": 0.5, "accuracy_floor": 0.1, "per_class": per_class}
        write_numbers_table(run.plots / stage / "numbers.csv", numbers)
    found = make_cards(run, PARAMS)
    for name in ("classifier.md", "i3d_magvit.md", "generator.md", "dataset.md"):
        page = found.pages[name]
        assert "<script>" not in page and "http://e.org" not in page and "@you" not in page
        front_matter(page)
    rows = [line for line in found.pages["classifier.md"].splitlines() if re.match(r"\| .* \| 5\d\.0 % \|$", line)]
    assert [read_back(row)[2:].rpartition(" | ")[0] for row in rows] == list(names)
    shown = read_back(found.pages["dataset.md"])
    assert all(f"| {name} | 2 | 2 | 2 | 2 |" in shown for name in names)


def test_a_missing_table_is_a_gap_that_says_what_to_run(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run.plots / "train_position" / "numbers.csv").unlink()
    page = make_cards(run, PARAMS).pages["position.md"]
    assert "`plots/train_position/numbers.csv` was not found. Run the stage `train_position`." in page
    assert ModelCard(page).data.eval_results is None


def test_missing_folders_are_gaps_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    run.models.rename(tmp_path / "away")
    found = make_cards(run, PARAMS)
    assert set(found.pages) == {"dataset.md", "README.md"} and len(found.gaps) == len(MODELS)
    run.data.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="no model and no clips that a card could describe; run dvc repro first"):
        make_cards(run, PARAMS)
    with pytest.raises(UserError, match="no numbers of any stage"):
        make_cards(Run(tmp_path / "none", run.models, run.data, run.settings), PARAMS)


def test_models_alone_get_cards(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    run.data.rename(tmp_path / "gone")
    found = make_cards(run, PARAMS)
    assert "dataset.md" not in found.pages and len(found.gaps) == 3
    assert "were not found when this card was made" in found.pages["tokenizer.md"]


def damage(run: Run, what: str) -> None:
    if what == "weights":
        (run.models / "tokenizer" / "model.safetensors").write_bytes(b"\xff" * 20)
    elif what == "config":
        (run.models / "tokenizer" / "config.json").write_text("{")
    elif what == "table":
        (run.plots / "train_tokenizer" / "numbers.csv").write_text("a,b\n")
    elif what == "section":
        text = run.settings.read_text(encoding="utf-8")
        run.settings.write_text(text.replace("\ntrain_position:", "\ntrain_places:"), encoding="utf-8")
    else:
        (run.data / "motion" / "videos" / "part-00000.parquet").write_bytes(b"PAR1")


FAULTS: Mapping[str, str] = {
    "weights": "model.safetensors: damaged or not a safetensors file", "config": "tokenizer: not a model folder",
    "table": "numbers.csv: not a table of numbers", "section": "no section train_position",
    "clips": "part-00000.parquet: damaged",
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_damaged_file_is_named(what: str, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    damage(run, what)
    with pytest.raises(UserError, match=FAULTS[what]):
        make_cards(run, PARAMS)


def test_a_checkpoint_of_this_machine_is_named_by_its_file_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    text = run.settings.read_text(encoding="utf-8")
    run.settings.write_text(text.replace("    name: r3d\n", "    name: r3d\n    checkpoint: /home/me/r3d.pth\n"))
    page = make_cards(run, PARAMS).pages["gasm_cast.md"]
    assert "checkpoint: r3d.pth" in page and "/home/me" not in page


def test_own_tracks_and_other_actions_are_called_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, ("left", "right"))
    text = run.settings.read_text(encoding="utf-8")
    run.settings.write_text(text.replace("sources/synthetic.csv", "sources/mine.csv", 1), encoding="utf-8")
    labels = run.data / "actions" / "labels"
    for file in labels.iterdir():
        other = re.sub(r"(?i)falling", "tumbling", file.read_text(encoding="utf-8"))
        file.write_text(other, encoding="utf-8")
    found = make_cards(run, PARAMS)
    page = found.pages["dataset.md"]
    assert "rendered from tracks that were recorded elsewhere" in page and "source: data/sources/mine.csv" in page
    assert "with 14 classes" in page and "generate_actions:" not in page
    assert "laws of motion" not in found.pages["classifier.md"].split("## Results")[0]
    assert "No clip of Something" not in found.pages["gasm_cast.md"]


def test_the_default_section_chooses_no_licence(run: Run) -> None:
    params = load_params(ROOT / "params.yaml", "write_cards", WriteCards)
    page = make_cards(run, params).pages["tokenizer.md"]
    assert params.licence == "unknown" and "Licence:** none was chosen" in page and "hf download" not in page
    assert ModelCard(page).data.datasets == ["kinetoken-clips"]


@pytest.mark.parametrize(("change", "message"), [
    ({"licence": "Apache 2"}, "licence: must be an identifier"), ({"organisation": "a/b"}, "organisation: must be"),
    ({"repository": "javascript:x"}, "repository: must be"), ({"repository": "https://a.b/<x>"}, "repository: must"),
    ({"authors": ("a\nb",)}, "authors: must be"), ({"authors": ("",)}, "authors: must be"),
])
def test_params_are_checked(change: dict[str, Any], message: str) -> None:
    good = {"licence": "mit", "authors": (), "organisation": None, "repository": None}
    WriteCards(**good)
    with pytest.raises(ValueError, match=message):
        WriteCards(**{**good, **change})

