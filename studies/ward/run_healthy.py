"""Train and measure the ward's healthy tokenizers, the twins of all faults.

Reads    section ward of the study's params; the ward's clips
Writes   the healthy cases as JSON, one row of measures a case; the tokenizers

Alone    python -m studies.ward.run_healthy --params studies/ward/params.yaml --section ward
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.artifacts import write_json
from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.ward.plan import Ward, healthy_cases
from studies.ward.run_cases import run_all


@dataclass(frozen=True)
class Paths:
    clear: Annotated[Path, Input("clips that show every class")] = Path("studies/ward/data/clear")
    twins: Annotated[Path, Output("healthy tokenizers")] = Path("studies/ward/data/tokenizers")
    cases: Annotated[Path, Output("measures of every case")] = Path("studies/ward/data/healthy.json")


def run(params: Ward, paths: Paths, context: Context) -> None:
    import shutil

    assert context.checkpoints is not None
    kept = context.checkpoints / "tokenizers"  # they outlive a killed run beside the finished cases
    write_json(paths.cases, run_all(healthy_cases(params), params, paths.clear.parent, kept, context))
    shutil.copytree(kept, paths.twins)


def main() -> int:
    return run_stage(run, Ward, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
