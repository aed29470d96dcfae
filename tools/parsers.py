"""Whether commands would be understood by the programs that they call; nothing of what they ask for is done.

Runs as a process of its own, since it imports every program that it asks: a list of questions as JSON on standard
input, the list of answers on standard output.

    echo '[["python", "stages.train_classifier", ["--epochs", "3"]]]' | python -m tools.parsers

A question is a kind, a name and words: `python` with a module or a file, `dvc`, or `kinetoken`. An answer holds
`fault`, a sentence or null, and what the program took for `targets` and `params` (of `dvc` only).
"""

import argparse
import contextlib
import io
import json
import re
import runpy
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

READS_FLAGS = re.compile(r"\b(argparse|run_stage)\b")  # what has neither is never run
PARSE = argparse.ArgumentParser.parse_known_args


class _Found(BaseException):
    """Carries a program's parser out of the program that is about to use it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def _capture(self: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
    raise _Found(self)


@cache
def parser_of(name: str) -> argparse.ArgumentParser | str:
    """The parser of the module `a.b` or the file `a/b.py`, or a sentence that says why there is none."""
    path = name.removesuffix(".py").replace(".", "/")
    file = next((file for file in (Path(f"{path}.py"), Path(f"{path}/__main__.py")) if file.is_file()), None)
    if file is None or not READS_FLAGS.search(file.read_text(encoding="utf-8")):
        return f"{name} reads no flags through argparse, so they cannot be checked"
    sys.argv = [name, "--help"]
    argparse.ArgumentParser.parse_known_args = _capture  # type: ignore[method-assign]
    try:
        if name.endswith(".py"):
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except _Found as found:
        return found.parser
    except (Exception, SystemExit) as error:
        return f"{name} does not start: {type(error).__name__}: {error}"
    finally:
        argparse.ArgumentParser.parse_known_args = PARSE  # type: ignore[method-assign]
    return f"{name} reads no flags when it is asked for help"


def ask_python(name: str, words: Sequence[str]) -> dict[str, Any]:
    parser = parser_of(name)
    if isinstance(parser, str):
        return {"fault": parser}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
    except SystemExit as error:
        if error.code:
            return {"fault": said.getvalue().strip().splitlines()[-1].partition("error: ")[2]}
    return {"fault": None}


def ask_dvc(_: str, words: Sequence[str]) -> dict[str, Any]:
    from dvc.cli.parser import DvcParser, get_main_parser

    def refuse(self: DvcParser, message: str, *_: object) -> NoReturn:
        raise ValueError(message)

    DvcParser.error = refuse
    try:
        taken = get_main_parser().parse_args(list(words))
    except ValueError as error:
        return {"fault": str(error).partition(" (choose from")[0]}
    except SystemExit:  # after --help
        return {"fault": None}
    return {"fault": None, "targets": getattr(taken, "targets", None) or [],
            "params": getattr(taken, "set_param", None) or []}


def ask_kinetoken(_: str, words: Sequence[str]) -> dict[str, Any]:
    from typer.main import get_command

    return {"fault": click_fault(get_command(import_module("kinetoken.cli").app), list(words))}


def click_fault(command: Any, words: list[str]) -> Any:  # noqa: ANN401 - typer carries a click of its own
    """A sentence for what a command would not understand (a flag, a sub-command), or None; files are not looked for."""
    context = command.context_class(command, info_name=command.name)
    try:
        _, rest, _ = command.make_parser(context).parse_args(words)
    except Exception as error:
        return error.format_message() if hasattr(error, "format_message") else str(error)
    if not rest or not hasattr(command, "get_command"):
        return f"too many words: {' '.join(rest)}" if rest else None
    below = command.get_command(context, rest[0])
    return f"no sub-command '{rest[0]}'" if below is None else click_fault(below, rest[1:])


ASK = {"python": ask_python, "dvc": ask_dvc, "kinetoken": ask_kinetoken}


def main() -> int:
    questions = json.load(sys.stdin)
    with contextlib.redirect_stdout(io.StringIO()):  # help texts
        answers = [ASK[kind](name, words) for kind, name, words in questions]
    json.dump(answers, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
