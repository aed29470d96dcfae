"""Outputs of a revision that DVC's cache holds, found by the hashes of dvc.lock. Nothing is checked out or fetched."""

import configparser
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kinetoken.core.errors import UserError

CONFIGS = (".dvc/config", ".dvc/config.local")  # a later one counts more
FOLDER = ".dir"  # ends the hash of a folder, whose object lists its files


def cache_folder(repository: Path) -> Path:
    """Where DVC keeps contents by their MD5: `cache.dir` of its configuration, else .dvc/cache.

    UserError for a configuration that cannot be read.
    """
    found = repository / ".dvc" / "cache"
    for name in CONFIGS:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(repository / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            raise UserError(f"{name}: not a configuration of DVC; `dvc config --list` tells more") from None
        if folder := parser.get("cache", "dir", fallback=""):
            found = (repository / name).parent / folder  # relative paths start at the configuration
    return found / "files" / "md5"


def laid_out(cache: Path, digest: str, target: Path) -> bool:
    """Make `target` a link to a cached file, or a folder of such links. False if the cache lacks any of it.

    UserError for an object that should list a folder's files and does not.
    """
    listed = _object(cache, digest)
    if listed is None:
        return False
    if not digest.endswith(FOLDER):
        target.symlink_to(listed)
        return True
    files = {target / name: _object(cache, each) for name, each in _listing(listed).items()}
    if None in files.values():
        return False
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content)  # type: ignore[arg-type]
    return True


def _object(cache: Path, digest: str) -> Path | None:
    path = cache / digest[:2] / digest[2:]
    return path.resolve() if digest[2:] and "/" not in digest and path.is_file() else None


def _listing(path: Path) -> Mapping[str, str]:
    """File → hash of a cached folder."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {str(row["relpath"]): str(row["md5"]) for row in rows}
    except (ValueError, TypeError, KeyError):
        raise UserError(f"DVC's cache holds a damaged object, {path.name}; make verify tells more") from None
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in found):
        raise UserError(f"DVC's cache holds an object that leads out of its folder, {path.name}")
    return found
