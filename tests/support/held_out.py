"""The four motions made in another way than the library makes them, to see whether trained models know them.

Nothing of the library's laws is used: a line joins two points, a throw is a quadratic Bézier curve through its two
ends, a circle and a helix are turned step by step by a rotation matrix about an axis. Ranges are those of the default
data; what leaves them, or the picture, is drawn again.

    python -m tests.support.held_out --per-class 300

draws such tracks, renders them, encodes them, and prints how many the classifier reads rightly: of all, and of those
whose law the best fit to the true path with 0.15 px of noise names.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FRAMES, FPS = 16, 16.0
HALF_VIEW = np.tan(np.radians(30.0))
BALL, FLOOR, NEAR, FAR = 0.2, -1.15, 2.0, 5.0
SPEED, RADIUS, GRAVITY, TURNS, PITCH = (0.5, 2.6), (0.15, 0.6), (1.5, 9.8), (0.34, 2.4), (0.6, 1.0)
TIME = np.arange(FRAMES) / FPS


def seen(path: Array) -> bool:
    """Is the whole ball inside the picture, above the floor and at a distance that is drawn?"""
    across = np.abs(path[:, :2]).max(1) + 1.06 * BALL
    return bool(
        (across <= 0.97 * HALF_VIEW * path[:, 2]).all() and (path[:, 1] - BALL >= FLOOR).all()
        and (path[:, 2] >= NEAR).all() and (path[:, 2] <= FAR).all()
    )


def somewhere(rng: np.random.Generator) -> Array:
    z = rng.uniform(2.2, 4.7)
    reach = HALF_VIEW * z - 0.25
    return np.array([rng.uniform(-reach, reach), rng.uniform(max(-reach, FLOOR + BALL), reach), z])


def line(rng: np.random.Generator) -> Array | None:
    first, last = somewhere(rng), somewhere(rng)
    rise = (last - first)[1] / max(np.linalg.norm(last - first), 1e-9)
    return None if abs(rise) > 0.5 else first + np.linspace(0, 1, FRAMES)[:, None] * (last - first)


def throw(rng: np.random.Generator) -> Array | None:
    first, last = somewhere(rng), somewhere(rng)
    duration = TIME[-1]
    # of a Bézier curve the acceleration is twice (first − 2 middle + last) over the time squared, here down alone
    gravity = rng.uniform(*GRAVITY)
    middle = (first + last) / 2 + np.array([0, gravity * duration**2 / 4, 0])
    share = np.linspace(0, 1, FRAMES)[:, None]
    rise = 2 * (middle - first)[1] / duration
    if not 0.3 < rise / gravity / duration < 0.7:
        return None
    return (1 - share) ** 2 * first + 2 * share * (1 - share) * middle + share**2 * last


def turned(rng: np.random.Generator, rising: bool) -> Array | None:
    lean = np.radians(30) * rng.uniform(0, 1)
    about = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.sin(lean) * np.cos(about), np.cos(lean), np.sin(lean) * np.sin(about)])
    turns = rng.uniform(*TURNS) * rng.choice([-1, 1])
    radius = rng.uniform(*RADIUS)
    step = 2 * np.pi * turns / (FRAMES - 1)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(step) * cross + (1 - np.cos(step)) * cross @ cross  # Rodrigues
    spoke = np.cross(axis, rng.standard_normal(3))
    spoke *= radius / np.linalg.norm(spoke)
    rise = abs(turns) * rng.uniform(*PITCH) * rng.choice([-1, 1]) / (FRAMES - 1) if rising else 0.0
    centre, path = somewhere(rng), []
    for _ in range(FRAMES):
        path.append(centre + spoke)
        spoke, centre = rotation @ spoke, centre + rise * axis
    return np.array(path)


MOTIONS: dict[str, Callable[[np.random.Generator], Array | None]] = {
    "circular": lambda rng: turned(rng, rising=False), "helical": lambda rng: turned(rng, rising=True),
    "linear": line, "parabolic": throw,
}


def held_out_tracks(name: str, count: int, seed: int = 0) -> Array:
    """(count, FRAMES, 3) m of one motion, all in view and of the default data's speeds."""
    rng = np.random.default_rng([seed, len(name)])
    found: list[Array] = []
    while len(found) < count:
        path = MOTIONS[name](rng)
        if path is None or not seen(path):
            continue
        speed = np.linalg.norm(np.diff(path, axis=0), axis=1).sum() / TIME[-1]
        if SPEED[0] <= speed <= SPEED[1]:
            found.append(path)
    return np.array(found)


def main() -> int:
    from pathlib import Path

    import torch

    from kinetoken.heads.classifier import load_classifier
    from kinetoken.physics.fitting import choose_law, fit_laws
    from kinetoken.scenes.camera import camera_whitening
    from kinetoken.scenes.clips import ClipStore
    from kinetoken.scenes.motion import look_columns
    from kinetoken.scenes.rendering import add_noise, render
    from kinetoken.tokenizer.network import load_tokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--per-class", type=int, default=300)
    count = parser.parse_args().per_class
    scene = ClipStore(Path("data/motion/videos")).scene
    tokenizer, classifier = load_tokenizer(Path("models/tokenizer")), load_classifier(Path("models/classifier"))
    rng, camera = np.random.default_rng(1), scene.camera
    rights, knowns = [], []
    for name in MOTIONS:
        paths = held_out_tracks(name, count)
        clips = render(scene, paths, look_columns(rng.random((count, 5))))
        clips = add_noise(clips, scene.look.noise, [np.random.default_rng([2, i]) for i in range(count)])
        codes = np.concatenate([
            tokenizer.encode(torch.from_numpy(clips[i : i + 16])).numpy() for i in range(0, count, 16)
        ])
        read = np.array(classifier.classes)[classifier.log_probabilities(codes).argmax(1)]
        u, v, radius = camera.project(paths)
        u, v, radius = (each + 0.15 * rng.standard_normal(each.shape) for each in (u, v, radius))
        points = camera.unproject(u, v, np.maximum(radius, 0.5))
        fits = fit_laws(TIME, points, camera_whitening(points, 0.15, 0.15 / float(radius.mean()), camera.focal))
        known = np.array(list(fits))[choose_law(fits)[0]] == name
        strange = (classifier.novelty(codes) <= 0.01).mean()
        print(
            f"{name}: {(read == name).mean():.3f} right, {known.mean():.3f} knowable, "
            f"{(read == name)[known].mean():.3f} of the knowable right, {strange:.3f} called unlike the training data"
        )
        rights.append(read == name)
        knowns.append(known)
    right, known = np.concatenate(rights), np.concatenate(knowns)
    share = right[known].mean()
    print(f"all: {right.mean():.3f} right, {known.mean():.3f} knowable, {share:.3f} of the knowable right")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
