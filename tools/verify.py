"""Re-hash every output recorded in dvc.lock and every object in DVC's cache.

DVC trusts what it once hashed; a bit that flips on the disk goes unnoticed. What is damaged is named and
removed, from the workspace and from the cache, so that `dvc repro` makes it again. Exit code 1 if
anything was damaged.

    python -m tools.verify [--keep]     # or: make verify
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from kinetoken.core.errors import UserError
from tools.smoke import recorded_outputs


def damaged_objects(cache: Path) -> Iterator[Path]:
    """Cache objects, files and `.dir` listings, whose content does not hash to their name."""
    for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*")):
        name = path.parent.name + path.name.removesuffix(".dir")
        if path.is_file() and len(name) == 32 and file_md5(path) != name:
            yield path


def damaged_outputs(root: Path) -> Iterator[Path]:
    """Recorded outputs in the workspace that are not what dvc.lock says; absent ones are no damage."""
    for _, out in recorded_outputs(root):
        path = root / out["path"]
        if path.exists() and output_md5(path) != out["md5"]:
            yield path


def output_md5(path: Path) -> str:
    """DVC's hash of a file, or of a folder: of its sorted listing as JSON, with `.dir` behind it."""
    if not path.is_dir():
        return file_md5(path)
    files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    listing = [{"md5": file_md5(file), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def verify(root: Path, cache: Path, *, keep: bool = False) -> list[Path]:
    """What is damaged, removed unless `keep`."""
    damaged = [*damaged_outputs(root), *damaged_objects(cache)]
    if not keep:
        for path in damaged:
            _remove(path)
    return damaged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="name what is damaged, remove nothing")
    options = parser.parse_args()
    from dvc.repo import Repo

    root = Path.cwd()
    with Repo(str(root)) as repo:
        cache = Path(repo.cache.local.path)
    try:
        damaged = verify(root, cache, keep=options.keep)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in damaged:
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        print(f"damaged{'' if options.keep else ' and removed'}: {shown}")
    print(f"{len(damaged)} damaged; make repro makes them again" if damaged else "all outputs and the cache are sound")
    return int(bool(damaged))


if __name__ == "__main__":
    raise SystemExit(main())
