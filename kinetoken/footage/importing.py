"""A folder of videos written as a clip store."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kinetoken.core.progress import Progress
from kinetoken.footage.folder import SourceVideo, VideoDataset, find_videos, read_clips
from kinetoken.scenes.clips import Clips, Pixels, shard_path, write_shard

SAID = 12  # kinds of notes that are said


def import_folder(folder: Path, params: VideoDataset, store: Path, progress: Progress) -> int:
    """Write all clips of a folder of videos as shards of a store; how many.

    Their track ids are running numbers; the column `name` tells which part of which video each is. UserError as
    `find_videos` and `read_clips`; then the store is not whole.
    """
    videos = find_videos(folder, params.footage, progress.say)
    progress.phase("reading videos", len(videos), "videos")
    rates: Counter[float] = Counter()
    notes: list[str] = []
    count = shard = 0
    held: list[tuple[SourceVideo, str, Pixels]] = []
    for video, name, pixels, rate in _each(videos, params, notes, progress):
        rates[round(rate, 3)] += 1
        held.append((video, name, pixels))
        if len(held) == params.shard_clips:
            count, shard, held = _write(store, shard, held, count, rates), shard + 1, []
    if held:
        count = _write(store, shard, held, count, rates)
    _say(notes, rates, progress)
    return count


def _each(
    videos: list[SourceVideo], params: VideoDataset, notes: list[str], progress: Progress
) -> Iterator[tuple[SourceVideo, str, Pixels, float]]:
    for video in videos:
        for name, pixels, rate in read_clips(video, params.footage, params.look.image_size, notes):
            yield video, name, pixels, rate
        progress.advance()


def _write(
    store: Path, shard: int, held: list[tuple[SourceVideo, str, Pixels]], start: int, rates: Counter[float]
) -> int:
    """One shard, its clips numbered from `start`; where the next begins."""
    end = start + len(held)
    clips = Clips(
        np.arange(start, end, dtype=np.int32), np.array([video.label for video, _, _ in held]),
        np.array([video.split for video, _, _ in held]), np.stack([pixels for _, _, pixels in held]),
        rates.most_common(1)[0][0],
    )
    write_shard(shard_path(store, shard), clips, None, [name for _, name, _ in held])
    return end


def _say(notes: list[str], rates: Counter[float], progress: Progress) -> None:
    kinds = Counter(re.sub(r"last \d+ frames?", "last frames", note.split(": ", 1)[1]) for note in notes)
    for kind, count in kinds.most_common(SAID):
        progress.say(f"{count} video{'s' if count > 1 else ''}: {kind}")
    if len(kinds) > SAID:
        progress.say(f"and {len(kinds) - SAID} more kinds of notes")
    if len(rates) > 1:
        met = ", ".join(f"{rate:g}" for rate in sorted(rates))
        progress.say(f"videos have {met} frames a second; set footage.fps to bring them to one rate")
