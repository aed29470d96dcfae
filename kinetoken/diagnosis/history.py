"""A training curve: was the validation loss still falling when training ended, and how was the codebook used?"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml

if TYPE_CHECKING:
    import pandas as pd

LOSS_NAMES = ("val_loss", "validation_loss", "valid_loss", "loss")
STEP_NAMES = ("epoch", "step", "iteration")
USAGE_NAMES = ("codebook_usage", "usage", "codebook_utilization", "utilization")  # a share, a % or entries
PERPLEXITY_NAMES = ("perplexity", "codebook_perplexity")
LEAST_POINTS = 4  # of a curve, for its last quarter to mean anything
LATE = 0.25  # of training

History = tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class UsageCurve:
    """How training counted the codebook's use: name of the column, name of the steps ("epoch"), and both by point.

    kind: values are shares of the codebook in [0, 1], numbers of its entries, or perplexities.
    """

    name: str
    step: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    kind: Literal["share", "entries", "perplexity"]


@dataclasses.dataclass(frozen=True)
class Curves:
    """Epochs with their validation losses, empty if there are none, and how the codebook was used, if that is known."""

    losses: History = ()
    usage: UsageCurve | None = None

    @property
    def late_fall(self) -> float | None:
        """See `late_fall`; None of fewer than LEAST_POINTS epochs."""
        values = np.array([loss for _, loss in self.losses], np.float64)
        return late_fall(values) if len(values) >= LEAST_POINTS else None


def read_history(path: Path) -> tuple[History, float | None]:
    """Epochs with their validation loss, and the share of its fall that the last quarter brought, as `read_curves`."""
    found = read_curves(path)
    return found.losses, found.late_fall


def read_curves(path: Path) -> Curves:
    """The curves of a CSV with columns epoch and val_loss, or usage or perplexity.

    JSON may hold a list of such objects, or an object of lists. Raises UserError if there are no such columns.
    """
    import pandas as pd

    require_file(path)
    try:
        table = pd.DataFrame(read_yaml(path)) if path.suffix == ".json" else pd.read_csv(path)
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path}: not a readable training curve: {str(error).splitlines()[0]}") from None
    return curves_of(table, path)


def curves_of(table: "pd.DataFrame", where: object) -> Curves:
    """The curves in a table's columns; `where` names it in messages. UserError as `read_curves`."""
    step = next((name for name in STEP_NAMES if name in table), None)
    loss = next((name for name in LOSS_NAMES if name in table), None)
    used = next((name for name in (*USAGE_NAMES, *PERPLEXITY_NAMES) if name in table), None)
    if loss is None and used is None:
        raise UserError(
            f"{where}: no column val_loss, usage or perplexity; it holds {', '.join(map(str, table.columns))}"
        )
    losses: History = ()
    if loss is not None:
        steps, values = _column(table, loss, step, where)
        losses = tuple(zip(steps, values, strict=True))
    return Curves(losses, None if used is None else _usage(table, used, step, where))


def _usage(table: "pd.DataFrame", name: str, step: str | None, where: object) -> UsageCurve:
    steps, values = _column(table, name, step, where)
    if min(values) < 0:
        raise UserError(f"{where}: '{name}' must not be negative, found {min(values):g}")
    if name in PERPLEXITY_NAMES:
        return UsageCurve(name, step or "epoch", tuple(steps), tuple(values), "perplexity")
    if max(values) > 100:
        return UsageCurve(name, step or "epoch", tuple(steps), tuple(values), "entries")
    shares = values if max(values) <= 1 else [value / 100 for value in values]
    return UsageCurve(name, step or "epoch", tuple(steps), tuple(shares), "share")


def _column(
    table: "pd.DataFrame", name: str, step: str | None, where: object
) -> tuple[list[float], list[float]]:
    """Steps and values of a column where it has any. UserError for values that are no finite numbers."""
    import pandas as pd

    there = table.dropna(subset=[name])
    values = pd.to_numeric(there[name], errors="coerce").to_numpy(np.float64)
    steps = np.arange(1.0, len(values) + 1) if step is None else pd.to_numeric(there[step], errors="coerce").to_numpy()
    if not len(values) or not np.isfinite(values).all() or not np.isfinite(steps).all():
        wrong = step if len(values) and np.isfinite(values).all() else name
        raise UserError(f"{where}: the values of {wrong} are not finite numbers, or there are none")
    return np.asarray(steps, np.float64).tolist(), values.tolist()


def late_fall(losses: np.ndarray) -> float:
    """Share, in [0, 1], of the loss's whole fall that the last quarter of training brought; 0 if it did not fall.

    A curve that has settled shows about 0; one that falls in a straight line 0.25.
    """
    lowest = np.minimum.accumulate(losses)
    whole = lowest[0] - lowest[-1]
    before = lowest[int(np.ceil((1 - LATE) * (len(losses) - 1)))]
    return float((before - lowest[-1]) / whole) if whole > 0 else 0.0
