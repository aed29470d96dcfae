"""From what a language model wrote to equations and a sentence, or to the reason why there are none."""

import dataclasses

import numpy as np

from kinetoken.equations.grammar import MAX_CHARACTERS, Array, EquationError, Expression, parse
from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.replies import Reply, clean_text, parse_answer

MAX_DESCRIPTION = 300  # characters
MAX_REASON = 200
AXES = ("x", "y", "z")
NO_VALUE = float("nan")


@dataclasses.dataclass(frozen=True)
class Answer:
    """One row: equations (text in t, by axis) only where all three are equations of the grammar."""

    outcome: Outcome
    equations: dict[str, str]
    description: str  # clean; empty where none was given
    detail: str = ""  # why there are no equations

    def expressions(self) -> list[Expression]:
        """Of x, y and z; empty where there are none."""
        return [parse(self.equations[axis]) for axis in AXES] if self.equations else []

    def path(self, t: Array) -> Array:
        """Positions (T, 3) in metres at times t (T,); NaN where there are none, or an equation is undefined."""
        written = self.expressions()
        return np.stack([each.evaluate(t) for each in written], -1) if written else np.full((len(t), 3), NO_VALUE)


def read_answer(reply: Reply) -> Answer:
    """The answer in a reply, or its outcome; never raises."""
    if reply.outcome is not Outcome.ANSWERED:
        return Answer(reply.outcome, {}, "", reply.detail)
    try:
        content = parse_answer(reply.content)
    except ValueError as error:
        return Answer(Outcome.MALFORMED, {}, "", f"the answer is no JSON: {clean_text(str(error), MAX_REASON)}")
    if fault := _schema_fault(content):
        return Answer(Outcome.SCHEMA, {}, "", fault)
    description = clean_text(content["description"], MAX_DESCRIPTION)
    equations: dict[str, str] = {}
    for axis in AXES:
        written = content["equation"][axis]
        text = clean_text(written, MAX_CHARACTERS)
        try:
            parse(written if len(written) > MAX_CHARACTERS else text)
        except EquationError as error:
            reason = clean_text(f"{axis}: {error}: {text}", MAX_REASON)
            return Answer(Outcome.EQUATION, {}, description, reason)
        equations[axis] = text
    return Answer(Outcome.ANSWERED, equations, description)


def judge(reply: Reply) -> Outcome:
    """The row's outcome as the ledger records it."""
    return read_answer(reply).outcome


def _schema_fault(content: object) -> str:
    """What is not as `prompt.RESPONSE_FORMAT` asks; empty if nothing."""
    if not isinstance(content, dict) or set(content) != {"equation", "description"}:
        return "expected one object with 'equation' and 'description'"
    if not isinstance(content["description"], str):
        return "'description' is not text"
    equation = content["equation"]
    if not isinstance(equation, dict) or set(equation) != set(AXES):
        return "expected 'equation' with 'x', 'y' and 'z'"
    wrong = [axis for axis in AXES if not isinstance(equation[axis], str)]
    return f"'equation.{wrong[0]}' is not text" if wrong else ""
