"""A folder of videos as a dataset: its clips with classes and splits, and their frames as a model takes them.

A clip of the folder is a video file, an image folder (its frames in the order of their names) or a row of a `.npy`
file. Its class is that of `labels.csv` in the folder, else the name of the subfolder that it lies in, else none. The
splits are drawn by source, never by window: windows of one recording are alike.
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegative, PositiveFloat, Range
from kinetoken.footage.fitting import FrameFitter
from kinetoken.footage.streaming import VIDEO_SUFFIXES, read_head, stream_frames
from kinetoken.footage.webm import LARGEST, VideoFault
from kinetoken.footage.windows import STEP, ClipNeed, cut_stream
from kinetoken.scenes.clips import Pixels
from kinetoken.scenes.own_tracks import LEAST_SOURCES, UNLABELLED, draw_splits
from kinetoken.scenes.rendering import Rendering

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LABELS = "labels.csv"
DRAWN = ("train", "val", "test")
AT_ONCE = 8  # frames decoded at once
UNKNOWN_RATE = 16.0  # frames a second of what does not tell its own

Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FootageParams:
    """Part of section render_videos.<dataset>: how a folder of videos becomes clips. Not used for tracks."""

    frames: Annotated[int, Range(ge=STEP, le=256)] = 16  # of a clip: a multiple of 4
    fps: PositiveFloat | None = None  # frames a second that are kept of each video; null: all frames
    window: Literal["all", "first"] = "all"  # every window of a longer video, side by side, or its first
    seed: NonNegative = 17  # of the splits
    shares: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.7, 0.1, 0.2)  # of videos: train, val, test

    def __post_init__(self) -> None:
        if self.frames % STEP:
            raise ValueError(f"frames: a slice of codes has {STEP} frames, so give a multiple of {STEP}")


@dataclasses.dataclass(frozen=True)
class VideoDataset(Rendering):
    """Section render_videos.<dataset>: of tracks that are rendered, or of a folder of videos, brought to image_size."""

    footage: FootageParams = FootageParams()


@dataclasses.dataclass(frozen=True)
class SourceVideo:
    """One source of clips: a video file, an image folder, or row `row` of an array."""

    path: Path
    name: str  # relative to the folder, as labels name it
    label: str = UNLABELLED
    split: str = ""
    row: int | None = None


def find_videos(folder: Path, params: FootageParams, say: Say = str) -> list[SourceVideo]:
    """The folder's videos in the order of their names, with classes and splits.

    UserError for a folder without videos; and for labels of videos that are not there, videos without a label, and a
    split that would be empty.
    """
    videos = _sources(folder)
    labels, splits = _labels(folder, videos, say)
    videos = [dataclasses.replace(one, label=labels[one.name]) for one in videos]
    if splits is None:
        splits = _draw_splits(videos, params)
    return [dataclasses.replace(one, split=splits[one.name]) for one in videos]


def read_clips(
    video: SourceVideo, params: FootageParams, size: int, notes: list[str]
) -> Iterator[tuple[str, Pixels, float]]:
    """Name, pixels (T, size, size, 3) and frames a second of each clip of a video.

    `notes` gets what was done to it. UserError for a file that cannot be read whole, and a video that is too short.
    """
    need = ClipNeed("a clip (footage.frames)", size, params.frames)
    fitter = FrameFitter(size, "a clip", True, notes)
    rate, frames = _frames(video)
    kept = rate
    if params.fps is not None and rate and abs(params.fps - rate) > 1e-3 * rate:
        frames, kept = _resampled(frames, rate, params.fps), params.fps
        notes.append(f"{video.name}: {rate:.4g} frames a second, read as {params.fps:g}")
    fitted = (fitter.fit(batch, video.name) for batch in frames)
    for first, clip in cut_stream(need, params.window, fitted, video.name, notes):
        yield f"{video.name}:{first}", clip, kept or UNKNOWN_RATE


# ---- which videos there are


def _sources(folder: Path) -> list[SourceVideo]:
    found: list[SourceVideo] = []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if any(_is_image(each) for each in path.iterdir()):
                found.append(SourceVideo(path, name))
        elif not path.is_file():
            if path.suffix.lower() in (*VIDEO_SUFFIXES, ".npy"):
                raise UserError(f"{path}: neither a file nor a folder")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            found.append(SourceVideo(path, name))
        elif path.suffix.lower() == ".npy":
            found += _rows(path, name)
    if not found:
        raise UserError(
            f"{folder}: no videos in it ({', '.join(VIDEO_SUFFIXES)}), no image folders and no .npy files"
        )
    return found


def _rows(path: Path, name: str) -> list[SourceVideo]:
    shape = _array(path).shape
    if len(shape) == 4:
        return [SourceVideo(path, name)]
    return [SourceVideo(path, f"{name}#{row}", row=row) for row in range(shape[0])]


def _array(path: Path) -> NDArray[np.uint8]:
    """(T, H, W, 3) or (N, T, H, W, 3) uint8, not read yet. UserError for anything else."""
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a whole .npy file: {' '.join(str(error).split())}") from None
    if array.ndim not in (4, 5) or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}; clips are uint8, (T, H, W, 3) or (N, T, H, W, 3)"
        )
    return array


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


# ---- classes and splits


def _labels(folder: Path, videos: list[SourceVideo], say: Say) -> tuple[dict[str, str], dict[str, str] | None]:
    """Class and, if the labels have them, split of each video by its name."""
    path = folder / LABELS
    if path.is_file():
        return _read_labels(path, videos, say)
    inside = {one.name: Path(one.name).parts[0] for one in videos if len(Path(one.name).parts) > 1}
    if len(inside) == len(videos):
        say(f"{folder}: no {LABELS}; a video's class is the subfolder that it lies in")
        return inside, None
    say(f"{folder}: no {LABELS}, and not every video lies in a subfolder, so the videos have no classes")
    return {one.name: UNLABELLED for one in videos}, None


def _read_labels(path: Path, videos: list[SourceVideo], say: Say) -> tuple[dict[str, str], dict[str, str] | None]:
    with path.open(encoding="utf-8-sig", newline="") as source:
        try:
            table = csv.DictReader(source, strict=True)
            columns = table.fieldnames or []
            rows = list(table)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a CSV table: {error}") from None
    for needed in ("video", "class"):
        if needed not in columns:
            raise UserError(f"{path}: column '{needed}' is missing; needed are video and class; split may stand beside")
    known = _by_any_name(videos)
    labels: dict[str, str] = {}
    splits: dict[str, str] = {}
    strangers: list[str] = []
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{path}: line {number}: not {len(columns)} fields, as the header has")
        name = known.get(row["video"].strip())
        if name is None:
            strangers.append(row["video"])
            continue
        if name in labels:
            raise UserError(f"{path}: line {number}: '{row['video']}' is there twice")
        labels[name] = _class_name(row["class"], path, number)
        splits[name] = row.get("split", "").strip()
    if strangers and not labels:
        raise UserError(f"{path}: no such video in the folder: '{strangers[0]}'; give names relative to it")
    if strangers:
        say(f"{path}: {len(strangers)} labels are of no video in the folder, such as '{strangers[0]}'")
    if missing := [one.name for one in videos if one.name not in labels]:
        raise UserError(f"{path}: no label for {len(missing)} of {len(videos)} videos, such as '{missing[0]}'")
    if "split" not in columns:
        return labels, None
    if wrong := sorted({split for split in splits.values() if split not in (*DRAWN, "ood")}):
        raise UserError(f"{path}: column 'split': '{wrong[0]}' is none of {', '.join(DRAWN)}, ood")
    if empty := [split for split in DRAWN if split not in splits.values()]:
        raise UserError(f"{path}: split '{empty[0]}' is empty; train, val and test each need videos")
    return labels, splits


def _by_any_name(videos: list[SourceVideo]) -> dict[str, str]:
    """The full name of each video by it and, where they tell videos apart, by its file's name and stem."""
    known = {one.name: one.name for one in videos}
    for short in (lambda name: Path(name).name, lambda name: Path(name).stem):
        names = Counter(short(one.name) for one in videos)
        known |= {short(one.name): one.name for one in videos if names[short(one.name)] == 1} | known
    return known


def _class_name(text: str, path: Path, line: int) -> str:
    name = text.strip()
    if not name or len(name) > 100 or any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise UserError(f"{path}: line {line}, column 'class': a class is 1 to 100 printable characters")
    return name


def _draw_splits(videos: list[SourceVideo], params: FootageParams) -> dict[str, str]:
    label = np.array([one.label for one in videos])
    for name, count in Counter(label.tolist()).items():
        if count < LEAST_SOURCES:
            raise UserError(
                f"class '{name}' has {count} videos; {LEAST_SOURCES} at least are needed, some for each split"
            )
    return dict(zip([one.name for one in videos], draw_splits(label, params.shares, params.seed).tolist(), strict=True))


# ---- frames


def _frames(video: SourceVideo) -> tuple[float, Iterator[Pixels]]:
    """Frames a second, 0 where nothing tells, and the frames, a few at a time: (K, H, W, 3) uint8."""
    if video.path.is_dir():
        return 0.0, _images(video.path)
    if video.path.suffix.lower() == ".npy":
        array = _array(video.path)
        clip = array if video.row is None else array[video.row]
        return 0.0, (np.asarray(clip[start : start + AT_ONCE]) for start in range(0, len(clip), AT_ONCE))
    try:
        head = read_head(video.path)
    except VideoFault as fault:
        raise _unreadable(video, fault) from None
    return head.fps, _decoded(video)


def _decoded(video: SourceVideo) -> Iterator[Pixels]:
    try:
        with closing(stream_frames(video.path, AT_ONCE)) as stream:
            yield from stream
    except VideoFault as fault:
        raise _unreadable(video, fault) from None


def _unreadable(video: SourceVideo, fault: VideoFault) -> UserError:
    return UserError(f"{video.path}: not a whole video ({fault.reason}: {fault})")


def _images(folder: Path) -> Iterator[Pixels]:
    from PIL import Image

    first: tuple[int, int] | None = None
    for path in sorted(filter(_is_image, folder.iterdir())):
        try:
            with Image.open(path) as image:
                if image.width * image.height > LARGEST:
                    raise ValueError(f"{image.width}×{image.height} pixels are too many to be read")
                frame = np.asarray(image.convert("RGB"))
        except Exception as error:  # parsers of damaged bytes raise anything
            raise UserError(f"{path}: not a whole image: {error}") from None
        first = first or frame.shape[:2]
        if frame.shape[:2] != first:
            raise UserError(
                f"{path}: {frame.shape[1]}×{frame.shape[0]} pixels, those before have {first[1]}×{first[0]}"
            )
        yield frame[None]


def _resampled(batches: Iterator[Pixels], rate: float, wanted: float) -> Iterator[Pixels]:
    """The frames nearest in time to every 1 / wanted s: frames are left out, or repeated."""
    seen = kept = 0
    for batch in batches:
        for frame in batch:
            while round(kept * rate / wanted) == seen:
                yield frame[None]
                kept += 1
            seen += 1
