"""All cards of a run: a page for each model that was trained, one for the clips, and an index that names the gaps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.cards.clips import ACTIONS, CODED, CardClips, read_clip_set
from kinetoken.cards.dataset_card import dataset_card
from kinetoken.cards.folders import read_model
from kinetoken.cards.markdown import render
from kinetoken.cards.model_card import model_card
from kinetoken.cards.models import MODELS, Model
from kinetoken.cards.params import WriteCards
from kinetoken.cards.rows import results_of
from kinetoken.charts.markdown import Markdown, plain, table
from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml
from kinetoken.report.headline import shown
from kinetoken.report.results import Results, read_results

SECTIONS = (  # of params.yaml, that a card shows
    "generate_trajectories", "render_videos", "generate_actions", *dict.fromkeys(one.stage for one in MODELS),
)
INDEX, DATASET = "README.md", "dataset.md"


@dataclass(frozen=True)
class Run:
    """What a run left: folders of plot tables, models and data, and the file of its parameters."""

    plots: Path
    models: Path
    data: Path
    settings: Path


@dataclass(frozen=True)
class Cards:
    """File name → page, and what has no card: name → why, as Markdown."""

    pages: Mapping[str, str]
    gaps: Mapping[str, str]


def make_cards(run: Run, params: WriteCards) -> Cards:
    """The pages of a run; the same bytes for the same files.

    Raises UserError if there are no numbers, no model and no clips, or naming a file that is damaged.
    """
    settings = read_settings(run.settings)
    results = read_results(run.plots)
    sets = {name: read_clip_set(run.data, name, settings) for name in (*CODED, ACTIONS)}
    pages: dict[str, str] = {}
    gaps: dict[str, str] = {}
    rows: list[list[object]] = []
    for model in MODELS:
        parts, clips = read_model(run.models / model.name), sets[model.clips]
        if isinstance(parts, str):
            gaps[f"models/{model.name}"] = parts
            continue
        known = clips if isinstance(clips, CardClips) else None
        pages[f"{model.name}.md"] = model_card(model, parts, known, results, settings, params)
        rows.append([_link(model.name), Markdown(model.title), _first_result(model, results, known)])
    gaps |= {f"data/{name}": why for name, why in sets.items() if isinstance(why, str)}
    found = [one for one in sets.values() if isinstance(one, CardClips)]
    if found:
        pages[DATASET] = dataset_card(sets, results, settings, params)
        rows.append([_link("dataset"), Markdown("the clips"), Markdown(f"{sum(one.clips for one in found):,} clips")])
    if not pages:
        raise UserError(f"{run.models} and {run.data} hold no model and no clips that a card could describe; "
                        "run dvc repro first")
    pages[INDEX] = render("index.md.j2", None, {
        "cards": table(("card", "of", "first result"), rows), "gaps": _gaps(gaps) if gaps else None,
    })
    return Cards(pages, gaps)


def read_settings(path: Path, sections: Iterable[str] = SECTIONS) -> Mapping[str, Any]:
    """The sections that cards show; UserError naming one that is missing."""
    found = read_yaml(path)
    for name in sections:
        if not isinstance(found, dict) or not isinstance(found.get(name), dict):
            raise UserError(f"{path}: no section {name}, with the parameters that the models were trained with")
    for name in ("generate_trajectories", "render_videos"):
        for dataset in CODED:
            if not isinstance(found[name].get(dataset), dict):
                raise UserError(f"{path}: no section {name}.{dataset}")
    return {name: found[name] for name in sections}


def _link(name: str) -> Markdown:
    return Markdown(f"[`{name}`]({name}.md)")


def _first_result(model: Model, results: Results, clips: CardClips | None) -> Markdown | None:
    found = results_of(results, model.measures, tracked=clips is None or clips.no_tracks is None)
    if not found:
        return None
    return Markdown(f"{found[0].headline.title}: {shown(found[0].value, found[0].headline.unit)}")


def _gaps(gaps: Mapping[str, str]) -> Markdown:
    return table(("what", "why"), [[Markdown(f"`{name}`"), plain(why)] for name, why in gaps.items()])
