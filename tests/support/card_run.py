"""What a run leaves for its cards, tiny: models of two tensors, clips of a few pixels, and the committed numbers."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from kinetoken.actions.classes import ACTIONS
from kinetoken.actions.layout import VIDEOS, write_actions
from kinetoken.cards.models import MODELS
from kinetoken.cards.writing import Run
from kinetoken.core.absence import write_absent
from kinetoken.scenes.clips import Clips, shard_path, write_shard

ROOT = Path(__file__).parents[2]
LAWS = ("circular", "helical", "linear", "parabolic")
GRID = [1, 1, 1]
CONFIGS: Mapping[str, dict[str, Any]] = {
    "tokenizer": {"image_size": 4, "network": {"causal": True}, "quantizer": {"kind": "fsq", "levels": [8, 5]}},
    "position": {"camera": {"ball_radius": 0.2}, "grid": GRID},
    "predictor": {"best": "lstm", "models": ["lstm", "transformer"], "shape": {"past_slices": 3}},
}
UNTRAINED = {"source": "untrained", "parameters": 10}


def write_run(folder: Path, classes: Sequence[str] = LAWS) -> Run:
    """A whole run, with these classes of motion."""
    plots = folder / "plots"
    for table in (ROOT / "plots").glob("*/numbers*.csv"):
        (plots / table.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(table, plots / table.parent.name)
    actions = [action.name for action in ACTIONS]
    for model in MODELS:
        held = actions if model.name == "gasm_cast" else list(classes)
        known = {"classes": held, "shape": {"classes": held, "grid": GRID}, "backbone": UNTRAINED,
                 "backbones": {"semantic": UNTRAINED, "motion": UNTRAINED}}
        config = CONFIGS.get(model.name, known)
        inner = ("magvit", "transformer") if model.name == "persistence" else ("",)
        for name in inner:
            write_model(folder / "models" / model.name / name, config)
    write_clips(folder / "data" / "motion", classes, ("train", "val", "test", "ood"))
    write_clips(folder / "data" / "persistence", ("persistent", "transient"), ("train", "val", "test"))
    write_action_files(folder / "data" / "actions")
    shutil.copy(ROOT / "params.yaml", folder)
    return Run(plots, folder / "models", folder / "data", folder / "params.yaml")


def write_model(folder: Path, config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": np.zeros((3, 4), np.float32), "bias": np.zeros(3, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**config, "versions": {"torch": "2.11.0"}}))


def write_clips(folder: Path, classes: Sequence[str], splits: Sequence[str]) -> None:
    """Two clips of 4 frames of 4×4 pixels for each class and split, and a table of tracks that no card opens."""
    rows = [(split, name) for split in splits for name in classes for _ in range(2)]
    split, label = (np.array(column) for column in zip(*rows, strict=True))
    pixels = np.zeros((len(rows), 4, 4, 4, 3), np.uint8)
    (folder / "videos").mkdir(parents=True)
    clips = Clips(np.arange(len(rows), dtype=np.int32), label, split, pixels, 16.0)
    write_shard(shard_path(folder / "videos", 0), clips, None)
    pq.write_table(pa.table({"track_id": [0], "x": [0.0]}), folder / "trajectories.parquet")


def write_action_files(folder: Path) -> None:
    templates = [action.template for action in ACTIONS]
    rows = {
        split: [{"id": str(1000 * place + number), "label": "x", "template": template, "placeholders": []}
                for number, template in enumerate(templates)]
        for place, split in enumerate(("train", "validation", "test"))
    }
    write_actions(folder, [action.name for action in ACTIONS], rows)
    (folder / VIDEOS).mkdir()
    for of_split in rows.values():
        for row in of_split:
            (folder / VIDEOS / f"{row['id']}.webm").touch()


def take_away(path: Path, reason: str) -> None:
    """An output of a stage that these data did not allow."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    write_absent(path, reason)
