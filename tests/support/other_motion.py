"""Tracks of three motions that are none of the project's laws, as a user's file would hold them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FRAMES, FPS = 16, 16.0
KINDS = ("bounce", "pendulum", "zigzag")


def points_of(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """(FRAMES, 3) m in view of a camera at the origin that looks along +z, the ball above a floor 1.1 m below."""
    t = np.arange(FRAMES) / FPS
    depth, heading = rng.uniform(2.8, 3.4), rng.choice([-1.0, 1.0])
    speed, phase = rng.uniform(0.6, 0.9), rng.uniform(0, 2 * np.pi)
    if kind == "pendulum":
        swing = rng.uniform(0.4, 0.7) * np.sin(2 * np.pi * rng.uniform(0.9, 1.3) * t + phase)
        length = rng.uniform(0.7, 0.9)
        x, y = length * np.sin(swing), 0.5 - length * np.cos(swing)
    elif kind == "zigzag":
        period = rng.uniform(0.35, 0.5)
        x = heading * speed * (t - t.mean())
        y = rng.uniform(0.25, 0.35) * (4 * np.abs((t / period + phase) % 1 - 0.5) - 1)
    else:
        gravity, rise = rng.uniform(6.0, 8.0), rng.uniform(1.6, 2.0)
        since = (t + rng.uniform(0, 1)) % (2 * rise / gravity)
        x, y = heading * speed * (t - t.mean()), -0.6 + rise * since - gravity * since**2 / 2
    return np.stack([x, y, depth + 0.2 * heading * t], -1)


def write_file(path: Path, count: int, seed: int = 5, *, classes: bool = True) -> None:
    """A CSV of `count` tracks, the kinds in turn, with a column `class` if asked for."""
    rng = np.random.default_rng(seed)
    lines = ["track_id,frame,x,y,z" + (",class" if classes else "")]
    for track in range(count):
        kind = KINDS[track % len(KINDS)]
        for frame, (x, y, z) in enumerate(points_of(kind, rng)):
            lines.append(f"{track},{frame},{x:.5f},{y:.5f},{z:.5f}" + (f",{kind}" if classes else ""))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
