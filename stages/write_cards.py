"""Write a card for each model that was trained and one for the clips, in the form of the Hugging Face Hub.

A model that these data did not allow gets no card. The index, README.md, then says why.

Reads    params write_cards; the numbers of all stages, the models' folders, the clips and label files of the datasets,
         and the sections of params.yaml that made them. What is not there is a gap in the index
Writes   plots/cards/: <model>.md, dataset.md, README.md

Alone    python -m stages.write_cards --plots plots --models models --data data --cards /tmp/cards
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.cards.params import WriteCards
from kinetoken.cards.writing import Run, make_cards
from kinetoken.core.stage import Context, Output, run_stage


@dataclass(frozen=True)
class Paths:
    """Only the plots folder and the parameters must be there: the others are gaps in the index."""

    plots: Annotated[Path, "folder of numbers"] = Path("plots")
    models: Annotated[Path, "folder of models"] = Path("models")
    data: Annotated[Path, "folder of datasets"] = Path("data")
    settings: Annotated[Path, "parameters that the models were trained with"] = Path("params.yaml")
    cards: Annotated[Path, Output("the cards")] = Path("plots/cards")


def run(params: WriteCards, paths: Paths, context: Context) -> None:
    cards = make_cards(Run(paths.plots, paths.models, paths.data, paths.settings), params)
    paths.cards.mkdir(parents=True)
    for name, page in cards.pages.items():
        (paths.cards / name).write_text(page, encoding="utf-8", newline="\n")
    for name, why in cards.gaps.items():
        context.progress.say(f"no card of {name}: {why}")


def main() -> int:
    return run_stage(run, WriteCards, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
