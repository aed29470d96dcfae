"""The first screen: can the codes tell motion apart, where along the way is it lost, and the table of marks."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kinetoken.charts.parts import Link
from kinetoken.core.params import NonNegative, Positive
from kinetoken.report.results import Results

Unit = Literal["share", "dB", "px", "%", "×", "points", "of 1", ""]

CHAIN = (
    ("probe.pixels", "Pixels", "the clips themselves"),
    ("probe.latents", "Latents", "the encoder's output, before quantizing"),
    ("probe.codes", "Codes", "after quantizing, each token at its position"),
    ("probe.codes_pooled", "Averaged codes", "the same codes, averaged over space"),
)
# headlines on the first screen, one a system, with titles that stand alone
FIRST = {
    "train_tokenizer.centroid_error_px": "Reconstruction: position of the ball, error",
    "train_classifier.accuracy": "Class predicted from codes",
    "train_position.error_px": "Position predicted from codes, error",
    "train_predictor.transformer.centroid_error_px": "Position in the next frames, error",
    "train_generator.masked.class_match": "Generated clips of the requested class",
    "train_i3d_magvit.forecast_mae_percent": "Next 4 positions from frames and codes, error",
    "train_gasm_cast.top1": "Actions classified (GASM-CAST)",
    "detect_persistence.transformer.accuracy": "Early decisions right",
    "describe_motion.equation_correct": "Equations right on held-out frames",
}
# share of what pixels allow over chance that the codes still hold, for each word of the answer
ANSWERS = ((0.95, "Yes."), (0.8, "Mostly."), (0.2, "In part."), (-1.0, "No."))


@dataclass(frozen=True)
class BuildReport:
    """Section build_report."""

    seed: NonNegative  # of the generated clips that are shown
    clips_per_class: Positive  # shown of each kind
    descriptions: NonNegative  # rows shown that are right, and as many that are wrong
    marks: dict[str, float]  # stage.key of a headline → what it is held to; see `Headline.counted_from`
    clips: NonNegative = 680  # test clips that the page holds, to be opened from its charts
    candidates: NonNegative = 64  # of the early decisions, likewise: they are longer and take more room
    actions: NonNegative = 40  # of the actions, likewise

    def __post_init__(self) -> None:
        known = {one.name for one in HEADLINES}
        if unknown := sorted(set(self.marks) - known):
            raise ValueError(f"marks: '{unknown[0]}' is not a headline; known are {', '.join(sorted(known))}")


@dataclass(frozen=True)
class Headline:
    """A row of the table. Its mark counts from zero, from below the ceiling, or from beyond the floor."""

    stage: str
    key: str  # a key ending in .* stands for the least of the numbers under it
    title: str
    unit: Unit
    lower_is_better: bool = False
    counted_from: Literal["zero", "ceiling", "floor"] = "zero"
    floor: str | None = ""  # stage.key where it is not <key>_floor; None: what bears that name is no floor
    ceiling: str = ""

    @property
    def name(self) -> str:
        return f"{self.stage}.{self.key}"


HEADLINES = (
    Headline("train_tokenizer", "psnr_db", "Reconstruction, all pixels (PSNR)", "dB"),
    Headline("train_tokenizer", "foreground_psnr_db", "Reconstruction, the ball (PSNR)", "dB"),
    Headline("train_tokenizer", "centroid_error_px", "Ball position in the reconstruction, error", "px", True),
    Headline("train_baselines", "coordinates.accuracy", "Class predicted from true positions", "share",
             floor="train_baselines.majority.accuracy"),
    Headline("train_baselines", "law_fit.accuracy", "Class of the law that fits true positions with 0.15 px of noise",
             "share", floor="train_baselines.majority.accuracy"),
    Headline("train_baselines", "video.accuracy", "Class predicted from pixels", "share",
             floor="train_baselines.majority.accuracy", ceiling="train_baselines.coordinates.accuracy"),
    Headline("train_baselines", "first_frame.accuracy", "Control: class from the first frame alone", "share"),
    Headline("train_baselines", "nuisance.accuracy", "Control: class from speed, colour, light and start", "share"),
    Headline("train_classifier", "accuracy", "Class predicted from codes, position kept", "share",
             ceiling="train_baselines.coordinates.accuracy"),
    Headline("train_classifier", "per_class.*", "… its worst class", "share"),
    Headline("train_classifier", "pooling.cell_mean.accuracy", "Class predicted from codes averaged over space",
             "share", floor="train_classifier.accuracy_floor", ceiling="train_classifier.accuracy"),
    Headline("train_classifier", "pooling.spatial_mean.accuracy", "… from averages of the codes' raw coordinates",
             "share", floor="train_classifier.accuracy_floor", ceiling="train_classifier.accuracy"),
    Headline("train_classifier", "novelty.auroc", "Strange clips told from sound ones, area under the ROC curve",
             "of 1"),
    Headline("train_classifier", "novelty.false_alarms", "… sound clips called unlike the training data", "share",
             True),
    Headline("explain_classifier", "on_ball.attributed", "Attribution of this class that lies on the ball", "share"),
    Headline("explain_classifier", "deletion.attributed", "Class predicted without the most attributed tokens",
             "share", True),
    Headline("explain_classifier", "rank_correlation.signed",
             "Control: attributions like those of random weights, rank correlation", "", True),
    Headline("explain_classifier", "rank_correlation.random_weights", "… of their absolute values", "", True),
    Headline("train_position", "error_px", "Ball position from codes, error", "px", True),
    Headline("train_position", "error_depth_percent", "Ball depth from codes, error", "%", True),
    Headline("train_predictor", "transformer.centroid_error_px", "Predicted ball position, error (transformer)", "px",
             True, "floor"),
    Headline("train_predictor", "transformer.error_over_oracle", "… relative to a fit that knows the law", "×", True),
    Headline("train_predictor", "transformer.ood_ratio", "… the same outside the training ranges", "×", True),
    Headline("train_predictor", "transformer.mse_ratio_to_reconstruction",
             "… squared error of its frames relative to the reconstruction's", "×", True),
    Headline("train_predictor", "lstm.centroid_error_px", "Predicted ball position, error (LSTM)", "px", True, "floor"),
    Headline("train_generator", "masked.class_match", "Generated clips of the requested class", "share",
             False, "ceiling"),
    Headline("train_generator", "masked.lawful", "… that obey the law of their class", "share", False, "ceiling"),
    Headline("train_generator", "masked.coverage", "… coverage of the real motions", "share", False, "ceiling"),
    Headline("train_generator", "masked.memorised", "… copied from training clips", "share", True),
    Headline("train_i3d_magvit", "accuracy", "Class predicted from frames and codes (I3D + MAGVIT)", "share",
             ceiling="train_baselines.coordinates.accuracy"),
    Headline("train_i3d_magvit", "per_class.*", "… its worst class", "share"),
    Headline("train_i3d_magvit", "without_frames.accuracy", "… from its codes alone, frames masked", "share"),
    Headline("train_i3d_magvit", "frames_alone.place_px", "… ball position from its frames alone, error", "px", True),
    Headline("train_i3d_magvit", "forecast_mae_percent", "… next 4 positions, mean error in % of the track's extent",
             "%", True, "floor"),
    Headline("train_i3d_magvit", "forecast_rmse_percent", "… the same, root mean square error", "%", True, "floor"),
    Headline("train_gasm_cast", "top1", "Actions classified (GASM-CAST)", "share"),
    Headline("train_gasm_cast", "within_pairs", "… order right, among clips with the right mirrored pair", "share"),
    Headline("train_gasm_cast", "order_blind.top1", "Control: DINOv3 frames averaged, no motion", "share"),
    Headline("train_gasm_cast", "order_blind.within_pairs", "… order right, among clips with the right mirrored pair",
             "share"),
    Headline("detect_persistence", "transformer.accuracy", "Will the candidate persist? Decisions right (transformer)",
             "share"),
    Headline("detect_persistence", "transformer.early_stop_rate", "… decided before the end of the clip", "share"),
    Headline("detect_persistence", "transformer.compute_saved", "… compute saved by stopping early", "share"),
    Headline("detect_persistence", "transformer.harmonic_mean", "… harmonic mean of accuracy and earliness", "of 1"),
    Headline("detect_persistence", "transformer.ece", "… calibration error of its confidence", "", True,
             floor=None, ceiling="detect_persistence.transformer.ece_floor"),
    Headline("detect_persistence", "transformer.regret", "… regret against the best rule on true positions", "points",
             True, floor="detect_persistence.transformer.fixed.regret"),
    Headline("detect_persistence", "transformer.gain_over_fixed",
             "… what it gains over the best single time for all candidates", "points"),
    Headline("detect_persistence", "transformer.attention_ratio", "… attention on the candidate relative to uniform",
             "×"),
    Headline("detect_persistence", "control.unsupervised_attention.attention_ratio",
             "Control: attention on the candidate without losses on position (codes)", "×"),
    Headline("detect_persistence", "magvit.accuracy", "Will the candidate persist? Decisions right (codes)", "share"),
    Headline("detect_persistence", "control.first_frame.accuracy", "Control: persistence from the first frame alone",
             "share"),
    Headline("detect_persistence", "control.metadata.accuracy", "Control: persistence from metadata, without the video",
             "share"),
    Headline("detect_persistence", "control.shuffled_labels.accuracy",
             "Control: persistence after training on random labels", "share"),
    Headline("describe_motion", "equation_correct_true_points", "Equation right on held-out frames, from true points",
             "share"),
    Headline("describe_motion", "equation_correct", "Equation right on held-out frames, from codes", "share",
             False, "ceiling"),
    Headline("describe_motion", "description_correct", "Sentence right in every fact", "share"),
)


def _full_titles() -> dict[str, str]:
    titles: dict[str, str] = {}
    parents: dict[tuple[str, str], str] = {}  # (stage, first part of the key) → title; of the stage alone: the last
    last = ""
    for one in HEADLINES:
        part, rest = one.key.partition(".")[0], one.title.removeprefix("… ")
        if rest == one.title:
            parents[one.stage, part] = parents[one.stage, ""] = rest
            last = rest
        else:
            before = last if rest.startswith("the same") else parents.get((one.stage, part))
            last = f"{before or parents[one.stage, '']}: {rest}"
        titles[one.name] = last
    return titles


FULL_TITLES = _full_titles()  # by name: those that begin with … have before them what they continue


@dataclass(frozen=True)
class Row:
    """A headline with what this run found; texts are ready to print, places run 0…1 along the row's own scale."""

    title: str
    name: str
    value: str
    floor: str
    ceiling: str
    interval: str
    mark: str
    met: bool | None  # None: there is no mark, or the mark's own reference is missing
    places: Mapping[str, float]


@dataclass(frozen=True)
class ShortAnswer:
    """The answer in a word and a sentence."""

    word: str
    sentence: str


def headline_rows(results: Results, marks: Mapping[str, float]) -> list[Row]:
    """The table: every headline whose number this run holds, in the order of the pipeline."""
    rows = [_row(one, results, marks.get(one.name)) for one in HEADLINES]
    return [row for row in rows if row is not None]


def first_rows(rows: Sequence[Row]) -> list[Row]:
    """Those of the first screen."""
    return [dataclasses.replace(row, title=FIRST[row.name]) for row in rows if row.name in FIRST]


def shown(value: float | None, unit: Unit, *, named: bool = True) -> str:
    """A number, with its unit unless that is `named` beside it, to the digits that some thousand clips can carry."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.1f}{' %' if named else ''}"
    digits = {"dB": 1, "px": 2, "%": 2, "×": 2, "points": 2, "of 1": 3, "": 3}[unit]
    name = unit if named and unit != "of 1" else ""
    return f"{value:.{digits}f}{' ' if name else ''}{name}".replace(" ×", "×")


def _row(one: Headline, results: Results, mark: float | None) -> Row | None:
    value = value_of(one, results)
    if value is None:
        return None
    floor, ceiling = bounds_of(one, results)
    low, high = (results.number(one.stage, f"{one.key}_ci95_{side}") for side in ("low", "high"))
    held = _mark(one, mark, floor, ceiling)
    interval = "–" if low is None or high is None else f"{shown(low, one.unit, named=False)} … {shown(high, one.unit)}"
    met = None if held is None else (value <= held + 1e-9 if one.lower_is_better else value >= held - 1e-9)
    sign = "≤" if one.lower_is_better else "≥"
    points = {"floor": floor, "ceiling": ceiling, "low": low, "high": high, "value": value, "mark": held}
    return Row(
        one.title, one.name, shown(value, one.unit), shown(floor, one.unit), shown(ceiling, one.unit), interval,
        "–" if held is None else f"{sign} {shown(held, one.unit)}", met, _places(points, one),
    )


def value_of(one: Headline, results: Results) -> float | None:
    """What a run holds for a headline; of a key ending in .* the least number under it."""
    if not one.key.endswith(".*"):
        return results.number(one.stage, one.key)
    ends = ("_floor", "_ceiling", "_low", "_high")
    numbers = results.metrics.get(one.stage, {})
    return min((v for k, v in numbers.items() if k.startswith(one.key[:-1]) and not k.endswith(ends)), default=None)


def bounds_of(one: Headline, results: Results) -> tuple[float | None, float | None]:
    """Its baseline and its upper bound: under the name that the headline gives, else beside the number."""
    found = []
    for named, end in ((one.floor, "_floor"), (one.ceiling, "_ceiling")):
        stage, _, key = (f"{one.stage}.{one.key}{end}" if named == "" else named or "").partition(".")
        found.append(results.number(stage, key))
    return found[0], found[1]


def _mark(one: Headline, mark: float | None, floor: float | None, ceiling: float | None) -> float | None:
    if mark is None or one.counted_from == "zero":
        return mark
    if one.counted_from == "ceiling":
        return None if ceiling is None else ceiling + (mark if one.lower_is_better else -mark)
    return None if floor is None else floor + (-mark if one.lower_is_better else mark)


def _places(points: Mapping[str, float | None], one: Headline) -> dict[str, float]:
    """Each number's place on a scale of its own, worse at 0 and better at 1."""
    known = {name: value for name, value in points.items() if value is not None}
    if one.unit in ("share", "of 1"):
        low, high = 0.0, 1.0
    else:
        low, high = min(known.values()), max(known.values())
        if one.lower_is_better:
            low = min(low, 0.0)
            if "floor" not in known:
                high *= 1.25  # room on the worse side, where nothing bounds it
    span = (high - low) or 1.0
    return {
        name: round((high - value if one.lower_is_better else value - low) / span, 4) for name, value in known.items()
    }


def chain(results: Results) -> list[Link]:
    """Class readable at each point from pixels to averaged codes; empty if diagnose_codes did not run."""
    stage = "diagnose_codes"
    found = [(key, name, about) for key, name, about in CHAIN if results.number(stage, key) is not None]
    values = [results.metrics[stage][key] for key, _, _ in found]
    drops = [before - after for before, after in zip(values, values[1:], strict=False)]
    worst = drops.index(max(drops)) + 1 if drops and max(drops) > 0.02 else -1
    majority = results.number("train_baselines", "majority.accuracy")
    links = []
    for place, (key, name, about) in enumerate(found):
        low, high, floor = (results.number(stage, f"{key}_{end}") for end in ("ci95_low", "ci95_high", "floor"))
        links.append(Link(name, about, values[place], low, high, majority if floor is None else floor, place == worst))
    return links


def head(results: Results) -> Link | None:
    """The end of the chain: the classifier that was trained on the codes."""
    stage, key = "train_classifier", "accuracy"
    value = results.number(stage, key)
    if value is None:
        return None
    pooling = next((name for name, accuracy in _poolings(results).items() if accuracy == value), None)
    low, high, floor = (results.number(stage, f"{key}_{end}") for end in ("ci95_low", "ci95_high", "floor"))
    about = "the classifier trained on the codes" + (f", pooling {pooling.replace('_', ' ')}" if pooling else "")
    return Link("Head", about, value, low, high, floor)


def _poolings(results: Results) -> dict[str, float]:
    """Accuracy of the classifier with each pooling that was trained."""
    found = {}
    for key, value in results.metrics.get("train_classifier", {}).items():
        parts = key.split(".")
        if len(parts) == 3 and (parts[0], parts[2]) == ("pooling", "accuracy"):
            found[parts[1]] = value
    return found


def averages(results: Results) -> str:
    """Why readers of averaged codes differ, where they were measured."""
    probe, trained = results.number("diagnose_codes", "probe.codes_pooled"), _poolings(results)
    raw, learned = trained.get("spatial_mean"), trained.get("cell_mean")
    if probe is None or raw is None:
        return ""
    also = "" if learned is None else (
        f" One that learns what to average, and standardises the averages, reaches {shown(learned, 'share')}."
    )
    return (
        f"Several readers see only codes averaged over space. The doctor's best probe reaches {shown(probe, 'share')}; "
        "it stands in the picture above. A classifier of averages of the codes' raw coordinates, as the first team's "
        f"was, reaches {shown(raw, 'share')}.{also} A low number of one reader does not prove that nothing is there, "
        "so the highest number says what an average can still hold."
    )


def answer(results: Results) -> ShortAnswer:
    """Can the codes tell motion apart? By the best reader of the codes against the best reader of the pixels."""
    codes = _best(results, "diagnose_codes.probe.codes", "train_classifier.accuracy")
    pixels = _best(results, "diagnose_codes.probe.pixels", "train_baselines.video.accuracy")
    chance = _best(results, "train_baselines.majority.accuracy", "diagnose_codes.probe.codes_floor",
                   "train_classifier.accuracy_floor")
    if codes is None or pixels is None or chance is None:
        return ShortAnswer("Not known yet.", "This run has no classifiers of codes and of pixels to compare. "
                           "Run train_baselines and train_classifier, or diagnose_codes.")
    kept = (codes - chance) / max(pixels - chance, 1e-9)
    word = next(word for least, word in ANSWERS if kept >= least or least < 0)
    sentence = (f"The best classifier on codes is right in {shown(codes, 'share')} of test clips, the best on pixels "
                f"in {shown(pixels, 'share')}. Guessing gives {shown(chance, 'share')}.")
    return ShortAnswer(word, sentence)


def _best(results: Results, *names: str) -> float | None:
    found = [results.number(*name.split(".", 1)) for name in names]
    return max((value for value in found if value is not None), default=None)
