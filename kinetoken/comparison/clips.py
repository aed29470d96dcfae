"""Test clips side by side, as two revisions' models reconstruct and predict them, if DVC's cache has both."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinetoken.charts.sprites import Card, Sprite, sprite
from kinetoken.comparison.cached import cache_folder, laid_out
from kinetoken.comparison.causes import recorded_outputs
from kinetoken.comparison.revisions import Revision
from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    from kinetoken.scenes.clips import Clips, Pixels

VIDEOS, TOKENIZER, PREDICTOR = "data/motion/videos", "models/tokenizer", "models/predictor"
MOST = 12  # clips, whatever the number of classes
SAME = f"Both revisions reconstruct and predict clips alike: {TOKENIZER} and {PREDICTOR} have the same content."
ABOUT = (
    "The first test clips of each class, as the models of A and of B decode them from their codes, and as they predict "
    "the last frames from the first ones. Both are run by the installed version of Kinetoken. The number of dB is the "
    "PSNR of the decoded clip."
)


@dataclass(frozen=True)
class ClipsShown:
    """Clips side by side, and what they are; without any, why."""

    cards: Sequence[Card]
    said: str


@dataclass(frozen=True)
class Made:
    """What the models of one revision make of N clips."""

    decoded: "Pixels"  # (N, T, H, W, 3) uint8
    predicted: "Pixels | None"  # as long or shorter; None without a predictor
    past: int  # frames that the predictor was given


class NotShown(Exception):
    """Why there are no clips, in a sentence."""


def clips(repository: Path, a: Revision, b: Revision, per_class: int) -> ClipsShown:
    """The first test clips of each class beside what each revision's models make of them. Nothing is fetched."""
    try:
        with _laid_out(repository, (a, b)) as (videos, folders):
            return ClipsShown(_cards(videos, folders, per_class), ABOUT)
    except NotShown as why:
        return ClipsShown((), str(why))


@contextmanager
def _laid_out(repository: Path, revisions: Sequence[Revision]) -> Iterator[tuple[Path, list[Path]]]:
    """The folder of the clips, and for each revision one with its models. NotShown if something is not there."""
    recorded = [recorded_outputs(each) for each in revisions]
    _require_comparable(recorded)
    with tempfile.TemporaryDirectory(prefix="kinetoken-clips-") as temporary:
        root = Path(temporary).resolve()
        try:
            absent = _absent(cache_folder(repository), revisions, recorded, root)
            if absent:
                raise NotShown(
                    f"Clips are not shown: DVC's cache lacks {', '.join(absent)}. If a remote has them, this brings "
                    f"them: dvc fetch --all-commits {VIDEOS} {TOKENIZER} {PREDICTOR}"
                )
            yield root / "0" / VIDEOS, [root / str(side) for side in range(len(revisions))]
        except UserError as error:
            raise NotShown(f"Clips are not shown: {str(error).replace(f'{root}{os.sep}', '')}.") from None


def _require_comparable(recorded: Sequence[Mapping[str, str]]) -> None:
    a, b = recorded
    for path in (VIDEOS, TOKENIZER):
        if path not in a or path not in b:
            raise NotShown(f"Clips are not shown: a revision has no {path} in dvc.lock.")
    if a[VIDEOS] != b[VIDEOS]:
        raise NotShown(f"Clips are not shown side by side: the revisions have different clips ({VIDEOS}).")
    if a[TOKENIZER] == b[TOKENIZER] and a.get(PREDICTOR) == b.get(PREDICTOR):
        raise NotShown(SAME)


def _absent(
    cache: Path, revisions: Sequence[Revision], recorded: Sequence[Mapping[str, str]], root: Path
) -> list[str]:
    """What the cache lacks; all else is laid out in the folders 0, 1, … of `root`. The clips are the first one's."""
    absent = []
    for side, (revision, outputs) in enumerate(zip(revisions, recorded, strict=True)):
        wanted = [path for path in (VIDEOS, TOKENIZER, PREDICTOR) if path in outputs and (path != VIDEOS or side == 0)]
        for path in wanted:
            target = root / str(side) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not laid_out(cache, outputs[path], target):
                absent.append(f"{path} of {revision.name}")
    return absent


def _cards(videos: Path, folders: Sequence[Path], per_class: int) -> list[Card]:
    from kinetoken.report.samples import background_of, first_clips
    from kinetoken.scenes.clips import ClipStore

    store = ClipStore(videos)
    classes = len({*store.label[store.split == "test"].tolist()})
    if not classes:
        raise NotShown(f"Clips are not shown: {VIDEOS} has no test clips.")
    shown = first_clips(store, max(min(per_class, MOST // classes), 1))
    both = [_made_by(name, folder, shown) for name, folder in zip("AB", folders, strict=True)]
    background = background_of(store, shown)
    return [_card(shown, row, both, background) for row in range(min(len(shown), MOST))]


def _made_by(name: str, folder: Path, clips: "Clips") -> Made:
    try:
        return _made(folder, clips)
    except UserError:
        raise
    except Exception as error:  # models of another version may fail in any way; the comparison goes on
        raise NotShown(
            f"Clips are not shown: the installed version of Kinetoken cannot run the models of {name} "
            f"({type(error).__name__})."
        ) from error


def _made(folder: Path, clips: "Clips") -> Made:
    import numpy as np
    import torch

    from kinetoken.prediction.network import load_predictor
    from kinetoken.report.samples import decode
    from kinetoken.tokenizer.network import load_tokenizer

    tokenizer = load_tokenizer(folder / TOKENIZER)
    with torch.no_grad():
        codes = tokenizer.encode(torch.from_numpy(clips.pixels)).numpy()
    decoded = decode(tokenizer, codes)
    if not (folder / PREDICTOR).is_dir():
        return Made(decoded, None, 0)
    predictor = load_predictor(folder / PREDICTOR)
    past = codes[:, : predictor.shape.past_slices]
    ahead = np.concatenate([past, predictor.predict(past)], 1)
    return Made(decoded, decode(tokenizer, ahead), tokenizer.temporal_stride * past.shape[1])


def _card(clips: "Clips", row: int, both: Sequence[Made], background: object) -> Card:
    from kinetoken.report.samples import apart_px, psnr_db

    original = clips.pixels[row]
    sprites: list[Sprite] = [sprite(original, "original")]
    notes = []
    same = len({made.decoded[row].tobytes() for made in both}) == 1
    for name, made in [("A and B", both[0])] if same else zip("AB", both, strict=True):
        sprites.append(sprite(made.decoded[row], f"{name}, decoded", lossless=False))
        notes.append(f"{name} {psnr_db(original, made.decoded[row]):.1f} dB")
    for name, made in zip("AB", both, strict=True):
        if made.predicted is not None:
            ahead = made.predicted[row]
            off = apart_px(ahead[-1], original[len(ahead) - 1], background)  # type: ignore[arg-type]
            sprites.append(sprite(ahead, f"{name}, predicted, {off:.1f} px off", made.past, lossless=False))
    return Card(f"{clips.label[row]}, track {clips.track_id[row]}", " · ".join(notes), sprites)
