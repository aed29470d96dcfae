"""Every command and every link of the pages, held against what there is: a page must not name what is gone.

Commands are those of fenced blocks without a language or with `sh`, of the lines after `$` in `console` blocks, and of
code within sentences that begins with a known program. Other blocks say what they are (`text`, `yaml`, `python`, …).
Links must lead to files of the repository and to headings that stand there, and files that are named in full must be
there. Notes are history: only their links count.

Each command has an entry in `tools/documented.py`, which names the test that runs it or says why none does.

    python -m tools.docs_check          # or: make docs-check
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kinetoken.core.errors import UserError
from kinetoken.core.terminal import open_streams
from tools.commands import KINDS, Command, Project, faults, run_cheap, split
from tools.documented import proof_faults

FENCE = re.compile(r"^ *(`{3,}|~{3,}) *([\w+-]*)")
SHELL = ("", "sh", "bash", "shell")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(  # [text](target "title"), [text]: target, <img src="target">
    r"""!?\[[^\]]*\]\(([^)\s]+)(?: +"[^"]*")?\)|^\[[^\]]+\]: *(\S+)|<(?:img|a)\b[^>]*?(?:src|href)="([^"]+)\""""
)
FILE = re.compile(r"[\w.-]+(/[\w.-]+)+/?")
NAME = re.compile(r"\b[A-Z]{3,}\b|_[A-Z]{3,}|[A-Z]{3,}_")
LIST = "tools/documented.py"
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


@dataclass(frozen=True)
class Line:
    """A line of a page: its number from 1, its text, and the language of the block that it is in; None: prose."""

    number: int
    text: str
    language: str | None


def read_lines(text: str) -> Iterator[Line]:
    """The lines of a page without those that open and close blocks."""
    fence, language = "", None
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if match and not fence:
            fence, language = match[1], match[2].lower()
        elif match and match[1].startswith(fence) and not match[2]:
            fence, language = "", None
        else:
            yield Line(number, line, language)


def commands(page: str, text: str) -> Iterator[Command | str]:
    """Every command of a page, or a sentence for a line that cannot be split into words."""
    for number, line in [*_shell_lines(text), *_code_in_prose(text)]:
        try:
            yield from split(line, f"{page}:{number}")
        except ValueError as error:
            yield f"{page}:{number}: `{line}`: {error}"


def _shell_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of shell, those that end in a backslash joined with the next."""
    begun, joined = 0, ""
    for line in read_lines(text):
        written = line.text.strip()
        if line.language == "console" and not joined:
            if not written.startswith("$ "):
                continue
            written = written[2:]
        elif line.language not in (*SHELL, "console"):
            continue
        begun, joined = begun or line.number, f"{joined} {written}".strip()
        if joined.endswith("\\"):
            joined = joined[:-1].rstrip()
        else:
            yield begun, joined
            begun, joined = 0, ""


def _code_in_prose(text: str) -> Iterator[tuple[int, str]]:
    for line in read_lines(text):
        if line.language is None:
            for code in CODE.findall(line.text):
                program, _, rest = code.partition(" ")
                if program in KINDS and rest and program not in (".", "cd", "source"):
                    yield line.number, code


def links(text: str) -> Iterator[tuple[int, str]]:
    """Line and target of every link within the repository."""
    for line in read_lines(text):
        if line.language is None:
            for groups in LINK.findall(CODE.sub("", line.text)):
                target = next(filter(None, groups))
                if not ELSEWHERE.match(target):
                    yield line.number, target


def anchors(text: str) -> set[str]:
    """The headings of a page as links name them."""
    found: dict[str, int] = {}
    for line in read_lines(text):
        if line.language is None and (match := re.match(r"#{1,6} +(.+?) *#*$", line.text)):
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{count}" if count else slug for slug, last in found.items() for count in range(last + 1)}


def link_faults(page: str, text: str, project: Project) -> Iterator[str]:
    for number, target in links(text):
        name, _, anchor = target.partition("#")
        path = os.path.normpath(f"{Path(page).parent}/{name}") if name else page
        if path not in project.files:
            yield f"{page}:{number}: link to {target}: there is no {path}"
        elif anchor and path.endswith(".md") and anchor not in anchors(project.text(path)):
            yield f"{page}:{number}: link to {target}: {path} has no heading #{anchor}"


def file_faults(page: str, text: str, project: Project) -> Iterator[str]:
    """Files that a sentence names in full (`stages/train_x.py`); NAME, `*` and the like stand for others."""
    for line in read_lines(text):
        if line.language is None:
            for name in filter(FILE.fullmatch, CODE.findall(line.text)):
                if name.partition("/")[0] in project.folders and not NAME.search(name) and not project.has(name):
                    yield f"{page}:{line.number}: `{name}`: there is no such file, and no stage writes it"


@dataclass(frozen=True)
class Outcome:
    """What was found, and how much was looked at."""

    faults: list[str]
    skipped: list[str]
    pages: int
    commands: int
    links: int


def check(root: Path, *, run: bool = True) -> Outcome:
    """All pages of a project. `run`: cheap commands that only read are run too, in a clone."""
    project = Project(root)
    names = sorted(name for name in project.files if re.fullmatch(r"(docs/(notes/)?)?[^/]+\.md", name))
    found, known = list[str](), list[Command]()
    for name in names:
        found += link_faults(name, project.text(name), project)
        if not name.startswith("docs/notes/"):
            found += file_faults(name, project.text(name), project)
            for each in commands(name, project.text(name)):
                (found if isinstance(each, str) else known).append(each)  # type: ignore[arg-type]
    found += faults(known, project)
    if LIST in project.files:  # of this repository; a toy project has none
        found += proof_faults(known, project)
    found += run_cheap(known, project) if run else ()
    count = sum(len(list(links(project.text(name)))) for name in names)
    return Outcome(sorted(found, key=_place), project.skipped, len(names), len(known), count)


def _place(fault: str) -> tuple[str, int, str]:
    page, number, said = fault.split(":", 2)
    return page, int(number), said


def main() -> int:
    open_streams()
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        outcome = check(Path.cwd())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for fault in outcome.faults:
        print(f"error: {fault}", file=sys.stderr)
    for each in outcome.skipped:
        print(f"not checked: {each}")
    bad = f", {len(outcome.faults)} faults" if outcome.faults else ""
    print(f"{outcome.pages} pages, {outcome.commands} commands, {outcome.links} links{bad}")
    return int(bool(outcome.faults))


if __name__ == "__main__":
    raise SystemExit(main())
