"""Figures of the page from plot tables, drawn from tables made by hand."""

from pathlib import Path

import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.report.results import Results
from kinetoken.report.sections import horizons


def errors_ahead(path: Path, models: dict[str, tuple[str, float]], floor: float = 2.0) -> None:
    """Errors of models (name → kind, px) at two steps, of all clips and of one class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([
        {"model": name, "kind": kind, "step": step, "class": group, "centroid_error_px": px * step,
         "mse_floor": floor * step if kind == "model" else None}
        for name, (kind, px) in models.items() for group in ("all", "linear") for step in (1, 2)
    ]).to_csv(path, index=False)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    errors_ahead(tmp_path / "train_predictor/horizon.csv", {"lstm": ("model", 0.5), "copy": ("floor", 2.0)})
    return Results({}, tmp_path)


def test_the_generators_forecasts_are_drawn_beside_the_predictors(results: Results) -> None:
    before = horizons(results)
    assert "masked" not in str(before[0].drawing) and results.missing == ["plots/train_generator/horizon.csv"]
    errors_ahead(results.plots / "train_generator/horizon.csv", {"masked": ("model", 9.0)})
    overall, by_class = horizons(results)
    assert all(name in str(overall.drawing) for name in ("lstm", "masked", "copy"))
    assert by_class.title == "lstm, by class"


def test_forecasts_from_another_past_are_not_drawn_beside_them(results: Results) -> None:
    before = horizons(results)
    errors_ahead(results.plots / "train_generator/horizon.csv", {"masked": ("model", 9.0)}, floor=1.5)
    assert horizons(results) == before
    heads = "model,kind,step,class,centroid_error_px\n"
    (results.plots / "train_generator/horizon.csv").write_text(heads)
    assert horizons(results) == before, "a generator without forecasts leaves a table without rows"


def test_no_colour_is_used_twice_and_the_worst_baselines_go_first(tmp_path: Path) -> None:
    forecasters = {"transformer": ("model", 0.5), "lstm": ("model", 0.6), "oracle": ("oracle", 0.2)}
    forecasters |= {f"rule {place}": ("floor", float(place)) for place in range(1, 9)}
    errors_ahead(tmp_path / "train_predictor/horizon.csv", forecasters)
    overall = horizons(Results({}, tmp_path))[0]
    shown = {name for name in forecasters if f'"{name}"' in str(overall.drawing)}
    assert shown == {"transformer", "lstm", "oracle", *(f"rule {place}" for place in range(1, 6))}
    assert "worse than those shown are left out" in str(overall)


def test_a_damaged_table_of_errors_is_named(results: Results) -> None:
    (results.plots / "train_generator").mkdir()
    (results.plots / "train_generator/horizon.csv").write_text("model,step\nmasked,1\n")
    with pytest.raises(UserError, match=r"train_generator/horizon.csv: no column 'kind'"):
        horizons(results)
