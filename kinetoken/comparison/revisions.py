"""A revision's committed results as files of a folder: read through git's plumbing, nothing is checked out.

`.` or `workspace` is the working tree itself. Of a commit, the files that are compared are written into a folder that
the caller throws away, so that the readers of a run's own files read them too.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kinetoken.core.errors import UserError

WORKSPACE = ("workspace", ".")
PARTS = ("params.yaml", "dvc.lock", "code", "metrics", "plots")  # what is compared, of a whole repository
NEEDED = ("params.yaml", "dvc.lock")
CODE = ("kinetoken", "stages")  # whose changed lines are counted
LARGEST = 8 * 2**20  # bytes; a larger file is no small result
PLAIN_FILE = ("100644", "100755")  # git's modes; links and submodules are left out


@dataclass(frozen=True)
class Revision:
    """One side of a comparison. `folder` holds its files at the paths that they have in the repository."""

    name: str  # as it was asked for
    commit: str  # full hash; empty for the working tree
    subject: str  # first line of the commit's message
    folder: Path

    @property
    def short(self) -> str:
        return self.commit[:10]

    def path(self, name: str) -> Path:
        return self.folder / name

    def names(self, pattern: str) -> set[str]:
        """The files that fit a pattern of `Path.glob`."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.glob(pattern) if path.is_file()}

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Put the revision's name into errors about its files, in place of the folder that they were written to."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self.name}: {str(error).replace(f'{self.folder}{os.sep}', '')}") from None


@dataclass(frozen=True)
class CodeChange:
    """A file of the code and its changed lines; None for a file that is no text."""

    path: str
    added: int | None
    removed: int | None


def find_repository(start: Path) -> Path:
    """The top folder of the git repository that `start` lies in. Raises UserError if it lies in none."""
    if not start.is_dir():
        raise UserError(f"{start}: no such folder")
    done = _run(start, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise UserError(f"{start} is not in a git repository")
    return Path(os.fsdecode(done.stdout.rstrip(b"\n")))


def resolve(repository: Path, name: str) -> str:
    """The full hash of the commit that a name stands for; empty for the working tree. UserError if there is none."""
    if name in WORKSPACE:
        return ""
    done = _run(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode or not name:
        raise UserError(f"'{name}' is no commit, branch or tag of {repository}")
    return done.stdout.decode("ascii").strip()


def opened(repository: Path, name: str, folder: Path) -> Revision:
    """The revision with its files; those of a commit are written into `folder`, which must be empty.

    Raises UserError for an unknown revision, or one that is older than the files that are compared.
    """
    commit = resolve(repository, name)
    subject = "the working tree, with changes that are not committed"
    if commit:
        _write(repository, commit, folder)
        subject = _text(repository, "log", "-1", "--format=%s", commit).strip()
    found = Revision(name, commit, subject, folder if commit else repository)
    for part in NEEDED:
        if not found.path(part).is_file():
            raise UserError(f"{name} has no {part}; choose a revision that has results of the pipeline")
    if not found.names("plots/*/numbers*.csv"):
        raise UserError(f"{name} has no plots/<stage>/numbers.csv: it has no results, or is older than these tables; "
                        "choose a later revision")
    return found


def changed_code(repository: Path, a: Revision, b: Revision) -> list[CodeChange]:
    """The files of the code that differ, with their changed lines (`git diff --numstat`)."""
    forward = bool(a.commit)
    ends = [end.commit for end in (a, b) if end.commit] if forward else [b.commit]
    options = ["--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv"]
    listed = _text(repository, "diff", *options, *([] if forward else ["-R"]), *ends, "--", *CODE)
    changes = []
    for row in filter(None, listed.split("\0")):
        added, removed, path = row.split("\t", 2)
        changes.append(CodeChange(path, *(None if count == "-" else int(count) for count in (added, removed))))
    return changes


def _write(repository: Path, commit: str, folder: Path) -> None:
    listed = _text(repository, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", *PARTS)
    blobs: list[tuple[str, str]] = []
    for row in filter(None, listed.split("\0")):
        about, path = row.split("\t", 1)
        mode, kind, digest, size = about.split()
        if kind == "blob" and mode in PLAIN_FILE and int(size) <= LARGEST and ".." not in PurePosixPath(path).parts:
            blobs.append((digest, path))
    for (_, path), content in zip(blobs, _contents(repository, [digest for digest, _ in blobs]), strict=True):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _contents(repository: Path, digests: Sequence[str]) -> Iterator[bytes]:
    """The content of each object, in order (`git cat-file --batch`)."""
    answer = _run(repository, "cat-file", "--batch", given="\n".join([*digests, ""]).encode()).stdout
    place = 0
    for digest in digests:
        end = answer.index(b"\n", place)
        header = answer[place:end].split()
        if len(header) != 3:
            raise UserError(f"{repository}: git cannot read the object {digest}; try git fsck")
        start, size = end + 1, int(header[2])
        yield answer[start:start + size]
        place = start + size + 1


def _text(repository: Path, *words: str) -> str:
    done = _run(repository, *words)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(f"git {words[0]} failed in {repository}: {said}")
    return done.stdout.decode("utf-8", errors="replace")


def _run(repository: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # a hook that calls this has GIT_DIR set, to its own repository
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        return subprocess.run(["git", "-C", str(repository), "-c", "core.quotePath=false", *words], input=given,
                              env=environment | {"GIT_OPTIONAL_LOCKS": "0"}, capture_output=True)
    except FileNotFoundError:
        raise UserError("git is not installed") from None
