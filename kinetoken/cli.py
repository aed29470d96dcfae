"""The command `kinetoken`: one function a sub-command, all work in the library.

A sub-command raises UserError for bad input; `Speaking` turns it into one message on standard error and exit code 1.
Progress goes to standard error, results to standard output. Heavy modules are imported inside the functions, so that
`kinetoken --help` answers at once.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
Force = Annotated[bool, typer.Option("--force", help="Write over an output that exists.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]


class Speaking(TyperGroup):
    """A group whose sub-commands end with one message and exit code 1 after bad input, 130 after an interruption."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's own types
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"error: {ctx.invoked_subcommand}: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo(f"error: {ctx.invoked_subcommand}: interrupted", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="kinetoken", cls=Speaking, no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Video codes: make them, apply models to them, and find out whether they kept the motion.",
)


def show(content: object, text: str, as_json: bool) -> None:
    """A result on standard output: JSON with sorted keys, or text."""
    if as_json:
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    typer.echo(text.rstrip("\n"))


def watched(name: str, quiet: bool) -> Progress:
    """Progress of a sub-command on standard error; a context manager."""
    return Progress(name, quiet=quiet)


def _version(asked: bool) -> None:
    if asked:
        from kinetoken.version import __version__

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
def diagnose(codes: Annotated[Path, typer.Argument(help="Codes table.")], json: Json = False) -> None:
    """Examine codes made anywhere."""
    raise UserError("not written yet")


if __name__ == "__main__":
    app()
