"""The check before training: every file decoded once, and each clip that cannot be used named with its reason.

What was found is remembered by file size and time, so the next check opens only files that changed.
"""

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kinetoken.actions.layout import ActionSet, Clip
from kinetoken.actions.sampling import Intake
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.core.workers import worker_pool
from kinetoken.footage.webm import REASONS, RULES, Video, VideoFault, probe

CHUNK = 16  # files a process takes at once


@dataclasses.dataclass(frozen=True)
class Fault:
    """A clip that cannot be used, and why."""

    split: str
    clip: Clip
    reason: str  # one of webm.REASONS
    detail: str


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What the files of a set hold: facts of the whole ones by clip id, faults of the others."""

    actions: ActionSet
    videos: dict[str, Video]
    faults: tuple[Fault, ...]

    @property
    def count(self) -> int:
        return sum(len(clips) for clips in self.actions.splits.values())

    def summary(self) -> str:
        """The faults in one line: how many of what, and the first few by name."""
        counts = Counter(fault.reason for fault in self.faults)
        kinds = ", ".join(f"{counts[reason]} {reason}" for reason in REASONS if counts[reason])
        named = "; ".join(f"{f.split} {f.clip.id}: {f.reason}, {f.detail}" for f in self.faults[:5])
        more = f"; and {len(self.faults) - 5} more" if len(self.faults) > 5 else ""
        return f"{len(self.faults)} of {self.count} clips are broken ({kinds}): {named}{more}"


@dataclasses.dataclass(frozen=True)
class _Look:
    frames: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""
    detail: str = ""


def inspect(
    actions: ActionSet,
    segments: int = 1,
    *,
    processes: int = 1,
    memory: Path | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Decode every clip of the set; those with fewer frames than `segments` are faults too.

    `memory` is a JSON-lines file of what was found before; it grows as files are looked at, so a check that was
    stopped goes on from there.
    """
    progress = progress or Progress.silent()
    clips = [(split, clip) for split, group in actions.splits.items() for clip in group]
    progress.phase("checking clips", len(clips), "clips")
    looks = _look_at([clip.path for _, clip in clips], processes, memory, progress)
    videos, faults = {}, []
    for split, clip in clips:
        look = looks[clip.path]
        if look.reason:
            faults.append(Fault(split, clip, look.reason, look.detail))
        elif look.frames < segments:
            faults.append(Fault(split, clip, "short", f"{look.frames} frames, {segments} segments"))
        else:
            videos[clip.id] = Video(look.frames, look.width, look.height)
    return Inspection(actions, videos, tuple(faults))


def admit(inspection: Inspection, intake: Intake, report: Path | None = None) -> ActionSet:
    """The set without its broken clips, each of which is written to the CSV file `report`.

    UserError if there are any and the policy is to stop, if they are more than `max_broken` of all, or if they leave
    a split without clips.
    """
    if report is not None:
        write_faults(report, inspection.faults)
    listed = f"; all are listed in {report}" if report is not None else ""
    folder, faults = inspection.actions.folder, inspection.faults
    if faults and all(fault.reason == "short" for fault in faults) and not inspection.videos:
        raise UserError(f"{folder}: more segments than any clip has frames: {inspection.summary()}{listed}")
    if faults and intake.broken == "stop":
        raise UserError(f"{folder}: {inspection.summary()}{listed}. Repair them, or set broken: skip")
    if len(faults) > intake.max_broken * inspection.count:
        raise UserError(
            f"{folder}: {inspection.summary()}{listed}. That is more than max_broken, {intake.max_broken:.1%}"
        )
    splits = {
        split: tuple(clip for clip in clips if clip.id in inspection.videos)
        for split, clips in inspection.actions.splits.items()
    }
    if empty := [split for split, clips in splits.items() if not clips]:
        raise UserError(f"{folder}: no whole clip in {' or '.join(empty)}{listed}")
    return dataclasses.replace(inspection.actions, splits=splits)


def write_faults(path: Path, faults: Iterable[Fault]) -> None:
    """One row a broken clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as sink:
        table = csv.writer(sink, lineterminator="\n")
        table.writerow(["split", "id", "file", "reason", "detail"])
        table.writerows([f.split, f.clip.id, f.clip.path.name, f.reason, f.detail] for f in faults)


def _look_at(paths: Sequence[Path], processes: int, memory: Path | None, progress: Progress) -> dict[Path, _Look]:
    known = _remembered(memory)
    stamps = {path: _stamp(path) for path in paths}
    looks = {path: known[stamp] for path, stamp in stamps.items() if stamp is not None and stamp in known}
    progress.advance(len(looks))
    new = [path for path in stamps if path not in looks]
    with _appended(memory) as write:
        for path, look in zip(new, _mapped(new, processes), strict=True):
            looks[path] = look
            if stamps[path] is not None and not look.reason:  # what is broken is looked at again: it may be mended
                write(json.dumps({"file": stamps[path], **dataclasses.asdict(look)}) + "\n")
            progress.advance()
    return looks


def _mapped(paths: Sequence[Path], processes: int) -> Iterator[_Look]:
    if processes <= 1 or len(paths) <= CHUNK:
        yield from map(_look, paths)
        return
    with worker_pool(processes) as pool:
        yield from pool.map(_look, paths, chunksize=CHUNK)


def _look(path: Path) -> _Look:
    try:
        found = probe(path)
    except VideoFault as fault:
        return _Look(reason=fault.reason, detail=str(fault))
    return _Look(found.frames, found.width, found.height)


def _stamp(path: Path) -> str | None:
    """Name, size and time of a file, and the rules it is read by: the same stamp, the same look. None if not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {RULES}"


def _remembered(memory: Path | None) -> dict[str, _Look]:
    known: dict[str, _Look] = {}
    if memory is not None and memory.is_file():
        for line in memory.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                file = row.pop("file")
                known[file] = _Look(**row)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # a line that a kill cut short
    return known


@contextmanager
def _appended(memory: Path | None) -> Iterator[Callable[[str], object]]:
    """A function that adds a line to the file, on the disk as soon as it is whole."""
    if memory is None:
        yield lambda line: None
        return
    memory.parent.mkdir(parents=True, exist_ok=True)
    with memory.open("a", encoding="utf-8", buffering=1) as sink:
        if sink.tell():
            sink.write("\n")  # after a line that may have been cut short
        yield sink.write
