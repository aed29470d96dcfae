"""Pages name what is there: all of this repository's, and toy pages with faults of every kind."""

from pathlib import Path

import pytest

from tools.commands import Command, split
from tools.docs_check import anchors, check, commands, links

ROOT = Path(__file__).parents[2]
FILES = {
    "Makefile": "repro:\n\t@x $(ARGS)\nstudy:\n\t@x $(NAME) $(STAGE)\nverify:\n\t@$(if $(filter 1,$(REPAIR)),x)\n",
    "params.yaml": "count:\n  times: 5\n",
    "dvc.yaml": "stages:\n  count:\n    foreach: [a, b]\n    do: {cmd: x, outs: ['data/${key}/out.txt']}\n",
    "pyproject.toml": "[project]\nname = 'toy'\n[project.optional-dependencies]\nllm = []\n",
    "requirements.txt": "",
    "stages/count.py": "import argparse\n\ndef main():\n    parser = argparse.ArgumentParser()\n"
                       "    parser.add_argument('--times', type=int)\n    parser.add_argument('--out')\n"
                       "    parser.parse_args()\n    raise AssertionError('it ran')\n\n"
                       "class Params:\n    times: int\n    pause: int = 0\n\n"
                       "if __name__ == '__main__':\n    main()\n",
    "stages/__init__.py": "",
    "stages/silent.py": "raise AssertionError('it ran')\n",
    "stages/broken.py": "import argparse, none\n",
    "studies/toy/dvc.yaml": "stages:\n  tell: {cmd: x}\n",
    "tests/test_count.py": "def test_times(): ...\n",
    "profiles/gpu.yaml": "",
    "docs/other.md": "# Other page\n\n## A part, with `code`\n\n## A part, with `code`\n",
}
CLI = """\
import typer
app = typer.Typer()
@app.command()
def diagnose(codes: str, clips: str = "", json: bool = False): ...
actions = typer.Typer()
@actions.command("check")
def check_(folder: str): ...
@actions.callback()
def both(): ...
app.add_typer(actions, name="actions")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def faults(project: Path, page: str) -> list[str]:
    (project / "README.md").write_text(page, encoding="utf-8")
    return check(project, run=False).faults


def test_this_repositorys_pages_name_what_is_there() -> None:
    outcome = check(ROOT)
    assert outcome.faults == []
    assert outcome.pages >= 25 and outcome.commands >= 60 and outcome.links >= 40
    assert not outcome.skipped or not (ROOT / "kinetoken/cli.py").exists()


SOUND = """\
make repro ARGS=--force    # again
make study NAME=toy STAGE=tell && make study NAME=…
make verify REPAIR=1
python -m stages.count --times 3 --out x.txt
python -m stages.count --help
python stages/count.py --times=3
python -m stages.NAME --help
dvc repro count@a
dvc exp run -S count.times=3
dvc exp run -S +count.pause=3 -S ++count.times=3
dvc metrics show data/a/out.txt
cd studies/toy && dvc repro tell
pytest tests/test_count.py::test_times -x
pip install .
pip install '.[llm]'
pip install -r requirements.txt
OMP_NUM_THREADS=1 python -m stages.count > log.txt
git switch -c short
. .venv/bin/activate
python -m stages.count --out data/a/out.txt
python -m stages.count --out my/own/file.txt
"""
FAULTY = {
    "make reprod": "the Makefile has no target reprod",
    "make repro FORCE=1": "the Makefile reads no FORCE",
    "make study NAME=none": "there is no studies/none/dvc.yaml",
    "make study NAME=toy STAGE=none": "studies/toy/dvc.yaml has no stage none",
    "python -m stages.none": "there is no module stages.none",
    "python -m stages.count --times 3 --none": "unrecognized arguments: --none",
    "python -m stages.count --times many": "argument --times: invalid int value: 'many'",
    "python -m stages.silent --help": "stages.silent reads no flags through argparse",
    "python -m stages.broken --help": "stages.broken does not start: ModuleNotFoundError",
    "python stages/none.py": "there is no stages/none.py",
    "python -c 'print()'": "only `-m MODULE` and `FILE.py` can be checked",
    "python -m stages.count --out data/c/out.txt": "there is no data/c/out.txt, and no stage writes it",
    "dvc repor": "invalid choice: 'repor'",
    "dvc repro --fast": "unrecognized arguments: --fast",
    "dvc repro count@c": "no stage and no file count@c",
    "dvc exp run -S count.time=3": "params.yaml has no count.time",
    "dvc exp run -S +count.time=3": "no dataclass of the code has a field for count.time",
    "dvc exp run -S +count.times=3": "params.yaml has count.times already",
    "pytest tests/test_none.py": "there is no tests/test_none.py",
    "pytest tests/test_count.py::test_none": "tests/test_count.py has no test_none",
    "pytest tests --none": "--none is no flag of pytest",
    "pip install '.[none]'": "pyproject.toml has no extra none",
    "pip install -r none.txt": "there is no none.txt",
    "export NOBODY_READS_THIS=1": "no code reads NOBODY_READS_THIS",
    "cd none": "there is no such folder",
    "npm install": "'npm' is no program that pages are known to call",
    "make 'repro": "No closing quotation",
}


def test_sound_commands_pass(project: Path) -> None:
    assert faults(project, f"```sh\n{SOUND}```\n") == []


def test_each_fault_is_named_with_page_and_line(project: Path) -> None:
    found = faults(project, "# Toy\n\n```sh\n" + "\n".join(FAULTY) + "\n```\n")
    assert [fault.partition(": ")[0] for fault in found] == [f"README.md:{4 + row}" for row in range(len(FAULTY))]
    for fault, said in zip(found, FAULTY.values(), strict=True):
        assert said in fault


def test_commands_within_sentences_and_files_that_are_named(project: Path) -> None:
    page = "Run `make repro`, `make none` or `dvc`.\n`stages/count.py` and `stages/none.py`, not `stages/NAME.py`.\n"
    assert [fault.partition(": ")[0] for fault in faults(project, page)] == ["README.md:1", "README.md:2"]


def test_dead_links_and_headings(project: Path) -> None:
    page = """\
[a](docs/other.md) [b](docs/other.md#a-part-with-code) [c](docs/other.md#a-part-with-code-1) [d](https://none.example)
![e](plots/none.png) [f](docs/none.md) [g](docs/other.md#none) `[h](none.md)`
"""
    assert faults(project, page) == [
        "README.md:2: link to docs/none.md: there is no docs/none.md",
        "README.md:2: link to docs/other.md#none: docs/other.md has no heading #none",
        "README.md:2: link to plots/none.png: there is no plots/none.png",
    ]


def test_the_command_is_checked_once_it_is_there(project: Path) -> None:
    page = "```\nkinetoken diagnose codes.npz --json\nkinetoken actions check x\nkinetoken --help\n" \
           "kinetoken diagnose codes.npz --none\nkinetoken none\nkinetoken actions none\n```\n"
    (project / "README.md").write_text(page, encoding="utf-8")
    assert len(check(project, run=False).skipped) == 6
    (project / "kinetoken").mkdir()
    (project / "kinetoken/__init__.py").touch()
    (project / "kinetoken/cli.py").write_text(CLI, encoding="utf-8")
    found = check(project, run=False)
    assert found.skipped == []
    assert [fault.partition(": ")[0] for fault in found.faults] == ["README.md:5", "README.md:6", "README.md:7"]
    assert "--none" in found.faults[0] and "no sub-command 'none'" in found.faults[1]


def test_what_of_a_block_is_a_command() -> None:
    page = "```console\n$ make \\\n  repro\noutput\n```\n```text\nnpm\n```\n```yaml\na: b\n```\n~~~\nmake a\n~~~\n"
    assert list(commands("a.md", page)) == [
        Command("a.md:2", ("make", "repro")), Command("a.md:13", ("make", "a")),
    ]


def test_a_line_of_shell_is_split() -> None:
    found = list(split("cd a && X=1 dvc repro b | tail -3 > out.txt; (make <name>)  # why", "a.md:1"))
    assert [(each.words, each.folder) for each in found] == [
        (("cd", "a"), "."), (("X=1", "dvc", "repro", "b"), "a"), (("tail", "-3"), "a"), (("make", "…"), "a"),
    ]


def test_headings_and_links_as_github_has_them() -> None:
    assert anchors("# A *b*, `c_d`!\n```\n# no\n```\n## [Link](x.md) – e\n") == {"a-b-c_d", "link--e"}
    assert list(links('[a](b.md "t") <img src="c.png">\n[r]: d.md\n[m](mailto:x@y)\n')) == [
        (1, "b.md"), (1, "c.png"), (2, "d.md"),
    ]
