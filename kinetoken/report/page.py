"""The page: what the sections found, put through the template beside this file. No request, no date, all escaped."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinetoken.charts.page import render
from kinetoken.charts.parts import Figure, number_rows
from kinetoken.charts.sprites import Card
from kinetoken.report import persistence, sections
from kinetoken.report.gaps import not_run
from kinetoken.report.headline import BuildReport, answer, chain, headline_rows
from kinetoken.report.results import Results
from kinetoken.report.words import words

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Samples:
    """What moves on the page, and rows of descriptions; empty where the model or file was not there."""

    reconstructions: list[Card] = field(default_factory=list)
    predictions: list[Card] = field(default_factory=list)
    generations: list[Card] = field(default_factory=list)
    descriptions: list[dict[str, Any]] = field(default_factory=list)  # those shown
    described: list[dict[str, Any]] = field(default_factory=list)  # the whole file
    reasons: list[dict[str, Any]] = field(default_factory=list)  # early decisions in words, those shown
    frames: int = 16
    fps: float = 16.0


def render_page(results: Results, samples: Samples, params: BuildReport, *, gpu: bool) -> str:
    """The whole page as HTML text. Raises UserError for a plot table or a verdict that is damaged."""
    verdict = results.verdict()
    figures, classes = sections.embeddings(results)
    content = {
        "answer": answer(results), "chain": chain(results), "rows": headline_rows(results, params.marks),
        "verdict": verdict, "samples": samples,
        "confusion": sections.confusion(results, "train_classifier/confusion.csv"),
        "reading": present(sections.prefix(results), sections.reliability(results)) + sections.errors_by_frame(results),
        "words": words(results, samples.described), "forms": sections.confusion(results, "describe_motion/forms.csv"),
        "two_streams": sections.confusion(results, "train_i3d_magvit/confusion.csv"),
        "forecasts": sections.forecasts(results),
        "actions": sections.confusion(results, "train_gasm_cast/confusion.csv"),
        "early": persistence.early_decisions(results, params.descriptions),
        "horizons": sections.horizons(results), "embeddings": figures, "classes": classes,
        "usage": sections.usage(results), "vitals": sections.vitals(results),
        "scores": sections.score_table(results, "train_generator/scores.csv"),
        "curves": sections.training_curves(results), "gaps": not_run(results, gpu=gpu),
        "numbers": {stage: number_rows(found) for stage, found in results.metrics.items()},
    }
    # what is missing is known only now, when everything has asked for its file
    return render(TEMPLATES, "report.html.j2", {**content, "missing": tuple(results.missing)}, plays=True)


def present(*figures: Figure | None) -> list[Figure]:
    """The figures whose tables were there."""
    return [figure for figure in figures if figure is not None]
