"""What pages show of results, put in from the committed results, so that no page says another number than they do.

A page holds a comment that names what is to stand there and a comment that ends it. What is between them is written:

    <!-- results: headline -->                        a table of the default run; all names are in tools/results.py
    <!-- table: studies/pooling/plots/table.md -->    a study's table, and the commit that made it
    <!-- cures: use -->                               what mends the findings of a question: use, kept or data
    <!-- value: train_tokenizer.psnr_db dB -->42.7 dB<!-- end -->    one number within a sentence
    <!-- end -->                                      ends each of them

    python -m tools.pages            # or: make pages
    python -m tools.pages --check    # write nothing; the exit code is 1 if a page is out of date
"""

import argparse
import re
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from kinetoken.core.errors import UserError
from kinetoken.core.terminal import open_streams
from tools import cures, studies
from tools.results import Source, read_source, result_table, value

OPENING = re.compile(r"<!-- (results|table|cures|value): ([^>]*?) -->")
END = "<!-- end -->"
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


class Filler:
    """Fills the places of pages; results are read once, when the first page asks for them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kinds: dict[str, Callable[[str], str]] = {
            "results": lambda name: f"\n{result_table(name, self.source)}\n",
            "table": lambda name: f"\n{self.study_table(name)}\n",
            "cures": lambda question: f"\n{cures.sections(question)}\n",
            "value": lambda text: value(*text.partition(" ")[::2], self.source),
        }

    @cached_property
    def source(self) -> Source:
        return read_source(self.root)

    def study_table(self, path: str) -> str:
        """A table that a study left and the commit that made it; UserError for what is no file of a study."""
        folder, _, rest = path.partition("/")
        name, _, file = rest.partition("/")
        if folder != "studies" or not (self.root / path).is_file():
            raise UserError(f"no table '{path}'; a study's are studies/NAME/plots/table.md")
        table = (self.root / path).read_text(encoding="utf-8").strip()
        return f"{table}\n\n{studies.read_study(name, self.root).source}"

    def filled(self, text: str) -> str:
        """The text of a page with everything in its place; UserError for an unknown name or a place without an end."""
        parts, at = [], 0
        fences = [match.span() for match in FENCE.finditer(text)]
        for opening in OPENING.finditer(text):
            if any(begin <= opening.start() < end for begin, end in fences):
                continue  # shown, not meant
            end = text.find(END, opening.end())
            following = OPENING.search(text, opening.end())
            if opening[1] == "value" and not text[text.rfind("\n", 0, opening.start()) + 1:opening.start()].strip():
                raise UserError(f"{opening[0]} begins a line, which Markdown takes for HTML: put a word before it")
            if end < 0 or (following and following.start() < end):
                raise UserError(f"{opening[0]} has no {END}")
            parts += [text[at:opening.end()], self.kinds[opening[1]](opening[2])]
            at = end
        return "".join([*parts, text[at:]])


def pages(root: Path) -> list[Path]:
    """Pages that may show results."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def outdated(root: Path) -> dict[Path, str]:
    """Each page that does not say what the results say → the text that does; UserError naming the page at fault."""
    filler, found = Filler(root), {}
    for page in pages(root):
        before = page.read_text(encoding="utf-8")
        try:
            after = filler.filled(before)
        except UserError as error:
            raise UserError(f"{page.relative_to(root)}: {error}") from None
        if after != before:
            found[page] = after
    return found


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    options = parser.parse_args()
    root = Path.cwd()
    try:
        found = outdated(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for page, text in found.items():
        name = page.relative_to(root)
        if options.check:
            print(f"error: {name}: out of date; run make pages", file=sys.stderr)
        else:
            page.write_text(text, encoding="utf-8")
            print(f"{name}: brought up to date")
    return int(options.check and bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
