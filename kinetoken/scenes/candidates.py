"""Tracks of one candidate each: persistent ones keep their velocity and stay, transient ones diffuse and die.

A candidate appears at an early frame, where nothing tells which it is: place, depth, colour, light and the step to
the next frame are drawn alike for both (`process`). Three frames in a row begin to tell; so does dying, which only
transient ones do, at the same hazard in every frame. Frames without the candidate hold NaN.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.core.params import Fraction, NonNegative, PositiveFloat, Range
from kinetoken.physics.laws import CLASSES, Array, direction
from kinetoken.physics.world import World
from kinetoken.scenes.motion import Band, Bands, Counts, Trajectories, draw_look, draw_tracks, drawn_columns
from kinetoken.scenes.process import Process, memory_of, paths
from kinetoken.scenes.tracks import Tracks

if TYPE_CHECKING:
    import pandas as pd

_KNOWN = ("spread", "step", "process_noise", "hazard")  # of the motion, kept with each track

PERSISTENT, TRANSIENT = "persistent", "transient"
SPLITS = ("train", "val", "test")
TRIES = 64  # paths drawn at once for a track; the first that stays in view is taken


@dataclasses.dataclass(frozen=True)
class CandidateCounts:
    """Tracks in each split, half of them persistent."""

    train: Annotated[int, Range(ge=2)]
    val: Annotated[int, Range(ge=2)]
    test: Annotated[int, Range(ge=2)]


@dataclasses.dataclass(frozen=True)
class CandidateMotion:
    """How candidates move: all lengths in metres."""

    law: Literal["gaussian", "four_laws"]  # of persistent ones; four_laws is harder, and no optimum is known for it
    spread: PositiveFloat  # standard deviation of x and of y about the middle, both kinds
    step: PositiveFloat  # standard deviation of the step from frame to frame, each of x and y, both kinds
    process_noise: Annotated[float, Range(gt=0, le=1)]  # of a persistent velocity, per frame; the difficulty, 1: alike
    depth: Band  # of each candidate, drawn once
    hazard: Annotated[float, Range(gt=0, lt=1)]  # of dying, in each frame of a transient one

    def __post_init__(self) -> None:
        if not 0 < self.depth[0] <= self.depth[1]:
            raise ValueError(f"depth: expected 0 < low <= high, found {list(self.depth)}")
        for persistent in (False, True):
            self.process(persistent=persistent)

    def process(self, *, persistent: bool) -> Process:
        """Of x and of y."""
        return Process(self.spread, self.step, memory_of(self.process_noise) if persistent else 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateTracks:
    """Section generate_trajectories.<dataset> of a dataset of candidates."""

    source: str  # data/sources/synthetic.csv: candidates are always drawn
    seed: NonNegative
    world: World
    counts: CandidateCounts
    appears: tuple[NonNegative, NonNegative]  # frames, the first and the last at which a candidate may appear
    motion: CandidateMotion
    laws: "FourLaws" = dataclasses.field(default_factory=lambda: FourLaws())  # read where motion.law is four_laws
    enabled: bool = True  # false leaves the candidates out, and with them early decisions

    def __post_init__(self) -> None:
        first, last = self.appears
        if not first <= last < self.world.num_frames:
            raise ValueError(f"appears: expected first <= last < {self.world.num_frames} frames, found {[first, last]}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourLaws:
    """What motion.law four_laws draws its persistent candidates from, as generate_trajectories.motion does."""

    start_low: tuple[float, float, float] = (-0.5, -0.35, 2.5)  # m
    start_high: tuple[float, float, float] = (0.5, 0.35, 3.2)
    speed: Band = (0.7, 1.0)  # m/s
    path_radius: Band = (0.2, 0.35)  # m
    gravity: Band = (0.8, 1.6)  # m/s²
    tilt_degrees: Annotated[float, Range(ge=0, le=89)] = 30.0
    pitch: Band = (0.6, 1.0)  # m a turn
    apex: tuple[Fraction, Fraction] = (0.35, 0.65)


def draw_candidates(params: CandidateTracks) -> Tracks:
    """All tracks, in order of split; of each two in a row one is persistent.

    Track i of a split is the same however many are drawn. `drawn` has, beside start, depth and look: `persistent`
    0 or 1, `first_frame`, `last_frame` (both with the candidate in sight), `law` (0 gaussian or diffusion, else
    1 + the index of the law of motion), and what the optimum must know: `spread`, `step`, `process_noise`, `hazard`
    of the gaussian law, else NaN. UserError if no path stays in view.
    """
    import pandas as pd

    drawn, points, split = [], [], []
    for code, name in enumerate(SPLITS):
        count = getattr(params.counts, name)
        columns, path = _draw_split(params, code, count)
        drawn.append(pd.DataFrame(columns))
        points.append(path)
        split += [name] * count
    table = pd.concat(drawn, ignore_index=True)
    label = np.where(table["persistent"] == 1, PERSISTENT, TRANSIENT)
    return Tracks(
        params.world, np.arange(len(table), dtype=np.int32), label, np.array(split), np.concatenate(points), table
    )


def _draw_split(params: CandidateTracks, code: int, count: int) -> tuple[dict[str, Array], Array]:
    """Columns of (N,) and points (N, T, 3) of one split."""
    frames = params.world.num_frames
    rngs = [np.random.default_rng([params.seed, code, i]) for i in range(count)]
    coin = np.array([np.random.default_rng([params.seed, code, i // 2, 1]).random() < 0.5 for i in range(count)])
    persistent = coin == (np.arange(count) % 2 == 0)  # one of each two in a row, which one its number does not tell
    look = np.stack([draw_look(rng) for rng in rngs])
    once = np.stack([rng.random(3) for rng in rngs])
    first = params.appears[0] + np.floor(once[:, 0] * (params.appears[1] - params.appears[0] + 1)).astype(int)
    if params.motion.law == "gaussian":
        law, path = np.zeros(count), _gaussian_paths(params, rngs, persistent, once[:, 1])
        speed = np.full(count, np.sqrt(2) * params.motion.step * params.world.fps)  # m/s, root mean square
    else:
        law, path, speed = _law_paths(params, code, rngs, persistent)
    lasts = 1 + np.floor(np.log(1 - once[:, 2]) / np.log(1 - params.motion.hazard)).astype(int)  # frames, geometric
    last = np.where(persistent, frames - 1, np.minimum(first + lasts, frames) - 1)
    frame = np.arange(frames)
    path = path[np.arange(count)[:, None], np.maximum(frame - first[:, None], 0)]  # time starts where it appears
    path[(frame < first[:, None]) | (frame > last[:, None])] = np.nan
    start = path[np.arange(count), first]
    columns = drawn_columns(params.world, start, speed, {}, look)
    known = _KNOWN if params.motion.law == "gaussian" else ()
    return {
        **columns, "persistent": persistent.astype(float), "first_frame": first, "last_frame": last, "law": law,
        **{name: np.full(count, getattr(params.motion, name) if name in known else np.nan) for name in _KNOWN},
    }, path


def _gaussian_paths(
    params: CandidateTracks, rngs: list[np.random.Generator], persistent: np.ndarray, depth: Array
) -> Array:
    """(N, T, 3) m that stay in view, with depths from uniform numbers (N,)."""
    motion, frames = params.motion, params.world.num_frames
    z = motion.depth[0] + (motion.depth[1] - motion.depth[0]) * depth
    points = np.empty((len(rngs), frames, 3))
    for row, rng in enumerate(rngs):
        process = motion.process(persistent=bool(persistent[row]))
        normal = rng.standard_normal((TRIES, 2, frames))
        for tried in range(TRIES):
            points[row] = np.stack([*paths(process, normal[tried]), np.full(frames, z[row])], -1)
            if params.world.in_view(points[row]):
                break
        else:
            raise UserError(
                f"generate_trajectories: no path with a spread of {motion.spread} m stays in view at depth "
                f"{z[row]:.2f} m; lower motion.spread, or widen the field of view"
            )
    return points


def _law_paths(
    params: CandidateTracks, code: int, rngs: list[np.random.Generator], persistent: np.ndarray
) -> tuple[Array, Array, Array]:
    """(law (N,), points (N, T, 3) m, speed (N,) m/s): the four laws of motion, and walks of steps as long."""
    count, laws, world = len(rngs), params.laws, params.world
    counts = Counts(train=max(count, 4), val=4, test=4, ood=0)
    bands = {"speed": laws.speed, "path_radius": laws.path_radius, "gravity": laws.gravity}
    drawn = draw_tracks(Trajectories(
        source=params.source, seed=params.seed + 1 + code, world=world, counts=counts, start_low=laws.start_low,
        start_high=laws.start_high, bands=Bands(**bands), ood_bands=Bands(**bands), tilt_degrees=laws.tilt_degrees,
        pitch=laws.pitch, apex=laws.apex,
    ))
    points = drawn.points[:count].copy()
    law = 1.0 + np.array([CLASSES.index(name) for name in drawn.label[:count]])
    for row in np.flatnonzero(~persistent):
        length = float(drawn.drawn["speed"][row]) / world.fps
        points[row] = _walk(world, points[row, 0], length, rngs[row])
        law[row] = 0
    return law, points, drawn.drawn["speed"].to_numpy()[:count]


def _walk(world: World, start: Array, length: float, rng: np.random.Generator) -> Array:
    """(T, 3) m: steps of one length in directions drawn anew, each redrawn until the ball stays in view."""
    points = np.empty((world.num_frames, 3))
    points[0] = start
    for t in range(1, world.num_frames):
        for _ in range(TRIES):
            yaw, height = 2 * np.pi * rng.random(), 2 * rng.random() - 1
            points[t] = points[t - 1] + length * direction(np.array(yaw), np.arcsin(np.array(height)))
            if bool(world.in_view(points[t][None])):
                break
        else:
            raise UserError(f"generate_trajectories: no step of {length:.2f} m from {start} stays in view")
    return points


@dataclasses.dataclass(frozen=True)
class CandidateTruth:
    """What is known of N candidates: persistent (N,) bool, first and last frame in sight (N,), law (N,)."""

    persistent: np.ndarray
    first: np.ndarray
    last: np.ndarray
    law: np.ndarray

    @property
    def lifetime(self) -> np.ndarray:
        """(N,) frames in sight."""
        return np.asarray(self.last - self.first + 1)

    @property
    def law_names(self) -> np.ndarray:
        """(N,) how each moves: diffusion, smooth (gaussian), or one of the four laws."""
        names = np.array(["smooth", *CLASSES])
        return np.where(self.persistent, names[self.law], "diffusion")

    @property
    def lifetime_bands(self) -> np.ndarray:
        """(N,) `to_the_end`, or of those that die, how many frames they were in sight: 01-02, 03-04, 05-08 …"""
        bands = np.array(["01-02", "03-04", "05-08", "09-16", "17-31"])
        band = bands[np.searchsorted([2, 4, 8, 16], self.lifetime)]
        return np.where(self.persistent, "to_the_end", band)

    def take(self, rows: np.ndarray) -> "CandidateTruth":
        """Of the candidates at `rows`."""
        return CandidateTruth(self.persistent[rows], self.first[rows], self.last[rows], self.law[rows])


def truth_of(drawn: "pd.DataFrame", source: object, num_frames: int) -> CandidateTruth:
    """From the columns of track_params. UserError for tracks that are no candidates, or a candidate never in sight."""
    needed = ("persistent", "first_frame", "last_frame", "law")
    if missing := [name for name in needed if name not in drawn]:
        raise UserError(f"{source}: tracks without '{missing[0]}': no candidates as generate_trajectories draws them")
    persistent, first, last, law = (drawn[name].to_numpy() for name in needed)
    truth = CandidateTruth(persistent == 1, first.astype(int), last.astype(int), law.astype(int))
    never = (truth.first > truth.last) | (truth.first < 0) | (truth.last >= num_frames)
    if never.any():
        row = int(np.flatnonzero(never)[0])
        raise UserError(
            f"{source}: row {row}: a candidate in sight from frame {truth.first[row]} to {truth.last[row]} of "
            f"{num_frames} never appears"
        )
    return truth


def motion_of(drawn: "pd.DataFrame") -> CandidateMotion | None:
    """How the candidates of a table move, from its own columns; None where no optimum is known."""
    spread, step, noise, hazard = (float(drawn[name].iloc[0]) for name in _KNOWN)
    if not np.isfinite(spread):
        return None
    depth = float(drawn["start_z"].min()), float(drawn["start_z"].max())
    return CandidateMotion("gaussian", spread, step, noise, depth, hazard)
