"""The sub-commands of `kinetoken` that examine a whole tokenizer; nothing heavy is imported before one runs."""

from pathlib import Path
from typing import Annotated

import typer

from kinetoken.commands import Force, Json, Quiet, Threads, show

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
def examine(
    tokenizer: Annotated[str, typer.Argument(
        metavar="TOKENIZER",
        help="module:attribute of an adapter, imported from the current folder (my_module:tokenizer); or the folder of "
        "a tokenizer of this project, of a pair encoder.jit and decoder.jit, or of a VQModel saved by diffusers.",
    )],
    out: Annotated[Path | None, typer.Option(
        help="Folder for card.html, card.md, card.json and the diagnosis."
    )] = None,
    clips: Annotated[int, typer.Option(help="Clips that are rendered and encoded, at least 40.")] = 1200,
    motion_set: Annotated[Path | None, typer.Option(
        "--set", metavar="FOLDER", help="Keep the rendered clips there, or read them if they are there already."
    )] = None,
    name: Annotated[str | None, typer.Option(help="Name on the card. Default: the adapter's.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side. Default: as the adapter says.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of a clip. Default: as the adapter says.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second. Default: as the adapter says.")] = None,
    history: Annotated[Path | None, typer.Option(
        help="Validation losses of its training: CSV or JSON, as `diagnose` takes it."
    )] = None,
    library: Annotated[str | None, typer.Option(
        help="Whose words the cures use, as `diagnose` has them. Default: as the adapter says, else pytorch."
    )] = None,
    params: Annotated[Path | None, typer.Option(help="Parameter file with a section diagnose_codes.")] = None,
    threads: Threads = 2, force: Force = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Examine a video tokenizer on rendered motion.

    Renders the standard motion set at the tokenizer's size, encodes and decodes it, diagnoses the codes, and prints
    the motion card. An adapter is ten lines (docs/examine.md). The exit code is 0 when a card was made, whatever the
    verdict.

    \b
    Example:
      kinetoken examine my_module:tokenizer --out card
    """
    import torch

    from kinetoken.core.progress import Progress
    from kinetoken.diagnosis.api import DEFAULT
    from kinetoken.examination import api

    torch.set_num_threads(threads)
    with Progress("examine", quiet=quiet) as progress:
        card = api.examine(
            tokenizer, clips=clips, motion_set=motion_set, out=out, force=force, name=name, size=size, frames=frames,
            fps=fps, history=history, library=library, params=params or DEFAULT, threads=threads, progress=progress,
        )
        if out is not None:
            progress.say(f"written to {out}: card.html, card.md, card.json and the folder diagnosis")
    show(card.to_json(), card.to_markdown(), as_json)


@commands.command("compare-cards")
def compare_cards(
    cards: Annotated[list[Path], typer.Argument(
        metavar="CARD...", help="Two or more files card.json, or folders that hold one."
    )],
    out: Annotated[Path | None, typer.Option(
        help="Folder for comparison.html, comparison.md and comparison.json."
    )] = None,
    force: Force = False, as_json: Json = False,
) -> None:
    """Set motion cards side by side.

    \b
    Example:
      kinetoken compare-cards card_a card_b --out comparison
    """
    from kinetoken.core.outputs import require_free
    from kinetoken.examination import compare
    from kinetoken.examination.page import comparison_markdown

    if out is not None:
        require_free(out, force=force, folder=True)
    found = compare.compare_cards(cards)
    if out is not None:
        found.write(out, force=force)
    show(found.to_json(), comparison_markdown(found), as_json)
