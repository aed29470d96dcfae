"""The card of the clips that a run made or read: what they hold, how many there are, what they must not give away."""

from collections.abc import Mapping, Sequence
from typing import Any

from kinetoken.cards.clips import ACTIONS, CODED, CardClips
from kinetoken.cards.markdown import as_yaml, fenced, render
from kinetoken.cards.params import WriteCards
from kinetoken.cards.rows import HEAD, CardRow, result_cells, results_of
from kinetoken.charts.markdown import Markdown, plain, table
from kinetoken.report.results import Results

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
MADE = ("laws", "candidates", "actions")  # origins whose labels come from a program
CONTROLS = {  # what each dataset is judged by: classifiers that must stay at chance, and one that must not
    "laws": tuple(map(CardRow, (
        "train_baselines.coordinates.accuracy", "train_baselines.first_frame.accuracy",
        "train_baselines.nuisance.accuracy",
    ))),
    "candidates": tuple(map(CardRow, (
        "detect_persistence.control.first_frame.accuracy", "detect_persistence.control.metadata.accuracy",
    ))),
}
MOST_CLASSES = 40  # of which the table of counts has a row each


def dataset_card(
    sets: Mapping[str, CardClips | str], results: Results, settings: Mapping[str, Any], params: WriteCards
) -> str:
    """The page about all datasets of a run. `sets`: name → the dataset, or why there is none."""
    found = [one for one in sets.values() if isinstance(one, CardClips)]
    return render("dataset.md.j2", _front(found, params), {
        "params": params, "hub_name": params.dataset,
        "missing": [(name, plain(why)) for name, why in sets.items() if isinstance(why, str)],
        "first": next((one.name for one in found if one.name in CODED), None),
        "sets": [
            {
                "clips": one, "counts": counts_table(one), "has_classes": one.labelled,
                "section": _parameters(one, settings),
                "controls": _controls(one, results),
                "no_tracks": None if one.no_tracks is None else plain(one.no_tracks),
                "ranges": _has_ranges(one), "coded": one.name in CODED,
            }
            for one in found
        ],
    })


def _front(found: Sequence[CardClips], params: WriteCards) -> dict[str, Any]:
    front: dict[str, Any] = {"license": params.licence, "pretty_name": "Kinetoken clips"}
    if any(one.labelled for one in found):
        front["task_categories"] = ["video-classification"]
    total = sum(one.clips for one in found)
    front["size_categories"] = [next((name for most, name in SIZES if total < most), "n>1M")]
    made = all(one.origin in MADE for one in found)
    if made:
        front["annotations_creators"] = ["machine-generated"]
    front["tags"] = ["kinetoken", "video", *(["synthetic", "physics"] if made else [])]
    files = [
        {"config_name": f"{one.name}_{what}", "data_files": f"{one.name}/{path}"}
        for one in found if one.name in CODED
        for what, path in (("videos", "videos/*.parquet"), ("trajectories", "trajectories.parquet"))
        if what == "videos" or one.no_tracks is None
    ]
    if files:
        front["configs"] = files
    return front


def counts_table(one: CardClips) -> Markdown:
    """Clips of each class and split; of many classes the sums alone."""
    splits, classes = list(one.counts), one.classes
    rows: list[list[object]] = []
    if one.labelled and len(classes) <= MOST_CLASSES:
        rows += [[plain(name), *(f"{one.counts[split].get(name, 0):,}" for split in splits)] for name in classes]
    rows.append([Markdown("all"), *(f"{one.of_split(split):,}" for split in splits)])
    return table(("class", *map(plain, splits)), rows)


def _parameters(one: CardClips, settings: Mapping[str, Any]) -> Markdown | None:
    """Those that made it. Those of drawing are left out where nothing was drawn."""
    if one.origin == "labelled":
        return None
    return fenced(as_yaml(_sections(one, settings)), "yaml")


def _sections(one: CardClips, settings: Mapping[str, Any]) -> dict[str, Any]:
    if one.name == ACTIONS:
        return {"generate_actions": settings["generate_actions"]}
    drawn, rendered = settings["generate_trajectories"][one.name], settings["render_videos"][one.name]
    if one.origin == "videos":
        return {"render_videos": {one.name: rendered}}
    return {"generate_trajectories": {one.name: drawn}, "render_videos": {one.name: rendered}}


def _controls(one: CardClips, results: Results) -> Markdown | None:
    found = results_of(results, CONTROLS.get(one.origin, ()))
    return table(HEAD, result_cells(found)) if found else None


def _has_ranges(one: CardClips) -> bool:
    return one.origin == "laws" and "ood" in one.counts
