"""Which way a number is better: the one place that knows it for every number of a stage, by its dotted name."""

from fnmatch import fnmatchcase
from typing import Literal

Direction = Literal["higher", "lower", "neither"]

# Baselines, controls and references say what is possible without the model: a change of theirs is no progress.
NO_RESULT = (
    "control.*", "first_frame.*", "nuisance.*", "majority.*", "order_blind.*", "floor.*", "floors.*", "reference.*",
    "oracle.*", "coordinates.*", "law_fit.*", "rule.*", "*.pixels", "*.truth", "attention_ratio_*",
)
# of the whole dotted name, or of its last parts
HIGHER = (
    "accuracy*", "*psnr_db", "class_match", "coverage", "valid", "lawful", "precision", "recall", "top1", "top5",
    "pair_top1", "within_pairs", "*_saved", "early_stop_rate", "earliness", "harmonic_mean", "attention_ratio",
    "gain_over_fixed",
    "*_correct", "equation_correct_true_points", "form_match", "symbolic_match", "parsed", "healthy",
    "label_information_bits*", "per_class.*", "probe.*", "probes.*", "*_r2.*", "*_r2_per_kilobit",
    "description.*", "auroc", "auroc_by_kind.*", "found", "found_by_kind.*", "on_ball.attributed", "on_ball.difference",
)
LOWER = (
    "ece", "*error_px", "*error_m", "*error_depth_percent", "velocity_error", "mse", "foreground_mse", "nmse_*",
    "missed_rate", "frame_missed_rate", "memorised", "regret", "error_over_oracle", "ood_ratio",
    "mse_ratio_to_reconstruction", "forecast_*", "place_px", "place_median_px", "mean_decision_frame", "severity",
    "quantization_error*", "code_mismatch", "parameters_ks", "deletion.attributed", "deletion.difference",
    "rank_correlation.signed", "rank_correlation.random_weights", "completeness_error", "false_alarms",
)


def better(key: str) -> Direction:
    """Whether more or less of a number is better; `neither` for sizes, counts, controls, and names not known here.

    >>> better("pooling.spatial_mean.accuracy"), better("transformer.centroid_error_px"), better("codebook_size")
    ('higher', 'lower', 'neither')
    """
    if _fits(key, NO_RESULT):
        return "neither"
    if _fits(key, LOWER):
        return "lower"
    return "higher" if _fits(key, HIGHER) else "neither"


def _fits(key: str, patterns: tuple[str, ...]) -> bool:
    parts = key.split(".")
    ends = [".".join(parts[place:]) for place in range(len(parts))]
    return any(fnmatchcase(end, pattern) for pattern in patterns for end in ends)
