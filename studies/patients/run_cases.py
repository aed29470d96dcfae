"""Make every case, hand it in as files, and keep what the doctor said; a killed run loses the case it was at.

Reads    section patients of the study's params
Writes   one JSON row a case

Alone    python -m studies.patients.run_cases --params studies/patients/params.yaml --section patients

One case, with what was handed in and said: python -m studies.patients.show_case NAME
"""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

from kinetoken.core.stage import Context, Output, run_stage
from kinetoken.diagnosis.chain import Diagnosis
from studies.patients.plan import Case, Patients, cases


@dataclass(frozen=True)
class Paths:
    cases: Annotated[Path, Output("a row a case, JSON lines")] = Path("studies/patients/data/cases.jsonl")


def run(params: Patients, paths: Paths, context: Context) -> None:
    rows = run_all(cases(params), params, context)
    paths.cases.parent.mkdir(parents=True, exist_ok=True)
    paths.cases.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def run_all(chosen: list[Case], params: Patients, context: Context) -> list[dict[str, Any]]:
    """The rows of the cases in their order; finished ones lie in the context's checkpoints."""
    assert context.checkpoints is not None
    done = context.checkpoints / "twins"
    done.mkdir(parents=True, exist_ok=True)
    jobs = []
    for twin, group in itertools.groupby(chosen, lambda case: case.twin):
        jobs.append((list(group), params.diagnosis, done / f"{twin}.jsonl"))
    context.progress.phase("cases", len(chosen), "cases", done=sum(len(finished(job[-1])) for job in jobs))
    for count in _run(jobs, params.processes):
        context.progress.advance(count)
    found = {name: row for job in jobs for name, row in finished(job[-1]).items()}
    return [found[case.name] for case in chosen]


def _run(jobs: list[tuple[list[Case], Diagnosis, Path]], processes: int) -> Iterator[int]:
    """How many cases each job made, as it ends."""
    if processes == 1:
        for job in jobs:
            yield run_twin(*job)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_twin, *job) for job in jobs]):
            yield future.result()


def run_twin(group: list[Case], params: Diagnosis, place: Path) -> int:
    """Examine the cases of one twin that are not at `place` yet, and add a line for each as soon as it is known."""
    import torch

    from studies.patients.examining import examined

    torch.set_num_threads(1)
    known = finished(place)
    place.write_text("".join(f"{json.dumps(row)}\n" for row in known.values()), encoding="utf-8")  # whole lines only
    waiting = [case for case in group if case.name not in known]
    for case in waiting:
        line = json.dumps(examined(case, params))
        with place.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    return len(waiting)


def finished(place: Path) -> dict[str, dict[str, Any]]:
    """The rows at `place` by name; a last line that was cut is left out."""
    rows = {}
    for line in place.read_text(encoding="utf-8").splitlines() if place.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["name"]] = row
    return rows


def main() -> int:
    return run_stage(run, Patients, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
