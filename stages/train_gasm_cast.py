"""Train GASM-CAST: DINOv3 and R3D-18 tokens of a clip fused by attention, for the class of the action.

Reads    params train_gasm_cast, hardware; actions in Something-Something-V2's layout, rendered or real
Writes   models/gasm_cast, metrics, plots/train_gasm_cast/{confusion,curves,reliability,features}.csv, attention.png,
         graph.png, and broken.csv, the clips that were left out

A control variant that ignores the order of frames is trained too. It starts from the trained semantic backbone. `test`
is scored if its labels are known, else `validation`: the metric `scored_on_test` says which.

Alone    python -m stages.train_gasm_cast --actions data/actions
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from kinetoken.actions.dataset import ActionClips, Footage, open_footage
from kinetoken.core.artifacts import write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.gasm_cast import evaluation, pictures
from kinetoken.gasm_cast.counting import trainable_parameters
from kinetoken.gasm_cast.features import flat_table, head_features
from kinetoken.gasm_cast.full_size import full_size_metrics
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.system import GasmCastSystem, blind_twin, build_system
from kinetoken.gasm_cast.token_memory import require_memory
from kinetoken.gasm_cast.training import single_view, train_system
from kinetoken.scores import confusion_rows, fitted_temperature, reliability_table
from kinetoken.training.loop import curves_table
from kinetoken.training.precision import Inference

CLIPS_SHOWN = 3
NAME, BLIND = "gasm_cast", "order_blind"


@dataclass(frozen=True)
class Paths:
    actions: Annotated[Path, Input("videos and label files")] = Path("data/actions")
    model: Annotated[Path, Output("backbones and fusion in one folder")] = Path("models/gasm_cast")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_gasm_cast.json")
    headlines: HeadlineFolder = Path("metrics/train_gasm_cast")
    numbers: NumbersTable = Path("plots/train_gasm_cast/numbers.csv")
    confusion: Annotated[Path, Output("actual and predicted class")] = Path("plots/train_gasm_cast/confusion.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_gasm_cast/curves.csv")
    reliability: Annotated[Path, Output("confidence against accuracy")] = Path("plots/train_gasm_cast/reliability.csv")
    features: Annotated[Path, Output("the head's features in two dimensions")] = Path(
        "plots/train_gasm_cast/features.csv"
    )
    attention: Annotated[Path, Output("where attention looks")] = Path("plots/train_gasm_cast/attention.png")
    graph: Annotated[Path, Output("edges of the graphs on frames")] = Path("plots/train_gasm_cast/graph.png")
    broken: Annotated[Path, Output("clips that were left out, and why")] = Path("plots/train_gasm_cast/broken.csv")
    cache: Annotated[Path, "folder for decoded clips and for what the check of the files found"] = Path(".ckpt/actions")


def run(params: GasmCastParams, paths: Paths, context: Context) -> None:
    footage = open_footage(
        paths.actions, params.views, params.intake, context.progress, cache=paths.cache, report=paths.broken
    )
    check(footage, params)
    system = build_system(params, footage.actions.classes)
    for name, report in system.loaded.items():
        context.progress.say(f"train_gasm_cast: {name}: {getattr(params, name).title}, {report.source}")
    systems, histories = {NAME: system}, {NAME: train_system(system, footage, context, NAME)}
    if params.order_blind:
        systems[BLIND] = blind_twin(system)
        histories[BLIND] = train_system(systems[BLIND], footage, context, BLIND)
    inference = Inference.on(context.hardware)
    held_out = ActionClips(footage, "validation", training=False)
    split = evaluation.scored_split(footage)
    scored = held_out if split == "validation" else ActionClips(footage, split, training=False)
    val = evaluation.clip_scores(systems, held_out, inference, context.progress)
    scores = val if scored is held_out else evaluation.clip_scores(systems, scored, inference, context.progress)
    for name, each in systems.items():
        each.temperature = fitted_temperature(val[name], held_out.label)
    probabilities = {name: evaluation.calibrated(scores[name], systems[name].temperature) for name in systems}
    system.save(paths.model)
    write_numbers(paths, metrics_of(systems, probabilities, scored, footage) | {
        "scored_on_test": int(split == "test"), "clips_left_out": left_out(paths.broken),
    }, evaluation.HEADLINES)
    write_csv(paths.confusion, confusion_rows(probabilities[NAME], scored.label, footage.actions.classes))
    write_csv(paths.curves, curves_table(histories))
    write_csv(paths.reliability, reliability_table(probabilities[NAME], scored.label))
    draw(system, footage, split, inference, paths)


def check(footage: Footage, params: GasmCastParams) -> None:
    """UserError, before anything is trained, for splits or classes that are not there, or tokens that do not fit."""
    folder, splits = footage.actions.folder, footage.actions.splits
    for split in ("train", "validation"):
        if not splits.get(split):
            raise UserError(f"{folder}: split '{split}' is empty")
        if any(clip.label < 0 for clip in splits[split]):
            raise UserError(f"{folder}: split '{split}' has clips without a class")
    seen = {clip.label for clip in splits["train"]}
    if missing := [name for label, name in enumerate(footage.actions.classes) if label not in seen]:
        raise UserError(f"{folder}: class '{missing[0]}' has no clip in split 'train'")
    if len(footage.actions.classes) < 2:
        raise UserError(f"{folder}: one class only; a classifier needs two or more")
    if params.cache_tokens:
        require_memory(params, len(splits["train"]) + len(splits["validation"]))


def metrics_of(
    systems: dict[str, GasmCastSystem], probabilities: dict[str, evaluation.Array], scored: ActionClips,
    footage: Footage,
) -> dict[str, Any]:
    """The scores of both networks, and what the main one is."""
    system, classes = systems[NAME], footage.actions.classes
    train = np.array([clip.label for clip in footage.actions.splits["train"]])
    told = {
        name: evaluation.action_metrics(each, scored.label, train, classes) for name, each in probabilities.items()
    }
    if BLIND in told:
        del told[BLIND]["per_class"]
    metrics: dict[str, Any] = {**told.pop(NAME), **told}
    metrics |= {
        "trainable_parameters": trainable_parameters(system), "temperature": system.temperature,
        **full_size_metrics(system.params.fusion),
    }
    for name, report in system.loaded.items():
        reduced = getattr(system.params, name).reduced
        metrics[name] = {
            "parameters": report.parameters, "pretrained": int(report.trained), "reduced": int(reduced),
        }
    return metrics


def left_out(report: Path) -> int:
    """Rows of the list of broken clips."""
    return len(report.read_text(encoding="utf-8").splitlines()) - 1


def draw(system: GasmCastSystem, footage: Footage, split: str, inference: Inference, paths: Paths) -> None:
    """The head's features of all clips that are scored, and the attention of one clip of a few classes."""
    clips = ActionClips(single_view(footage), split, training=False)
    names = np.array(footage.actions.classes)
    write_csv(paths.features, flat_table(
        head_features(system, clips, inference), names[clips.label], system.params.seed
    ))
    chosen = [int(np.flatnonzero(clips.label == label)[0]) for label in shown_classes(clips.label)]
    pixels = torch.stack([clips[0, index]["pixels"][0] for index in chosen])
    looks = pictures.look(system, pixels, [str(names[clips.label[index]]) for index in chosen], inference)
    pictures.draw_attention(paths.attention, looks)
    pictures.draw_graph(paths.graph, looks)


def shown_classes(label: np.ndarray) -> list[int]:
    """A few of the classes that there are clips of, evenly chosen."""
    there = np.unique(label)
    return [int(there[place]) for place in np.linspace(0, len(there) - 1, min(CLIPS_SHOWN, len(there))).astype(int)]


def main() -> int:
    return run_stage(run, GasmCastParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
