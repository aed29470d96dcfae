"""Test clips of actions that the page holds: those that GASM-CAST mistakes, some of each class, and its attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.report.exhibits import ACTIONS, Gallery, Item, ShownClips, choose
from kinetoken.report.results import Results
from kinetoken.scenes.clips import Pixels

if TYPE_CHECKING:
    from kinetoken.actions.layout import Clip
    from kinetoken.gasm_cast.system import GasmCastSystem

NAME = "GASM-CAST"
LARGEST = 64  # px of a frame's side in the page
FPS = 8.0  # the page's own: a clip is shown by the frames that the network is given
GLOW = np.array([255, 140, 0], np.float32)  # where attention is
STRONGEST = 0.7  # of that colour, where a clip's attention is highest
ATTENDED = "orange: patches that motion tokens attend to"


@dataclass(frozen=True)
class Watched:
    """N clips as the network is given them; attended: the same frames with its attention, if it has any."""

    frames: Pixels  # (N, T, H, W, 3)
    attended: Pixels | None
    probabilities: NDArray[np.float64]  # (N, classes), calibrated


def action_clips(
    results: Results, actions: Path, model: Path, count: int
) -> tuple[ShownClips, dict[str, Gallery]] | None:
    """At most `count` clips and the gallery of mistakes; None if the table of predictions is not about these clips.

    A clip is known by its place in the split that was scored. Raises UserError for a model, a label file or a chosen
    video that is damaged.
    """
    from kinetoken.gasm_cast.system import load_gasm_cast

    table = results.table("train_gasm_cast/confusion.csv", ("actual", "predicted"))
    if table is None:
        return None
    system = load_gasm_cast(model)
    scored = scored_clips(results, actions)
    label = [system.classes[clip.label] if clip.label < len(system.classes) else "?" for clip in scored]
    if table["actual"].astype(str).tolist() != label:
        return None
    predicted = table["predicted"].astype(str).tolist()
    places = np.arange(len(scored), dtype=np.int64)
    wrong = [place for place in places.tolist() if predicted[place] != label[place]]
    chosen = choose(places, np.array(label), wrong, count)
    if not chosen:
        return None
    seen = watch(system, [scored[place] for place in chosen])
    sure = {
        place: float(row[system.classes.index(predicted[place])])
        for place, row in zip(chosen, seen.probabilities, strict=True)
    }
    frames, height, width = seen.frames.shape[1:4]
    shown = ShownClips(
        ACTIONS, places, np.array(label), frames, (height, width), FPS, noun="clip", second=ATTENDED,
        columns={NAME: predicted, "video": [clip.path.name for clip in scored]},
    )
    shown.columns["confidence"] = [f"{100 * sure[place]:.0f} %" if place in sure else "" for place in places.tolist()]
    shown.add(np.array(chosen), seen.frames, lossless=False)
    if seen.attended is not None:
        shown.add(np.array(chosen), seen.attended, lossless=False)
    return shown, {ACTIONS: gallery(label, predicted, sorted(wrong, key=lambda place: -sure.get(place, 0.0)), sure)}


def gallery(label: Sequence[str], predicted: Sequence[str], wrong: Sequence[int], sure: dict[int, float]) -> Gallery:
    """The mistakes, in the order given."""
    items = []
    for place in wrong:
        certainty = f" ({100 * sure[place]:.0f} %)" if place in sure else ""
        items.append(Item(place, f"{label[place]}, predicted {predicted[place]}{certainty}", "clip"))
    about = f"{len(wrong)} of {len(label):,} test clips, the most confident first."
    return Gallery(f"Misclassified by {NAME}", about, ACTIONS, items)


def scored_clips(results: Results, actions: Path) -> list["Clip"]:
    """The clips that the stage scored: of test if all their classes are known, else of validation; no broken ones."""
    from kinetoken.actions.layout import read_actions

    splits = read_actions(actions).splits
    test = splits.get("test", ())
    split = "test" if test and all(clip.label >= 0 for clip in test) else "validation"
    broken = results.table("train_gasm_cast/broken.csv", ("id",))
    left_out = set() if broken is None else set(broken["id"].astype(str))
    return [clip for clip in splits.get(split, ()) if clip.id not in left_out]


def watch(system: "GasmCastSystem", clips: Sequence["Clip"]) -> Watched:
    """Each clip as it was scored, one at a time: a full-size network needs much memory for its attention."""
    import torch

    from kinetoken.gasm_cast.pictures import look
    from kinetoken.training.precision import Inference

    inference, middle = Inference("cpu"), system.params.views.crops // 2
    frames, attended, probabilities = [], [], []
    for clip in clips:
        views = torch.from_numpy(views_of(system, clip))  # (V, T, side, side, 3)
        with torch.no_grad():
            mean = system(views).double().softmax(-1).mean(0)
        probabilities.append((mean.clamp(min=1e-12).log() / system.temperature).softmax(-1).numpy())
        shown = views[middle].numpy()
        looks = look(system, views[middle : middle + 1], [clip.id], inference)
        frames.append(_fitting(shown))
        if looks.onto_patches is not None:
            attended.append(highlighted(_fitting(looks.frames[0]), looks.onto_patches[0], len(shown)))
    return Watched(np.stack(frames), np.stack(attended) if attended else None, np.stack(probabilities))


def views_of(system: "GasmCastSystem", clip: "Clip") -> Pixels:
    """(V, T, side, side, 3): what of a clip is scored."""
    from kinetoken.actions.sampling import even_places, look_evenly
    from kinetoken.footage.webm import VideoFault, read_frames

    views = system.params.views
    try:
        whole = read_frames(clip.path, None, views.short_side)
    except (VideoFault, OSError) as error:
        raise UserError(f"{clip.path}: {error}; run generate_actions again, or restore the file") from None
    return look_evenly(whole[even_places(len(whole), views.segments, views.clips)], views)


def highlighted(frames: Pixels, weights: NDArray[np.float64], count: int) -> Pixels:
    """Frames (F, H, W, 3) with the attention on their patches (F, rows, columns) in orange, `count` of them in all.

    Weights are multiples of even attention; what is even or less is not coloured.
    """
    rows = np.arange(frames.shape[1]) * weights.shape[1] // frames.shape[1]
    columns = np.arange(frames.shape[2]) * weights.shape[2] // frames.shape[2]
    above = np.maximum(weights - 1, 0)
    share = STRONGEST * (above / max(float(above.max()), 1e-9))[:, rows][:, :, columns, None]
    grey = frames.mean(-1, keepdims=True)
    lit = np.asarray(grey + share * (GLOW - grey) + 0.5, np.uint8)
    return lit[np.arange(count) * len(lit) // count]


def _fitting(frames: Pixels) -> Pixels:
    """Frames (T, H, W, 3) with no side longer than LARGEST."""
    from PIL import Image

    height, width = frames.shape[1:3]
    scale = LARGEST / max(height, width)
    if scale >= 1:
        return frames
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in frames])
