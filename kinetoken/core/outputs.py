"""A command's outputs: whole or not at all, and never over something that exists unless that is asked for."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinetoken.core.errors import UserError


def require_free(path: Path, *, force: bool = False, folder: bool = False) -> None:
    """UserError if a file (or a `folder`) cannot be written to `path`, to be called before long work.

    Something exists there and is not to be written over; a file is where a folder goes, or a folder where a file
    goes; something above it is no folder, or a folder that may not be written to. An empty folder counts as absent.
    """
    if path.exists() and path.is_dir() != folder:
        kinds = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise UserError(f"{path} is {kinds[0]}, the output is {kinds[1]}; choose another place")
    if path.exists() and not force and not (folder and not any(path.iterdir())):
        raise UserError(f"{path} exists; choose another place, or write over it with --force")
    above = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise UserError(f"{above} is a file, so {path} cannot be made; choose another place")
    try:
        with tempfile.TemporaryFile(dir=path if path.is_dir() else above):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another place") from None


@contextmanager
def written_whole(path: Path, *, force: bool = False, folder: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a `folder`; it is moved into place when the block ends well.

    With `force` a file is replaced; in a folder, files of the same names are replaced and all others stay. If the
    block fails, what it wrote is removed. Raises UserError as `require_free` does, before the block runs.
    """
    require_free(path, force=force, folder=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in _abandoned(path):
        _remove(abandoned)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    _remove(partial)
    try:
        yield partial
        _move(partial, path)
    finally:
        _remove(partial)


def _abandoned(path: Path) -> Iterator[Path]:
    """What processes that were killed had written of the same output."""
    for found in list(path.parent.iterdir()):
        match = re.fullmatch(r"\.partial-(\d+)-(.+)", found.name, re.DOTALL)
        if match and match[2] == path.name and not _is_alive(int(match[1])):
            yield found


def _is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _move(partial: Path, path: Path) -> None:
    if not partial.is_dir():
        os.replace(partial, path)
        return
    for source in sorted(file for file in partial.rglob("*") if not file.is_dir()):
        target = path / source.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
