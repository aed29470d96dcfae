"""Check a folder of actions before anything is trained on it: what is there, what is broken, clip by clip.

FOLDER is laid out like Something-Something-V2 (either naming of its label files) or holds lists of `path label`.
Every file is decoded once. The exit code is 0 if all clips are whole, 1 if not.

    python -m kinetoken.actions data/actions --segments 8 --report broken.csv
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from kinetoken.actions.inspection import Inspection, inspect, write_faults
from kinetoken.actions.layout import read_actions
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress


def main(argv: list[str] | None = None) -> int:
    options = _parse(argv)
    try:
        actions = read_actions(options.folder)
        with Progress("actions", quiet=options.quiet) as progress:
            inspection = inspect(
                actions, options.segments, processes=options.processes, memory=options.memory, progress=progress
            )
        if options.report is not None:
            write_faults(options.report, inspection.faults)
    except UserError as error:
        print(f"error: actions: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: actions: interrupted", file=sys.stderr)
        return 130
    print(describe(inspection))
    return 1 if inspection.faults else 0


def describe(inspection: Inspection) -> str:
    """The check's result for people: a table of splits, then every broken clip by name."""
    actions = inspection.actions
    lines = [f"{actions.folder}: {inspection.count} clips, {len(actions.classes)} classes", ""]
    lines.append(f"{'split':<12}{'clips':>8}{'broken':>8}  {'a class':<14}{'frames':<16}pixels")
    for split, clips in actions.splits.items():
        whole = [inspection.videos[clip.id] for clip in clips if clip.id in inspection.videos]
        told = np.array([clip.label for clip in clips if clip.label >= 0], np.int64)
        each = np.bincount(told, minlength=len(actions.classes))
        classes = f"{each.min()} to {each.max()}" if len(told) else "not told"
        frames = sorted(found.frames for found in whole)
        middle = f"{frames[0]} to {frames[-1]}" if frames else "none"
        sizes = sorted({(found.width, found.height) for found in whole})
        pixels = ", ".join(f"{width}x{height}" for width, height in sizes[:3]) + (", …" if len(sizes) > 3 else "")
        lines.append(f"{split:<12}{len(clips):>8}{len(clips) - len(whole):>8}  {classes:<14}{middle:<16}{pixels}")
    lines.append("")
    lines += [f"{f.split} {f.clip.id}: {f.reason}: {f.detail} ({f.clip.path.name})" for f in inspection.faults]
    lines.append("every clip is whole" if not inspection.faults else f"{len(inspection.faults)} clips are broken")
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kinetoken.actions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--segments", type=int, default=1, help="name clips with fewer frames than this (default: 1)")
    parser.add_argument("--processes", type=int, default=1, help="that decode (default: 1)")
    parser.add_argument("--report", type=Path, help="CSV file that will name each broken clip")
    parser.add_argument("--memory", type=Path, help="JSON-lines file of what was found, to check only new files later")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
