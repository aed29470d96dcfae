"""Put good copies in place of damaged files, and move what is damaged aside. Nothing is deleted.

A damaged file moves to .damaged/<number>/<its path>. A verified copy takes its place where one exists: a cache
object is copied from the workspace, an output from the cache. Where none exists the place stays empty, and
`dvc repro` makes the file again. What git tracks, what lies outside the repository, and what only differs from
dvc.lock is never touched; in a folder only the damaged files are.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinetoken.core.errors import UserError
from tools.integrity import SHELF, Examination, Finding, Project, file_md5, followed

OBJECT_MODE = 0o444  # DVC trusts the content of read-only objects


class Shelf:
    """A new numbered folder under .damaged, made when the first thing is put there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder: Path | None = None
        base = root / SHELF
        if base.is_symlink() or (base.exists() and not base.is_dir()):
            raise UserError(f"{base}: must be a folder of the repository; move it away")

    def take(self, path: Path) -> str:
        """Move `path` here under its own path; returns the new path from the repository's root."""
        target = self._numbered() / place(path).relative_to(followed(self.root))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(path), str(target))
        return target.relative_to(self.root).as_posix()

    def _numbered(self) -> Path:
        if self.folder is None:
            base = self.root / SHELF
            base.mkdir(exist_ok=True)
            numbers = [int(path.name) for path in base.iterdir() if path.name.isdecimal()]
            self.folder = base / str(1 + max(numbers, default=0))
            self.folder.mkdir()
        return self.folder


def repair(project: Project, examination: Examination) -> list[tuple[Finding, str]]:
    """Repair or move every damaged file; each with what was done. The project must be open exclusively."""
    damaged = [finding for finding in examination.findings if finding.kind == "damaged"]
    if not damaged:
        return []
    shelf = Shelf(project.root)
    # outputs first: one that links to a damaged object is read through that link
    ordered = sorted(damaged, key=lambda finding: finding.path.is_relative_to(project.cache))
    return [(finding, _repair(project, finding, examination, shelf)) for finding in ordered]


def untouchable(project: Project, path: Path) -> str:
    """Why a repair leaves this path alone, links followed; empty if it may be changed."""
    home = followed(project.root)
    for real in (place(path), followed(path)):
        if not real.is_relative_to(home):
            return "it lies outside the repository"
        inside = real.relative_to(home)
        names = {part.lower() for part in inside.parts}
        if names & {".git", SHELF} or (".dvc" in names and not real.is_relative_to(followed(project.cache))):
            return f"it belongs to git, DVC or {SHELF}"
        if _tracks(project, inside):
            return "git tracks it"
    return ""


def place(path: Path) -> Path:
    """Where the entry `path` itself lies, if links lead to its folder."""
    return followed(path.parent) / path.name


def _tracks(project: Project, inside: Path) -> bool:
    """Whether git tracks the file, a folder around it (a submodule), or files in it."""
    names = {part.as_posix() for part in (inside, *inside.parents)}
    return bool(names & project.tracked) or any(name.startswith(f"{inside.as_posix()}/") for name in project.tracked)


def _repair(project: Project, finding: Finding, examination: Examination, shelf: Shelf) -> str:
    path = finding.path
    if reason := untouchable(project, path):
        return f"not changed: {reason}" + (f" (git restore {finding.name})" if reason == "git tracks it" else "")
    try:
        if file_md5(path) != finding.content:
            return "not changed: it was written since"
        with _good_copy(project, finding, examination) as fresh:
            moved = shelf.take(path)
            if fresh is None:
                return f"moved to {moved}"
            fresh.replace(path)
            return f"replaced from a good copy; the damaged one is now {moved}"
    except OSError as error:
        return f"not changed: {error.strerror or error}"


@contextmanager
def _good_copy(project: Project, finding: Finding, examination: Examination) -> Iterator[Path | None]:
    """A verified copy of what the file was, beside it so that a rename puts it in place; None if there is none."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=finding.path.parent) as folder:
        fresh = Path(folder) / finding.path.name
        for source in _sources(project, finding, examination):
            fresh.write_bytes(source) if isinstance(source, bytes) else shutil.copyfile(source, fresh)
            if file_md5(fresh) == finding.record.removesuffix(".dir"):
                is_object = finding.path.is_relative_to(project.cache)
                fresh.chmod(OBJECT_MODE if is_object else finding.path.stat().st_mode & 0o777)
                yield fresh
                return
        yield None


def _sources(project: Project, finding: Finding, examination: Examination) -> Iterator[Path | bytes]:
    """Where a good copy may be: a folder's listing, the cache, another output. None is trusted unhashed."""
    if finding.record in examination.listings:
        yield examination.listings[finding.record]
    for path in (project.object(finding.record), examination.files.get(finding.record)):
        if path is not None and path != finding.path and path.is_file():
            yield path
