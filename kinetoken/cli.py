"""The command `kinetoken`: one function a sub-command, all work in the library.

A sub-command raises UserError for bad input; `Speaking` turns it into one message on standard error and exit code 1.
Progress goes to standard error, results to standard output. Heavy modules are imported inside the functions, so that
`kinetoken --help` answers at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from kinetoken.commands import Force, Json, Quiet, Threads, show
from kinetoken.comparison.commands import commands as comparison
from kinetoken.core.errors import UserError, printable
from kinetoken.core.extras import naming_extras
from kinetoken.core.terminal import close_streams, open_streams, tell
from kinetoken.examination.commands import commands as examination
from kinetoken.inference.commands import commands
from kinetoken.serving.commands import commands as serving

if TYPE_CHECKING:
    from kinetoken.core.progress import Progress


class Speaking(TyperGroup):
    """A group whose sub-commands end with one message and exit code 1 after bad input, 130 after an interruption."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own types
        open_streams()
        try:
            return super().main(*args, **options)
        finally:
            close_streams()

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's own types
        try:
            with naming_extras():
                return super().invoke(ctx)
        except UserError as error:
            _fail(ctx, str(error), 1)
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a folder that may not be written to
            _fail(ctx, f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted", 130)


def _fail(ctx: Any, message: str, code: int) -> NoReturn:  # noqa: ANN401
    tell(f"error: {ctx.invoked_subcommand}: {printable(message)}")
    raise typer.Exit(code) from None


app = typer.Typer(
    name="kinetoken", cls=Speaking, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Video codes: find out whether they kept the motion, and look after the pipeline that makes them.",
)
actions = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Folders of action videos.")
app.add_typer(actions, name="actions")
app.add_typer(commands)
app.add_typer(examination)
app.add_typer(comparison)
app.add_typer(serving)


def watched(name: str, quiet: bool) -> "Progress":
    """Progress of a sub-command on standard error; a context manager."""
    from kinetoken.core.progress import Progress

    return Progress(name, quiet=quiet)


def _version(asked: bool) -> None:
    if asked:
        from kinetoken.core.version import __version__

        typer.echo(f"kinetoken {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def diagnose(
    codes: Annotated[Path, typer.Argument(
        metavar="CODES",
        help="Codes with one clip a row: a codes table; Parquet with a list column; NPY, NPZ, PyTorch, safetensors, "
        "HDF5 or Zarr; a Hugging Face dataset folder; WebDataset tar shards.",
    )],
    labels: Annotated[Path | None, typer.Option(
        help="CSV, or a file of any kind that CODES may be, with labels, and splits and ids if there are any. "
        "Default: columns class or label, and split, of CODES."
    )] = None,
    clips: Annotated[Path | None, typer.Option(
        help="A clip store's folder, or an array N,T,H,W,C in [0, 255], [0, 1] or [-1, 1]."
    )] = None,
    latents: Annotated[Path | None, typer.Option(
        help="What was quantized, on the codes' grid."
    )] = None,
    reconstructions: Annotated[Path | None, typer.Option(
        help="An array like that of the clips, as decoded from the codes."
    )] = None,
    codebook: Annotated[Path | None, typer.Option(help="NPY with one vector a code.")] = None,
    history: Annotated[Path | None, typer.Option(
        help="CSV or JSON with epoch and val_loss, usage or perplexity of the training."
    )] = None,
    again: Annotated[Path | None, typer.Option(
        help="Codes of the same clips, extracted a second time: are they the same?"
    )] = None,
    config: Annotated[Path | None, typer.Option(
        help="YAML or JSON: grid, codebook_size, levels, quantizer, pooling, foreground_weight."
    )] = None,
    layout: Annotated[str | None, typer.Option(
        metavar="AXES",
        help="Axes of CODES in order, such as B,T,H,W,Q or B,N, where they would be guessed wrongly (docs/doctor.md).",
    )] = None,
    library: Annotated[str, typer.Option(
        metavar="NAME",
        help="Whose words the cures use: pytorch, vector-quantize-pytorch, magvit2-pytorch, diffusers or kinetoken.",
    )] = "pytorch",
    out: Annotated[Path | None, typer.Option(
        help="Folder for report.html, report.md, report.json and tables as CSV."
    )] = None,
    params: Annotated[Path | None, typer.Option(help="Parameter file with a section diagnose_codes.")] = None,
    threads: Threads = 2, force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Examine the codes of any video tokenizer.

    Did they keep what the videos show, and if not, where was it lost and what brings it back? Only CODES are needed;
    what is missing is named in the report. The exit code is 0 when a report was made, whatever the verdict.

    \b
    Example:
      kinetoken diagnose codes.parquet --clips videos.npy --latents latents.npy --out report
    """
    from kinetoken.diagnosis import api

    with watched("diagnose", quiet) as progress:
        found = api.diagnose(
            codes, labels=labels, clips=clips, latents=latents, reconstructions=reconstructions, codebook=codebook,
            history=history, config=config, layout=layout, again=again, library=library, out=out, force=force,
            params=params or api.DEFAULT, threads=threads, progress=progress,
        )
        if out is not None:
            progress.say(f"written to {out}: report.html, report.md, report.json and tables")
    show(found.to_json(), found.to_markdown(), as_json)


@actions.command()
def check(
    folder: Annotated[Path, typer.Argument(
        metavar="FOLDER",
        help="Laid out like Something-Something-V2 (either naming of its label files), or with lists of `path label`.",
    )],
    segments: Annotated[int, typer.Option(min=1, help="Clips with fewer frames than this are broken, too.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 1,
    report: Annotated[Path | None, typer.Option(help="CSV file that will name each broken clip.")] = None,
    memory: Annotated[Path | None, typer.Option(
        help="JSON-lines file of what was found, kept so that a later check opens only new files."
    )] = None,
    force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Check action videos before training.

    Every file is decoded once. The exit code is 0 if all clips are whole, 1 if not.

    \b
    Example:
      kinetoken actions check data/actions --segments 8 --report broken.csv
    """
    from kinetoken.actions.check import to_json, to_text
    from kinetoken.actions.inspection import inspect, write_faults
    from kinetoken.actions.layout import read_actions
    from kinetoken.core.outputs import require_free, written_whole

    if report is not None:
        require_free(report, force=force)
    found = read_actions(folder)
    with watched("actions", quiet) as progress:
        inspection = inspect(found, segments, processes=processes, memory=memory, progress=progress)
    if report is not None:
        with written_whole(report, force=force) as partial:
            write_faults(partial, inspection.faults)
    show(to_json(inspection), to_text(inspection), as_json)
    raise typer.Exit(1 if inspection.faults else 0)


@app.command()
def run(
    stages: Annotated[list[str] | None, typer.Argument(metavar="STAGE", help="Default: all stages.")] = None,
) -> None:
    """Run stages of the pipeline.

    Before them run the stages that they need, as far as anything changed. Works inside a checkout of the repository:
    it is `dvc repro STAGE`, run in the checkout's folder.

    \b
    Example:
      kinetoken run train_classifier
    """
    from kinetoken.core.checkout import become, find_checkout, require_stages

    root = find_checkout(Path())
    require_stages(root, stages or ())
    become(root, "dvc", "repro", *(stages or ()))


@app.command()
def watch(
    once: Annotated[bool, typer.Option("--once", help="Print the page once and leave.")] = False,
    as_json: Json = False,
) -> None:
    """Show what every stage is doing.

    One page, drawn again each second. Works inside a checkout of the repository.

    \b
    Example:
      kinetoken watch --once
    """
    from kinetoken.core.checkout import become, find_checkout

    become(find_checkout(Path()), "python", "-m", "tools.watch", *_flags(once=once, json=as_json))


@app.command()
def verify(
    repair: Annotated[bool, typer.Option(
        "--repair", help="Put good copies in the place of damaged files, or move those to .damaged/."
    )] = False,
    as_json: Json = False,
) -> None:
    """Find damaged outputs and cache files.

    Every output and every cache object of DVC is hashed again. The exit code is 1 if anything is damaged or could not
    be checked. Works inside a checkout of the repository.

    \b
    Example:
      kinetoken verify
    """
    from kinetoken.core.checkout import become, find_checkout

    root = find_checkout(Path())
    become(root, "python", "-m", "tools.verify", *_flags(repair=repair, json=as_json))


def _flags(**given: bool) -> list[str]:
    return [f"--{name}" for name, value in given.items() if value]


if __name__ == "__main__":
    app(prog_name="kinetoken")
