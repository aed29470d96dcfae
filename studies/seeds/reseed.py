"""The params of some stages with other seeds, and nothing else changed.

Reads    params.yaml of the main pipeline; how far to move its seeds
Writes   a params file with those sections

Alone    python -m studies.seeds.reseed --section seeds --seed 2 --given params.yaml --changed /tmp/params.yaml
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml
from kinetoken.core.stage import Context, Input, Output, run_stage

STRIDE = 1000  # between one run's seeds and the next's, so that no two stages ever share one


@dataclass(frozen=True)
class Seeds:
    """Section seeds."""

    stages: tuple[str, ...]  # whose seeds are moved

    def __post_init__(self) -> None:
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise ValueError("stages: name at least one, each once")


@dataclass(frozen=True)
class Paths:
    given: Annotated[Path, Input("params of the main pipeline")]
    changed: Annotated[Path, Output("the same sections with other seeds")]
    seed: Annotated[int, "1 leaves the seeds as they are, each further one moves them on"] = 1


def run(params: Seeds, paths: Paths, context: Context) -> None:
    if paths.seed < 1:
        raise UserError(f"--seed: counts from 1, is {paths.seed}")
    given = read_yaml(paths.given)
    if absent := [name for name in (*params.stages, "hardware") if name not in given]:
        raise UserError(f"{paths.given}: no section '{absent[0]}'")
    changed = {name: moved(given[name], STRIDE * (paths.seed - 1)) for name in params.stages}
    text = yaml.safe_dump({**changed, "hardware": given["hardware"]}, sort_keys=False)
    paths.changed.parent.mkdir(parents=True, exist_ok=True)
    paths.changed.write_text(text, encoding="utf-8")


def moved(node: Any, by: int) -> Any:  # noqa: ANN401 - YAML holds anything
    """The node with every `seed` in it, at whatever depth, raised by `by`."""
    if isinstance(node, dict):
        return {key: value + by if key == "seed" else moved(value, by) for key, value in node.items()}
    return node


def main() -> int:
    return run_stage(run, Seeds, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
