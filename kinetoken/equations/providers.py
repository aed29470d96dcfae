"""Who writes the equations: `offline` a fit, `openai` a language model, `hybrid` its form with fitted constants.

The provider is a param, never chosen by the environment, and none stands in for another.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.progress import Progress
from kinetoken.equations import offline, prompt
from kinetoken.equations.answers import judge, read_answer
from kinetoken.equations.evidence import Description, Evidence
from kinetoken.equations.hybrid import refit
from kinetoken.equations.params import DescribeMotion, Provider
from kinetoken.equations.sentences import stated_facts
from kinetoken.llm.client import ask
from kinetoken.llm.replies import Reply
from kinetoken.llm.spending import Bill
from kinetoken.physics.laws import Array


@dataclasses.dataclass(frozen=True)
class Told:
    """The descriptions of N clips by each provider that could speak from the same evidence and answers.

    The chosen provider is among them; `offline` always is, and with `hybrid` the model's own constants are too.
    """

    by: dict[Provider, list[Description]]
    bill: Bill | None  # of the language model, if one was asked


def describe(
    params: DescribeMotion, evidence: Evidence, clip_times: Array, track_id: NDArray[np.integer],
    neighbours: NDArray[np.str_] | None, ledger: Path, progress: Progress,
) -> Told:
    """Descriptions of each clip; see `client.ask` for what can go wrong with a language model."""
    progress.phase("fitting laws", len(track_id), "clips")
    by: dict[Provider, list[Description]] = {
        "offline": offline.describe(evidence, clip_times, priors=params.priors, independence=params.independence)
    }
    progress.advance(len(track_id))
    if not params.asks:
        return Told(by, None)
    questions = prompt.requests(evidence, track_id, neighbours)
    replies, bill = ask(questions, params.language_model, ledger, progress, judge)
    by["openai"] = [as_description(reply) for reply in replies]
    if params.provider == "hybrid":
        by["hybrid"] = fit_constants(by["openai"], evidence, progress)
    return Told(by, bill)


def as_description(reply: Reply) -> Description:
    """What a language model said; the facts are those that its sentence states."""
    answer = read_answer(reply)
    return Description(
        answer.equations, answer.description, stated_facts(answer.description), {}, answer.outcome, answer.detail,
        reply.model or "",
    )


def fit_constants(described: Sequence[Description], evidence: Evidence, progress: Progress) -> list[Description]:
    """The same with the constants of their equations fitted to the points that the model was shown."""
    progress.phase("fitting constants", len(described), "clips")
    fitted = []
    for clip, one in enumerate(described):
        if one.equations:
            found = refit(one.equations, evidence.times, evidence.points[clip], evidence.whitening[clip])
            one = dataclasses.replace(one, equations=found.equations)
        fitted.append(one)
        progress.advance()
    return fitted
