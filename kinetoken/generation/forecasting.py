"""The masked prior as a forecaster: the last slice of codes from all before it, scored as the predictors are.

This is where a generator meets true positions, and all that they do here is score.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.generation.generator import Generator
from kinetoken.prediction.scores import Scores, forecast_metrics, score_splits
from kinetoken.prediction.window import Window

if TYPE_CHECKING:
    import pandas as pd

MODEL = "masked"
COLUMNS = ("model", "kind", "step", "class", "centroid_error_px", "centroid_error_px_floor")  # where there are no rows


def score_forecasts(generator: Generator, dataset: Dataset, context: Context) -> dict[str, Scores]:
    """The scores on `test`, and on `ood` where there are such clips; none where there is nothing to predict.

    That is so in clips of one slice, and in codes whose past knows later frames: those of a tokenizer that is not
    causal. The law that fits the past best is left out of the floors; train_predictor has it, of the same past.
    """
    slices = dataset.codes.meta.grid[0]
    if slices < 2 or not dataset.tokenizer.shape.causal:
        return {}
    window = Window(past_slices=slices - 1, slice_frames=generator.shape.slice_frames)
    return score_splits({MODEL: generator.complete}, window, dataset, context, chosen_law=False)


def forecast_numbers(scores: Mapping[str, Scores], draws: int) -> dict[str, Any]:
    """Its numbers beside baselines, upper bounds and oracle; empty without scores."""
    return forecast_metrics(scores, draws)[MODEL] if scores else {}


def horizon_table(scores: Mapping[str, Scores]) -> "pd.DataFrame":
    """Its rows of `Scores.horizon_table`; those of baselines, upper bound and oracle are train_predictor's."""
    import pandas as pd

    if not scores:
        return pd.DataFrame(columns=list(COLUMNS))
    table = scores["test"].horizon_table()
    return table[table["model"] == MODEL]
