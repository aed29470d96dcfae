"""Render actions in mirrored pairs that differ only in order, in the layout of Something-Something-V2.

With `enabled: false` in the section they are left out: then GASM-CAST says that it was not measured.

Reads    params generate_actions
Writes   actions/20bn-something-something-v2/<id>.webm, actions/labels/{train,validation,test,labels}.json and
         test-answers.csv; a sheet with one clip of each class

Alone    python -m stages.generate_actions
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.actions.generation import Actions, generate
from kinetoken.actions.sheet import draw_sheet
from kinetoken.core.absence import NotMeasured
from kinetoken.core.stage import Context, Output, run_stage


@dataclass(frozen=True)
class Paths:
    actions: Annotated[Path, Output("videos and label files")] = Path("data/actions")
    sheet: Annotated[Path, Output("one clip of each class")] = Path("plots/generate_actions/sheet.png")


def run(params: Actions, paths: Paths, context: Context) -> None:
    if not params.enabled:
        raise NotMeasured("left out by params.yaml: generate_actions.enabled is false")
    context.progress.phase("drawing", sum(vars(params.counts).values()), "clips")
    generate(params, paths.actions, context.progress.advance)
    draw_sheet(paths.actions, paths.sheet)


def main() -> int:
    return run_stage(run, Actions, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
