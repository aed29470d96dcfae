"""The motion card: what one tokenizer keeps of motion, as data that programs compare and pages show."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinetoken.core.errors import UserError
from kinetoken.core.outputs import written_whole
from kinetoken.core.params import build
from kinetoken.examination.adapter import TokenizerFacts
from kinetoken.examination.behaviour import Check
from kinetoken.examination.measuring import Sample

if TYPE_CHECKING:
    from kinetoken.diagnosis.api import DiagnosisResult

KIND, SCHEMA = "kinetoken motion card", 1  # the schema's number grows when a key changes its meaning or goes
FILE = "card.json"
DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number of a card: its key, and how a reader is told of it."""

    key: str
    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    about: str


POINTS = {"pixels": "pixels", "latents": "latents", "codes": "codes", "codes_pooled": "averaged codes"}


def _along(key: str, name: str, unit: str, better: Literal["higher", "lower"], about: str) -> tuple[Measure, ...]:
    """The same measure at each point of the chain."""
    return tuple(Measure(f"{key}.{point}", f"{name}, {shown}", unit, better, about) for point, shown in POINTS.items())


GROUPS: dict[str, tuple[Measure, ...]] = {
    "Reconstruction of the test clips": (
        Measure("reconstruction.psnr_db", "PSNR", "dB", "higher", "over all pixels; baseline: the mean training video"),
        Measure("reconstruction.foreground_psnr_db", "foreground PSNR", "dB", "higher",
                "over the ball's pixels, which the renderer knows; baseline: the mean training video"),
        Measure("reconstruction.centroid_error_px", "centroid error", "px", "lower",
                "from the ball's true centre to the centroid of what differs from the background; upper bound: the "
                "same for the original clips"),
        Measure("reconstruction.radius_error_px", "radius error", "px", "lower", "of the ball's apparent radius"),
        Measure("reconstruction.missed_rate", "ball missed", "%", "lower",
                "share of frames whose reconstruction shows under a tenth of the ball; read with the centroid error"),
    ),
    "Motion kept": (
        *_along("position_r2", "position R²", "", "higher",
                "linear reading (ridge regression) of the ball's place in each frame; baseline: the mean of the "
                "training clips; upper bound: the ball tracked in the original clips"),
        *_along("position_error_px", "position error", "px", "lower", "of the same reading, mean over frames"),
        *_along("velocity_r2", "velocity R²", "", "higher",
                "linear reading of the mean velocity in the image, with the same bounds"),
        *_along("velocity_error_px", "velocity error", "px a frame", "lower", "of the same reading"),
    ),
    "Law of motion (four classes)": _along(
        "class", "class accuracy", "%", "higher",
        "of the strongest probe; baseline: the most frequent class; upper bound: the best reading of an earlier point",
    ),
    "Codes": (
        Measure("codes.usage", "usage", "%", "neither", "share of the codebook that occurs"),
        Measure("codes.perplexity", "perplexity", "", "neither", "codes in even use that are as hard to guess"),
        Measure("codes.perplexity_foreground", "perplexity, foreground", "", "neither",
                "the same over tokens where something moves"),
    ),
    "Cost": (
        Measure("cost.tokens", "tokens a clip", "", "lower", "numbers that a clip is stored as"),
        Measure("cost.bits", "size of a clip", "bits", "lower",
                "each code at a fixed length (latents: 16 bits a number); baseline: 8-bit RGB"),
        Measure("cost.entropy_bits", "entropy of a clip", "bits", "neither",
                "at the frequencies of the codes, each alone"),
        Measure("speed.encode", "encoding", "clips/s", "higher", "on the machine of the examination"),
        Measure("speed.decode", "decoding", "clips/s", "higher", "on the machine of the examination"),
    ),
}
MEASURES = {measure.key: measure for group in GROUPS.values() for measure in group}


@dataclasses.dataclass(frozen=True)
class CardNumber:
    """A number with what makes it readable; None where there is no such thing."""

    value: float
    baseline: float | None = None
    upper_bound: float | None = None
    ci95_low: float | None = None
    ci95_high: float | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, Any], name: str) -> "CardNumber | None":
        """From `name`, `name_floor`, `name_ceiling` and the interval; None if `name` is not there or not finite."""
        found = [_finite(numbers.get(f"{name}{end}")) for end in ("", "_floor", "_ceiling", "_ci95_low", "_ci95_high")]
        return None if found[0] is None else cls(found[0], *found[1:])


    @classmethod
    def rounded(cls, value: float, *ends: float) -> "CardNumber":
        """To six significant digits; ends in the order of the fields."""
        return cls(_finite(value) or 0.0, *(_finite(end) for end in ends))


def _finite(value: float | None) -> float | None:
    """To six significant digits, whole numbers in full; None for what JSON cannot hold."""
    if value is None or not math.isfinite(float(value)):
        return None
    number = float(value)
    return number if number.is_integer() else float(f"{number:.{DIGITS}g}")


@dataclasses.dataclass(frozen=True)
class CardVerdict:
    """The doctor's headline. healthy is None for a tokenizer that never quantizes, as there are no codes to judge."""

    cause: str
    healthy: bool | None
    severity: float | None
    degree: str
    evidence: str
    cure: str


@dataclasses.dataclass(frozen=True)
class SetFacts:
    """The motion set that was shown."""

    version: int
    seed: int
    size: int
    frames: int
    fps: float
    train: int
    val: int
    test: int


@dataclasses.dataclass(frozen=True)
class StoredCard:
    """What is read back of a card's file, each key checked."""

    tokenizer: TokenizerFacts
    codes_shape: tuple[int, ...]
    motion_set: SetFacts
    verdict: CardVerdict
    findings: tuple[str, ...]
    numbers: dict[str, CardNumber]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MotionCard(StoredCard):
    """What an examination found.

    tokenizer: its facts; codes_shape: of one clip's codes; numbers: by the keys of docs/examine.md, one that could not
    be measured being absent; checks: causal, batch_independent, repeatable; findings: what stands beside the verdict;
    diagnosis: the doctor's whole report as in its report.json; result: the same as an object, None for a card that
    was read from a file.

    >>> import kinetoken
    >>> kinetoken.MotionCard.__name__
    'MotionCard'
    >>> card = kinetoken.examine("models/tokenizer")  # doctest: +SKIP
    >>> card.verdict.cause, card.numbers["class.codes"].value  # doctest: +SKIP
    ('healthy', 0.918)
    >>> card.write("my_card")  # doctest: +SKIP
    >>> kinetoken.MotionCard.read("my_card") == card  # doctest: +SKIP
    True
    """

    diagnosis: dict[str, Any] = dataclasses.field(repr=False)
    result: "DiagnosisResult | None" = dataclasses.field(default=None, repr=False, compare=False)
    samples: tuple[Sample, ...] = dataclasses.field(default=(), repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> "MotionCard":
        """The card of a card.json, or of the folder that holds one; UserError as `read_card` raises it."""
        return read_card(Path(path))

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in card.json."""
        from kinetoken.core.version import __version__

        content = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
            if field.name not in ("result", "samples")
        }
        plain = {name: _plain(value) for name, value in content.items()}
        return {"kind": KIND, "schema": SCHEMA, "kinetoken": __version__, **plain}

    def to_markdown(self) -> str:
        """The card for people, as in card.md."""
        from kinetoken.examination.page import card_markdown

        return card_markdown(self)

    def write(self, folder: str | Path, *, force: bool = False) -> None:
        """card.html, card.md, card.json, and the doctor's report in the folder `diagnosis`.

        Raises UserError for a folder that holds anything, unless `force` writes over files of these names.
        """
        from kinetoken.core.artifacts import write_json
        from kinetoken.examination.page import card_html

        with written_whole(Path(folder), force=force, folder=True) as partial:
            partial.mkdir(parents=True, exist_ok=True)
            (partial / "card.md").write_text(self.to_markdown(), encoding="utf-8")
            (partial / "card.html").write_text(card_html(self), encoding="utf-8")
            write_json(partial / FILE, self.to_json())
            if self.result is not None:
                self.result.write(partial / "diagnosis")


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Data classes, tuples and numbers as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def read_card(path: Path) -> MotionCard:
    """The card of a card.json, or of the folder that holds one.

    Raises UserError for a file that is no card, is damaged, or has a schema that this version does not know.
    """
    path = path / FILE if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `kinetoken examine … --out FOLDER` writes a card") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UserError(f"{path}: not a motion card; `kinetoken examine … --out FOLDER` writes {FILE}")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: a card of schema {content.get('schema')}, this version of kinetoken reads {SCHEMA}; "
                        "examine the tokenizer again")
    names = {field.name for field in dataclasses.fields(StoredCard)}
    try:
        stored = build(StoredCard, {key: value for key, value in content.items() if key in names}, "card")
    except UserError as error:
        raise UserError(f"{path}: a damaged card: {error}") from None
    diagnosis = content.get("diagnosis")
    return MotionCard(**vars(stored), diagnosis=diagnosis if isinstance(diagnosis, dict) else {})
