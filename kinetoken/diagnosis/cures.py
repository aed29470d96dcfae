"""What mends a finding, in the words of the library that the user's tokenizer is built with.

The tables are in `cure_tables/`, one a library. A finding for which a library has no knob of its own has the cure in
plain PyTorch.
"""

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.cure_tables.diffusers_vq import DIFFUSERS
from kinetoken.diagnosis.cure_tables.entry import Cure, Cures
from kinetoken.diagnosis.cure_tables.magvit2 import MAGVIT2
from kinetoken.diagnosis.cure_tables.own import OWN
from kinetoken.diagnosis.cure_tables.pytorch import PYTORCH
from kinetoken.diagnosis.cure_tables.vector_quantize import VECTOR_QUANTIZE

__all__ = ["DEFAULT_LIBRARY", "TABLES", "Cure", "cure", "libraries", "names", "require_library"]

DEFAULT_LIBRARY = "pytorch"
TABLES: dict[str, Cures] = {
    DEFAULT_LIBRARY: PYTORCH,
    "vector-quantize-pytorch": VECTOR_QUANTIZE,
    "magvit2-pytorch": MAGVIT2,
    "diffusers": DIFFUSERS,
    "kinetoken": OWN,
}


def libraries() -> tuple[str, ...]:
    """Names of the libraries that have a table, the default first."""
    return tuple(TABLES)


def names() -> tuple[str, ...]:
    """Names of all findings that have a cure, in the order in which pages list them."""
    return tuple(PYTORCH)


def require_library(library: str) -> None:
    """Raises UserError for a library that has no table."""
    if library not in TABLES:
        raise UserError(f"no cures are known for the library '{library}'; known are {', '.join(libraries())}")


def cure(name: str, library: str = DEFAULT_LIBRARY) -> Cure:
    """What mends the finding of that name.

    Raises UserError for an unknown library, ValueError for a name that no finding has.
    """
    require_library(library)
    if name not in PYTORCH:
        raise ValueError(f"no finding has the name '{name}'")
    return TABLES[library].get(name, PYTORCH[name])
