"""How good generated clips are: one ball throughout, the class asked for, as varied as real ones, and new.

All of it is measured on decoded clips, by the ball tracked in them and by the pixel judge, and the same on
real test clips through the tokenizer: that is the ceiling.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.footage.motion import picture_behind, track_moving
from kinetoken.scenes.paths import Array
from kinetoken.scenes.tracking import Tracked, deviation

Pixels = NDArray[np.uint8]
Flags = NDArray[np.bool_]

WITHIN_BALL = 0.9  # least share of a frame's deviation that lies in the one ball
MASS_SLACK, STEP_SLACK = 2.0, 1.25  # how far outside the training clips' range mass and step may be
EXPLAINED = 0.999  # of the paths' variance; what is left is the tracker's noise
TRACK_BATCH = 64


@dataclasses.dataclass
class BallTracks:
    """The ball followed through N clips: tracked (N, T) each, the share of the deviation inside it (N, T), and the mean
    colour (N, 3) in [0, 1] of all that deviates."""

    tracked: Tracked
    inside: Array
    colour: Array

    @property
    def path(self) -> Array:
        """(N, 3T): u, v, radius of every frame, px."""
        found = self.tracked
        return np.stack([found.u, found.v, found.radius], -1).reshape(len(found.u), -1)

    @staticmethod
    def tracked_of(path: Array) -> Tracked:
        """The inverse of `path`: (N, 3T) → a tracked ball, in sight throughout."""
        u, v, radius = np.moveaxis(path.reshape(len(path), -1, 3), -1, 0)
        return Tracked(u, v, np.maximum(radius, 1e-3), np.ones_like(u))

    def take(self, rows: slice) -> "BallTracks":
        fields = {f.name: getattr(self.tracked, f.name)[rows] for f in dataclasses.fields(Tracked)}
        return BallTracks(Tracked(**fields), self.inside[rows], self.colour[rows])


def follow(clips: Pixels, background: NDArray[np.float32] | None) -> BallTracks:
    """Track (N, T, H, W, 3) uint8 clips, and see how much of what moves is that one ball.

    Without a background (H, W, 3) of all clips, what moves is what differs from each clip's own still picture.
    """
    parts, shares, colours = [], [], []
    for start in range(0, len(clips), TRACK_BATCH):
        frames = np.asarray(clips[start : start + TRACK_BATCH] / np.float32(255), np.float32)
        behind = picture_behind(frames, background)
        found = track_moving(frames, behind)
        weight = deviation(frames, behind)
        grid = np.arange(weight.shape[-1], dtype=np.float32)
        square = (grid - found.u[..., None])[..., None, :] ** 2 + (grid - found.v[..., None])[..., :, None] ** 2
        near = square <= (1.5 * found.radius + 1)[..., None, None] ** 2
        shares.append((weight * near).sum((-1, -2)) / np.maximum(found.mass, 1e-9))
        summed = np.einsum("bthw,bthwc->bc", weight, frames)
        colours.append(summed / np.maximum(weight.sum((1, 2, 3)), 1e-6)[:, None])
        parts.append(found)
    fields = [np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(Tracked)]
    return BallTracks(Tracked(*fields), np.concatenate(shares), np.concatenate(colours))


@dataclasses.dataclass(frozen=True)
class Validity:
    """What one ball of this world looks like: limits taken from real training clips."""

    mass: tuple[float, float]
    step: float  # px a frame
    image_size: int

    @classmethod
    def of_training(cls, real: BallTracks, image_size: int) -> "Validity":
        mass = real.tracked.mass
        step = np.hypot(np.diff(real.tracked.u, axis=1), np.diff(real.tracked.v, axis=1))
        return cls((float(mass.min()) / MASS_SLACK, float(mass.max()) * MASS_SLACK), float(step.max()) * STEP_SLACK,
                   image_size)

    def holds(self, clips: BallTracks) -> Flags:
        """(N,): in every frame one ball, its middle within the image by half its radius, and no jump."""
        found, half = clips.tracked, clips.tracked.radius / 2
        present = (found.mass >= self.mass[0]) & (found.mass <= self.mass[1]) & (clips.inside >= WITHIN_BALL)
        low, high = np.minimum(found.u, found.v), np.maximum(found.u, found.v)
        inside = (low >= half) & (high <= self.image_size - 1 - half)
        steps = np.hypot(np.diff(found.u, axis=1), np.diff(found.v, axis=1))
        return np.asarray((present & inside).all(1) & (steps <= self.step).all(1))


@dataclasses.dataclass(frozen=True)
class Whitening:
    """Paths → coordinates in which the training paths are of unit variance in every direction that matters."""

    mean: Array
    matrix: Array

    @classmethod
    def of_training(cls, paths: Array) -> "Whitening":
        """From (N, P) training paths: the principal directions that explain 99.9 % of their variance."""
        centred = paths - paths.mean(0)
        values, directions = np.linalg.eigh(centred.T @ centred / len(paths))
        values, directions = values[::-1], directions[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(values) / max(values.sum(), 1e-12), EXPLAINED)) + 1
        return cls(paths.mean(0), directions[:, :kept] / np.sqrt(np.maximum(values[:kept], 1e-12)))

    def __call__(self, paths: Array) -> Array:
        return np.asarray((paths - self.mean) @ self.matrix)

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """(count, K) such coordinates of a Gaussian with the mean and the covariance of the training paths."""
        return rng.standard_normal((count, self.matrix.shape[1]))

    def paths(self, coordinates: Array) -> Array:
        """The inverse: (N, K) → (N, P)."""
        return np.asarray(self.mean + coordinates @ np.linalg.pinv(self.matrix))


def coverage_and_density(real: Array, generated: Array, neighbours: int) -> tuple[Array, Array]:
    """Per real clip, is it covered (N,); per generated clip, its density (M,): means are the two measures.

    Naeem et al. (2020, arXiv:2002.09797): each real clip owns the ball that reaches its k-th nearest real
    neighbour; coverage is the share of those balls with a generated clip in them, density how many such
    balls a generated clip is in, over k. Real against real gives about 1 − 2^−k and 1.
    """
    inside = distances(real, generated) <= _reach(real, neighbours)[:, None]  # (N, M)
    return inside.any(1).astype(float), inside.sum(0) / min(neighbours, len(real) - 1)


def precision_and_recall(real: Array, generated: Array, neighbours: int) -> tuple[Array, Array]:
    """Per generated clip, is it among the real ones (M,); per real clip, is it among the generated (N,).

    Kynkäänniemi et al. (2019, arXiv:1904.06991): among means within reach of any clip of the other set, each of which
    reaches to its k-th nearest neighbour in its own set.
    """
    across = distances(real, generated)  # (N, M)
    near_real = (across <= _reach(real, neighbours)[:, None]).any(0)
    near_generated = (across <= _reach(generated, neighbours)[None]).any(1)
    return near_real.astype(float), near_generated.astype(float)


def _reach(points: Array, neighbours: int) -> Array:
    """(N,): how far each point's k-th nearest other point is."""
    within = distances(points, points)
    np.fill_diagonal(within, np.inf)
    return np.asarray(np.sort(within, axis=1)[:, min(neighbours, len(points) - 1) - 1])


def distances(one: Array, other: Array) -> Array:
    """Euclidean, (N, P) and (M, P) → (N, M)."""
    square = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def memorised(training: Array, held_out: Array, generated: Array) -> Array:
    """(M,) 1 where a generated path is nearer to a training path than 99 % of held-out ones are to theirs.

    All in whitened coordinates. Something drawn afresh from the world itself scores 0.01: the floor.
    """
    limit = np.quantile(distances(held_out, training).min(1), 0.01)
    return np.asarray(distances(generated, training).min(1) < limit, np.float64)
