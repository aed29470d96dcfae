"""What a language model is told of one clip, and the form in which it must answer.

The text is made from `Evidence` alone: what the models read from the frames shown. It holds numbers in fixed formats
and names out of fixed lists, nothing else that varies. No function here takes the truth.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.equations.evidence import Evidence
from kinetoken.equations.facts import DIRECTIONS, FAST, LEVEL, PATHS, SLOW
from kinetoken.equations.grammar import FUNCTIONS, MAX_CHARACTERS, MAX_EXPONENT
from kinetoken.llm.language_model import Request
from kinetoken.physics.laws import CLASSES, Array

PROMPT_VERSION = 1  # of every word below; a test holds its hash, so that none changes without it

INSTRUCTIONS = f"""\
You find the law of motion of one ball. One camera at the origin looks along +z; x points right, y up, z away from the \
camera; lengths are in metres, times in seconds. Gravity, where it acts, acts along -y; its strength is not known.

The ball follows one of four laws:
linear: constant velocity.
circular: constant speed on a circle, whose axis may lean from the vertical.
helical: a circle and a constant velocity along its axis.
parabolic: constant acceleration along -y.

You are given positions that were estimated from the first part of a video, with errors, and how probable a classifier \
holds each law. Write x(t), y(t) and z(t) that hold for those times and beyond.

Equations: text in t with numbers, t, pi, + - * / **, and {", ".join(FUNCTIONS)} of one argument; powers are written \
** with exponents of at most {MAX_EXPONENT:g}; no other names, no "x =", at most {MAX_CHARACTERS} characters each.

Description: one sentence that uses these words and no negation.
Path: {", ".join(f"{path} ({law})" for law, path in PATHS.items())}.
Speed along the path: slow (below {SLOW:g} m/s), medium, fast (above {FAST:g} m/s).
Vertical trend: rising, falling, or level (mean vertical velocity below {LEVEL:g} of the speed; a circle is level).
Direction, of a straight line and a parabola only: {", ".join(DIRECTIONS)}.
Rotation seen from above, with x to the right and z up the page, of a circle and a helix only: clockwise, anticlockwise.

Answer with JSON: {{"equation": {{"x": "...", "y": "...", "z": "..."}}, "description": "..."}}"""

RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "law_of_motion",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "equation": {
                    "type": "object",
                    "properties": {axis: {"type": "string"} for axis in "xyz"},
                    "required": ["x", "y", "z"],
                    "additionalProperties": False,
                },
                "description": {"type": "string"},
            },
            "required": ["equation", "description"],
            "additionalProperties": False,
        },
    },
}


def requests(
    evidence: Evidence, track_id: Sequence[int] | NDArray[np.integer], neighbours: NDArray[np.str_] | None = None
) -> list[Request]:
    """One request a clip, in order; `track_id` (N,) names the rows in messages and is not sent.

    `neighbours` (N, k): classes of the nearest training clips, nearest first. UserError for points, errors or
    probabilities that are not finite, naming the track.
    """
    messages = prompts(evidence, track_id, neighbours)
    return [
        Request(
            f"track {int(track)}",
            ({"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}), RESPONSE_FORMAT,
        )
        for track, text in zip(track_id, messages, strict=True)
    ]


def prompts(
    evidence: Evidence, track_id: Sequence[int] | NDArray[np.integer], neighbours: NDArray[np.str_] | None = None
) -> list[str]:
    """What is said of each clip; see `requests`."""
    probabilities = np.exp(evidence.law_log_prior())  # (N, laws)
    named = bool(set(evidence.classes) & set(CLASSES))
    errors = standard_errors(evidence.whitening)  # (N, 3)
    texts = []
    for clip, track in enumerate(track_id):
        parts = (evidence.points[clip], probabilities[clip], errors[clip])
        if not all(np.isfinite(part).all() for part in parts):
            raise UserError(
                f"track {int(track)}: its estimated points, errors or class probabilities are not all finite, so there "
                "is nothing to ask about; train the models that read them again"
            )
        near = None if neighbours is None else neighbours[clip].tolist()
        texts.append(_prompt(evidence.times, parts[0], parts[1] if named else None, parts[2], near))
    return texts


def standard_errors(whitening: Array) -> Array:
    """Of each clip's points along x, y and z in metres (N, 3), over its frames, from whitening (N, K, 3, 3)."""
    spread = np.linalg.inv(whitening)  # (N, K, 3, 3)
    return np.asarray(np.sqrt(np.square(spread).sum(-1).mean(1)))


def _prompt(times: Array, points: Array, probabilities: Array | None, errors: Array, near: list[str] | None) -> str:
    lines = [f"Class probabilities: {'not known' if probabilities is None else _named(probabilities)}"]
    if near is not None:
        counts = np.array([near.count(law) for law in CLASSES], float)
        lines.append(f"Classes of the {len(near)} most similar known clips: {_named(counts, 0)}")
    lines.append("Standard errors of the positions (m): " + " ".join(_number(value, 4) for value in errors))
    lines.append("t x y z")
    lines += [" ".join(_number(value, 4) for value in row) for row in np.column_stack([times, points])]
    return "\n".join(lines)


def _named(values: Array, decimals: int = 3) -> str:
    """The laws with a number each, in their fixed order."""
    return ", ".join(f"{law} {_number(value, decimals)}" for law, value in zip(CLASSES, values, strict=True))


def _number(value: float, decimals: int) -> str:
    """Fixed point, and no minus before zero."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text
