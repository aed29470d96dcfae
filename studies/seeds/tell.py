"""Every headline over several trainings: mean, standard deviation, least and greatest.

Reads    params tell; the tables of numbers that the stages wrote, a folder a seed
Writes   studies/seeds/metrics.json; studies/seeds/plots/ headlines.csv (one row a headline), table.md (also printed)

Alone    python -m studies.seeds.tell --params studies/seeds/params.yaml --section tell --runs data/seeds
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.variants import read_measured, under

PLOTS = Path("studies/seeds/plots")


@dataclass(frozen=True)
class Headline:
    """One row: a number by its dotted name; a name that ends in .* is the least of all that begin so."""

    stage: str
    key: str
    title: str


@dataclass(frozen=True)
class Telling:
    """Section tell."""

    headlines: tuple[Headline, ...]


@dataclass(frozen=True)
class Paths:
    runs: Annotated[Path, Input("<seed>/metrics/<stage>.csv of every seed")]
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/seeds/metrics.json")
    rows: Annotated[Path, Output("one row a headline")] = PLOTS / "headlines.csv"
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"


def run(params: Telling, paths: Paths, context: Context) -> None:
    import pandas as pd

    seeds = sorted(int(folder.name) for folder in paths.runs.iterdir() if (folder / "metrics").is_dir())
    if len(seeds) < 2:
        raise UserError(f"{paths.runs}: {len(seeds)} seeds have been run, a spread needs two or more")
    found = {line: np.array([value_of(line, paths.runs / str(seed)) for seed in seeds]) for line in params.headlines}
    rows = [
        {"stage": line.stage, "key": line.key, "title": line.title, "seeds": len(seeds), **spread(values)}
        for line, values in found.items()
    ]
    metrics: dict[str, Any] = {"seeds": len(seeds)}
    for line, values in found.items():
        metrics.setdefault(line.stage, {})[line.key.replace("*", "least")] = spread(values)
    write_metrics(paths.metrics, metrics)
    write_csv(paths.rows, pd.DataFrame(rows))
    text = markdown(rows)
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def value_of(line: Headline, folder: Path) -> float:
    """The headline in one seed's run; UserError if it is not there."""
    start = line.key.removesuffix("*")
    found = read_measured(folder / "metrics" / f"{line.stage}.csv", line.stage, (start,))
    return found[line.key] if start == line.key else min(under(found, start).values())


def spread(values: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation between seeds (n − 1), least and greatest."""
    return {
        "mean": float(values.mean()), "sd": float(values.std(ddof=1)), "least": float(values.min()),
        "greatest": float(values.max()),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| headline | mean ± sd | least | greatest |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['title']} (`{row['stage']}`: `{row['key']}`) | {row['mean']:.4g} ± {row['sd']:.2g} "
            f"| {row['least']:.4g} | {row['greatest']:.4g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    return run_stage(run, Telling, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
