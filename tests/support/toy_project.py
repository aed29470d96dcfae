"""Ways to damage and to change the toy project of tests/tools/conftest.py, and to see that nothing changed."""

import os
import re
from contextlib import chdir
from pathlib import Path

import yaml

from tools.integrity import file_md5

CACHE = ".dvc/cache/files/md5"
DVCS_OWN = re.compile(r"/\.dvc/tmp$|/\.dvc/tmp/(site|lock$|rwlock)")


def cached(toy: Path, digest: str) -> Path:
    return toy / CACHE / digest[:2] / digest[2:]


def overwrite(path: Path, content: bytes) -> None:
    """New bytes in place, in a read-only file too, as an editor or a program writes them."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def flip(path: Path) -> None:
    """Change a byte as a failing disk does: size, inode and time of change stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(path, bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def hash_with_dvc(toy: Path) -> None:
    """Let DVC hash every output, so that its state database knows them."""
    from dvc.repo import Repo

    with chdir(toy), Repo() as repo:
        repo.status()


def remember(toy: Path, *paths: Path, digest: str = "0" * 32) -> None:
    """Tell DVC's state database that it hashed these files to `digest`: proof of damage, if anything is."""
    from dvc.fs import localfs
    from dvc.repo import Repo
    from dvc_data.fsutils import _localfs_info
    from dvc_data.hashfile.hash_info import HashInfo

    with Repo(str(toy)) as repo:
        for path in paths:
            repo.state.save(str(path), localfs, HashInfo("md5", digest), info=_localfs_info(str(path)))


def record(toy: Path, path: str, md5: str | None) -> None:
    """Add an output to dvc.lock, as an edit or another revision may."""
    lock = yaml.safe_load((toy / "dvc.lock").read_text())
    out = {"path": path, "hash": "md5"} | ({} if md5 is None else {"md5": md5})
    lock["stages"].setdefault("added", {"cmd": "true", "outs": []})["outs"].append(out)
    (toy / "dvc.lock").write_text(yaml.safe_dump(lock))


def snapshot(*folders: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of change and content of everything below, links as links; DVC's locks and database left out."""
    found = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if not DVCS_OWN.search(path.as_posix()):
            stat = path.lstat()
            content = os.readlink(path) if path.is_symlink() else file_md5(path) if path.is_file() else ""
            found[str(path)] = stat.st_mode, stat.st_mtime_ns, content
    return found
