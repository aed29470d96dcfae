"""Write one HTML page with all results of a run, which needs no network, and a summary of it as Markdown.

Reads    the numbers and plot tables of all stages; videos, codes, tracks and models for the clips that the page holds;
         descriptions.jsonl and reasons.jsonl; run_info/ and git for its provenance. The page states what is missing
Writes   plots/report.html, and plots/build_report/: report.md with its pictures

Alone    python -m stages.build_report --plots plots --report /tmp/report.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from kinetoken.charts.sprites import Card
from kinetoken.core.absence import why_absent
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Beside, Context, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.report import collecting, generated
from kinetoken.report import samples as clips_of
from kinetoken.report.action_clips import action_clips
from kinetoken.report.exhibits import CANDIDATES, MOTION, Exhibition
from kinetoken.report.headline import BuildReport
from kinetoken.report.page import Samples, page_content, render_page
from kinetoken.report.provenance import read_provenance
from kinetoken.report.results import Results, read_results, read_rows
from kinetoken.report.sections import embeddings
from kinetoken.report.summary import write_summary
from kinetoken.report.words import choose_descriptions, choose_reasons
from kinetoken.scenes.clips import Clips, Pixels

SAMPLES = 2  # generated clips shown for each original one: they take half the room
PREDICTED = 96  # first test clips among which the worst predictions are looked for
COMPARED = 96  # real clips of each class that generated ones are compared with
WORST = 4  # of them that are shown


@dataclass(frozen=True)
class Paths:
    """Only the plots folder must be there: the others are gaps on the page where they are missing."""

    plots: Annotated[Path, "folder of numbers and plot tables"] = Path("plots")
    videos: Annotated[Path, "clip store"] = Path("data/motion/videos")
    codes: Annotated[Path, "codes table"] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, "tokenizer that made the codes"] = Path("models/tokenizer")
    predictor: Annotated[Path, "predictors on codes"] = Path("models/predictor")
    generator: Annotated[Path, "generator of codes"] = Path("models/generator")
    descriptions: Annotated[Path, "equations and sentences"] = Path("data/descriptions.jsonl")
    reasons: Annotated[Path, "early decisions in words"] = Path("data/reasons.jsonl")
    trajectories: Annotated[Path, "true positions"] = Path("data/motion/trajectories.parquet")
    classifier: Annotated[Path, "classifier of codes"] = Path("models/classifier")
    position: Annotated[Path, "positions from codes"] = Path("models/position")
    candidate_videos: Annotated[Path, "clip store of the early decisions"] = Path("data/persistence/videos")
    candidate_codes: Annotated[Path, "codes of the same clips"] = Path("data/persistence/codes.parquet")
    candidate_trajectories: Annotated[Path, "true positions"] = Path("data/persistence/trajectories.parquet")
    actions: Annotated[Path, "videos and label files of actions"] = Path("data/actions")
    gasm_cast: Annotated[Path, "classifier of actions"] = Path("models/gasm_cast")
    report: Annotated[Path, Output("the page")] = Path("plots/report.html")
    summary: Annotated[Path, Output("the same as Markdown with pictures"), Beside("report", "")] = Path(
        "plots/build_report"
    )


def run(params: BuildReport, paths: Paths, context: Context) -> None:
    import torch

    torch.set_num_threads(context.hardware.threads)
    results = read_results(paths.plots)
    context.progress.phase("decoding clips")
    samples = gather_samples(params, paths, results)
    context.progress.phase("drawing the page")
    run_info = None if context.run_info is None else context.run_info.parent
    provenance = read_provenance(Path.cwd(), run_info)
    content = page_content(results, samples, params, gpu=torch.cuda.is_available(), provenance=provenance)
    paths.report.write_text(render_page(content), encoding="utf-8")
    context.progress.phase("drawing the summary")
    write_summary(paths.summary, content, results)
    for name in results.missing:
        context.progress.say(f"not found, stated on the page: {name}")


def gather_samples(params: BuildReport, paths: Paths, results: Results) -> Samples:
    """Moving clips and descriptions, as far as their files are there."""
    samples = Samples()
    if found(paths.descriptions, results):
        samples.described = read_rows(paths.descriptions)
        samples.descriptions = choose_descriptions(samples.described, params.descriptions)
    if found(paths.reasons, results):
        samples.reasons = choose_reasons(read_rows(paths.reasons), params.descriptions)
    if found(paths.candidate_videos, results):
        samples.exhibition = gather_candidates(params, paths, results)
    gather_actions(params, paths, results, samples.exhibition)
    samples.frames = max(samples.frames, samples.exhibition.frames)
    needed = [found(path, results) for path in (paths.videos, paths.codes, paths.tokenizer)]  # each one noted
    if not all(needed):
        return samples
    dataset = Dataset.open(
        DatasetPaths(videos=paths.videos, codes=paths.codes, tokenizer=paths.tokenizer), row_for_row=False
    )
    store = dataset.clips
    samples.frames, samples.fps = max(store.shape[0], samples.exhibition.frames), store.fps
    clips = clips_of.first_clips(store, params.clips_per_class)
    codes = clips_of.codes_of(dataset.codes, clips.track_id)
    if codes is None:
        raise UserError(f"{paths.codes}: lacks test clips of {paths.videos}; run extract_codes again")
    decoded = clips_of.decode(dataset.tokenizer, codes)
    samples.reconstructions = clips_of.reconstruction_cards(clips, decoded, clips_of.background_of(store, clips))
    if found(paths.predictor, results):
        samples.predictions = predictions(paths.predictor, dataset, clips)
        tried = clips_of.first_clips(store, -(-PREDICTED // len(set(clips.label.tolist()))))
        samples.predicted = len(tried.track_id)
        samples.worst_predictions = predictions(paths.predictor, dataset, tried, worst=WORST)
    if found(paths.generator, results):
        samples.generations, samples.generations_about = generations(paths.generator, dataset, params)
    gather_motion(params, paths, results, dataset, samples)
    return samples


def gather_motion(params: BuildReport, paths: Paths, results: Results, dataset: Dataset, samples: Samples) -> None:
    """Test clips to be opened from charts, and the worst cases of the models that read them."""
    motion = collecting.MotionClips(results, dataset)
    motion.judge_classes(paths.classifier if found(paths.classifier, results) else None)
    if found(paths.trajectories, results):
        motion.read_truth(paths.trajectories)
    if found(paths.position, results):
        motion.judge_positions(paths.position)
    if samples.described:
        motion.judge_equations(samples.described)
    shown = [int(row["track_id"]) for row in samples.descriptions if "track_id" in row]
    samples.exhibition.sets[MOTION] = motion.hold(params.clips, embeddings(results)[2], samples.described, shown)
    samples.exhibition.galleries |= motion.galleries


def gather_candidates(params: BuildReport, paths: Paths, results: Results) -> Exhibition:
    """Clips of early decisions, to be opened, and the wrong decisions."""
    told = results.plots / "detect_persistence" / "reasons.jsonl"
    clips, galleries = collecting.candidates(
        results, paths.candidate_videos, paths.candidate_codes if found(paths.candidate_codes, results) else None,
        paths.candidate_trajectories if found(paths.candidate_trajectories, results) else None, params.candidates,
        read_rows(told) if told.exists() else [],
    )
    return Exhibition({CANDIDATES: clips}, galleries)


def gather_actions(params: BuildReport, paths: Paths, results: Results, exhibition: Exhibition) -> None:
    """Clips of actions, to be opened, and the misclassified ones."""
    there = [found(path, results) for path in (paths.actions, paths.gasm_cast)]  # each one noted
    if not all(there):
        return
    if (shown := action_clips(results, paths.actions, paths.gasm_cast, params.actions)) is not None:
        exhibition.sets[shown[0].name] = shown[0]
        exhibition.galleries |= shown[1]


def predictions(model: Path, dataset: Dataset, clips: Clips, *, worst: int = 0) -> list[Card]:
    """The predictor's next time slice of each clip, after the slices that it was given; `worst`: of those alone."""
    from kinetoken.prediction.network import load_predictor

    predictor, tokenizer = load_predictor(model), dataset.tokenizer
    dataset.require_tokenizer_of(predictor, model)
    codes = clips_of.codes_of(dataset.codes, clips.track_id)
    if codes is None:
        return []
    past = codes[:, : predictor.shape.past_slices]
    ahead = np.concatenate([past, predictor.predict(past)], 1)
    predicted, background = clips_of.decode(tokenizer, ahead), clips_of.background_of(dataset.clips, clips)
    if worst:
        kept = clips_of.furthest(clips, predicted, background, worst)
        clips = Clips(clips.track_id[kept], clips.label[kept], clips.split[kept], clips.pixels[kept], clips.fps)
        codes, predicted = codes[kept], predicted[kept]
    decoded = clips_of.decode(tokenizer, codes)
    return clips_of.prediction_cards(clips, decoded, predicted, tokenizer.temporal_stride * past.shape[1], background)


def generations(model: Path, dataset: Dataset, params: BuildReport) -> tuple[list[Card], str]:
    """Cards of clips by prior and requested class, and what stands below each clip."""
    from kinetoken.generation.generator import load_generator

    generator, count = load_generator(model), SAMPLES * params.clips_per_class
    dataset.require_tokenizer_of(generator, model)

    def clips(prior: str, label: str) -> Pixels:
        return clips_of.decode(dataset.tokenizer, generator.sample(prior, label, count, params.seed))

    made = {
        name: {label: clips(name, label) for label in generator.classes}
        if generator.follows_class(name) else {generated.ANY: clips(name, generator.classes[0])}
        for name in reversed(list(generator.priors))
    }
    test = dataset.codes.of_split("test")
    real = {
        label: clips_of.decode(dataset.tokenizer, test.codes[test.label == label][:COMPARED])
        for label in generator.classes if (test.label == label).any()
    }
    limits = generated.limits_of(real, dataset.clips)
    return generated.generation_cards(made, real, limits), generated.about(limits)


def found(path: Path, results: Results) -> bool:
    """Whether an optional input is there; if not, it is noted as missing, unless its stage says why there is none."""
    if why_absent(path) is not None:
        return False
    if not path.exists():
        results.note(str(path))
    return path.exists()


def main() -> int:
    return run_stage(run, BuildReport, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
