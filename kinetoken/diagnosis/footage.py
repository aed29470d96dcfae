"""A user's clips: what their pixels hold on the codes' grid, what moves in them, and how well they were painted."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.chain import Painted, Tokens, judged_painting, put, seen_in
from kinetoken.diagnosis.checks.facts import Sight
from kinetoken.diagnosis.columns import Column, Source, is_table, is_tar, open_column
from kinetoken.diagnosis.joining import Rows, joined, read_rows
from kinetoken.footage.motion import MOVING, moving_pixels, still_pictures
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Scene

Pixels = NDArray[np.uint8]
Grid = tuple[int, int, int]

CHUNK = 64  # clips held at once
OWN_GRID = (4, 8, 8)  # of pixels where the codes' grid is not known


class UserClips:
    """The clips of N rows of a codes table, in pixels (n, T, H, W, 3) uint8, from a clip store or an array."""

    def __init__(self, path: Source, codes: Rows, what: str = "clips") -> None:
        """`what`: clips or reconstructions. UserError if there are not some for each of the codes."""
        self.path = path
        self.store: ClipStore | None = None
        self.column: Column | None = None
        if isinstance(path, Path) and path.is_dir() and not _is_array(path):
            self.store = ClipStore(path, foreign=True)
            there = Rows(path, len(self.store), what, {"track_id": self.store.track_id})
        else:
            self.column = open_column(path, ("clips", "videos", "frames", "pixels"), what)
            there = read_rows(path, len(self.column), what)
        join = joined(codes, there)
        self.place, self.note = join.rows, join.note
        self.scene = None if self.store is None else _scene(self.store)
        self.scale: Scale | None = None

    def read(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        """Places among these ascending rows and their clips, a few at a time, in any order."""
        if self.store is not None:
            yield from self._stored(rows)
        elif self.column is not None:
            self.scale = self.scale or _scale(self.column, self.place[rows], self.path)
            for places, values in self.column.stream(self.place[rows], CHUNK):
                yield places, self.scale.pixels(_channels_last(values, self.path))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed: how the clips were joined, and what scale their values have."""
        return tuple(each for each in (self.note, self.scale.said if self.scale else "") if each)

    def _stored(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        assert self.store is not None
        start, order = 0, np.argsort(self.place[rows])
        ordered = self.place[rows][order]
        for clips in self.store.stream():
            first, last = np.searchsorted(ordered, [start, start + len(clips)])
            for low in range(first, last, CHUNK):
                part = slice(low, min(low + CHUNK, last))
                yield order[part], clips.pixels[ordered[part] - start]
            start += len(clips)


def _scene(store: ClipStore) -> Scene | None:
    try:
        return store.scene
    except UserError:  # clips that Kinetoken did not draw
        return None


def _is_array(path: Path) -> bool:
    """Is the folder an array's or a list of clips, and no clip store?"""
    store = is_table(path) and any(path.glob("part-*.parquet"))
    return path.suffix == ".zarr" or is_tar(path) or (is_table(path) and not store)


@dataclasses.dataclass(frozen=True)
class Scale:
    """What values of a whole file stand for black and white, and what the report says of it; empty if it is plain."""

    black: float
    white: float
    said: str = ""

    def pixels(self, values: NDArray[Any]) -> Pixels:
        """(n, T, H, W, 3) uint8 of values with 1 or 3 channels; values beyond black and white are clipped."""
        if values.dtype != np.uint8:
            share = (values.astype(np.float32) - self.black) / (self.white - self.black)
            values = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
        return np.repeat(values, 3, -1) if values.shape[-1] == 1 else np.asarray(values, np.uint8)


def _channels_last(values: NDArray[Any], path: Source) -> NDArray[Any]:
    """(n, T, H, W, C) with 1 or 3 channels; UserError for other shapes."""
    if values.ndim == 4:
        values = values[..., None]
    if values.ndim == 5 and values.shape[-1] not in (1, 3) and values.shape[2] in (1, 3):
        values = np.moveaxis(values, 2, -1)  # (n, T, C, H, W), as torch has frames
    elif values.ndim == 5 and values.shape[-1] not in (1, 3) and values.shape[1] in (1, 3):
        values = np.moveaxis(values, 1, -1)  # (n, C, T, H, W), as torch has videos
    if values.ndim != 5 or values.shape[-1] not in (1, 3):
        raise UserError(f"{path}: clips must be (N, T, H, W, C) with 1 or 3 channels, found rows of {values.shape[1:]}")
    return values


def _scale(column: Column, rows: NDArray[np.int64], path: Source) -> Scale:
    """One scale for the whole file, by the least and the greatest value of these rows. UserError if none fits.

    Decoders overshoot black and white a little; such values are within TOLERANCE of the range and clipped.
    """
    low, high, whole = np.inf, -np.inf, True
    for _, values in column.stream(rows, CHUNK):
        if values.dtype in (np.uint8, np.bool_):
            return Scale(0, 255 if values.dtype == np.uint8 else 1)
        if not np.isfinite(values).all():
            raise UserError(f"{path}: clips hold NaN or infinite values")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        whole = whole and not np.issubdtype(values.dtype, np.floating)
    fits = [(black, white) for black, white in SCALES if not whole or white == 255]
    for black, white in fits:
        spare = TOLERANCE * (white - black)
        least = 0.0 if whole or white == 1 else LEAST_WHITE
        if low >= black - spare and least <= high <= white + spare:
            clipped = "; values beyond were clipped" if low < black or high > white else ""
            said = "" if (low, high) == (black, white) or whole else (
                f"{path.name}: values run from {low:.4g} to {high:.4g} and are read as [{black:g}, {white:g}]{clipped}."
            )
            return Scale(black, white, said)
    raise UserError(f"{path}: clips run from {low:g} to {high:g}; give [0, 1], [-1, 1] or [0, 255]")


SCALES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))  # black and white; the first that fits counts
LEAST_WHITE = 16  # that numbers with fractions must reach somewhere to be read as [0, 255]
TOLERANCE = 0.25  # of the range that values may lie beyond it


@dataclasses.dataclass(frozen=True)
class FootageMeasures:
    """What was seen in N clips: tokens by point, as `seen_in` has them; tokens on what moves (N, T', H', W');
    reconstructions judged.

    decoded: reads all reconstructions as the clips were read; sight: what the checks of the order of tokens and frames
    read.
    """

    points: dict[str, Tokens]
    decoded: Callable[[], dict[str, Tokens]] | None
    mask: NDArray[np.bool_]
    painted: Painted | None
    notes: tuple[str, ...]
    sight: Sight


def measure_footage(
    footage: UserClips, drawn: UserClips | None, rows: NDArray[np.int64], split: np.ndarray, grid: Grid, shown: int
) -> FootageMeasures:
    """Read the clips of these rows of the table, their splits (N,), on the codes' grid (1 × 1 × L: on one of its own).

    Reconstructions `drawn`, if there are any, are judged on `shown` test clips.
    """
    own = grid[0] == grid[1] == 1
    points: dict[str, Tokens] = {}
    test = np.flatnonzero(split == "test")
    kept = test[np.linspace(0, len(test) - 1, min(shown, len(test))).astype(int)] if drawn else test[:0]
    shares: dict[str, NDArray[np.float32]] = {}
    pixels: dict[int, Pixels] = {}
    moving: dict[int, NDArray[np.bool_]] = {}
    total, count = np.zeros(1, np.float64), 0
    for places, clips in footage.read(rows):
        cut = fitted(clips, OWN_GRID if own else grid, footage.path)
        still = _background(footage.scene, cut)
        cells = _grid_of(cut, grid, own)
        put(points, len(rows), places, seen_in(cut, still, cells))
        moves = moving_pixels(cut, still)
        whole = moves if cut.shape == clips.shape else moving_pixels(clips, _background(footage.scene, clips))
        put(shares, len(rows), places, {"moving": cell_means(moves.astype(np.float32), cells)})
        learned = split[places] == "train"
        total, count = total + clips[learned].sum(0, dtype=np.float64) / 255, count + int(learned.sum())
        for place in np.intersect1d(places, kept):
            at = int(np.flatnonzero(places == place)[0])
            pixels[int(place)], moving[int(place)] = clips[at], whole[at]
    share = shares["moving"]
    painted, mask = None, share > 0
    scale = footage.scale or Scale(0, 255)
    sight = Sight(None if own else share, black=scale.black, white=scale.white)
    if drawn is not None:
        clean, painting = _side_by_side(drawn, rows, kept, pixels)
        foreground = np.stack([moving[int(place)] for place in kept])
        painted = _judged(painting, clean, foreground, (total / max(count, 1)).astype(np.float32))
        sight = _compared(sight, painting, clean, None if own else grid, footage.path)
    assumed = (note for each in (footage, drawn) if each is not None for note in each.notes)
    decoded = None if drawn is None else functools.partial(_decoded, drawn, footage.scene, rows, grid)
    return FootageMeasures(points, decoded, mask, painted, (*_notes(footage, own, mask), *assumed), sight)


def _decoded(drawn: UserClips, scene: Scene | None, rows: NDArray[np.int64], grid: Grid) -> dict[str, Tokens]:
    """What is seen in the reconstructions of these rows."""
    return read_points(drawn.read(rows), len(rows), grid, scene or drawn.scene, drawn.path)


def read_points(
    batches: Iterable[tuple[NDArray[np.int64], Pixels]], count: int, grid: Grid, scene: Scene | None, path: Source
) -> dict[str, Tokens]:
    """What is seen in `count` clips, given as places among them and pixels, on a grid and before a scene if known."""
    points: dict[str, Tokens] = {}
    own = grid[0] == grid[1] == 1
    for places, clips in batches:
        cut = fitted(clips, OWN_GRID if own else grid, path)
        put(points, count, places, seen_in(cut, _background(scene, cut), _grid_of(cut, grid, own)))
    return points


def _notes(footage: UserClips, own: bool, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    notes = [f"Foreground: pixels that differ by more than {MOVING:.0%} from "
             f"{'the background of the rendered scene' if footage.scene else 'the median of their clip over time'}; "
             f"{mask.mean():.1%} of tokens contain such pixels."]
    if own:
        notes = [f"The codes' grid is not known, so pixels have a grid of their own, {OWN_GRID[0]} × {OWN_GRID[1]} × "
                 f"{OWN_GRID[2]}, and it is not known which tokens lie on the foreground."]
    return tuple(notes)


def _background(scene: Scene | None, clips: Pixels) -> NDArray[np.float32]:
    """The scene's background (H, W, 3) if it is known, else each clip's median over time (n, H, W, 3), in [0, 1]."""
    if scene is not None:
        height, width = clips.shape[2:4]
        return np.asarray(scene.background()[:height, :width], np.float32)
    return still_pictures(clips)


def _grid_of(clips: Pixels, grid: Grid, own: bool) -> Grid:
    return (min(OWN_GRID[0], clips.shape[1]), *OWN_GRID[1:]) if own else grid


def fitted(clips: Pixels, grid: Grid, path: Source) -> Pixels:
    """Clips (n, T, H, W, C) cut so that the grid divides them: the first frames and the last rows and columns go.

    Raises UserError for clips smaller than the grid.
    """
    slices, rows, columns = grid
    _, frames, height, width, _ = clips.shape
    slices = min(slices, frames) if grid == OWN_GRID else slices
    if frames < slices or height < rows or width < columns:
        raise UserError(f"{path}: clips of {frames} × {height} × {width} are too small for a grid of {list(grid)}")
    return clips[:, frames % slices :, : height - height % rows, : width - width % columns]


def cell_means(values: NDArray[np.float32], grid: tuple[int, ...]) -> NDArray[np.float32]:
    """Means (n, T', H', W') of values (n, T, H, W) over the cells of a grid."""
    from einops import reduce

    return np.asarray(reduce(values, "n (t f) (h a) (w b) -> n t h w", "mean", t=grid[0], h=grid[1], w=grid[2]))


def _side_by_side(
    drawn: UserClips, rows: NDArray[np.int64], kept: NDArray[np.int64], pixels: dict[int, Pixels]
) -> tuple[Pixels, Pixels]:
    """Clips and their reconstructions, both (k, T, H, W, C).

    UserError for reconstructions of another shape, or that are the clips themselves.
    """
    clean = np.stack([pixels[int(place)] for place in kept])
    painting = np.empty_like(clean)
    for places, clips in drawn.read(rows[kept]):
        if clips.shape[1:] != clean.shape[1:]:
            raise UserError(f"{drawn.path}: reconstructions are {clips.shape[1:]}, the clips {clean.shape[1:]}")
        painting[places] = clips
    if len(clean) and np.ptp(clean) and np.array_equal(painting, clean):
        raise UserError(
            f"{drawn.path}: the reconstructions equal the clips in every pixel, so they are the clips themselves; give "
            "what the decoder makes of the codes, or leave --reconstructions out"
        )
    return clean, painting


def _judged(
    painting: Pixels, clean: Pixels, mask: NDArray[np.bool_], mean_video: NDArray[np.float32]
) -> Painted:
    return judged_painting(lambda part: painting[part].astype(np.float32) / np.float32(255), clean, mask, mean_video)


def _compared(sight: Sight, painting: Pixels, clean: Pixels, grid: Grid | None, path: Source) -> Sight:
    """The same with errors by frame, and cells of a known grid."""
    mean = clean.mean(0, dtype=np.float32)
    errors, energy = (
        np.stack([((one.astype(np.float32) - other) ** 2).mean((1, 2, 3)) for one, other in pairs]) / 255**2
        for pairs in (zip(painting, clean, strict=True), ((one, mean) for one in clean))
    )
    found = dataclasses.replace(sight, errors=errors.astype(np.float64), energy=energy.astype(np.float64))
    if grid is None:
        return found
    cells, drawn = (
        np.concatenate([
            cell_means(fitted(part[None], grid, path).mean(-1, dtype=np.float32) / 255, grid) for part in clips
        ]) for clips in (clean, painting)
    )
    return dataclasses.replace(found, cells=cells, drawn_cells=drawn)
