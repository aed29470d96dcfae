"""A training curve: was the validation loss still falling when training ended?"""

from pathlib import Path

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml

LOSS_NAMES = ("val_loss", "validation_loss", "valid_loss", "loss")
STEP_NAMES = ("epoch", "step", "iteration")
LEAST_POINTS = 4  # of a curve, for its last quarter to mean anything
LATE = 0.25  # of training

History = tuple[tuple[float, float], ...]


def read_history(path: Path) -> tuple[History, float | None]:
    """Epochs with their validation loss, and the share of its fall that the last quarter brought.

    The share is None of fewer than four epochs. A CSV with columns epoch and val_loss, or JSON: a list of such
    objects, or an object of two lists. Raises UserError if there are none or no such columns.
    """
    import pandas as pd

    try:
        table = pd.DataFrame(read_yaml(path)) if path.suffix == ".json" else pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable training curve: {str(error).splitlines()[0]}") from None
    loss = next((name for name in LOSS_NAMES if name in table), None)
    if loss is None:
        raise UserError(f"{path}: no column val_loss; it holds {', '.join(map(str, table.columns))}")
    step = next((name for name in STEP_NAMES if name in table), None)
    table = table.dropna(subset=[loss])
    values = pd.to_numeric(table[loss], errors="coerce").to_numpy(np.float64)
    epochs = np.arange(1.0, len(values) + 1) if step is None else table[step].to_numpy(np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise UserError(f"{path}: the values of {loss} are not finite numbers, or there are none")
    late = late_fall(values) if len(values) >= LEAST_POINTS else None
    return tuple(zip(epochs.tolist(), values.tolist(), strict=True)), late


def late_fall(losses: np.ndarray) -> float:
    """Share, in [0, 1], of the loss's whole fall that the last quarter of training brought; 0 if it did not fall.

    A curve that has settled shows about 0; one that falls in a straight line 0.25.
    """
    lowest = np.minimum.accumulate(losses)
    whole = lowest[0] - lowest[-1]
    before = lowest[int(np.ceil((1 - LATE) * (len(losses) - 1)))]
    return float((before - lowest[-1]) / whole) if whole > 0 else 0.0
