"""Does what is seen persist? A trained detector fed frame by frame, until it is sure or the clip ends."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from kinetoken.core.artifacts import read_config
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.windows import ClipNeed
from kinetoken.inference.coding import ClipsOrCodes, clips_of
from kinetoken.inference.models import Device, Saved, kind_of, load_model
from kinetoken.inference.opening import NamedClips

if TYPE_CHECKING:
    import pandas as pd

    from kinetoken.persistence.online import OnlineDetector, TrackDecision


def detect(
    clips: ClipsOrCodes, model: str | Path, *, tokenizer: Saved | None = None, device: Device = "auto",
    progress: Progress | None = None,
) -> "pd.DataFrame":
    """The early decision on each clip, one row a clip: persistent or transient, when, and how sure.

    `model` is the folder of one detector, such as models/persistence/transformer; one that reads codes needs the
    `tokenizer` that it was trained with. Frames are fed one by one, and nothing after the decision is looked at. A clip
    may be shorter than those that the detector was trained on; its decision may then be "undecided".

    Columns: `clip`; `actual` where the source names classes; `decision`; `frame`, how many frames were seen;
    `confidence`, the probability of the likelier kind in [0.5, 1].

    UserError for a model of another kind or clips that it cannot read.

    >>> import kinetoken
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> table = kinetoken.detect(clips, "models/persistence/transformer")
    >>> list(table.columns), len(table)
    (['clip', 'actual', 'decision', 'frame', 'confidence'], 3)
    """
    import pandas as pd

    from kinetoken.persistence.extractors import CELL
    from kinetoken.persistence.online import OnlineDetector

    folder = Path(model)
    if kind_of(folder) != "persistence":
        load_model(folder, "persistence")  # says what it is, and what is needed
    coder = _tokenizer(folder, tokenizer, device)
    detector = load_model(folder, "persistence", device=device, tokenizer=coder)
    online = OnlineDetector(detector)
    opened = clips_of(clips)
    need = ClipNeed(str(folder), detector.network.extractor.side * CELL, detector.num_frames, shorter=True)
    opened.check(need)
    rows: list[dict[str, object]] = []
    for block in opened.blocks(need):
        for place, verdict in enumerate(watched(online, block)):
            rows.append({
                "clip": str(block.name[place]), **({"actual": str(block.label[place])} if opened.labelled else {}),
                "decision": verdict.status, "frame": verdict.frames, "confidence": verdict.confidence,
            })
        if progress is not None:
            progress.advance(len(block))
    return pd.DataFrame(rows)


def watched(online: "OnlineDetector", clips: NamedClips) -> "list[TrackDecision]":
    """The detector's last word on each of the clips, all of them watched at the same time."""
    waiting = range(len(clips))
    for number in range(clips.pixels.shape[1]):
        verdicts = online.feed({each: (number, clips.pixels[each, number]) for each in waiting})
        waiting = [each for each in waiting if verdicts[each].status == "undecided"]  # type: ignore[assignment]
    found = [online.verdict(each) for each in range(len(clips))]
    for each in range(len(clips)):
        online.forget(each)
    return found


def _tokenizer(folder: Path, given: Saved | None, device: Device) -> nn.Module | None:
    """The tokenizer that the detector reads codes of; None for one that reads pixels."""
    hashed = str(read_config(folder).get("tokenizer", ""))
    if not hashed:
        return None
    if given is None:
        raise UserError(f"{folder}: reads codes of tokenizer {hashed[:12]}; --tokenizer names its folder")
    module: nn.Module = load_model(given, "tokenizer", device=device)
    return module
