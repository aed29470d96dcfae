"""What all sub-commands of `kinetoken` share: options of the same name, and how a result is shown."""

import json
from typing import Annotated

import typer

from kinetoken.core.errors import printable
from kinetoken.core.terminal import takes

Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
Force = Annotated[bool, typer.Option("--force", help="Write over an output that exists.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]


def show(content: object, text: str, as_json: bool) -> None:
    """A result on standard output: JSON with sorted keys, or text."""
    if as_json:
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        if not takes(text):
            text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
    typer.echo(text.rstrip("\n") if as_json else printable(text.rstrip("\n"), keep="\n\t"))
