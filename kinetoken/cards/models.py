"""The models that get a card: what each is, reads and gives, how it is loaded, which numbers describe it."""

from dataclasses import dataclass

from kinetoken.cards import limits
from kinetoken.cards.rows import EXTRACTORS, CardRow

LOAD_CODES = """codes = kinetoken.read_codes("codes.parquet").codes  # (clips, slices, rows, columns), see below
"""


@dataclass(frozen=True)
class Model:
    """One folder under models/. Texts are Markdown.

    loads: Python that loads and applies it; FRAMES and SIZE stand for those of its clips. facts: places in its config
    and what stands there. task: type and name for the model index. by_class: the keys of accuracy by class end it.
    """

    name: str
    title: str
    stage: str
    clips: str
    summary: str
    reads: str
    gives: str
    loads: str
    facts: tuple[tuple[str, str], ...]
    measures: tuple[CardRow, ...]
    task: tuple[str, str]
    tags: tuple[str, ...]
    limits: limits.Limits
    pipeline_tag: str | None = None
    classes: str = "classes"  # where its config has them
    by_class: str | None = None
    on_codes: bool = False

    @property
    def table(self) -> str:
        return f"{self.stage}/numbers.csv"


CLASSIFICATION = "video-classification"

MODELS = (
    Model(
        "tokenizer", "video tokenizer", "train_tokenizer", "motion",
        "A causal convolutional network in the style of MAGVIT that encodes short clips into discrete codes and "
        "decodes codes into clips.",
        "Clips of FRAMES RGB frames of SIZE×SIZE pixels, `uint8`.",
        "One code for every 4 frames × 8 × 8 pixels; from codes, clips in [0, 1].",
        """import kinetoken, torch

tokenizer = kinetoken.load_tokenizer("models/tokenizer")
clips = torch.zeros(2, FRAMES, SIZE, SIZE, 3, dtype=torch.uint8)  # (clips, frames, height, width, RGB)
codes = tokenizer.encode(clips)  # (clips, frames / 4, height / 8, width / 8)
decoded = tokenizer.decode(codes)  # as clips, in [0, 1]
""",
        (("quantizer.kind", "quantizer"), ("quantizer.levels", "levels"), ("quantizer.codebook_size", "codebook size"),
         ("network.stem", "stem"), ("network.causal", "causal in time"), ("network.fine_channels", "fine channels"),
         ("network.fine_blocks", "fine blocks"), ("network.coarse_channels", "coarse channels"),
         ("network.coarse_blocks", "coarse blocks"), ("image_size", "image size in pixels")),
        (CardRow("train_tokenizer.psnr_db", "psnr"), CardRow("train_tokenizer.foreground_psnr_db", "psnr"),
         CardRow("train_tokenizer.centroid_error_px", "centroid-error-px"),
         CardRow("train_tokenizer.missed_rate", "missed-rate"), CardRow("diagnose_codes.probe.codes", "accuracy"),
         CardRow("diagnose_codes.probe.pixels"), CardRow("diagnose_codes.usage", "codebook-usage")),
        ("video-tokenization", "Encoding clips into discrete codes and decoding them"),
        ("video-tokenizer", "discrete-codes", "vector-quantization", "magvit"), limits.of_tokenizer,
    ),
    Model(
        "video_classifier", "motion classifier on pixels", "train_baselines", "motion",
        "A small network that predicts the class of motion from the pixels of a whole clip. It is the upper bound of "
        "the classifiers on codes, and it judges generated clips.",
        "Clips of FRAMES RGB frames of SIZE×SIZE pixels, `uint8`.", "One probability for each class.",
        """import kinetoken, numpy as np

classifier = kinetoken.load_video_classifier("models/video_classifier")
clips = np.zeros((3, FRAMES, SIZE, SIZE, 3), np.uint8)  # (clips, frames, height, width, RGB)
probabilities = classifier.probabilities(clips)  # a column for each of classifier.classes
""",
        (("shape", "frames, height, width"), ("network.channels", "channels"), ("network.maps", "attention maps"),
         ("network.width", "hidden width")),
        (CardRow("train_baselines.video.accuracy", "accuracy"), CardRow("train_baselines.video.ece", "ece"),
         CardRow("train_baselines.coordinates.accuracy")),
        (CLASSIFICATION, "Class of motion from pixels"), (CLASSIFICATION,), limits.of_video_classifier,
        pipeline_tag=CLASSIFICATION, by_class="video.",
    ),
    Model(
        "classifier", "motion classifier on codes", "train_classifier", "motion",
        "A small network that predicts the class of motion from the codes of a clip, or of its first time slices.",
        "Codes of the Kinetoken tokenizer, one to all time slices of a clip.", "One log-probability for each class.",
        """import kinetoken

classifier = kinetoken.load_classifier("models/classifier")
""" + LOAD_CODES + """early = classifier.log_probabilities(codes[:, :2])  # of half a clip, by class
""",
        (("pooling", "pooling"), ("grid", "grid of codes: slices, rows, columns"),
         ("codebook", "codebook: entries, coordinates"), ("network.channels", "channels"), ("network.blocks", "blocks"),
         ("network.maps", "attention maps"), ("network.width", "hidden width")),
        (CardRow("train_classifier.accuracy", "accuracy"), CardRow("train_classifier.ece", "ece"),
         CardRow("train_classifier.pooling.cell_mean.accuracy")),
        (CLASSIFICATION, "Class of motion from codes"), ("discrete-codes", CLASSIFICATION), limits.of_classifier,
        by_class="", on_codes=True,
    ),
    Model(
        "position", "position network on codes", "train_position", "motion",
        "A small network that estimates the 3-D position of a ball in every frame from the codes of a clip.",
        "Codes of the Kinetoken tokenizer, one to all time slices of a clip.",
        "A position in metres for each frame: camera at the origin looking along +z, x right, y up.",
        """import kinetoken

head = kinetoken.load_position_head("models/position")
""" + LOAD_CODES + """positions = head.positions(codes[:5])  # (clips, frames, xyz) in metres
""",
        (("grid", "grid of codes: slices, rows, columns"), ("codebook", "codebook: entries, coordinates"),
         ("frames", "frames of a slice"), ("network.channels", "channels"), ("network.blocks", "blocks"),
         ("network.width", "hidden width"), ("camera.ball_radius", "radius of the ball in metres"),
         ("camera.focal", "focal length of the camera in pixels")),
        (CardRow("train_position.error_px", "centroid-error-px"),
         CardRow("train_position.error_depth_percent", "depth-error-percent"),
         CardRow("train_position.error_m", "position-error-m"), CardRow("train_position.ood.error_px"),
         CardRow("train_position.ood.error_depth_percent")),
        ("position-estimation", "3-D position of a ball from codes"), ("discrete-codes", "physics"), limits.of_position,
        on_codes=True,
    ),
    Model(
        "predictor", "predictors of future codes", "train_predictor", "motion",
        "Two networks, an LSTM and a transformer, that predict the codes of a clip's last time slices from the slices "
        "before them. `predict` uses the better one on validation clips unless another is named.",
        "Codes of the Kinetoken tokenizer, of the past time slices.", "Codes of the time slices that follow.",
        """import kinetoken

predictor = kinetoken.load_predictor("models/predictor")
""" + LOAD_CODES + """future = predictor.predict(codes[:5, : predictor.shape.past_slices])  # the slices that follow
""",
        (("models", "networks"), ("best", "used by default"), ("shape.past_slices", "slices read"),
         ("shape.future_slices", "slices predicted"), ("shape.slice_frames", "frames of a slice"),
         ("shape.grid", "grid of codes: slices, rows, columns"), ("shape.codebook_size", "codebook size"),
         ("shape.width", "width"), ("shape.filters", "filters"), ("shape.lstm_width", "width of the LSTM"),
         ("shape.transformer_width", "width of the transformer")),
        (CardRow("train_predictor.transformer.centroid_error_px", "centroid-error-px"),
         CardRow("train_predictor.transformer.error_over_oracle", "error-over-oracle"),
         CardRow("train_predictor.transformer.ood_ratio", "ood-ratio"),
         CardRow("train_predictor.lstm.centroid_error_px", "centroid-error-px")),
        ("video-prediction", "The next frames from codes"), ("discrete-codes", "video-prediction"), limits.of_predictor,
        on_codes=True,
    ),
    Model(
        "generator", "generator of clips of a class", "train_generator", "motion",
        "A masked transformer that samples the codes of new clips of a requested class, starting from a sampled plan "
        "of the path. Two Gaussian priors for comparison are in the same folder.",
        "A class and a seed.", "Codes, which the Kinetoken tokenizer decodes into a clip.",
        """import kinetoken

generator = kinetoken.load_generator("models/generator")
codes = generator.sample("masked", generator.classes[0], count=2, seed=1)  # (clips, slices, rows, columns)
""",
        (("priors", "priors"), ("shape.grid", "grid of codes: slices, rows, columns"),
         ("shape.codebook_size", "codebook size"), ("shape.width", "width"), ("shape.layers", "layers"),
         ("shape.heads", "heads"), ("shape.patch", "patch"), ("shape.plan.width", "width of the plan's network"),
         ("shape.plan.layers", "layers of the plan's network"), ("shape.plan.mixture", "mixture components of a plan"),
         ("sampling.steps", "sampling steps"), ("sampling.temperature", "temperature"),
         ("sampling.plan_spread", "spread of the plans")),
        (CardRow("train_generator.masked.class_match", "accuracy"),
         CardRow("train_generator.masked.coverage", "coverage"),
         CardRow("train_generator.masked.memorised", "memorised"), CardRow("train_generator.masked.lawful", "lawful"),
         CardRow("train_generator.class_gaussian.class_match")),
        ("video-generation", "New clips of a requested class"), ("discrete-codes", "video-generation"),
        limits.of_generator, classes="shape.classes",
    ),
    Model(
        "i3d_magvit", "I3D + MAGVIT, a network on frames and codes", "train_i3d_magvit", "motion",
        "One network on I3D features of the frames and on the codes of a clip. It predicts the class of motion and the "
        "next positions.",
        "Codes of the Kinetoken tokenizer, with or without the frames.",
        "One logit for each class, and positions of the frames to come.",
        """import kinetoken, torch

network = kinetoken.load_i3d_magvit("models/i3d_magvit")  # pip install 'kinetoken[pipeline]'
""" + LOAD_CODES + """seen = network.see(None, torch.tensor(codes[:2]).long())  # codes alone, or frames too
probabilities = seen.logits.softmax(-1)  # a column for each of network.shape.classes
""",
        (("backbone.architecture", "backbone"), ("backbone.parameters", "parameters of the backbone"),
         ("backbone.source", "weights that the backbone started from"),
         ("params.compression.kind", "quantizer of the features"), ("params.temporal.kind", "network over time"),
         ("params.temporal.width", "its width"), ("params.temporal.layers", "its layers"),
         ("params.embedding", "embedding"), ("shape.grid", "grid of codes: slices, rows, columns"),
         ("shape.frames", "frames")),
        (CardRow("train_i3d_magvit.accuracy", "accuracy"), CardRow("train_i3d_magvit.without_frames.accuracy"),
         CardRow("train_i3d_magvit.frames_alone.place_px"),
         CardRow("train_i3d_magvit.forecast_mae_percent", "mae-percent"),
         CardRow("train_i3d_magvit.forecast_rmse_percent", "rmse-percent")),
        (CLASSIFICATION, "Class of motion from frames and codes"), ("discrete-codes", "i3d", CLASSIFICATION),
        limits.of_i3d_magvit, pipeline_tag=CLASSIFICATION, classes="shape.classes", by_class="", on_codes=True,
    ),
    Model(
        "gasm_cast", "GASM-CAST, an action classifier", "train_gasm_cast", "actions",
        "Two streams, frames (DINOv3) and motion (R3D-18), fused by graph attention and bottleneck cross-attention. It "
        "predicts the class of an action.",
        "Clips of RGB frames, `uint8`.", "One logit for each class.",
        """import kinetoken, torch

system = kinetoken.load_gasm_cast("models/gasm_cast")  # pip install 'kinetoken[pipeline]'
frames = torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8)  # (clips, frames, height, width, RGB)
logits = system(frames)  # a column for each of system.classes
""",
        (("backbones.semantic.architecture", "semantic stream"),
         ("backbones.semantic.parameters", "parameters of the semantic stream"),
         ("backbones.semantic.source", "weights that it started from"),
         ("backbones.motion.architecture", "motion stream"),
         ("backbones.motion.parameters", "parameters of the motion stream"),
         ("backbones.motion.source", "weights that it started from"), ("params.fusion.variant", "fusion"),
         ("params.fusion.layers", "layers"), ("params.fusion.heads", "heads"),
         ("params.fusion.bottleneck", "bottleneck"),
         ("temperature", "temperature of the probabilities")),
        (CardRow("train_gasm_cast.top1", "accuracy"), CardRow("train_gasm_cast.within_pairs", "within-pairs-accuracy"),
         CardRow("train_gasm_cast.order_blind.top1"), CardRow("train_gasm_cast.order_blind.within_pairs")),
        (CLASSIFICATION, "Class of an action"), (CLASSIFICATION, "action-recognition"),
        limits.of_gasm_cast, pipeline_tag=CLASSIFICATION, by_class="",
    ),
    Model(
        "persistence", "early decisions on candidates", "detect_persistence", "persistence",
        "Networks that watch a moving candidate among clutter frame by frame, stop when they are sure, and say whether "
        "it is persistent (keeps its velocity and stays) or transient.",
        "RGB frames of SIZE×SIZE pixels, one after another, at most FRAMES.",
        "After each frame `undecided`, `persistent` or `transient`, and a confidence.",
        "",
        (("num_frames", "frames of a clip"), ("params.head.width", "width of the head"),
         ("params.head.heads", "heads of the head"), ("params.frame_cost", "cost of watching a whole clip"),
         ("persistent_above", "log-odds above which it decides for persistent"),
         ("transient_below", "log-odds below which it decides for transient")),
        tuple(
            CardRow(f"detect_persistence.{name}.{key}", metric)
            for name in EXTRACTORS
            for key, metric in (
                ("accuracy", "accuracy"), ("early_stop_rate", "early-stop-rate"),
                ("mean_decision_frame", "mean-decision-frame"), ("compute_saved", "compute-saved"), ("ece", "ece"),
                ("regret", "regret"),
            )
        ),
        (CLASSIFICATION, "Early decision whether a candidate persists"),
        ("early-classification", "online", CLASSIFICATION), limits.of_persistence,
    ),
)
NAMES = tuple(one.name for one in MODELS)

DETECTOR = """import kinetoken, numpy as np

detector = kinetoken.OnlineDetector.load(FOLDER)
frame = np.zeros((SIZE, SIZE, 3), np.uint8)
verdict = detector.feed({7: (0, frame)})[7]  # frame 0 of track 7
verdict.status, verdict.confidence  # "undecided", "persistent" or "transient"
"""


def detector_code(extractor: str) -> str:
    """How a network of `persistence` is loaded."""
    folder = f'"models/persistence/{extractor}"'
    if extractor == "magvit":
        folder += ', tokenizer="models/tokenizer"'
    return DETECTOR.replace("FOLDER", folder)
