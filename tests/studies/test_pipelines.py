"""What holds for the pipeline of every study: its place, its code, its files."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import studies

ROOT = Path(__file__).parents[2]
PIPELINES = {
    name: yaml.safe_load((ROOT / "studies" / name / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in studies.names(ROOT)
}
STAGES = [(study, name) for study, stages in PIPELINES.items() for name in stages]
each_stage = pytest.mark.parametrize(("study", "name"), STAGES)
each_study = pytest.mark.parametrize("study", sorted(PIPELINES))


def body(study: str, name: str) -> dict[str, Any]:
    stage = PIPELINES[study][name]
    found: dict[str, Any] = stage.get("do", stage)
    return found


def paths(study: str, name: str, *keys: str) -> list[str]:
    entries = [entry for key in keys for entry in body(study, name).get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@each_stage
def test_code_is_one_dep_and_the_script_is_there(study: str, name: str) -> None:
    module = re.search(r"cd \.\./\.\. && python -m ([\w.]+)", body(study, name)["cmd"])
    assert module, "a study's commands run in the project's folder"
    script = module[1].replace(".", "/")
    group, _, rest = script.partition("/")
    assert [dep for dep in paths(study, name, "deps") if dep.startswith("../code/")] == [f"../code/{group}/{rest}.txt"]
    assert (ROOT / f"{script}.py").is_file()
    assert not [dep for dep in paths(study, name, "deps") if dep.endswith(".py")]


@each_stage
def test_outputs_lie_in_the_studys_own_folder(study: str, name: str) -> None:
    for path in paths(study, name, "outs", "metrics", "plots"):
        assert not path.startswith("../"), path
        assert f"studies/{study}/{path}" in body(study, name)["cmd"], "each output is a flag of the command"


@each_study
def test_data_are_ignored_and_results_are_not(study: str) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", f"studies/{study}/data/x", f"studies/{study}/metrics.json",
         f"studies/{study}/plots/table.md", "studies/code/stages"], cwd=ROOT, capture_output=True, text=True,
    ).stdout.split()
    assert ignored == [f"studies/{study}/data/x", "studies/code/stages"]


@each_study
def test_results_say_which_commit_made_them(study: str) -> None:
    found = studies.read_study(study, ROOT)
    assert found.commit is not None and re.fullmatch(r"[0-9a-f]{7}", found.commit)
    assert list((ROOT / "studies" / study / "plots").glob("*")), "no results: delete it, or run it"


def test_plain_dvc_does_not_see_them() -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        assert {Path(stage.path).parent for stage in repo.index.stages} == {ROOT}
