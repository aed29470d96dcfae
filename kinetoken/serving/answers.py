"""What the server answers, as typed models: they are checked before they are sent, and described in its OpenAPI."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Slices = list[list[list[int]]]
Decision = Literal["undecided", "persistent", "transient"]
EXAMPLE_CODES = [[[12, 7], [7, 993]]]
NOTES = Field(description="What was done to the clips before they were read.", examples=[[]])


class Refusal(BaseModel):
    """Why there is no result."""

    detail: Annotated[str, Field(description="One sentence.", examples=["clip.mp4: 3 frames, the classifier reads 16"])]


class Alive(BaseModel):
    alive: Literal[True] = True


class Readiness(BaseModel):
    """Whether requests are served: once models are loaded, and unless a model's folder is damaged."""

    ready: bool
    loading: Annotated[bool, Field(description="Models are being loaded, or loaded again after their process ended.")]
    models: Annotated[list[str], Field(description="Models that are loaded.", examples=[["tokenizer", "classifier"]])]
    missing: Annotated[dict[str, str], Field(
        description="Models that are not, and why. Endpoints that need them answer 503.",
        examples=[{"predictor": "the model predictor is not in the models folder"}],
    )]


class CodedClip(BaseModel):
    clip: Annotated[str, Field(description="`clip`, or `clip:16` for the window from frame 16 on.", examples=["clip"])]
    codes: Annotated[Slices, Field(description="(time, rows, columns) of the grid.", examples=[EXAMPLE_CODES])]


class CodesAnswer(BaseModel):
    """Codes, and what they are codes of."""

    grid: Annotated[list[int], Field(description="Time slices, rows and columns.", examples=[[4, 8, 8]])]
    codebook_size: Annotated[int, Field(examples=[1000])]
    quantizer: Annotated[str, Field(examples=["fsq"])]
    levels: Annotated[list[int], Field(examples=[[8, 5, 5, 5]])]
    tokenizer: Annotated[str, Field(description="Hash of the tokenizer.", examples=["5d1e6f0c"])]
    fps: Annotated[float, Field(description="Frames per second of the clips.", examples=[16.0])]
    notes: Annotated[list[str], NOTES]


class TokenizedClips(CodesAnswer):
    clips: list[CodedClip]


class JudgedClip(BaseModel):
    """Whether a clip is like those that the models were trained on."""

    novelty_p: Annotated[float | None, Field(
        ge=0, le=1, description="Share of validation clips that are at least as strange; null without a novelty score.",
        examples=[0.62],
    )] = None
    unlike_training: Annotated[bool | None, Field(
        description="Is the clip so unlike the training data that what was read of it should not be trusted?",
        examples=[False],
    )] = None


class ClassifiedClip(JudgedClip):
    clip: Annotated[str, Field(examples=["clip"])]
    predicted: Annotated[str, Field(description="The likeliest class.", examples=["helical"])]
    probability: Annotated[float, Field(ge=0, le=1, description="Of this class.", examples=[0.98])]
    probabilities: Annotated[dict[str, float], Field(
        description="Of every class.", examples=[{"circular": 0.01, "helical": 0.98, "linear": 0.0, "parabolic": 0.01}],
    )]


class ClassifiedClips(BaseModel):
    notes: Annotated[list[str], NOTES]
    clips: list[ClassifiedClip]


class FramePosition(BaseModel):
    """The ball in one frame. The camera is the origin: x points right, y up, z forward."""

    frame: Annotated[int, Field(ge=0, examples=[0])]
    x: Annotated[float, Field(description="Metres.", examples=[0.42])]
    y: Annotated[float, Field(description="Metres.", examples=[-0.13])]
    z: Annotated[float, Field(description="Metres.", examples=[5.2])]
    u: Annotated[float, Field(description="Pixels to the right, in the model's image.", examples=[36.1])]
    v: Annotated[float, Field(description="Pixels down, in the model's image.", examples=[33.0])]


class LocatedClip(JudgedClip):
    clip: Annotated[str, Field(examples=["clip"])]
    positions: list[FramePosition]


class LocatedClips(BaseModel):
    notes: Annotated[list[str], NOTES]
    clips: list[LocatedClip]


class RawPixels(BaseModel):
    """Frames without loss."""

    shape: Annotated[list[int], Field(description="Frames, height, width, 3.", examples=[[4, 64, 64, 3]])]
    base64: Annotated[str, Field(description="The bytes, red, green and blue of each pixel.", examples=["f39/gICA"])]


class PredictedClip(CodedClip):
    pixels: Annotated[RawPixels, Field(description="The predicted frames.")]


class PredictedClips(CodesAnswer):
    """`codes` are those of past and future."""

    given: Annotated[int, Field(description="Frames of the past that were read.", examples=[12])]
    clips: list[PredictedClip]


class DoctorFinding(BaseModel):
    """A finding, as in report.json (docs/doctor.md)."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(examples=["codebook collapse"])]
    question: Annotated[str, Field(description="use, kept or data.", examples=["use"])]
    severity: Annotated[float | None, Field(description="What it costs, in [0, 1].", examples=[0.9])]
    degree: Annotated[str, Field(examples=["serious"])]
    confidence: Annotated[str, Field(examples=["certain"])]
    evidence: Annotated[str, Field(examples=["1 of 512 codes is in use."])]
    cure: Annotated[str, Field(examples=["Reset dead entries while training."])]


class DoctorVerdict(DoctorFinding):
    cause: Annotated[str, Field(examples=["codebook collapse"])]
    healthy: bool
    sentence: Annotated[str, Field(examples=["Codebook collapse: 1 of 512 codes is in use."])]


class DoctorReport(BaseModel):
    """What `kinetoken diagnose --json` prints: report.json, whose schema docs/doctor.md describes."""

    model_config = ConfigDict(populate_by_name=True)

    version: Annotated[int, Field(alias="schema", description="Version of this format.", examples=[2])]
    library: Annotated[str, Field(description="Whose words the cures use.", examples=["pytorch"])]
    verdict: DoctorVerdict
    kept: DoctorFinding
    findings: list[DoctorFinding]
    numbers: Annotated[dict[str, Any], Field(description="Every number, nested.", examples=[{"usage": 0.002}])]
    measures: Annotated[dict[str, Any], Field(description="What the verdict rests on.", examples=[{}])]
    notes: Annotated[list[str], Field(description="What was assumed.", examples=[[]])]


class SessionState(BaseModel):
    """A session of early decisions: one moving object, seen frame by frame."""

    session: Annotated[str, Field(description="Its name, for the addresses of its frames.", examples=["mJQb1vC2x0w"])]
    size: Annotated[int, Field(description="Pixels a side that the detector reads.", examples=[64])]
    most: Annotated[int, Field(description="Frames, after which it decides in any case.", examples=[32])]
    frames: Annotated[int, Field(ge=0, description="Frames fed so far.", examples=[5])]
    status: Annotated[Decision, Field(examples=["undecided"])]
    decided: Annotated[bool, Field(description="No further frame is read.", examples=[False])]
    confidence: Annotated[float, Field(description="Probability of the likelier answer.", examples=[0.71])]
