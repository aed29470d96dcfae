"""The result of checking a folder of actions, for people and for programs."""

from typing import Any

import numpy as np

from kinetoken.actions.inspection import Inspection


def to_text(inspection: Inspection) -> str:
    """A table of splits, then every broken clip by name."""
    actions = inspection.actions
    lines = [f"{actions.folder}: {inspection.count} clips, {len(actions.classes)} classes", ""]
    lines.append(f"{'split':<12}{'clips':>8}{'broken':>8}  {'a class':<14}{'frames':<16}pixels")
    for split, clips in actions.splits.items():
        whole = [inspection.videos[clip.id] for clip in clips if clip.id in inspection.videos]
        known = np.array([clip.label for clip in clips if clip.label >= 0], np.int64)
        each = np.bincount(known, minlength=len(actions.classes))
        classes = f"{each.min()} to {each.max()}" if len(known) else "no labels"
        frames = sorted(found.frames for found in whole)
        middle = f"{frames[0]} to {frames[-1]}" if frames else "none"
        sizes = sorted({(found.width, found.height) for found in whole})
        pixels = ", ".join(f"{width}x{height}" for width, height in sizes[:3]) + (", …" if len(sizes) > 3 else "")
        lines.append(f"{split:<12}{len(clips):>8}{len(clips) - len(whole):>8}  {classes:<14}{middle:<16}{pixels}")
    lines.append("")
    lines += [f"{f.split} {f.clip.id}: {f.reason}: {f.detail} ({f.clip.path.name})" for f in inspection.faults]
    lines.append("every clip is whole" if not inspection.faults else f"{len(inspection.faults)} clips are broken")
    return "\n".join(lines)


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Counts by split, and every broken clip with its reason."""
    actions = inspection.actions
    return {
        "folder": str(actions.folder), "clips": inspection.count, "classes": len(actions.classes),
        "splits": {
            split: {"clips": len(clips), "broken": sum(clip.id not in inspection.videos for clip in clips)}
            for split, clips in actions.splits.items()
        },
        "broken": [
            {"split": f.split, "id": f.clip.id, "reason": f.reason, "detail": f.detail, "path": str(f.clip.path)}
            for f in inspection.faults
        ],
    }
