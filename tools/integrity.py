"""Tell files that are damaged from files that only differ from dvc.lock. Reads; changes nothing.

A cache object is damaged if its bytes do not hash to its name. An output in the workspace whose content is
not what dvc.lock records is damaged only if one of these proves it:

1. Its bytes are those of the damaged cache object that dvc.lock records for it: linked to it, or copied from it.
2. DVC's state database holds another hash for the same inode, size and time of change. DVC saw other bytes in
   this very file, and no program has written to it since.
3. It is a whole Parquet file, and a page of it fails its checksum.

Everything else was written by someone (trained by hand, another revision, an extra file in a folder): it differs.
Files that .dvcignore hides are neither, as DVC does not hash them.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kinetoken.core.errors import UserError
from tools.smoke import git, recorded_outputs

SHELF = ".damaged"  # where a repair moves things
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Finding:
    """One file or folder that is not as recorded; `name` is how it is shown, `path` where it lies."""

    kind: Literal["damaged", "differs", "not checked"]
    name: str
    why: str
    path: Path
    content: str = ""  # hash of the bytes as they are
    record: str = ""  # hash of the bytes as they were, if known


@dataclass
class Examination:
    """What was found, and where the workspace holds good copies."""

    findings: list[Finding] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)  # hash to a file of that content
    listings: dict[str, bytes] = field(default_factory=dict)  # hash of a folder to its listing


@dataclass(frozen=True)
class Project:
    """A repository as DVC sees it: its cache, what it ignores, the hashes it remembers; and what git tracks."""

    root: Path
    cache: Path
    state: Any
    ignore: Any
    tracked: frozenset[str]

    def object(self, digest: str) -> Path:
        """Where the cache keeps the content of this hash."""
        return self.cache / digest[:2] / digest[2:]

    def seen(self, path: Path) -> str:
        """The hash that DVC remembers for this inode, size and time of change; empty if it has none."""
        from dvc.fs import localfs
        from dvc_data.fsutils import _localfs_info

        _, seen = self.state.get(str(path), localfs, info=_localfs_info(str(path)))
        return str(seen.value) if seen and seen.name == "md5" else ""

    def hides(self, path: Path) -> bool:
        """Whether .dvcignore hides this output."""
        from dvc.fs import localfs

        return bool(self.ignore.is_ignored(localfs, str(path)))

    def files(self, path: Path) -> dict[str, Path]:
        """Name inside the output to file, for all that DVC hashes; a file's own name is empty."""
        from dvc.fs import localfs

        if not path.is_dir():
            return {"": path}
        found = (Path(name) for name in self.ignore.find(localfs, str(path)))
        return {file.relative_to(path).as_posix(): file for file in found if file.is_file()}


@contextmanager
def open_project(root: Path, *, exclusive: bool = False) -> Iterator[Project]:
    """The repository at `root`; `exclusive` keeps DVC's commands and running stages out, or raises UserError."""
    if not (root / ".dvc").is_dir():
        raise UserError(f"{root}: no DVC repository here; run this in the repository's own folder")
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.rwlock import rwlock
    from dvc.scm import SCM

    with ExitStack() as stack:
        try:
            # without git at hand, DVC does not edit .gitignore files on opening
            repo = stack.enter_context(Repo(str(root), scm=SCM(str(root), no_scm=True)))
            if exclusive:
                stack.enter_context(repo.lock)
                stack.enter_context(rwlock(repo.tmp_dir, repo.fs, "tools.verify", [], [str(root)], False))
        except DvcException as error:
            raise UserError(" ".join(str(error).split())) from None
        tracked = frozenset(filter(None, git(root, "ls-files", "-z").split("\0")))
        yield Project(root, Path(repo.cache.local.path), repo.state, repo.dvcignore, tracked)


def examine(project: Project) -> Examination:
    """Every cache object, then every output of dvc.lock. UserError, before any hashing, if that is no lock of DVC."""
    outputs = [(out["path"], out.get("md5")) for _, out in recorded_outputs(project.root)]
    done = Examination()
    found: dict[tuple[str, str], Finding] = {}
    for path in sorted(project.cache.glob("[0-9a-f][0-9a-f]/*")):
        for finding in _reading(shown(project.root, path), path, _object(project, path)):
            found[finding.kind, finding.name] = finding
    broken = {finding.record: finding.content for finding in found.values()}
    for name, record in outputs:
        for finding in _reading(name, project.root / name, _output(project, name, record, broken, done)):
            found.setdefault((finding.kind, finding.name), finding)
    done.findings = list(found.values())
    return done


def shown(root: Path, path: Path) -> str:
    """The path from the repository's root where it has one."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _reading(name: str, path: Path, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; a file that cannot be read ends them as one more."""
    try:
        yield from findings
    except OSError as error:
        yield Finding("not checked", name, error.strerror or str(error), path)


def _object(project: Project, path: Path) -> Iterator[Finding]:
    record = path.parent.name + path.name
    if MD5.fullmatch(record) and path.is_file():
        content = file_md5(path)
        if content != record.removesuffix(".dir"):
            why = "its bytes do not hash to its name"
            yield Finding("damaged", shown(project.root, path), why, path, content, record)


def _output(
    project: Project, name: str, record: object, broken: Mapping[str, str], done: Examination
) -> Iterator[Finding]:
    """`broken` is the content of every damaged cache object by its name; good copies are added to `done`."""
    path = project.root / name
    if reason := _refusal(project.root, name):
        yield Finding("not checked", name, reason, path)
    elif not isinstance(record, str) or not MD5.fullmatch(record):
        yield Finding("not checked", name, "dvc.lock records no md5 of it", path)
    elif path.exists() and not project.hides(path):
        if path.is_file() or path.is_dir():
            yield from _content(project, name, record, broken, done)
        else:
            yield Finding("not checked", name, "neither a file nor a folder", path)


def _refusal(root: Path, name: str) -> str:
    """Why dvc.lock must not name this path; empty if it may."""
    parts = PurePosixPath(name).parts
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        return "no path that a file can have"
    if name.startswith("/"):
        return "an absolute path"
    if ".." in parts:
        return "it leads upwards with '..'"
    if not parts:
        return "the repository itself"
    real, home = followed(root / name), followed(root)
    if home.is_relative_to(real):
        return "it leads to a folder that holds the repository"
    inside = real.relative_to(home).parts if real.is_relative_to(home) else ()
    if _lower(parts) & {".git", ".dvc", SHELF} or ".git" in _lower(inside):
        return f"it belongs to git, DVC or {SHELF}"
    return ""


def followed(path: Path) -> Path:
    """The path with its symbolic links followed; unlike Path.resolve, no error where they run in a circle."""
    return Path(os.path.realpath(path))


def _lower(parts: tuple[str, ...]) -> set[str]:
    return {part.lower() for part in parts}


def _content(
    project: Project, name: str, record: str, broken: Mapping[str, str], done: Examination
) -> Iterator[Finding]:
    """Compare an output that is here with its recorded hash, a folder file by file where its listing is known."""
    path = project.root / name
    found = {inside: file_md5(file) for inside, file in project.files(path).items()}
    done.files |= {md5: path / inside for inside, md5 in found.items()}
    if "" not in found:
        done.listings |= dict([_listing(found)])
    if (found.get("") or _listing(found)[0]) == record:
        return
    recorded = _recorded(project, record, broken)
    damaged = []
    for inside, md5 in found.items():
        expected = (recorded or {}).get(inside, "")
        if recorded is None or expected not in ("", md5):
            for why, was in _proof(project, path / inside, md5, expected, broken):
                damaged.append(inside)
                yield Finding("damaged", shown(project.root, path / inside), why, path / inside, md5, was)
    if why := _difference(found, record, recorded, damaged):
        yield Finding("differs", name, why, path)


def _listing(found: Mapping[str, str]) -> tuple[str, bytes]:
    """DVC's hash of a folder, and the listing that it is the hash of: sorted JSON."""
    entries = [{"md5": found[name], "relpath": name} for name in sorted(found)]
    content = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(content).hexdigest() + ".dir", content


def _recorded(project: Project, record: str, broken: Mapping[str, str]) -> dict[str, str] | None:
    """Name to hash of each recorded file; None for a folder whose listing is damaged or not in the cache."""
    if not record.endswith(".dir"):
        return {"": record}
    listing = project.object(record)
    if record in broken or not listing.is_file():
        return None
    try:
        return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(listing.read_bytes())}
    except (ValueError, KeyError, TypeError):
        return None


def _proof(
    project: Project, path: Path, content: str, record: str, broken: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What proves that a file's unexpected content is damage, and the hash of what it was; nothing if nothing does."""
    seen = project.seen(path)  # asked after the bytes were read, so that they are the bytes of this stat
    if broken.get(record) == content:
        yield "the bytes of a damaged cache object", record
    elif seen not in ("", content):
        yield "its bytes changed since DVC read them, its size and time of change did not", seen
    elif is_damaged_parquet(path):
        yield "a page of this Parquet file fails its checksum", record


def _difference(
    found: Mapping[str, str], record: str, recorded: Mapping[str, str] | None, damaged: list[str]
) -> str:
    """How an output differs from its record, its damaged files apart; empty if it does not."""
    if record.endswith(".dir") == ("" in found):
        return "a file, recorded as a folder" if "" in found else "a folder, recorded as a file"
    if recorded is None:
        return "" if damaged else "its content; the cache has no list of its files"
    if "" in found:
        return "" if damaged else "its content"
    changed = [name for name in found if recorded.get(name, found[name]) != found[name] and name not in damaged]
    groups = {"changed": changed, "extra": found.keys() - recorded, "missing": recorded.keys() - found}
    return "; ".join(f"{len(names)} {how}: {_first(sorted(names))}" for how, names in groups.items() if names)


def _first(names: list[str]) -> str:
    return ", ".join(names[:3] + ["…"] * (len(names) > 3))


def is_damaged_parquet(path: Path) -> bool:
    """Whether a file that is Parquet from its first to its last four bytes cannot be read."""
    if path.suffix != ".parquet" or path.stat().st_size < 12:
        return False
    with path.open("rb") as source:
        first = source.read(4)
        source.seek(-4, 2)
        if (first, source.read()) != (b"PAR1", b"PAR1"):
            return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(table.num_row_groups):
            table.read_row_group(group)
    except pa.ArrowNotImplementedError:
        return False
    except (pa.ArrowException, OSError):
        return True
    return False


def file_md5(path: Path) -> str:
    """DVC's hash of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()
