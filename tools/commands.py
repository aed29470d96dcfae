"""What a command that a page shows must satisfy, by the program that it calls: an unknown program is a fault.

Flags are held against the program's own parser (`tools/parsers.py`), targets, files, params and studies against the
project. `…`, `...`, `<name>` and words in capitals such as NAME stand for whatever a reader fills in.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from kinetoken.core.params import read_yaml
from tools.smoke import clone, environment, git

OPEN = re.compile(r"…|\.\.\.|^[A-Z][A-Z_]*$")  # a word that stands for others
OURS = ("kinetoken", "stages", "studies", "tools", "benchmarks", "tests")
PYTEST_FLAGS = ("-k", "-m", "-n", "-q", "-s", "-v", "-x", "--lf", "--dist", "--durations", "--cov")
GIT = ("checkout", "clone", "commit", "diff", "log", "show", "status", "switch")
WRITES_NOTHING = (["metrics", "show"], ["exp", "show"], ["params", "diff"], ["dag"], ["stage", "list"])
ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PATH")
SEPARATORS = {"&&", "||", ";", "|", "&"}


@dataclass(frozen=True)
class Command:
    """One call of a program, and where a page shows it."""

    where: str  # README.md:12
    words: tuple[str, ...]
    folder: str = "."  # of the project, after `cd`

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass
class Project:
    """What commands may name. Questions for other programs are gathered in `asked` and put all at once."""

    root: Path
    asked: list[tuple[Command, str, str, list[str]]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @cached_property
    def makefile(self) -> str:
        return self.text("Makefile")

    @cached_property
    def targets(self) -> set[str]:
        return set(re.findall(r"^([a-z][\w-]*):", self.makefile, re.MULTILINE))

    @cached_property
    def files(self) -> set[str]:
        """Files of the repository and the folders that hold them; of a folder that is no repository all of it."""
        if (self.root / ".git").exists():
            names = git(self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        else:
            names = [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]
        found = {name for name in names if name and (self.root / name).exists()}
        return found | {str(folder) for name in found for folder in PurePosixPath(name).parents}

    @cached_property
    def recorded(self) -> set[str]:
        """Outputs of the default pipeline."""
        found = set()
        for stage in self.stages(".").values():
            for name in stage.get("foreach", [""]):
                for part in ("outs", "metrics", "plots"):
                    entries = stage.get("do", stage).get(part, [])
                    paths = (entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)
                    found |= {path.replace("${key}", name) for path in paths}
        return found

    @cached_property
    def folders(self) -> set[str]:
        """The first parts of all paths."""
        return {name.partition("/")[0] for name in self.files | self.recorded if "/" in name}

    @cached_property
    def extras(self) -> set[str]:
        return set(tomllib.loads(self.text("pyproject.toml")).get("project", {}).get("optional-dependencies", {}))

    @cached_property
    def code(self) -> str:
        """All code, for names that it reads of the environment."""
        names = (name for name in self.files if name.endswith(".py") and name.partition("/")[0] in OURS)
        return self.makefile + "".join(map(self.text, names))

    def text(self, name: str) -> str:
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def stages(self, folder: str) -> dict[str, Any]:
        path = self.root / folder / "dvc.yaml"
        found: dict[str, Any] = read_yaml(path).get("stages", {}) if path.is_file() else {}
        return found

    def has(self, name: str) -> bool:
        """A file or folder of the repository, an output of the pipeline, or something below one of those outputs."""
        name = name.rstrip("/")
        return name in self.files or any(
            name == out or name.startswith(f"{out}/") or out.startswith(f"{name}/") for out in self.recorded
        )

    def has_param(self, name: str) -> bool:
        node: Any = read_yaml(self.root / "params.yaml") if self.text("params.yaml") else {}
        for key in name.split("."):
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
        return True

    def adds_param(self, name: str) -> bool:
        """May the param be added to params.yaml: is its section there, and does some code declare a field so named?"""
        section, _, key = name.rpartition(".")
        return self.has_param(section) and bool(re.search(rf"^    {key}: ", self.code, re.MULTILINE))


def split(line: str, where: str) -> Iterator[Command]:
    """The calls of one line of shell, in order; ValueError for a quote that is not closed."""
    lexer = shlex.shlex(re.sub(r"<[\w -]+>", "…", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    folder, words = ".", list[str]()
    tokens = iter([*lexer, ";"])
    for token in tokens:
        if token in SEPARATORS:
            if words:
                yield Command(where, tuple(words), folder)
            if words[:1] == ["cd"] and len(words) == 2:
                folder = os.path.normpath(f"{folder}/{words[1]}")
            words = []
        elif token[0] in "<>":
            next(tokens, None)  # where it goes, or comes from
        elif token not in "()":
            words.append(token)


def faults(commands: Sequence[Command], project: Project) -> Iterator[str]:
    """A sentence for each thing that a command names and that is not there."""
    for command in commands:
        for fault in _of(command, list(command.words), project):
            yield _sentence(command, fault)
    for command, answer in zip((each[0] for each in project.asked), _answers(project), strict=True):
        if answer["fault"]:
            yield _sentence(command, answer["fault"])
        else:
            for fault in _dvc_names(command, answer, project):
                yield _sentence(command, fault)


def _sentence(command: Command, fault: str) -> str:
    return f"{command.where}: `{command}`: {fault}"


def _answers(project: Project) -> list[dict[str, Any]]:
    questions = [question for _, *question in project.asked]
    if not questions:
        return []
    env = environment() | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "tools.parsers"], cwd=project.root, env=env, input=json.dumps(questions),
        capture_output=True, text=True,
    )
    if done.returncode:
        raise RuntimeError(f"tools.parsers failed:\n{done.stderr}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _of(command: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    """Faults of a command; `words` may be the later part of it."""
    while words and (match := re.fullmatch(r"(\w+)=.*", words[0])):
        yield from _variable(match[1], project)
        words = words[1:]
    if not words:
        return
    program = PurePosixPath(words[0]).name or words[0]
    program = "python" if re.fullmatch(r"python[\d.]*", program) else program
    if program in KINDS:
        yield from KINDS[program](command, words[1:], project)
    else:
        yield (f"'{words[0]}' is no program that pages are known to call; if it is no command, say what the block is "
               "(```text), else add it to KINDS in tools/commands.py")


def _variable(name: str, project: Project) -> Iterator[str]:
    if name not in ENVIRONMENT and not re.search(rf"\b{name}\b", project.code):
        yield f"no code reads {name} from the environment"


def _make(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    for word in words:
        name, sets, given = word.partition("=")
        if not sets:
            if not word.startswith("-") and not OPEN.search(word) and word not in project.targets:
                yield f"the Makefile has no target {word}"
        elif not re.search(rf"\$\({name}\)|\$\((?:if|filter) [^)]*\b{name}\b", project.makefile):
            yield f"the Makefile reads no {name}"
        elif name == "PROFILE" and not OPEN.search(given) and f"profiles/{given}.yaml" not in project.files:
            yield f"there is no profiles/{given}.yaml"
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    if "study" in words and not OPEN.search(study := variables.get("NAME", "…")):
        stages = project.stages(f"studies/{study}")
        if not stages:
            yield f"there is no studies/{study}/dvc.yaml"
        elif not OPEN.search(stage := variables.get("STAGE", "…")) and stage.partition("@")[0] not in stages:
            yield f"studies/{study}/dvc.yaml has no stage {stage}"


def _python(command: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if words[:1] == ["-m"] and len(words) > 1:
        name, rest = words[1], words[2:]
        path = name.replace(".", "/")
        if name == "pip":
            yield from _pip(command, rest, project)
        elif any(OPEN.search(part) for part in name.split(".")) or name == "venv":
            return
        elif name == "kinetoken.cli":
            yield from _kinetoken(command, rest, project)
        elif not {f"{path}.py", f"{path}/__main__.py"} & project.files:
            yield f"there is no module {name}"
        else:
            project.asked.append((command, "python", name, _filled(rest)))
            yield from _paths(rest, project)
    elif words and words[0].endswith(".py"):
        if words[0] not in project.files:
            yield f"there is no {words[0]}"
        else:
            project.asked.append((command, "python", words[0], _filled(words[1:])))
            yield from _paths(words[1:], project)
    else:
        yield "of python only `-m MODULE` and `FILE.py` can be checked"


def _filled(words: Sequence[str]) -> list[str]:
    return [word for word in words if not OPEN.search(word)]


def _paths(words: Sequence[str], project: Project) -> Iterator[str]:
    """Of paths that begin like one of the project's folders: what is not there. A reader's own files are not known."""
    for word in words:
        name = word.rpartition("=")[2]
        if "/" in name and name.partition("/")[0] in project.folders and not name.startswith("data/sources/"):
            if not OPEN.search(name) and not project.has(name):
                yield f"there is no {name}, and no stage writes it"


def _kinetoken(command: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if "kinetoken/cli.py" in project.files:
        project.asked.append((command, "kinetoken", "", _filled(words)))
        yield from _paths(words, project)
    else:
        project.skipped.append(f"{command.where}: `{command}` (kinetoken/cli.py is not there)")


def _dvc(command: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    project.asked.append((command, "dvc", "", _filled(words)))
    yield from ()


def _dvc_names(command: Command, answer: dict[str, Any], project: Project) -> Iterator[str]:
    """What DVC found in a command's words, held against the pipeline of its folder."""
    for given in answer.get("params", []):
        name = given.partition("=")[0].lstrip("+~").rpartition(":")[2]
        if not given.startswith("+"):
            if not project.has_param(name):
                yield f"params.yaml has no {name}"
        elif not given.startswith("++") and project.has_param(name):
            yield f"params.yaml has {name} already, and DVC adds no param twice: leave out the +"
        elif not project.adds_param(name):
            yield f"no dataclass of the code has a field for {name}"
    stages = project.stages(command.folder)
    for target in answer.get("targets", []):
        pipeline, colon, stage = target.rpartition(":")
        known = project.stages(os.path.normpath(f"{command.folder}/{pipeline}/..")) if colon else stages
        name, at, key = stage.partition("@")
        if name in known and (not at or key in map(str, known[name].get("foreach", []))):
            continue
        if not project.has(os.path.normpath(f"{command.folder}/{target}")):
            yield f"no stage and no file {target}"


def _pytest(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    for word in words:
        file, colons, test = word.partition("::")
        if word.startswith("-"):
            if word.partition("=")[0] not in PYTEST_FLAGS:
                yield f"{word} is no flag of pytest that pages use; known are {', '.join(PYTEST_FLAGS)}"
        elif "/" in word and not OPEN.search(word):
            if file not in project.files:
                yield f"there is no {file}"
            elif colons and f"def {test.rpartition('::')[2].partition('[')[0]}(" not in project.text(file):
                yield f"{file} has no {test}"


def _pip(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if words[:1] != ["install"]:
        yield "of pip only `install` is known"
        return
    rest = iter(words[1:])
    for word in rest:
        if word in ("-r", "--requirement") and (file := next(rest, "")) not in project.files:
            yield f"there is no {file}"
        elif word in ("--python", "-c"):
            next(rest, None)
        elif match := re.fullmatch(r"(?:\.|kinetoken)\[(.+)\]", word):
            unknown = sorted(set(match[1].split(",")) - project.extras)
            yield from (f"pyproject.toml has no extra {name}" for name in unknown if not OPEN.search(name))


def _uv(command: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if words[:1] == ["pip"]:
        yield from _pip(command, words[1:], project)
    elif words[:1] != ["venv"]:
        yield "of uv only `venv` and `pip` are known"


def _git(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if not words or words[0] not in GIT:
        yield f"of git {', '.join(GIT)} are known"
    elif words[0] == "checkout":
        yield from (f"there is no {word}" for word in words[1:] if "." in word and word not in project.files)


def _cd(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if len(words) != 1 or (words[0] != "kinetoken" and words[0].rstrip("/") not in project.files):
        yield "there is no such folder"


def _export(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    for word in words:
        yield from _variable(word.partition("=")[0], project)


def _source(_: Command, words: Sequence[str], project: Project) -> Iterator[str]:
    if list(words) != [".venv/bin/activate"]:
        yield "only .venv/bin/activate is made by make setup"


KINDS: dict[str, Callable[[Command, Sequence[str], Project], Iterator[str]]] = {
    "make": _make, "python": _python, "kinetoken": _kinetoken, "dvc": _dvc, "pytest": _pytest, "pip": _pip, "uv": _uv,
    "git": _git, "cd": _cd, "export": _export, ".": _source, "source": _source,
}


def run_cheap(commands: Iterable[Command], project: Project) -> Iterator[str]:
    """Run what takes a second and only reads, in a clone that is thrown away; a sentence for each that fails."""
    chosen = {command.words: command for command in commands if command.folder == "." and _is_cheap(command.words)}
    if not chosen:
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "clone"
        clone(project.root, copy)
        for words, command in chosen.items():
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            done = subprocess.run(
                words, cwd=copy, env=environment(copy) | {"PATH": path}, capture_output=True, text=True
            )
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
                yield _sentence(command, f"fails: {last}")


def _is_cheap(words: Sequence[str]) -> bool:
    if words[0] == "make":
        return list(words) in (["make"], ["make", "help"])
    plain = all(word.startswith("-") for word in words[3:])
    return words[0] == "dvc" and plain and any(list(words[1:1 + len(each)]) == each for each in WRITES_NOTHING)
