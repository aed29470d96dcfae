"""The sub-commands of `kinetoken` that apply trained models: options in, a call of the library, results out.

Results go to standard output or to files, progress and notes to standard error. Nothing heavy is imported before a
sub-command runs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinetoken.commands import Force, Json, Quiet, Threads, show
from kinetoken.core.errors import UserError, printable

if TYPE_CHECKING:
    import pandas as pd

    from kinetoken.core.progress import Progress
    from kinetoken.inference.coding import NamedCodes, Opened
    from kinetoken.inference.outputs import Played
    from kinetoken.inference.painting import PaintedClips

commands = typer.Typer(rich_markup_mode=None)

CLIPS_HELP = (
    "Folder of a clip store; .npy or .npz array (T,H,W,C) or (N,T,H,W,C), uint8 or float in [0, 1]; one or several "
    "video files, or a folder of them; .csv or .parquet file of tracks, which are drawn."
)
Clips = Annotated[list[Path], typer.Argument(metavar="CLIPS", help=CLIPS_HELP)]
ClipsOrCodes = Annotated[list[Path], typer.Argument(metavar="CLIPS", help=f"A codes table, or clips. {CLIPS_HELP}")]
Resize = Annotated[bool, typer.Option(
    "--resize", help="Cut out the middle square of frames of another size, and average it to the model's size."
)]
Window = Annotated[str | None, typer.Option(
    "--window", metavar="first|last|all", help="What is read of clips with more frames than the model reads."
)]
Fps = Annotated[float | None, typer.Option(help="Frames per second of arrays (default 16). For videos it replaces "
                                                "the rate of the file.")]
Scene = Annotated[Path | None, typer.Option(metavar="STORE", help="Clip store whose scene tracks are drawn in.")]
Split = Annotated[str | None, typer.Option(help="Read only this split of a clip store, a codes table or tracks.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only the first clips, this many.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="auto: a GPU where there is one.")]
Tokenizer = Annotated[Path, typer.Option(help="Folder of the tokenizer; not read where the model needs none.")]
Table = Annotated[Path | None, typer.Option("--out", help="Table as .parquet, .csv or .json. Default: printed.")]
Media = Annotated[Path, typer.Option(
    "--out", help="One .webm, .mp4 or .npy file with all clips; or a folder, which gets a file a clip."
)]
MediaOrCodes = Annotated[Path | None, typer.Option(
    "--out", help="One .webm, .mp4 or .npy file with all clips; a folder, which gets a file a clip; or a codes table, "
    ".parquet."
)]
CodesOut = Annotated[Path | None, typer.Option("--codes", help="Codes table (.parquet), beside --out or in its place.")]
Scale = Annotated[int, typer.Option(min=1, help="Enlarge video pixels by this factor; arrays keep their size.")]
Format = Annotated[str, typer.Option("--format", metavar="webm|mp4|npy", help="Of the files in a folder.")]

TOKENIZER = Path("models/tokenizer")


@commands.command()
def tokenize(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Codes table, .parquet.")],
    model: Annotated[Path, typer.Option(help="Folder of the tokenizer.")] = TOKENIZER,
    frames: Annotated[int | None, typer.Option(
        help="Of each clip, a multiple of 4. Default: all of stored clips, arrays and tracks, 16 of videos."
    )] = None,
    resize: Resize = False, window: Window = None, fps: Fps = None, scene: Scene = None, split: Split = None,
    limit: Limit = None, device: Device = "auto", threads: Threads = 2, force: Force = False, as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode clips as codes.

    Writes a codes table in the project's format: `diagnose`, the stages and the sub-commands below read it.

    \b
    Example:
      kinetoken tokenize my_videos --resize --window all --out codes.parquet
    """
    from kinetoken.core.outputs import written_whole
    from kinetoken.inference import painting
    from kinetoken.inference.coding import write_named_codes
    from kinetoken.inference.outputs import require_ending

    require_ending(out, (".parquet",), force)
    _use(threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    grid: list[int] = []
    with _progress("tokenize", opened, quiet) as progress, written_whole(out, force=force) as partial:
        stream = painting.tokenize(opened, model, frames=frames, device=device, progress=progress)  # type: ignore[arg-type]
        count = write_named_codes(partial, _noting_grid(stream, grid))
    _end(opened)
    text = f"{count} clips as codes of {'×'.join(map(str, grid))} in {out}"
    show({"clips": count, "grid": grid, "out": str(out)}, text, as_json)


@commands.command()
def reconstruct(
    clips: Clips,
    out: Media,
    model: Annotated[Path, typer.Option(help="Folder of the tokenizer.")] = TOKENIZER,
    side_by_side: Annotated[bool, typer.Option(
        "--side-by-side", help="Original, reconstruction, and their difference four times as strong, in one picture."
    )] = False,
    frames: Annotated[int | None, typer.Option(help="Of each clip, a multiple of 4; as tokenize.")] = None,
    scale: Scale = 4, ending: Format = "webm", resize: Resize = False, window: Window = None, fps: Fps = None,
    scene: Scene = None, split: Split = None, limit: Limit = None, device: Device = "auto", threads: Threads = 2,
    force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Encode clips, decode the codes, and write the result.

    Prints the peak signal-to-noise ratio of each reconstruction.

    \b
    Example:
      kinetoken reconstruct ball.mp4 --resize --window first --side-by-side --out ball-codes.webm
    """
    from kinetoken.inference import painting
    from kinetoken.inference.outputs import require_media, write_clips

    require_media(out, force)
    _use(threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    rows: list[dict[str, object]] = []

    def played(blocks: "Iterator[PaintedClips]") -> "Iterator[Played]":
        for block in blocks:
            shown = block.side_by_side() if side_by_side else block.pixels
            for name, pixels, psnr in zip(block.name, shown, block.psnr_db, strict=True):
                rows.append({"clip": str(name), "frames": len(pixels), "psnr_db": float(psnr)})
                yield str(name), pixels, block.fps

    with _progress("reconstruct", opened, quiet) as progress:
        blocks = painting.reconstruct(opened, model, frames=frames, device=device, progress=progress)  # type: ignore[arg-type]
        write_clips(out, played(blocks), scale=scale, ending=f".{ending}", force=force)
    _end(opened)
    _show_table(rows, as_json)


@commands.command()
def classify(
    clips: ClipsOrCodes,
    model: Annotated[Path, typer.Option(
        help="Folder of a classifier of codes, a video classifier or an I3D + MAGVIT network."
    )] = Path("models/classifier"),
    tokenizer: Tokenizer = TOKENIZER,
    frames: Annotated[int | None, typer.Option(
        help="Read only the first frames of each clip: a multiple of 4, if the model can read part of a clip."
    )] = None,
    out: Table = None, resize: Resize = False, window: Window = None, fps: Fps = None, scene: Scene = None,
    split: Split = None, limit: Limit = None, device: Device = "auto", threads: Threads = 2, force: Force = False,
    as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Predict the class of each clip.

    One row a clip: the most probable class, its probability, and the probability of every class. If the source has
    classes, the column `actual` holds them.

    \b
    Example:
      kinetoken classify data/motion/codes.parquet --split test --out classes.csv
    """
    from kinetoken.inference import reading

    _before_table(out, force, threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    with _progress("classify", opened, quiet) as progress:
        table = reading.classify(
            opened, model, tokenizer=_if_clips(opened, tokenizer), frames=frames, device=device,  # type: ignore[arg-type]
            progress=progress,
        )
    _end(opened)
    _give(table, out, force, as_json)


@commands.command()
def locate(
    clips: ClipsOrCodes,
    model: Annotated[Path, typer.Option(help="Folder of the position head.")] = Path("models/position"),
    tokenizer: Tokenizer = TOKENIZER,
    frames: Annotated[int | None, typer.Option(help="Read only the first frames, a multiple of 4.")] = None,
    out: Table = None, resize: Resize = False, window: Window = None, fps: Fps = None, scene: Scene = None,
    split: Split = None, limit: Limit = None, device: Device = "auto", threads: Threads = 2, force: Force = False,
    as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Predict the position of the ball in every frame.

    One row a frame: x, y and z in metres from the camera (right, up, ahead), u and v in pixels of the model's image
    (right, down).

    \b
    Example:
      kinetoken locate clips.npy --out places.csv
    """
    from kinetoken.inference import reading

    _before_table(out, force, threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    with _progress("locate", opened, quiet) as progress:
        table = reading.locate(
            opened, model, tokenizer=_if_clips(opened, tokenizer), frames=frames, device=device,  # type: ignore[arg-type]
            progress=progress,
        )
    _end(opened)
    _give(table, out, force, as_json)


@commands.command()
def describe(
    clips: ClipsOrCodes,
    classifier: Annotated[Path, typer.Option(help="Folder of the classifier of codes.")] = Path("models/classifier"),
    position: Annotated[Path, typer.Option(help="Folder of the position head.")] = Path("models/position"),
    tokenizer: Tokenizer = TOKENIZER, out: Table = None, resize: Resize = False, window: Window = None,
    fps: Fps = None, scene: Scene = None, split: Split = None, limit: Limit = None, device: Device = "auto",
    threads: Threads = 2, force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Write the law of motion as an equation.

    A least-squares fit to the positions that the models predict from the first three quarters of each clip, without
    a language model. One row a clip: the law, x, y and z in metres as text in t (seconds), the sentence, and the law's
    quantities.

    \b
    Example:
      kinetoken describe tracks.csv --json
    """
    from kinetoken.inference import reading

    _before_table(out, force, threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    with _progress("describe", opened, quiet) as progress:
        table = reading.describe(
            opened, classifier, position, tokenizer=_if_clips(opened, tokenizer), device=device,  # type: ignore[arg-type]
            progress=progress,
        )
    _end(opened)
    _give(table, out, force, as_json)


@commands.command()
def predict(
    clips: ClipsOrCodes,
    model: Annotated[Path, typer.Option(help="Folder of the predictor.")] = Path("models/predictor"),
    tokenizer: Tokenizer = TOKENIZER, out: MediaOrCodes = None, codes: CodesOut = None,
    with_past: Annotated[bool, typer.Option("--with-past", help="Also show the frames given, before those predicted.")]
    = False,
    slices: Annotated[int | None, typer.Option(min=1, help="Time slices to predict, four frames each.")] = None,
    dynamics: Annotated[str | None, typer.Option(metavar="lstm|transformer", help="Default: the best in validation.")]
    = None,
    scale: Scale = 4, ending: Format = "webm", resize: Resize = False, window: Window = None, fps: Fps = None,
    scene: Scene = None, split: Split = None, limit: Limit = None, device: Device = "auto", threads: Threads = 2,
    force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Predict the next frames.

    The predictor reads the first 12 frames of each clip, or the last 12 with --window last, and predicts the 4 frames
    after them. All other frames of the clip are ignored.

    \b
    Example:
      kinetoken predict ball.mp4 --resize --window last --with-past --out next.webm
    """
    from kinetoken.footage.windows import STEP
    from kinetoken.inference import painting

    out, codes = _before_clips(out, codes, force, threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    rows: list[dict[str, object]] = []

    def noted(blocks: "Iterator[PaintedClips]") -> "Iterator[PaintedClips]":
        for block in blocks:
            count = block.codes.codes.shape[1] * STEP
            ahead = count - block.given if block.given is not None else count
            rows.extend({"clip": str(name), "given": block.given, "predicted": ahead} for name in block.name)
            yield block

    with _progress("predict", opened, quiet) as progress:
        blocks = painting.predict(
            opened, model, tokenizer, slices=slices, dynamics=dynamics, with_past=with_past,
            device=device, progress=progress,  # type: ignore[arg-type]
        )
        _write_painted(noted(blocks), out, codes, scale, ending, force)
    _end(opened)
    _show_table(rows, as_json)


@commands.command()
def generate(
    model: Annotated[Path, typer.Option(help="Folder of the generator.")] = Path("models/generator"),
    tokenizer: Annotated[Path, typer.Option(help="Folder of the tokenizer.")] = TOKENIZER,
    classes: Annotated[list[str] | None, typer.Option(
        "--class", metavar="NAME", help="Class of the clips; may be given again. Default: every class."
    )] = None,
    count: Annotated[int, typer.Option(help="Clips of each class.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same clips.")] = 0,
    prior: Annotated[str, typer.Option(metavar="masked|class_gaussian|gaussian", help="Prior to sample codes from.")]
    = "masked",
    out: MediaOrCodes = None, codes: CodesOut = None, scale: Scale = 4, ending: Format = "webm",
    device: Device = "auto", threads: Threads = 2, force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Generate new clips of a class.

    \b
    Example:
      kinetoken generate --class helical --count 8 --seed 1 --out helices.webm
    """
    from kinetoken.core.progress import Progress
    from kinetoken.inference import painting

    out, codes = _before_clips(out, codes, force, threads)
    rows: list[dict[str, object]] = []

    def noted(blocks: "Iterator[PaintedClips]") -> "Iterator[PaintedClips]":
        for block in blocks:
            rows.extend(
                {"clip": str(name), "class": str(label)}
                for name, label in zip(block.name, block.codes.label, strict=True)
            )
            yield block

    with Progress("generate", quiet=quiet) as progress:
        progress.phase("drawing clips")
        blocks = painting.generate(
            model, tokenizer, classes, count=count, seed=seed, prior=prior, device=device,  # type: ignore[arg-type]
            progress=progress,
        )
        _write_painted(noted(blocks), out, codes, scale, ending, force)
    _show_table(rows, as_json)


@commands.command()
def detect(
    clips: Clips,
    model: Annotated[Path, typer.Option(help="Folder of one detector.")] = Path("models/persistence/transformer"),
    tokenizer: Tokenizer = TOKENIZER, out: Table = None, resize: Resize = False, window: Window = None,
    fps: Fps = None, scene: Scene = None, split: Split = None, limit: Limit = None, device: Device = "auto",
    threads: Threads = 2, force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Decide early whether a candidate persists.

    Frames are fed one by one until the detector is sure or the clip ends. One row a clip: the decision, the number of
    frames it took, and the probability of what was decided.

    \b
    Example:
      kinetoken detect data/persistence/videos --split test --limit 20
    """
    from kinetoken.inference import detecting

    _before_table(out, force, threads)
    opened = _opened(clips, resize, window, fps, scene, split, limit)
    with _progress("detect", opened, quiet) as progress:
        table = detecting.detect(opened, model, tokenizer=tokenizer, device=device, progress=progress)  # type: ignore[arg-type]
    _end(opened)
    _give(table, out, force, as_json)


def _opened(
    clips: list[Path], resize: bool, window: str | None, fps: float | None, scene: Path | None, split: str | None,
    limit: int | None,
) -> "Opened":
    from kinetoken.inference.coding import open_any

    drawn_in = None
    if scene is not None:
        from kinetoken.scenes.clips import ClipStore

        drawn_in = ClipStore(scene).scene
    return open_any(
        clips, resize=resize, window=window, fps=fps, scene=drawn_in, split=split, limit=limit,  # type: ignore[arg-type]
    )


def _if_clips(opened: "Opened", tokenizer: Path) -> Path | None:
    """The tokenizer, for those that have to be coded first."""
    from kinetoken.inference.coding import OpenCodes

    return None if isinstance(opened, OpenCodes) else tokenizer


def _use(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _before_table(out: Path | None, force: bool, threads: int) -> None:
    from kinetoken.inference.outputs import TABLES, require_ending

    if out is not None:
        require_ending(out, TABLES, force)
    _use(threads)


def _before_clips(out: Path | None, codes: Path | None, force: bool, threads: int) -> tuple[Path | None, Path | None]:
    """Where clips and codes go, either of them None; UserError if both are, or one cannot be written."""
    from kinetoken.inference.outputs import require_ending, require_media

    if out is not None and out.suffix.lower() == ".parquet":
        if codes is not None:
            raise UserError(f"--out {out}, --codes {codes}: two codes tables; name a video, an array or a folder")
        out, codes = None, out
    if out is None and codes is None:
        raise UserError("name --out (.webm, .mp4, .npy, .parquet or a folder), or --codes (.parquet)")
    if out is not None:
        require_media(out, force)
    if codes is not None:
        require_ending(codes, (".parquet",), force)
    _use(threads)
    return out, codes


def _write_painted(
    blocks: "Iterator[PaintedClips]", out: Path | None, codes: Path | None, scale: int, ending: str, force: bool
) -> None:
    """Clips as they come, and their codes at the end."""
    from kinetoken.core.outputs import written_whole
    from kinetoken.inference.coding import write_named_codes
    from kinetoken.inference.outputs import write_clips

    kept: list[NamedCodes] = []

    def played() -> "Iterator[Played]":
        for block in blocks:
            if codes is not None:
                kept.append(block.codes)
            for name, pixels in zip(block.name, block.pixels, strict=True):
                yield str(name), pixels, block.fps

    if out is None:
        for _ in played():
            pass
    else:
        write_clips(out, played(), scale=scale, ending=f".{ending}", force=force)
    if codes is not None:
        with written_whole(codes, force=force) as partial:
            write_named_codes(partial, kept)


def _noting_grid(parts: "Iterator[NamedCodes]", grid: list[int]) -> "Iterator[NamedCodes]":
    for part in parts:
        grid[:] = part.meta.grid
        yield part


def _progress(name: str, opened: "Opened", quiet: bool) -> "Progress":
    from kinetoken.core.progress import Progress

    progress = Progress(name, quiet=quiet)
    progress.phase(f"reading {opened.where}", opened.count, "clips")
    return progress


def _end(opened: "Opened") -> None:
    """What a user should know of how the clips were read."""
    for note in opened.notes:
        typer.echo(f"note: {printable(note)}", err=True)


def _give(table: "pd.DataFrame", out: Path | None, force: bool, as_json: bool) -> None:
    from kinetoken.inference.outputs import to_json, to_text, write_result

    if out is not None:
        write_result(out, table, force)
    if as_json:
        typer.echo(to_json(table), nl=False)
    elif out is None:
        typer.echo(printable(to_text(table), keep="\n"), nl=False)
    else:
        typer.echo(f"{len(table)} rows in {out}")


def _show_table(rows: list[dict[str, object]], as_json: bool) -> None:
    import pandas as pd

    _give(pd.DataFrame(rows), None, False, as_json)
