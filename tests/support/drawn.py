"""Every figure that matplotlib draws here, from small tables: python -m tests.support.drawn FOLDER draws them all.

`DRAWERS` has an entry for each function that draws, by the module that it is in.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from kinetoken.actions import sheet
from kinetoken.actions.classes import PAIRS
from kinetoken.actions.layout import VIDEOS
from kinetoken.diagnosis import drawing
from kinetoken.footage.webm import write_webm
from kinetoken.gasm_cast import pictures as fusion
from kinetoken.i3d_magvit import pictures as two_stream
from kinetoken.persistence import showing
from studies import scoring
from studies.data_curve import draw as data_curve
from studies.persistence import compare as persistence
from studies.pooling import compare as pooling

ENDS = ("", "_ci95_low", "_ci95_high")


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).random(shape)


def _sheet(path: Path) -> None:
    folder = path.with_suffix("")
    (folder / "labels").mkdir(parents=True)
    (folder / VIDEOS).mkdir()
    write_webm(folder / VIDEOS / "1.webm", (255 * _random(4, 32, 32, 3)).astype(np.uint8), 12)
    row = {"id": "1", "label": "moving a ball closer to a box", "template": PAIRS[0][0].template}
    (folder / "labels" / "train.json").write_text(json.dumps([row]))
    sheet.draw_sheet(folder, path)


def _embedding(path: Path) -> None:
    drawing.draw_embedding(path, pd.DataFrame({
        "features": ["codes", "latents"] * 20, "method": ["PCA", "PCA", "t-SNE", "t-SNE"] * 10,
        "class": ["linear", "circular"] * 20, "x": _random(40), "y": _random(1, 40)[0],
    }))


def _usage(path: Path) -> None:
    places = pd.DataFrame(np.argwhere(np.ones((2, 3, 3))), columns=["slice", "row", "column"])
    levels = pd.DataFrame(np.argwhere(np.ones((2, 4))), columns=["channel", "level"])
    shares = {"share": _random(8), "share_foreground": _random(1, 8)[0]}
    drawing.draw_usage(path, places.assign(perplexity=1 + _random(18)), levels.assign(**shares))


def _looks(*, empty: bool = False) -> fusion.Looks:
    frames = (255 * _random(2, 4, 32, 32, 3)).astype(np.uint8)
    maps = [_random(2, 4, 2, 2), _random(2, 2, 2, 2), _random(2, 4, 2), _random(2, 2, 4), _random(2, 4, 4, 4),
            _random(2, 2, 2)]
    return fusion.Looks(["one", "two"], frames, *(None if empty else each for each in maps))


def _no_attention(path: Path) -> None:
    fusion.draw_attention(path, _looks(empty=True))


def _paths(path: Path) -> None:
    points = _random(2, 16, 3)
    two_stream.draw_paths(path, ["one", "two"], points, points[:, :12] + 0.01, points[:, 12:] + 0.02)


def _operating(*names: str) -> pd.DataFrame:
    rows = [(name, rule) for name in names for rule in ("fixed time", "fixed time", "confidence", "thresholds")]
    table = pd.DataFrame(rows, columns=["extractor", "rule"])
    return table.assign(frames=20 * _random(len(rows)), accuracy=_random(1, len(rows))[0], earliness=_random(len(rows)))


def _efficiency(path: Path) -> None:
    outcomes: Any = {name: SimpleNamespace(trial=SimpleNamespace(frames=np.arange(4, 12))) for name in ("a", "b")}
    costs = pd.DataFrame({"extractor": ["a", "b"] * 8, "share": _random(16)})
    with mock.patch.object(showing, "compute_rows", lambda trials: costs):
        showing.draw_efficiency(path, outcomes, _operating("a", "b", showing.REFERENCE))


def _curve(path: Path) -> None:
    table = pd.DataFrame({"reader": ["codes", "pixels"] * 3, "clips": [240, 240, 480, 480, 960, 960]})
    shares = {f"accuracy{end}": _random(6) for end in ENDS}
    data_curve.draw_curve(path, table.assign(accuracy_floor=0.25, **shares))


def _bars(path: Path) -> None:
    one = {"accuracy": 0.9, "accuracy_ci95_low": 0.85, "accuracy_ci95_high": 0.93, "accuracy_floor": 0.25}
    pooling.draw_bars(path, {"mean": one, "soft_argmax": one})


def _confusion(path: Path) -> None:
    causes = ["healthy", "healthy", "collapse"]
    scoring.draw_confusion(path, pd.DataFrame({"cause": causes, "named": causes[::-1]}), "healthy")


DRAWERS: dict[str, dict[str, Callable[[Path], None]]] = {
    sheet.__name__: {"sheet": _sheet},
    drawing.__name__: {"embedding": _embedding, "usage": _usage},
    fusion.__name__: {
        "attention": lambda path: fusion.draw_attention(path, _looks()),
        "graph": lambda path: fusion.draw_graph(path, _looks()), "no_attention": _no_attention,
    },
    showing.__name__: {"efficiency": _efficiency},
    two_stream.__name__: {"paths": _paths},
    data_curve.__name__: {"curve": _curve},
    persistence.__name__: {
        "rules": lambda path: persistence.draw(
            path, _operating(*persistence.EXTRACTORS, "reference"), {"mean_decision_frame": 12.0, "accuracy": 0.9}
        ),
    },
    pooling.__name__: {"bars": _bars},
    scoring.__name__: {"confusion": _confusion},
}


def draw_all(folder: Path) -> None:
    """NAME.png of each entry."""
    for drawers in DRAWERS.values():
        for name, draw in drawers.items():
            draw(folder / f"{name}.png")


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]))
