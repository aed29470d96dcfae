"""Damage on the disk is named, removed and rebuilt, in a toy project."""

import json
from pathlib import Path

import pytest

from tests.tools.conftest import repro
from tools.verify import file_md5, output_md5, verify


def overwrite(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))


def cached(toy: Path, path: Path) -> Path:
    digest = file_md5(path)
    return toy / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def test_sound_project_has_no_damage(toy: Path) -> None:
    assert verify(toy, toy / ".dvc/cache/files/md5") == []


def test_folder_hash_is_dvcs_own(toy: Path) -> None:
    assert f"md5: {output_md5(toy / 'data/many')}" in (toy / "dvc.lock").read_text()


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt", "metrics/count.json"])
def test_damaged_output_is_removed_and_made_again(toy: Path, name: str) -> None:
    before = (toy / name).read_bytes()
    overwrite(toy / name)
    recorded = toy / ("data/many" if "many" in name else name)
    assert verify(toy, toy / ".dvc/cache/files/md5", keep=True) == [recorded]
    assert recorded.exists()
    assert verify(toy, toy / ".dvc/cache/files/md5") == [recorded]
    assert not recorded.exists()
    repro(toy)
    assert (toy / name).read_bytes() == before
    assert verify(toy, toy / ".dvc/cache/files/md5") == []


@pytest.mark.parametrize("name", ["data/out.txt", "data/many/3.txt"])
def test_damaged_cache_object_is_removed_and_made_again(toy: Path, name: str) -> None:
    """Damaged in the cache and gone from the workspace: DVC alone would bring the damage back."""
    before = (toy / name).read_bytes()
    damaged = cached(toy, toy / name)
    overwrite(damaged)
    (toy / name).unlink()
    found = verify(toy, toy / ".dvc/cache/files/md5")
    assert damaged in found and not damaged.exists()
    repro(toy)
    assert (toy / name).read_bytes() == before
    assert damaged.exists() and verify(toy, toy / ".dvc/cache/files/md5") == []


def test_damaged_listing_is_found(toy: Path) -> None:
    listings = (toy / ".dvc/cache/files/md5").glob("*/*.dir")
    (listing,) = [path for path in listings if len(json.loads(path.read_text())) == 5]
    overwrite(listing)
    assert verify(toy, toy / ".dvc/cache/files/md5") == [listing]
    repro(toy)
    assert listing.exists() and verify(toy, toy / ".dvc/cache/files/md5") == []
