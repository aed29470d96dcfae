"""What trained models read of clips: their class, where the ball is, and the law that it follows. A table each.

    table = classify(open_clips("clips.npy"), "models/classifier", tokenizer="models/tokenizer")
    table[["clip", "predicted", "probability"]]

Clips are read block by block, so that memory does not grow with their number but by the rows of the table. Every
function takes models as folders, or as the modules that `kinetoken.load_*` give.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.windows import STEP, ClipNeed
from kinetoken.inference.coding import (
    ClipsOrCodes,
    CodesNeed,
    NamedCodes,
    Opened,
    clips_of,
    codes_for,
    encoded_clips,
    fitting_tokenizer,
    open_any,
)
from kinetoken.inference.defaults import INDEPENDENCE, MOTION, PRIORS
from kinetoken.inference.models import Device, Saved, kind_of, load_model, name_of
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World
from kinetoken.scenes.clips import Clips

if TYPE_CHECKING:
    import pandas as pd

Judged = tuple[np.ndarray, np.ndarray, Array]  # names (N,) of clips, the classes (N,) they have, probabilities (N, C)
NOVELTY = ("novelty_p", "unlike_training")  # columns where the classifier has a novelty score
QUANTITIES = ("speed", "radius", "pitch", "gravity")  # of a described motion: m/s, m, m a turn, m/s²


def classify(
    clips: ClipsOrCodes, model: Saved, *, tokenizer: Saved | None = None, frames: int | None = None,
    device: Device = "auto", progress: Progress | None = None,
) -> "pd.DataFrame":
    """The class of each clip, one row a clip.

    `model` is a classifier of codes, which reads any first `frames` of a clip (a multiple of 4; all for None), a video
    classifier, which reads whole clips, or an I3D + MAGVIT network, which reads whole clips or their past. The first
    and the last need the `tokenizer` that they were trained with where clips are given; a codes table will do for the
    first.

    Columns: `clip`; `actual`, the class that the source names, where it names any; `predicted`; `probability` of that
    class in [0, 1], calibrated as the model was; `p_<class>` of every class; and of a classifier of codes with a
    novelty score `novelty_p`, the share of its validation clips that are at least as strange, and `unlike_training`,
    whether that is so low that the class should not be trusted.

    UserError for a model of another kind, a tokenizer or codes other than it was trained on, and clips that it cannot
    read.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> table = kinetoken.classify(clips, "models/classifier", tokenizer="models/tokenizer")
    >>> list(table.columns)[:5]
    ['clip', 'actual', 'predicted', 'probability', 'p_circular']
    >>> early = kinetoken.classify("data/motion/codes.parquet", "models/classifier", frames=8)
    >>> bool(early["probability"].between(0, 1).all())
    True
    """
    opened, kind = open_any(clips), _kind(model)
    if kind not in CLASSIFIERS:
        load_model(model, *CLASSIFIERS)  # says what it is, and what is needed
    module = load_model(model, kind, device=device)
    parts = list(CLASSIFIERS[kind](opened, module, model, tokenizer, frames, device, progress))
    classes = module.shape.classes if kind == "i3d_magvit" else module.classes
    table = _class_table([part[:3] for part in parts], tuple(classes), opened.labelled)
    if getattr(module, "known", None) is None:
        return table
    p = np.concatenate([part[3] for part in parts])
    return table.assign(**dict(zip(NOVELTY, (p, p <= module.known.level), strict=True)))


def locate(
    clips: ClipsOrCodes, model: Saved, *, tokenizer: Saved | None = None, frames: int | None = None,
    device: Device = "auto", progress: Progress | None = None, classifier: Saved | None = None,
) -> "pd.DataFrame":
    """Where the ball is in every frame read, one row a frame.

    Columns: `clip`, `frame` from 0 on, `x`, `y`, `z` in metres (camera at the origin looking along +z, x right, y up)
    and `u`, `v` in pixels of the model's image (right and down from the middle of its upper left pixel). `model` is a
    position head; it reads codes, or clips by the `tokenizer` that it was trained with, and any first `frames`. With a
    `classifier` of the same codes that has a novelty score, also `novelty_p` and `unlike_training`, as `classify`.

    UserError as `classify`.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> places = kinetoken.locate(clips, "models/position", tokenizer="models/tokenizer")
    >>> list(places.columns), len(places)  # 16 frames a clip
    (['clip', 'frame', 'x', 'y', 'z', 'u', 'v'], 48)
    """
    import pandas as pd

    module = load_model(model, "position", device=device)
    need = CodesNeed.prefix(module, model, "position", module.grid, frames)
    judge = None if classifier is None else load_model(classifier, "classifier", device=device)
    if judge is not None and (judge.tokenizer_hash, judge.grid) != (module.tokenizer_hash, module.grid):
        raise UserError(f"{name_of(classifier or '', 'classifier')}: not trained on the codes of {need.reader}")
    tables = []
    for codes in codes_for(open_any(clips), need, tokenizer, device, progress):
        points = module.positions(codes.codes)  # (n, T, 3)
        u, v, _ = module.camera.project(points)
        count, length = points.shape[:2]
        novelty: dict[str, np.ndarray] = {}
        if judge is not None:
            p = judge.novelty(codes.codes).repeat(length)
            novelty = {"novelty_p": p, "unlike_training": p <= judge.known.level}
        tables.append(pd.DataFrame({
            "clip": codes.name.repeat(length), "frame": np.tile(np.arange(length), count),
            **{axis: points[..., i].ravel() for i, axis in enumerate("xyz")}, "u": u.ravel(), "v": v.ravel(),
            **novelty,
        }))
    return pd.concat(tables, ignore_index=True)


def describe(
    clips: ClipsOrCodes, classifier: Saved, position: Saved, *, tokenizer: Saved | None = None, device: Device = "auto",
    progress: Progress | None = None,
) -> "pd.DataFrame":
    """The law of motion of each clip in equations and one sentence, by a fit; no language model has part in it.

    Class probabilities and positions are read from the first three quarters of each clip, as the stages read_motion
    and describe_motion do; of the four laws the one is chosen that both speak for.

    Columns: `clip`; `actual` where the source names classes; `law`; `x`, `y`, `z` in metres as text in t, seconds from
    the first frame; `sentence`; and `speed` (m/s, mean), `radius` (m), `pitch` (m a turn), `gravity` (m/s²), NaN where
    the law has none; and as `classify` `novelty_p` and `unlike_training`, of the part that was read.

    UserError as `classify`.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> laws = kinetoken.describe(clips, "models/classifier", "models/position", tokenizer="models/tokenizer")
    >>> laws["sentence"][0].startswith("The ball moves along a")
    True
    """
    import pandas as pd

    from kinetoken.equations import offline
    from kinetoken.equations.reading import evidence_of
    from kinetoken.readings.heads import gather

    opened = open_any(clips)
    reader = load_model(classifier, "classifier", device=device)
    locator = load_model(position, "position", device=device)
    shown = max(reader.grid[0] * 3 // 4, 1) * STEP  # frames, as read_motion shows them
    need = CodesNeed.prefix(reader, classifier, "classifier", reader.grid, shown)
    if locator.tokenizer_hash != need.tokenizer or locator.grid != reader.grid:
        raise UserError(
            f"{name_of(position, 'position')}: not trained on the codes that {need.reader} was trained on; give two "
            "heads of one run"
        )
    rows: list[dict[str, object]] = []
    for codes in codes_for(opened, need, tokenizer, device, progress):
        world = _world(opened, codes, locator.frames * need.grid[0])
        whole = dataclasses.replace(codes, meta=dataclasses.replace(codes.meta, grid=need.grid))
        read = gather(whole, world, reader, locator)
        evidence = evidence_of(read)
        described = offline.describe(evidence, world.times, priors=PRIORS, independence=INDEPENDENCE)
        for row, (name, label, one) in enumerate(zip(codes.name, codes.label, described, strict=True)):
            novelty = {column: getattr(read, column) for column in NOVELTY if reader.known is not None}
            rows.append({
                "clip": str(name), **({"actual": str(label)} if opened.labelled else {}), "law": one.facts.law,
                **one.equations, "sentence": one.sentence,
                **{quantity: one.quantities.get(quantity, np.nan) for quantity in QUANTITIES},
                **{column: values[row] for column, values in novelty.items()},
            })
    return pd.DataFrame(rows)


def _by_codes(
    opened: Opened, module: Any, model: Saved, tokenizer: Saved | None, frames: int | None, device: Device,  # noqa: ANN401
    progress: Progress | None,
) -> Iterator[Any]:  # Judged, and with a novelty score its p-values (N,) behind
    need = CodesNeed.prefix(module, model, "classifier", module.grid, frames)
    for codes in codes_for(opened, need, tokenizer, device, progress):
        judged = codes.name, codes.label, np.exp(module.log_probabilities(codes.codes))
        yield judged if module.known is None else (*judged, module.novelty(codes.codes))


def _by_pixels(
    opened: Opened, module: Any, model: Saved, tokenizer: Saved | None, frames: int | None, device: Device,  # noqa: ANN401
    progress: Progress | None,
) -> Iterator[Judged]:
    reader = name_of(model, "video_classifier")
    length, height, width = module.shape
    if frames not in (None, length):
        raise UserError(f"--frames {frames}: {reader} reads whole clips of {length} frames")
    if height != width:
        raise UserError(f"{reader}: trained on clips of {width}×{height}; only square ones are read here")
    clips, need = clips_of(opened), ClipNeed(reader, height, length)
    clips.check(need)
    for block in clips.blocks(need):
        yield block.name, block.label, module.probabilities(block.pixels)
        _count(progress, block)


def _by_both(
    opened: Opened, module: Any, model: Saved, tokenizer: Saved | None, frames: int | None, device: Device,  # noqa: ANN401
    progress: Progress | None,
) -> Iterator[Judged]:
    from kinetoken.i3d_magvit.past import load_trust
    from kinetoken.i3d_magvit.training import read
    from kinetoken.scores import log_softmax

    reader, shape = name_of(model, "i3d_magvit"), module.shape
    frames = shape.frames if frames is None else frames
    if frames not in (shape.frames, module.past_frames):
        raise UserError(
            f"--frames {frames}: {reader} reads whole clips of {shape.frames} frames, or the first {module.past_frames}"
        )
    clips = clips_of(opened)
    if tokenizer is None:
        raise UserError(f"{clips.where}: {reader} reads frames and codes; --tokenizer names what makes these of clips")
    coder = fitting_tokenizer(tokenizer, module.tokenizer_hash, reader, device)
    soften = 1.0  # the probabilities of whole clips are as the network gives them, those of pasts calibrated
    if frames < shape.frames and not isinstance(model, torch.nn.Module):
        soften = load_trust(Path(model)).temperature
    need = ClipNeed(reader, coder.image_size, frames, shape.frames)
    clips.check(need)
    for block in clips.blocks(need):
        codes = torch.from_numpy(encoded_clips(block, coder).codes.astype(np.int64))
        seen = read(module, torch.from_numpy(block.pixels), codes)
        yield block.name, block.label, np.exp(log_softmax(seen.logits / soften))
        _count(progress, block)


CLASSIFIERS: dict[str, Callable[..., Iterator[Any]]] = {
    "classifier": _by_codes, "video_classifier": _by_pixels, "i3d_magvit": _by_both,
}


def _class_table(parts: list[Judged], classes: tuple[str, ...], labelled: bool) -> "pd.DataFrame":
    import pandas as pd

    name, label, probabilities = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = probabilities.argmax(1)
    return pd.DataFrame({
        "clip": name, **({"actual": label} if labelled else {}), "predicted": np.array(classes)[best],
        "probability": probabilities[np.arange(len(best)), best],
        **{f"p_{each}": probabilities[:, i] for i, each in enumerate(classes)},
    })


def _kind(model: Saved) -> str:
    """The kind of a model's folder, or of a module by its class."""
    known = {"CodeClassifier": "classifier", "VideoClassifier": "video_classifier", "I3DMagvit": "i3d_magvit"}
    return known.get(type(model).__name__, "") if isinstance(model, torch.nn.Module) else kind_of(Path(model))


def _world(opened: Opened, codes: NamedCodes, frames: int) -> World:
    """What the clips were seen in, for the times of their frames: that of the source, with the clips' own rate."""
    world = (opened.scene or MOTION).world
    fps = codes.fps or world.fps
    return dataclasses.replace(world, fps=fps, num_frames=frames)


def _count(progress: Progress | None, clips: Clips) -> None:
    if progress is not None:
        progress.advance(len(clips))
