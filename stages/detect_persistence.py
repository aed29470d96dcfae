"""Decide early whether a candidate persists: train extractors, stop when sure, compare with what can be known.

Reads    params detect_persistence, hardware; clips, codes and tracks of the dataset persistence; the tokenizer
Writes   models/persistence/<extractor>, metrics, plots/detect_persistence/*

Alone    python -m stages.detect_persistence
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kinetoken.core.artifacts import write_csv, write_json
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_classes
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.persistence import summary, tables
from kinetoken.persistence.compute import seconds_a_step
from kinetoken.persistence.controls import controls
from kinetoken.persistence.evaluation import by_group, decision_metrics, headlines, rules
from kinetoken.persistence.experiment import ExtractorResult, Material, try_extractor
from kinetoken.persistence.network import save_detector
from kinetoken.persistence.params import PersistenceParams
from kinetoken.persistence.records import write_records
from kinetoken.persistence.reference import group_of, log_odds, reference_stopper
from kinetoken.persistence.showing import draw
from kinetoken.persistence.stopping import Decisions, costs, steps_seen
from kinetoken.physics.laws import Array
from kinetoken.scenes.candidates import motion_of
from kinetoken.training.loop import curves_table

TIMED = 16  # tracks at once, where seconds are measured


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store of candidates")] = Path("data/persistence/videos")
    codes: Annotated[Path, Input("their codes")] = Path("data/persistence/codes.parquet")
    tokenizer: Annotated[Path, Input("the tokenizer that made the codes")] = Path("models/tokenizer")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/persistence/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/persistence/track_params.parquet")
    model: Annotated[Path, Output("a folder for each detector")] = Path("models/persistence")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/detect_persistence.json")
    headlines: HeadlineFolder = Path("metrics/detect_persistence")
    numbers: NumbersTable = Path("plots/detect_persistence/numbers.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/detect_persistence/curves.csv")
    decisions: Annotated[Path, Output("every decision")] = Path("plots/detect_persistence/decisions.csv")
    operating: Annotated[Path, Output("accuracy over frames")] = Path("plots/detect_persistence/operating.csv")
    budgets: Annotated[Path, Output("the best for each budget")] = Path("plots/detect_persistence/budgets.csv")
    efficiency: Annotated[Path, Output("when, how well")] = Path("plots/detect_persistence/efficiency.png")
    attention: Annotated[Path, Output("attention on the frames")] = Path("plots/detect_persistence/attention")
    ratios: Annotated[Path, Output("attention on the candidate")] = Path("plots/detect_persistence/attention.csv")
    reasons: Annotated[Path, Output("what decisions rested on")] = Path("plots/detect_persistence/reasons.jsonl")
    summary: Annotated[Path, Output("the figures in words")] = Path("plots/detect_persistence/summary.md")


@dataclass(frozen=True)
class Optimum:
    """Of the test tracks, from their true positions."""

    log_odds: Array  # (N, T)
    decisions: Decisions  # steps are frames
    costs: Array  # (N,)


def run(params: PersistenceParams, paths: Paths, context: Context) -> None:
    dataset = Dataset.open(DatasetPaths(
        videos=paths.videos, codes=paths.codes, tokenizer=paths.tokenizer, trajectories=paths.trajectories,
        track_params=paths.track_params,
    ), needs=require_classes, causal=True, scene=True)
    material, (frames, size, _) = Material.of(dataset), dataset.clips.shape
    test = dataset.split("test")
    optimum = best_possible(material, params, context)
    outcomes = {  # type: dict[str, ExtractorResult]
        name: try_extractor(name, material, params, context) for name in params.extractors
    }
    trials = {name: outcome.trial for name, outcome in outcomes.items()}
    truth = material.truth.take(test.rows)
    metrics = {  # type: dict[str, Any]
        name: metrics_of(outcome, material, optimum, params) for name, outcome in outcomes.items()
    }
    if optimum is not None:
        metrics["reference"] = reference_metrics(optimum, truth.persistent)
    metrics["control"] = controls(material, params, params.extractors[0], context)
    context.progress.phase("writing")
    for name, outcome in outcomes.items():
        save_detector(paths.model / name, outcome.detector, params, size)
    write_numbers(paths, metrics, headlines(params.extractors))
    write_csv(paths.curves, curves_table({name: outcome.history for name, outcome in outcomes.items()}))
    write_csv(paths.decisions, tables.decision_rows(trials, truth, test.track_id))
    known = None if optimum is None else (optimum.log_odds, steps_seen(1, frames))
    operating = tables.operating_rows(trials, truth.persistent, known)
    write_csv(paths.operating, operating)
    budgets = summary.budget_rows(operating, params.extractors)
    write_csv(paths.budgets, budgets)
    paths.summary.write_text(summary.to_markdown(metrics, budgets, params.extractors), encoding="utf-8")
    draw(outcomes, material, operating, params.shown, paths.efficiency, paths.attention)
    write_records(outcomes, material, params.shown, paths.ratios, paths.reasons)
    if context.run_info is not None:
        measured = {name: seconds(outcome, size) for name, outcome in outcomes.items()}
        write_json(context.run_info / "seconds.json", measured)


def seconds(outcome: ExtractorResult, image_size: int) -> dict[str, float]:
    """Measured, a track: of a whole clip, and until the decisions fell, were every step as long as the median."""
    network, trial = outcome.detector.network, outcome.trial
    step = seconds_a_step(network, image_size, tracks=TIMED, steps=len(trial.seen)) / TIMED
    return {
        "whole_clip": step * len(trial.seen), "until_decided": step * float((trial.decisions.step + 1).mean()),
    }


def best_possible(material: Material, params: PersistenceParams, context: Context) -> Optimum | None:
    """The reference's decisions on the test tracks; None for laws whose optimum is not known."""
    tracks = material.dataset.tracks
    motion = motion_of(tracks.drawn)
    if motion is None:
        context.progress.say("no optimum is known for these laws of motion: no regret")
        return None
    context.progress.phase("reference")
    test, frames = material.rows("test"), tracks.points.shape[1]
    appears = int(material.truth.first.min()), int(material.truth.first.max())
    truth = material.truth.take(test)
    odds = log_odds(tracks.points[test], truth, motion)
    stopper = reference_stopper(motion, appears, frames, params.frame_cost, params.seed)
    decisions = stopper.decide(odds, group_of(truth, appears))
    return Optimum(
        odds, decisions, costs(decisions, truth.persistent, steps_seen(1, frames), frames, params.frame_cost)
    )


def metrics_of(
    outcome: ExtractorResult, material: Material, optimum: Optimum | None, params: PersistenceParams
) -> dict[str, Any]:
    """Of one extractor on the test tracks."""
    truth, trial = material.truth.take(material.rows("test")), outcome.trial
    reference = None if optimum is None else optimum.costs
    metrics: dict[str, Any] = decision_metrics(trial, truth.persistent, reference, params.frame_cost)
    metrics |= outcome.attention_metrics(truth.persistent)
    metrics |= outcome.place_metrics(material)
    metrics["by_law"] = by_group(trial, truth.persistent, truth.law_names)
    metrics["by_lifetime"] = by_group(trial, truth.persistent, truth.lifetime_bands)
    metrics["rule"] = rules(trial, truth.persistent, params.confidence)
    metrics["threshold"] = {
        "persistent": outcome.detector.persistent_above, "transient": outcome.detector.transient_below,
    }
    metrics["million_multiply_adds"] = float(trial.compute.multiply_adds.sum() / 1e6)
    metrics["parameters"] = sum(p.numel() for p in outcome.detector.network.parameters())
    return metrics


def reference_metrics(optimum: Optimum, persistent: np.ndarray) -> dict[str, float]:
    """What can be reached on true positions."""
    decided, frames = optimum.decisions, optimum.log_odds.shape[1]
    seen = decided.step + 1
    metrics = {
        "accuracy": float((decided.persistent == persistent).mean()), "mean_decision_frame": float(seen.mean()),
        "earliness": float(1 - seen.mean() / frames), "cost": float(100 * optimum.costs.mean()),
    }
    fixed = {f"accuracy_frame_{t + 1}": ((optimum.log_odds[:, t] > 0) == persistent).mean() for t in (0, 1, 2, 3, 7)}
    return metrics | {name: float(value) for name, value in fixed.items()}


def main() -> int:
    return run_stage(run, PersistenceParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
