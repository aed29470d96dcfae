"""What the page and its summary say in the same words: their sections, and how to read their first charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from kinetoken.charts.parts import Link

QUESTION = "Can these codes tell motion apart?"
SIMILAR = "Test clips by similarity of their codes"
CHAIN = "Where motion is kept and where it is lost"
KEY = {
    "baseline": "the best simple predictor on the same clips", "upper bound": "where one exists", "target": "",
    "value": "this run, with its 95 % interval by bootstrap over test clips",
}


@dataclass(frozen=True)
class Section:
    """A title, and what a reader has to know before its charts."""

    title: str
    about: str = ""


SECTIONS = {
    "codes": Section("Clips and their codes"),
    "reading": Section("Class predicted from codes"),
    "position": Section("Position predicted from codes"),
    "future": Section(
        "Predicting what comes next", "The codes of all time slices except the last are given. The codes of the last "
        "slice are predicted and decoded."
    ),
    "made": Section(
        "Generated clips", "Codes are sampled from a prior and decoded. A network on pixels, trained on real clips, "
        "only judges them. All samples shown are the first ones drawn."
    ),
    "two_streams": Section(
        "Frames and codes read together", "I3D + MAGVIT: a transformer reads the vector-quantized features of a video "
        "network together with the codes of the same slices. It predicts the class from whole clips, and the next four "
        "positions from the twelve frames before them."
    ),
    "actions": Section(
        "Actions that differ only in order", "GASM-CAST on rendered actions in mirrored pairs: one action of a pair is "
        "the other played backwards. Single frames show which pair it is; only the order of frames shows which of the "
        "two."
    ),
    "early": Section("Early persistence decisions"),
    "words": Section(
        "Laws of motion, in equations and words", "The input is what models predict from the first three quarters of a "
        "clip. The equations are judged on the last quarter, which was held out."
    ),
    "gaps": Section("What was not run, and why"),
}


def chain_key(chain: Sequence[Link], head: Link | None) -> str:
    """How to read the chain."""
    said = ["Share of test clips whose class is predicted correctly."]
    if chain:
        ending = "" if head is None else f"; the head is {head.about}"
        said.append(f"The same three probes are trained at each point and the best is shown{ending}.")
    elif head is not None:
        said.append(f"The head is {head.about}.")
    return " ".join(said)
