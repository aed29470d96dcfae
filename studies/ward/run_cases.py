"""Train, break and measure the cases of one group of the ward; a killed run loses the case it was at and no more.

Reads    section ward of the study's params; the ward's clips, and for faults the healthy tokenizers
Writes   the group's cases as JSON, one row of measures a case

Alone    python -m studies.ward.run_cases --params studies/ward/params.yaml --section ward --group training
"""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

from kinetoken.core.artifacts import write_json
from kinetoken.core.progress import replace_text
from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.ward.case import run_case, save_twin
from studies.ward.plan import HEALTHY, Case, Ward, fault_cases


@dataclass(frozen=True)
class Paths:
    clear: Annotated[Path, Input("clips that show every class")] = Path("studies/ward/data/clear")
    flat: Annotated[Path, Input("clips whose helices are circles")] = Path("studies/ward/data/flat")
    twins: Annotated[Path, Input("healthy tokenizers")] = Path("studies/ward/data/tokenizers")
    cases: Annotated[Path, Output("measures of every case")] = Path("studies/ward/data/cases.json")
    group: Annotated[str, "which faults"] = ""


def run(params: Ward, paths: Paths, context: Context) -> None:
    write_json(paths.cases, run_all(fault_cases(params, paths.group), params, paths.clear.parent, paths.twins, context))


def run_all(cases: list[Case], ward: Ward, data: Path, twins: Path, context: Context) -> list[dict[str, Any]]:
    """The rows of all cases in their order; finished ones lie in the context's checkpoints."""
    assert context.checkpoints is not None
    done = context.checkpoints / "cases"
    done.mkdir(parents=True, exist_ok=True)
    jobs = [(case, ward, data, twins, done / f"{case.name}.json") for case in cases]
    waiting = [job for job in jobs if not job[-1].exists()]
    context.progress.phase("cases", len(jobs), "cases", done=len(jobs) - len(waiting))
    for _ in _finished(waiting, ward.processes):
        context.progress.advance()
    return [json.loads(job[-1].read_text(encoding="utf-8")) for job in jobs]


def _finished(jobs: list[tuple[Case, Ward, Path, Path, Path]], processes: int) -> Iterator[None]:
    if processes == 1:
        for job in jobs:
            run_one(*job)
            yield
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_one, *job) for job in jobs]):
            future.result()
            yield


def run_one(case: Case, ward: Ward, data: Path, twins: Path, place: Path) -> None:
    """Run a case and leave its row at `place`; a healthy one leaves its tokenizer among the twins first."""
    row, trained = run_case(case, ward, data, twins)
    if case.fault == HEALTHY:
        save_twin(twins, case.twin, trained)
    replace_text(place, json.dumps(row))


def main() -> int:
    return run_stage(run, Ward, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
