"""The results that a card shows: numbers of the tables with baseline, upper bound and interval, and their words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kinetoken.charts.markdown import NONE, Markdown, plain
from kinetoken.report.headline import HEADLINES, Headline, Unit, bounds_of, shown
from kinetoken.report.headline_words import FREQUENT, MEAN_CLIP, MEAN_POSITION, ONE_ANSWER, WORDS, Meaning
from kinetoken.report.results import Results

MOST_CLASSES = 40  # of which a card shows each; of more, the worst
WORST = 10
EXTRACTORS = {  # of persistence: what each network reads
    "transformer": "pixels", "magvit": "codes", "i3d_causal": "pixels", "slowfast_causal": "pixels",
}
CHAIN = "diagnose_codes"
BEST_RULE = "best rule on true positions"


@dataclass(frozen=True)
class CardRow:
    """One row of a card. `metric`: its type in the model index; None: of another model, shown for comparison."""

    name: str  # stage.key
    metric: str | None = None


@dataclass(frozen=True)
class Result:
    """A number of this run, and what bounds it."""

    measure: CardRow
    headline: Headline
    words: Meaning
    value: float
    floor: float | None
    ceiling: float | None
    low: float | None
    high: float | None


def _early(name: str, reads: str) -> tuple[tuple[Headline, Meaning], ...]:
    """The rows of one network of detect_persistence."""
    stage = "detect_persistence"

    def of(
        key: str, title: str, unit: Unit, words: Meaning, *, lower: bool = False, floor: str | None = "",
        ceiling: str = "",
    ) -> tuple[Headline, Meaning]:
        return Headline(stage, f"{name}.{key}", f"{title} ({name})", unit, lower, "zero", floor, ceiling), words

    return (
        of("accuracy", "Decisions right", "share",
           Meaning(f"The network reads {reads} until it is sure, and decides. Share of right decisions.", ONE_ANSWER,
                   BEST_RULE), ceiling=f"{stage}.reference.accuracy"),
        of("early_stop_rate", "Decided before the last frame", "share", Meaning("Share of candidates.")),
        of("mean_decision_frame", "Frames read before the decision", "",
           Meaning("Mean over candidates.", "", BEST_RULE), lower=True,
           ceiling=f"{stage}.reference.mean_decision_frame"),
        of("compute_saved", "Compute saved", "share",
           Meaning("Share of multiply-adds that are not executed because the network stops early.")),
        of("ece", "Calibration error", "",
           Meaning("Expected calibration error of the confidence at the decision.", "",
                   "perfectly calibrated network, same clips"),
           lower=True, floor=None, ceiling=f"{stage}.{name}.ece_floor"),
        of("regret", "Regret", "points", Meaning(
            "A decision costs 100 points if it is wrong, and a smaller amount for each frame watched. Mean cost minus "
            "the mean cost of the best rule on true positions."), lower=True),
    )


FURTHER: tuple[tuple[Headline, Meaning], ...] = (
    (Headline("train_tokenizer", "missed_rate", "Frames without the ball after decoding", "share", True),
     Meaning("Share of frames in which less than a tenth of the ball is left.", MEAN_CLIP)),
    (Headline(CHAIN, "probe.pixels", "Class read from pixels by probes", "share"),
     Meaning("The same on pixels.", FREQUENT)),
    (Headline(CHAIN, "probe.codes", "Class read from codes by probes", "share"),
     Meaning("Accuracy of the best of three small classifiers on the codes.", FREQUENT, "the same on pixels")),
    (Headline(CHAIN, "usage", "Codebook used", "share"),
     Meaning("Share of the codes that occur at all.", "a single code", "all codes")),
    (Headline("train_baselines", "video.ece", "Calibration error", "", True),
     Meaning("Expected calibration error of the predicted probabilities.")),
    (Headline("train_classifier", "ece", "Calibration error", "", True),
     Meaning("Expected calibration error of the predicted probabilities.")),
    (Headline("train_position", "error_m", "Ball position from codes in space, error in metres", "", True),
     Meaning("Distance to the ball's true centre.", MEAN_POSITION)),
    (Headline("train_position", "ood.error_px", "Error in the image, outside the training ranges", "px", True),
     Meaning("The same as the first row, on the clips of the split `ood`.", MEAN_POSITION)),
    (Headline("train_position", "ood.error_depth_percent", "Error of depth, outside the training ranges", "%", True),
     Meaning("The same as the second row, on the clips of the split `ood`.", MEAN_POSITION)),
    (Headline("train_generator", "masked.lawful", "Generated clips that follow their law", "share"),
     Meaning("Share of clips that follow their law of motion as closely as 95 % of real clips do.", "",
           "real clips, encoded and decoded")),
    (Headline("train_generator", "class_gaussian.class_match", "The same with one Gaussian per class", "share"),
     Meaning("A simple generator in the same folder, for comparison: share of clips of the requested class.",
           "generator that ignores the class", "real clips, encoded and decoded")),
    *(row for name, reads in EXTRACTORS.items() for row in _early(name, reads)),
)
OWN_WORDS = {  # where the words of the results page hold for the default data alone
    "train_gasm_cast.top1": Meaning("Share of clips whose most probable class is right.", FREQUENT),
}
OF_FOOTAGE = {  # in videos nobody knows where a ball is
    "train_tokenizer.foreground_psnr_db": (
        "Reconstruction, what moves (PSNR)",
        Meaning("The same, on the pixels that differ from the clip's median over time.", MEAN_CLIP),
    ),
}
_FURTHER = {one.name: (one, words) for one, words in FURTHER}
_KNOWN = {**{one.name: (one, OWN_WORDS.get(one.name, WORDS[one.name])) for one in HEADLINES}, **_FURTHER}


def results_of(results: Results, measures: Iterable[CardRow], *, tracked: bool = True) -> list[Result]:
    """The measures that this run has numbers for, in order. `tracked`: the positions of a ball are known."""
    found = [_result(results, measure, tracked) for measure in measures]
    return [one for one in found if one is not None]


def _result(results: Results, measure: CardRow, tracked: bool) -> Result | None:
    one, words = _KNOWN[measure.name]
    if not tracked and measure.name in OF_FOOTAGE:
        title, words = OF_FOOTAGE[measure.name]
        one = replace(one, title=title)
    value = results.number(one.stage, one.key)
    if value is None:
        return None
    low, high = (results.number(one.stage, f"{one.key}_ci95_{side}") for side in ("low", "high"))
    return Result(measure, one, words, value, *bounds_of(one, results), low, high)


HEAD = ("measured", "result", "95 % interval", "baseline", "upper bound")


def result_cells(found: Sequence[Result]) -> list[list[Markdown]]:
    """Rows of a table under `HEAD`."""
    return [
        [
            Markdown(f"**{one.headline.title}.** {one.words.measured}"),
            Markdown(f"**{shown(one.value, one.headline.unit)}**"), _interval(one),
            _bound(one, one.floor, one.words.baseline), _bound(one, one.ceiling, one.words.upper_bound),
        ]
        for one in found
    ]


def _interval(one: Result) -> Markdown:
    if one.low is None or one.high is None:
        return Markdown(NONE)
    return Markdown(f"{shown(one.low, one.headline.unit, named=False)} … {shown(one.high, one.headline.unit)}")


def _bound(one: Result, value: float | None, words: str) -> Markdown:
    number = shown(value, one.headline.unit)
    return Markdown(number if value is None or not words else f"{number} ({words})")


def by_class(results: Results, stage: str, prefix: str, classes: Sequence[str]) -> tuple[list[list[object]], bool]:
    """Class and accuracy in a row each; of many classes the worst, and whether that was so."""
    numbers = [(name, results.number(stage, f"{prefix}per_class.{name}")) for name in classes]
    known = [(name, value) for name, value in numbers if value is not None]
    cut = len(known) > MOST_CLASSES
    if cut:
        known = sorted(known, key=lambda one: (one[1], one[0]))[:WORST]
    return [[plain(name), shown(value, "share")] for name, value in known], cut
