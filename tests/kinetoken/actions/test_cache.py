"""The cache of decoded clips: limit, order of eviction, damage, killed writers, several processes."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from kinetoken.actions.cache import ClipCache

ALL = np.arange(4)
BYTES = 4 * 8 * 8 * 3 + 8 + 12 + 16 + 4  # of an entry


def _clip(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 8, 8, 3), np.uint8)


def test_gives_back_what_it_got(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path / "c", 10**6)
    assert cache.read("a", ALL) is None
    cache.write("a", _clip(1))
    np.testing.assert_array_equal(cache.read("a", ALL), _clip(1))
    np.testing.assert_array_equal(ClipCache(tmp_path / "c", 10**6).read("a", np.array([1, 3])), _clip(1)[[1, 3]])
    assert cache.size() == BYTES


def test_never_more_than_its_limit_and_the_least_recently_read_leave_first(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 5 * BYTES)
    for seed in range(5):
        cache.write(str(seed), _clip(seed))
        os.utime(tmp_path / f"{seed}.clip", (1000 + seed, 1000 + seed))
    assert cache.size() == 5 * BYTES
    assert cache.read("0", ALL) is not None  # now the most recent
    cache.write("5", _clip(5))
    assert cache.size() <= 5 * BYTES
    assert cache.read("1", ALL) is None
    for kept in ("0", "3", "4", "5"):
        assert cache.read(kept, ALL) is not None
    for seed in range(6, 60):
        cache.write(str(seed), _clip(seed))
        assert cache.size() <= 5 * BYTES
        np.testing.assert_array_equal(cache.read(str(seed), ALL), _clip(seed))


def test_a_smaller_limit_evicts_on_opening_and_a_larger_clip_is_not_kept(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 10 * BYTES)
    for seed in range(10):
        cache.write(str(seed), _clip(seed))
    assert ClipCache(tmp_path, 3 * BYTES).size() == 3 * BYTES
    small = ClipCache(tmp_path / "small", BYTES - 1)
    small.write("a", _clip(0))
    assert small.size() == 0 and small.read("a", ALL) is None


@pytest.mark.parametrize("place", [0, 9, 25, 38, BYTES // 2, BYTES - 1])
def test_a_damaged_entry_is_a_miss_and_goes(tmp_path: Path, place: int) -> None:
    cache = ClipCache(tmp_path, 10**6)
    cache.write("a", _clip(0))
    path = tmp_path / "a.clip"
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(bytes(content))
    assert cache.read("a", ALL) is None
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 7, 30, BYTES - 1])
def test_so_is_one_cut_short(tmp_path: Path, length: int) -> None:
    cache = ClipCache(tmp_path, 10**6)
    cache.write("a", _clip(0))
    os.truncate(tmp_path / "a.clip", length)
    assert cache.read("a", ALL) is None
    cache.write("a", _clip(0))
    np.testing.assert_array_equal(cache.read("a", ALL), _clip(0))


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 10**6)
    (tmp_path / ".a.1.2.partial").write_bytes(b"x" * 1000)
    (tmp_path / ".lock").write_text("12345678")  # a count that a crash left wrong
    ClipCache(tmp_path, 10**6)
    assert not list(tmp_path.glob(".*.partial"))
    cache.write("a", _clip(0))
    assert (tmp_path / ".lock").read_text() == str(BYTES)


def test_a_full_disk_ends_the_keeping_not_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ClipCache(tmp_path, 10**6)
    cache.write("a", _clip(0))

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="no longer kept.*No space left"):
        cache.write("b", _clip(1))
    cache.write("c", _clip(2))
    assert cache.read("b", ALL) is None and cache.read("a", ALL) is not None
    assert not list(tmp_path.glob(".*.partial"))


def _hammer(folder: Path, seed: int, rounds: int) -> None:
    cache = ClipCache(folder, 6 * BYTES)
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        key = int(rng.integers(20))
        found = cache.read(str(key), ALL)
        if found is None:
            cache.write(str(key), _clip(key))
        elif not np.array_equal(found, _clip(key)):
            raise AssertionError(f"wrong content for {key}")
        if cache.size() > 6 * BYTES:
            raise AssertionError("over the limit")


def test_several_processes_share_it_and_a_kill_harms_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    doomed = spawn.Process(target=_hammer, args=(tmp_path, 99, 10**9))
    workers = [spawn.Process(target=_hammer, args=(tmp_path, seed, 300)) for seed in range(3)]
    for process in (doomed, *workers):
        process.start()
    time.sleep(0.3)
    assert doomed.is_alive()
    os.kill(doomed.pid or 0, signal.SIGKILL)
    doomed.join()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    assert 0 < ClipCache(tmp_path, 6 * BYTES).size() <= 6 * BYTES
