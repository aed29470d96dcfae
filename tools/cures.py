"""The page of cures, from the tables of `kinetoken/diagnosis/cure_tables`; `tools/pages.py` puts it in."""

from collections.abc import Iterator

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.cure_tables.findings import MEANINGS
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY, TABLES, Cure, libraries
from kinetoken.diagnosis.finding import DATA, KEPT, USE

TITLES = {USE: "How the codes are used", KEPT: "What the codes kept", DATA: "What clips and labels allow to be said"}
SHOWN = {DEFAULT_LIBRARY: "PyTorch", "kinetoken": "Kinetoken"}  # how a library is written; the others as they are


def sections(question: str) -> str:
    """One section a finding of the question `use`, `kept` or `data`; UserError for another."""
    if question not in MEANINGS:
        raise UserError(f"no question '{question}'; a page of cures has {', '.join(MEANINGS)}")
    found = MEANINGS[question]
    return "\n\n".join("\n".join(_section(name, meaning)) for name, meaning in found.items())


def _section(name: str, meaning: str) -> Iterator[str]:
    own = {library: TABLES[library][name] for library in libraries() if name in TABLES[library]}
    yield f"### {name[0].upper()}{name[1:]}"
    yield f"\n{meaning}\n"
    yield "| library | what to do | sources |"
    yield "|---|---|---|"
    for library, cure in own.items():
        yield f"| {_shown(library)} | {cure.text} | {'; '.join(cure.sources)} |"
    for library, cure in own.items():
        yield from _example(library, cure)


def _example(library: str, cure: Cure) -> Iterator[str]:
    if cure.example:
        yield f"\n{_shown(library)}:\n"
        yield f"```{cure.language}\n{cure.example}\n```"


def _shown(library: str) -> str:
    return SHOWN.get(library, library)
