"""Short videos of another kind than this project draws: coloured shapes before gradients, in MP4, of three motions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KINDS = ("anticlockwise", "clockwise", "shaking")
WIDTH, HEIGHT, RATE = 120, 90, 24


def frames_of(kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(T, HEIGHT, WIDTH, 3), 20 to 40 frames: a shape that goes round, one way or the other, or shakes."""
    from PIL import Image, ImageDraw

    count = int(rng.integers(20, 41))
    low, high = rng.integers(30, 120, 3), rng.integers(60, 160, 3)
    ramp = np.linspace(0, 1, WIDTH)[None, :, None] if rng.random() < 0.5 else np.linspace(0, 1, HEIGHT)[:, None, None]
    wall = np.broadcast_to(low + (high - low) * ramp, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    colour = tuple(int(value) for value in rng.permutation([250, int(rng.integers(0, 90)), int(rng.integers(90, 250))]))
    corners, size, reach = int(rng.integers(3, 6)), rng.uniform(9, 13), rng.uniform(16, 24)
    turn, start = rng.uniform(4.5, 7.0) / 16, rng.uniform(0, 2 * np.pi)  # rad a frame: about a turn in a clip
    middle = np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-8, 8, 2)
    clip = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(count):
        angle = start + turn * frame * (1 if kind == "clockwise" else -1)
        away = reach * np.array([np.cos(angle), np.sin(angle)])
        if kind == "shaking":
            away = rng.uniform(-0.6, 0.6, 2) * reach
        spread = 2 * np.pi * np.arange(corners) / corners
        outline = middle + away + size * np.stack([np.cos(spread), np.sin(spread)], -1)
        image = Image.fromarray(wall)
        ImageDraw.Draw(image).polygon([tuple(point) for point in outline], fill=colour)
        clip[frame] = np.asarray(image)
    return clip


def write_videos(folder: Path, count: int, seed: int = 6) -> Path:
    """A folder of `count` MP4 files, the kinds in turn, and labels.csv with the class of each."""
    import av

    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(seed), ["video,class"]
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        name = f"clip_{number:04d}.mp4"
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=RATE)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 2_000_000
            for image in frames_of(kind, rng):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        lines.append(f"{name},{kind}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
