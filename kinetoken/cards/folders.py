"""Model folders: their config and the size of their weights, with no network built."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.core.absence import why_absent
from kinetoken.core.artifacts import read_config
from kinetoken.core.errors import UserError


@dataclass(frozen=True)
class ModelPart:
    """One network of a model folder: `name` is that of its own folder, empty if there is only one."""

    name: str
    config: Mapping[str, Any]
    values: int  # stored numbers, parameters and buffers
    size: int  # bytes of the weights file

    def of(self, dotted: str) -> Any:  # noqa: ANN401 - a config holds anything
        """A value of the config by its dotted place; None where there is none."""
        node: Any = self.config
        for key in dotted.split("."):
            node = node.get(key) if isinstance(node, Mapping) else None
        return node


def read_model(folder: Path) -> tuple[ModelPart, ...] | str:
    """The networks of a model folder, or why there is none. Raises UserError for a folder that is damaged."""
    if not folder.exists():
        return f"models/{folder.name} was not found; run the stage that trains it"
    if reason := why_absent(folder):
        return reason
    inner = sorted(path for path in folder.iterdir() if (path / "config.json").is_file())
    if inner and not (folder / "config.json").is_file():
        return tuple(_part(path, path.name) for path in inner)
    return (_part(folder, ""),)


def _part(folder: Path, name: str) -> ModelPart:
    config = read_config(folder)
    if not isinstance(config, dict):
        raise UserError(f"{folder}/config.json: expected keys and values")
    weights = folder / "model.safetensors"
    return ModelPart(name, config, _stored_values(weights), weights.stat().st_size)


def _stored_values(weights: Path) -> int:
    """Numbers in all tensors of a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(weights), framework="numpy") as held:
            return sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: damaged or not a safetensors file: {' '.join(str(error).split())}") from None
