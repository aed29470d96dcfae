"""What this run does not hold, and why: nothing on the page may pass for more than it is."""

from dataclasses import dataclass

from kinetoken.report.results import Results


@dataclass(frozen=True)
class NotRun:
    """One thing a reader might expect, why it is not here, and how it would be."""

    what: str
    why: str
    how: str = ""


# stages of the pipeline: a missing table of numbers means that the stage has not run
RUNNABLE = (
    "train_tokenizer", "train_baselines", "diagnose_codes", "train_classifier", "explain_classifier", "train_position",
    "train_predictor", "train_generator", "train_i3d_magvit", "train_gasm_cast", "detect_persistence",
    "describe_motion",
)
EXTRACTORS = ("magvit", "transformer", "i3d_causal", "slowfast_causal")  # of detect_persistence


def not_run(results: Results, *, gpu: bool) -> list[NotRun]:
    """The list, from what the numbers say. `gpu`: PyTorch sees one where the report is built."""
    absent = [stage for stage in RUNNABLE if stage not in results.metrics and stage not in results.not_measured]
    gaps = [NotRun(stage, "This stage has written no metrics.", f"dvc repro {stage}") for stage in absent]
    gaps += [NotRun(stage, f"Not measured: {reason}.") for stage, reason in results.not_measured.items()]
    if results.number("describe_motion", "is_llm") == 0:
        gaps.append(NotRun(
            "A language model", "Equations and sentences come from least-squares fits (provider offline, is_llm 0); "
            "no text was sent to or received from a language model.",
        ))
    gaps += [
        *_weights(results),
        *_extractors(results),
        NotRun("More than one seed", "Each network was trained once. The intervals are bootstraps over test clips; "
               "they do not cover the difference that another seed would make."),
        NotRun("Ablations", "One variant of each model was trained. Longer comparisons are studies.",
               "make study NAME=…"),
    ]
    if not gpu:
        gaps.append(NotRun("A GPU", "PyTorch found none where this page was built.", "make repro PROFILE=gpu"))
    return gaps


def _weights(results: Results) -> list[NotRun]:
    """Which video networks began at random, and which are not of the published size."""
    networks = {
        "I3D": ("train_i3d_magvit", "backbone"), "DINOv3": ("train_gasm_cast", "semantic"),
        "R3D-18": ("train_gasm_cast", "motion"),
    }
    pretrained = {name: results.number(stage, f"{part}.pretrained") for name, (stage, part) in networks.items()}
    random = [name for name, known in pretrained.items() if known == 0]
    if not any(pretrained.values()):
        gap = "None are used (pretrained: false): every network here was trained from scratch."
    elif random:
        gap = f"Not for {', '.join(random)}: trained from scratch (pretrained: false)."
    else:
        return []
    reduced = [name for name, (stage, part) in networks.items() if results.number(stage, f"{part}.reduced")]
    if reduced:
        gap += f" Reduced networks replace the published {', '.join(reduced)}."
    return [NotRun("Pretrained weights", gap)]


def _extractors(results: Results) -> list[NotRun]:
    """Which extractors of early decisions this run left out."""
    stage = "detect_persistence"
    left_out = [name for name in EXTRACTORS if results.number(stage, f"{name}.accuracy") is None]
    if stage not in results.metrics or not left_out:
        return []
    return [NotRun(
        f"Early decisions by {' and '.join(left_out)}", "Not among the extractors of this run (detect_persistence).",
        f"dvc exp run -S 'detect_persistence.extractors=[{', '.join(EXTRACTORS)}]'",
    )]
