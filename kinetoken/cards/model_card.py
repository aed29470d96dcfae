"""The card of one model: front matter with a model index, and what a user of its folder must know."""

from collections.abc import Mapping, Sequence
from typing import Any

from kinetoken.cards import limits
from kinetoken.cards.clips import CardClips
from kinetoken.cards.folders import ModelPart
from kinetoken.cards.limits import Subject
from kinetoken.cards.markdown import as_yaml, fenced, render
from kinetoken.cards.models import Model, detector_code
from kinetoken.cards.params import WriteCards
from kinetoken.cards.rows import EXTRACTORS, HEAD, Result, by_class, result_cells, results_of
from kinetoken.charts.markdown import Markdown, plain, table
from kinetoken.report.headline import FULL_TITLES
from kinetoken.report.results import Results

LIBRARY = "kinetoken"
MOST_CLASSES = 60  # of which a card lists each by name


def model_card(
    model: Model, parts: tuple[ModelPart, ...], clips: CardClips | None, results: Results, settings: Mapping[str, Any],
    params: WriteCards,
) -> str:
    """The page of a model that was trained. `settings`: the sections of params.yaml."""
    classes, section = _classes(model, parts), _section(model, parts, settings)
    tracked = clips is None or clips.no_tracks is None
    found = results_of(results, model.measures, tracked=tracked)
    subject = Subject(parts, clips, results, classes or (clips.classes if clips else ()), section)
    rows, cut = by_class(results, model.stage, model.by_class, classes) if model.by_class is not None else ([], False)
    split = scored_split(model, results)
    return render("model.md.j2", _front(model, clips, found, split, params), {
        "model": model, "params": params, "hub_name": params.hub_name(model.name),
        "reads": _filled(model.reads, clips, parts), "gives": Markdown(model.gives), "summary": Markdown(model.summary),
        "facts": _facts(model, parts), "classes": [plain(name) for name in classes[:MOST_CLASSES]],
        "classes_left_out": max(0, len(classes) - MOST_CLASSES),
        "clips": clips, "splits": None if clips is None else _splits(clips), "scored": split,
        "section": fenced(as_yaml({model.stage: section}), "yaml"),
        "results": table(HEAD, result_cells(found)) if found else None,
        "why_none": _why_none(model, results),
        "by_class": table(("class", "accuracy"), rows) if rows else None, "by_class_cut": cut,
        "limits": [Markdown(text) for text in _limits(model, subject)],
        "loads": [fenced(text, "python") for text in _loads(model, parts, clips)],
    })


def scored_split(model: Model, results: Results) -> str:
    """The split that the results are for: a set of actions may hold no classes for its test clips."""
    on_test = results.number(model.stage, "scored_on_test")
    return "validation" if on_test == 0 else "test"


def _front(
    model: Model, clips: CardClips | None, found: Sequence[Result], split: str, params: WriteCards
) -> dict[str, Any]:
    front: dict[str, Any] = {
        "license": params.licence, "library_name": LIBRARY,
        "tags": list(dict.fromkeys([LIBRARY, "video", *model.tags])),
    }
    if model.pipeline_tag is not None:
        front["pipeline_tag"] = model.pipeline_tag
    if clips is not None:
        front["datasets"] = [params.dataset]
    metrics = [
        {"type": one.measure.metric, "name": _title(one), "value": one.value}
        for one in found if one.measure.metric is not None
    ]
    if metrics:
        front["metrics"] = list(dict.fromkeys(str(one["type"]) for one in metrics))
        kind, title = model.task
        front["model-index"] = [{"name": params.hub_name(model.name).rpartition("/")[2], "results": [{
            "task": {"type": kind, "name": title},
            "dataset": {"name": f"Kinetoken clips, {model.clips}", "type": params.dataset, "config": model.clips,
                        "split": split},
            "metrics": metrics,
        }]}]
    return front


def _title(one: Result) -> str:
    """To be understood alone: with what it continues, if it does."""
    return FULL_TITLES[one.measure.name] if one.headline.title.startswith("…") else one.headline.title


def _classes(model: Model, parts: Sequence[ModelPart]) -> tuple[str, ...]:
    found = parts[0].of(model.classes)
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _section(model: Model, parts: Sequence[ModelPart], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Its section of params.yaml, without those of networks that were not trained."""
    untrained = EXTRACTORS.keys() - {part.name for part in parts}
    return {key: value for key, value in settings[model.stage].items() if key not in untrained}


def _facts(model: Model, parts: Sequence[ModelPart]) -> Markdown:
    """The config and the size, a column for each network."""
    rows: list[list[object]] = []
    for place, title in model.facts:
        values = [part.of(place) for part in parts]
        if any(value is not None for value in values):
            rows.append([Markdown(title), *map(_fact, values)])
    rows.append([Markdown("stored numbers (parameters and buffers)"), *(f"{part.values:,}" for part in parts)])
    rows.append([Markdown("size of `model.safetensors`"), *(f"{part.size / 2**20:.1f} MiB" for part in parts)])
    if torch := [part.of("versions.torch") for part in parts if part.of("versions.torch")]:
        rows.append([Markdown("trained with PyTorch"), *torch])
    return table(("property", *(part.name or "value" for part in parts)), rows)


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(_fact, value)) if isinstance(value, list) else "" if value is None else str(value)


def _splits(clips: CardClips) -> Markdown:
    return table(
        ("split", "clips"), [[plain(split), f"{clips.of_split(split):,}"] for split in clips.counts]
    )


def _limits(model: Model, subject: Subject) -> list[str]:
    general = (limits.of_data, limits.of_intervals, limits.of_development)
    return [text for part in (model.limits, *general) for text in part(subject)]


def _why_none(model: Model, results: Results) -> Markdown:
    """Why there are no results for a model that was trained."""
    if (reason := results.not_measured.get(model.stage)) is not None:
        return Markdown(f"Not measured: {plain(reason)}.")
    return Markdown(f"`plots/{model.table}` was not found. Run the stage `{model.stage}`.")


def _loads(model: Model, parts: Sequence[ModelPart], clips: CardClips | None) -> list[str]:
    texts = [model.loads] if model.loads else [detector_code(part.name) for part in parts]
    return [_filled(text, clips, parts) for text in texts]


def _filled(text: str, clips: CardClips | None, parts: Sequence[ModelPart]) -> Markdown:
    """The text with the shape of the model's clips."""
    shape = None if clips is None else clips.shape
    frames = shape.frames if shape is not None else parts[0].of("num_frames") or 16
    size = shape.height if shape is not None else parts[0].of("image_size") or 64
    return Markdown(text.replace("FRAMES", str(frames)).replace("SIZE", str(size)))

