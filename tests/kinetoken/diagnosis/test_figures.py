"""The diagnosis drawn for pages: a drawing for each part of a table, named for a reader."""

import numpy as np
import pandas as pd

from kinetoken.diagnosis.figures import (
    embedded_classes,
    embedding_figures,
    history_figures,
    level_figures,
    usage_figures,
)


def test_each_view_of_the_embedding_is_a_scatter_of_all_classes() -> None:
    table = pd.DataFrame({
        "features": ["codes"] * 3 + ["codes_pooled"] * 3, "method": "PCA", "class": ["b", "a", "b"] * 2,
        "x": np.arange(6.0), "y": np.arange(6.0) ** 2,
    })
    figures = embedding_figures(table)
    assert [one.title for one in figures] == ["codes, PCA", "averaged codes, PCA"]
    assert [(one.drawing.count('"c0"'), one.drawing.count('"c1"')) for one in figures] == [(1, 2)] * 2  # a, then b
    assert embedded_classes(table) == ["a", "b"]


def test_each_slice_is_a_grid_shaded_over_all_slices() -> None:
    table = pd.DataFrame({
        "slice": [0, 0, 1, 1], "row": 0, "column": [0, 1, 0, 1], "perplexity": [0.0, 5.0, 10.0, 2.5],
    })
    figures = usage_figures(table)
    assert [one.title for one in figures] == ["slice 0", "slice 1"]
    assert 'fill-opacity="0.53"' in figures[0].drawing and 'fill-opacity="1"' in figures[1].drawing


def test_levels_show_what_moves_only_where_that_is_known() -> None:
    table = pd.DataFrame({
        "channel": [0, 0, 1, 1], "level": [0, 1, 0, 1], "share": 0.5, "share_foreground": [0.25, 0.75, 0.0, 0.0],
    })
    drawn = level_figures(table)
    assert ["on the foreground" in one.drawing for one in drawn] == [True, False]


def test_history_is_one_line_over_epochs() -> None:
    figure, = history_figures(pd.DataFrame({"epoch": [1, 2, 3], "val_loss": [1.0, 0.1, 0.01]}))
    assert figure.drawing.count('class="line') == 1 and figure.drawing.count("<circle") == 3
