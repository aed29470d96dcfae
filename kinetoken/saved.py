"""What was saved, opened again: models and codes tables by a path, as text or as Path.

These are the functions of the package's public face. Heavy modules are imported when a function is called; where a
model needs a package of an extra, the message names that extra.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kinetoken.core.extras import naming_extras

if TYPE_CHECKING:
    from kinetoken.codes import CodesMeta, CodesTable
    from kinetoken.gasm_cast.system import GasmCastSystem
    from kinetoken.generation.generator import Generator
    from kinetoken.heads.classifier import CodeClassifier
    from kinetoken.heads.position import PositionHead
    from kinetoken.heads.video_classifier import VideoClassifier
    from kinetoken.i3d_magvit.network import I3DMagvit
    from kinetoken.prediction.network import Predictor
    from kinetoken.tokenizer.network import Tokenizer


def load_tokenizer(folder: str | Path) -> "Tokenizer":
    """The video tokenizer of a folder that `train_tokenizer` wrote, in eval mode.

    Raises UserError if the folder is damaged or another kind of model.

    >>> import kinetoken, torch
    >>> tokenizer = kinetoken.load_tokenizer("models/tokenizer")
    >>> clips = torch.zeros(2, 16, 64, 64, 3, dtype=torch.uint8)  # (clips, frames, height, width, RGB)
    >>> codes = tokenizer.encode(clips)
    >>> tuple(codes.shape)  # (clips, frames / 4, height / 8, width / 8)
    (2, 4, 8, 8)
    >>> tuple(tokenizer.decode(codes).shape)  # in [0, 1]
    (2, 16, 64, 64, 3)
    """
    from kinetoken.tokenizer import network

    return network.load_tokenizer(Path(folder))


def load_classifier(folder: str | Path) -> "CodeClassifier":
    """The motion classifier on codes of a folder that `train_classifier` wrote, in eval mode.

    It reads any number of time slices from the first on. Raises UserError if the folder is damaged or another kind of
    model.

    >>> import kinetoken
    >>> classifier = kinetoken.load_classifier("models/classifier")
    >>> codes = kinetoken.read_codes("data/motion/codes.parquet").codes
    >>> early = classifier.log_probabilities(codes[:, :2])  # from the first half of each clip
    >>> early.shape == (len(codes), len(classifier.classes))
    True
    """
    from kinetoken.heads import classifier

    return classifier.load_classifier(Path(folder))


def load_position_head(folder: str | Path) -> "PositionHead":
    """The head of a folder that `train_position` wrote, in eval mode: codes to the ball's position in each frame.

    Raises UserError if the folder is damaged or another kind of model.

    >>> import kinetoken
    >>> head = kinetoken.load_position_head("models/position")
    >>> codes = kinetoken.read_codes("data/motion/codes.parquet").codes
    >>> head.positions(codes[:5]).shape  # (clips, frames, xyz) in metres
    (5, 16, 3)
    """
    from kinetoken.heads import position

    return position.load_position_head(Path(folder))


def load_video_classifier(folder: str | Path) -> "VideoClassifier":
    """The motion classifier on pixels of a folder that `train_baselines` wrote, in eval mode.

    Raises UserError if the folder is damaged or another kind of model.

    >>> import kinetoken
    >>> from pathlib import Path
    >>> classifier = kinetoken.load_video_classifier("models/video_classifier")
    >>> clips = kinetoken.ClipStore(Path("data/motion/videos")).read("test", limit=3)
    >>> classifier.probabilities(clips.pixels).shape == (3, len(classifier.classes))
    True
    """
    from kinetoken.heads import video_classifier

    return video_classifier.load_video_classifier(Path(folder))


def load_predictor(folder: str | Path) -> "Predictor":
    """The predictor of future codes of a folder that `train_predictor` wrote, in eval mode.

    Raises UserError if the folder is damaged or another kind of model.

    >>> import kinetoken
    >>> predictor = kinetoken.load_predictor("models/predictor")
    >>> codes = kinetoken.read_codes("data/motion/codes.parquet").codes
    >>> predictor.predict(codes[:5, :3]).shape  # the last of four time slices
    (5, 1, 8, 8)
    """
    from kinetoken.prediction import network

    return network.load_predictor(Path(folder))


def load_generator(folder: str | Path) -> "Generator":
    """The generators of codes of a folder that `train_generator` wrote, in eval mode.

    Raises UserError if the folder is damaged or another kind of model.

    >>> import kinetoken
    >>> generator = kinetoken.load_generator("models/generator")
    >>> codes = generator.sample("masked", "circular", count=2, seed=1)
    >>> codes.shape
    (2, 4, 8, 8)
    """
    from kinetoken.generation import generator

    return generator.load_generator(Path(folder))


def load_i3d_magvit(folder: str | Path) -> "I3DMagvit":
    """The network on frames and codes together of a folder that `train_i3d_magvit` wrote, in eval mode.

    Raises UserError if the folder is damaged or another kind of model, or if its backbone needs the extra `pipeline`.

    >>> import kinetoken, torch
    >>> network = kinetoken.load_i3d_magvit("models/i3d_magvit")
    >>> codes = kinetoken.read_codes("data/motion/codes.parquet").codes[:2]
    >>> seen = network.see(None, torch.tensor(codes).long())  # from codes alone; or with the clips' frames
    >>> tuple(seen.logits.shape) == (2, len(network.shape.classes))
    True
    """
    with naming_extras():
        from kinetoken.i3d_magvit import network

        return network.load_i3d_magvit(Path(folder))


def load_gasm_cast(folder: str | Path) -> "GasmCastSystem":
    """The action classifier of a folder that `train_gasm_cast` wrote, in eval mode; it needs the extra `pipeline`.

    Raises UserError if the folder is damaged or another kind of model, or without that extra.

    >>> import kinetoken, torch
    >>> system = kinetoken.load_gasm_cast("models/gasm_cast")
    >>> frames = torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8)
    >>> tuple(system(frames).shape) == (1, len(system.classes))
    True
    """
    with naming_extras():
        from kinetoken.gasm_cast import system

        return system.load_gasm_cast(Path(folder))


def read_codes(path: str | Path) -> "CodesTable":
    """A codes table: codes (N, T', H', W'), label, split and track_id (N,) each, and how to read them (`meta`).

    Raises UserError if the file is missing, damaged or no codes table of Kinetoken.

    >>> import kinetoken
    >>> table = kinetoken.read_codes("data/motion/codes.parquet")
    >>> table.codes.shape == (len(table), *table.meta.grid)
    True
    >>> len(table.of_split("test").classes)
    4
    """
    from kinetoken import codes

    return codes.read_codes(Path(path))


def write_codes(path: str | Path, meta: "CodesMeta", parts: "Iterable[CodesTable]") -> None:
    """Write codes made anywhere as a codes table, part by part.

    Raises ValueError for indices outside the codebook, UserError for ids that the table cannot hold.

    >>> import kinetoken, numpy as np
    >>> meta = kinetoken.CodesMeta(grid=(4, 8, 8), codebook_size=512, quantizer="vq", levels=(), tokenizer="")
    >>> table = kinetoken.CodesTable(
    ...     track_id=np.arange(2), label=np.array(["left", "right"]), split=np.array(["test", "test"]),
    ...     codes=np.zeros((2, 4, 8, 8), np.int32), meta=meta,
    ... )
    >>> kinetoken.write_codes("own.parquet", meta, [table])
    >>> len(kinetoken.read_codes("own.parquet"))
    2
    """
    from kinetoken import codes

    codes.write_codes(Path(path), meta, parts)
