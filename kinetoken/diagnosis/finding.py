"""One thing that the doctor found: what it costs, how sure it is, what shows it, and what would make it surer."""

import dataclasses
from typing import Literal

Question = Literal["use", "kept", "data"]
Confidence = Literal["certain", "likely", "possible"]

USE: Question = "use"  # how are the codes used; needs nothing but codes
KEPT: Question = "kept"  # what did they keep; needs something upstream to compare with
DATA: Question = "data"  # what clips and labels allow to be said at all

CERTAIN: Confidence = "certain"  # a fact of the files: counted, or equal to the bit
LIKELY: Confidence = "likely"  # measured, outside its interval
POSSIBLE: Confidence = "possible"  # by elimination, or from one side of a comparison


@dataclasses.dataclass(frozen=True)
class Finding:
    """A named fault, limit or peculiarity of codes.

    name: the same for the same thing everywhere, lower case, such as `codebook collapse`; `cures` has what mends it.
    severity: what it costs, in [0, 1]: of `kept` the share of what could be read that is lost, of `use` the share of
    codes, tokens or codebooks that are spoiled. 0 for what is worth knowing and costs nothing; None where the cost is
    not known, as where nothing can be compared.
    evidence: sentences with the numbers, each with its interval where it has one.
    surer: what to bring so that more can be said; empty if nothing would help.
    rests_on: names of the measures or numbers that show it.
    """

    name: str
    question: Question
    severity: float | None
    confidence: Confidence
    evidence: str
    surer: str = ""
    rests_on: tuple[str, ...] = ()
