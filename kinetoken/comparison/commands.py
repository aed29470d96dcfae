"""The sub-command of `kinetoken` that compares two revisions; nothing heavy is imported before it runs."""

from pathlib import Path
from typing import Annotated

import typer

from kinetoken.commands import Force, Json, show

commands = typer.Typer(rich_markup_mode=None)
REVISION = "A commit, branch or tag; `.` or `workspace` is the working tree."


@commands.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="REV_A", help=REVISION)],
    b: Annotated[str, typer.Argument(metavar="REV_B", help="What it is compared with, as REV_A.")],
    repo: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder of the git repository.")] = Path(),
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page: one HTML file that needs no network.")] = Path(
        "compare.html"
    ),
    clips: Annotated[int, typer.Option(
        min=0, help="Test clips of each class to show side by side, if DVC's cache holds both revisions' models."
    )] = 2,
    force: Force = False, as_json: Json = False,
) -> None:
    """Compare two revisions of the pipeline.

    Which parameters and code changed, which stages ran again, and which results are better or worse by more than
    their interval. Nothing is checked out or fetched. Numbers, curves and pictures come from committed files. Clips
    are shown if DVC's cache holds the models of both revisions. Writes a page, and prints the same as Markdown. The
    exit code is 0 whatever changed.

    \b
    Example:
      kinetoken compare main my-branch
    """
    from kinetoken.comparison.comparison import compare as compared
    from kinetoken.comparison.page import to_html
    from kinetoken.comparison.text import to_markdown
    from kinetoken.core.outputs import require_free, written_whole

    require_free(out, force=force)
    found = compared(repo, a, b, clips)
    with written_whole(out, force=force) as partial:
        partial.write_text(to_html(found), encoding="utf-8")
    typer.echo(f"written to {out}", err=True)
    show(found.to_json(), to_markdown(found), as_json)
