"""A toy project of two stages, for the commands that look after a pipeline."""

import shutil
from pathlib import Path

import pytest

from tools.smoke import dvc_process, git

FILES = {
    "dvc.yaml": """\
stages:
  double:
    cmd: python -m stages.double
    deps: [stages/double.py, data/in.txt]
    params: [double]
    outs: [data/out.txt, data/many]
  count:
    cmd: python -m stages.count
    deps: [stages/count.py, data/out.txt]
    metrics: [metrics/count.json: {cache: false}]
    plots: [plots/count: {cache: false}]
plots:
  - plots/count/words.csv: {x: word, y: length}
""",
    "params.yaml": "double:  # how\n  times: 5\n",
    "profiles/smoke.yaml": "double:\n  times: 2\n",
    "stages/__init__.py": "",
    "stages/double.py": """\
import pathlib, re
times = int(re.search(r"times: (\\d+)", pathlib.Path("params.yaml").read_text())[1])
text = pathlib.Path("data/in.txt").read_text() * times
pathlib.Path("data/out.txt").write_text(text)
pathlib.Path("data/many").mkdir()
for i in range(times):
    pathlib.Path(f"data/many/{i}.txt").write_text(f"{i} {text}")
""",
    "stages/count.py": """\
import json, pathlib
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/count.json").write_text(json.dumps({"length": len(pathlib.Path("data/out.txt").read_text())}))
pathlib.Path("plots/count").mkdir(parents=True, exist_ok=True)
pathlib.Path("plots/count/words.csv").write_text("word,length\\n0,4\\n1,4\\n")
""",
    "data/in.txt": "word ",
    ".gitignore": "run_info/\n__pycache__/\n/data/out.txt\n/data/many\n",
    ".dvc/config": "[core]\n    analytics = false\n",
    ".dvc/.gitignore": "/tmp\n/cache\n",
    ".dvcignore": "run_info\n",
}


def repro(folder: Path) -> str:
    """The output of `dvc repro`, which must succeed."""
    log = folder / "run_info" / "dvc.log"
    log.parent.mkdir(exist_ok=True)
    assert dvc_process(folder, "repro", log=log).wait() == 0, log.read_text()
    return log.read_text()


@pytest.fixture(scope="session")
def _toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet")
    repro(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "toy")
    return folder


@pytest.fixture
def toy(_toy: Path, tmp_path: Path) -> Path:
    """A repository whose pipeline ran and whose dvc.lock is committed."""
    return Path(shutil.copytree(_toy, tmp_path / "toy"))
