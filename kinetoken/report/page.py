"""The page: what the sections found, put through the template beside this file. No request, no date, all escaped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinetoken.charts.page import render
from kinetoken.charts.parts import Figure, number_rows
from kinetoken.charts.sprites import Card
from kinetoken.charts.vega import legend_list
from kinetoken.report import headings, persistence, sections
from kinetoken.report.action_clips import NAME as GASM_CAST
from kinetoken.report.collecting import CLASSIFIER, TWO_STREAMS, cells
from kinetoken.report.exhibits import ACTIONS, CANDIDATES, MOTION, Exhibition
from kinetoken.report.gaps import not_run
from kinetoken.report.headings import SECTIONS
from kinetoken.report.headline import BuildReport, answer, averages, chain, first_rows, head, headline_rows
from kinetoken.report.provenance import Provenance
from kinetoken.report.results import Results
from kinetoken.report.words import ladder_figures, words

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Samples:
    """What moves on the page, and rows of descriptions; empty where the model or file was not there."""

    reconstructions: list[Card] = field(default_factory=list)
    predictions: list[Card] = field(default_factory=list)
    worst_predictions: list[Card] = field(default_factory=list)
    predicted: int = 0  # clips among which the worst predictions were looked for
    generations: list[Card] = field(default_factory=list)
    generations_about: str = ""  # what stands below each of them
    descriptions: list[dict[str, Any]] = field(default_factory=list)  # those shown
    described: list[dict[str, Any]] = field(default_factory=list)  # the whole file
    reasons: list[dict[str, Any]] = field(default_factory=list)  # early decisions in words, those shown
    exhibition: Exhibition = field(default_factory=Exhibition)
    frames: int = 16
    fps: float = 16.0


def page_content(
    results: Results, samples: Samples, params: BuildReport, *, gpu: bool, provenance: Provenance | None = None
) -> dict[str, Any]:
    """All that the page shows, by the names of its template. Raises UserError for a damaged plot table or verdict."""
    rows = headline_rows(results, params.marks)
    said = words(results, samples.described)
    content = {
        "answer": answer(results), "chain": chain(results), "head": head(results), "averages": averages(results),
        "rows": rows, "first": first_rows(rows), "verdict": results.verdict(),
        "samples": samples, "exhibition": samples.exhibition, "provenance": provenance or Provenance(),
        **charts(results, samples.exhibition),
        "early": persistence.early_decisions(results, params.descriptions), "words": said,
        "ladders": ladder_figures(said),
        "scores": sections.score_table(results, "train_generator/scores.csv"),
        "laws": sections.score_table(results, "train_generator/laws.csv"), "savings": sections.savings(results),
        "vitals": sections.vitals(results), "gaps": not_run(results, gpu=gpu),
        "not_measured": results.not_measured,
        "numbers": {stage: number_rows(found) for stage, found in results.metrics.items()},
        "legend_list": legend_list, "headings": headings, "sections": SECTIONS,
    }
    # what is missing is known only now, when everything has asked for its file
    return {**content, "missing": tuple(results.missing)}


def render_page(content: Mapping[str, Any]) -> str:
    """The whole page as HTML text."""
    return render(TEMPLATES, "report.html.j2", content, plays=True, charts=True)


def charts(results: Results, exhibition: Exhibition) -> dict[str, Any]:
    """Everything that is drawn, by the name that the template uses."""
    embeddings, classes, _ = sections.embeddings(results)
    features, actions = sections.features(results)

    def confusion(title: str, stage: str, column: str, clips: str = MOTION) -> Figure | None:
        found = sections.confusion(results, f"{stage}/confusion.csv")
        if found is None:
            return None
        tracks = cells(exhibition.sets.get(clips), column)
        return sections.confusion_figure(title, found, clips if tracks else "", tracks)

    forms = sections.confusion(results, "describe_motion/forms.csv")
    return {
        "embeddings": embeddings, "classes": classes, "usage": sections.usage(results),
        "confusion": confusion("Which classes are confused?", "train_classifier", CLASSIFIER),
        "reading": present(sections.prefix(results), sections.reliability(results)),
        "positions": sections.errors_by_frame(results),
        "two_streams": confusion("Which classes are confused?", "train_i3d_magvit", TWO_STREAMS),
        "forecasts": sections.forecasts(results), "horizons": sections.horizons(results),
        "actions": confusion("Which actions are confused?", "train_gasm_cast", GASM_CAST, ACTIONS),
        "features": features, "action_names": actions, "pictures": sections.pictures(results),
        "action_reading": present(sections.reliability(results, "train_gasm_cast")),
        "forms": None if forms is None else sections.confusion_figure("Which law do the equations obey?", forms),
        "curves": sections.training_curves(results), "MOTION": MOTION, "CANDIDATES": CANDIDATES, "ACTIONS": ACTIONS,
    }


def present(*figures: Figure | None) -> list[Figure]:
    """The figures whose tables were there."""
    return [figure for figure in figures if figure is not None]
