"""A command's outputs: whole or not at all, and never over something that exists unless that is asked for."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinetoken.core.errors import UserError


@contextmanager
def written_whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` for a file or a folder; it is moved into place when the block ends well.

    With `force`, a file is replaced; in a folder, files of the same names are replaced and all others stay. Raises
    UserError, before the block runs, if `path` exists without `force` (an empty folder counts as absent), if a
    folder is above it that cannot be made, and afterwards if a file stands where a folder was written, or the
    other way round. If the block fails, nothing is left behind.
    """
    if not force and path.exists() and not _empty(path):
        raise UserError(f"{path} exists; choose another place, or write over it with --force")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot make this folder: {error.strerror}") from None
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    _remove(partial)
    try:
        yield partial
        _move(partial, path)
    finally:
        _remove(partial)


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _move(partial: Path, path: Path) -> None:
    if partial.is_dir() != path.is_dir() and path.exists():
        kinds = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise UserError(f"{path} is {kinds[0]}; the output is {kinds[1]}: choose another place")
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
