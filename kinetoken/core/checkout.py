"""Commands that work on a checkout of the repository: where it is, and programs run there."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml

PARTS = ("dvc.yaml", "stages", "tools", "kinetoken")  # by which a checkout is known


def find_checkout(start: Path) -> Path:
    """The folder of the checkout that `start` lies in. Raises UserError if it lies in none."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if all((folder / part).exists() for part in PARTS):
            return folder
    raise UserError(f"{start} is not in a checkout of the Kinetoken repository; clone it, and run this inside")


def require_stages(root: Path, names: Sequence[str]) -> None:
    """UserError for the first name that is no stage of the checkout's dvc.yaml; `name@part` is a part of one."""
    known = read_yaml(root / "dvc.yaml")["stages"]
    for name in names:
        if name.partition("@")[0] not in known:
            raise UserError(f"no stage '{name}'; there are {', '.join(known)}")


def become(root: Path, program: str, *words: str) -> NoReturn:
    """Replace this process by a program that runs in the checkout, with the checkout's own .venv if there is one.

    So its exit code is this process's, and signals reach it. Raises UserError if the program is not installed.
    """
    places = (str(root / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    path = os.pathsep.join(places)
    found = shutil.which(program, path=path)
    if found is None:
        raise UserError(f"{program} is not installed; run make setup in {root}, or pip install 'kinetoken[pipeline]'")
    sys.stdout.flush()
    os.chdir(root)
    os.execve(found, [found, *words], {**os.environ, "PATH": path})
