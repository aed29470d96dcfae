"""Clips side by side: found in DVC's cache by the hashes of dvc.lock, or one sentence on why not."""

import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from kinetoken.comparison.cached import cache_folder, laid_out
from kinetoken.comparison.clips import ABOUT, PREDICTOR, SAME, TOKENIZER, VIDEOS
from kinetoken.comparison.comparison import RevisionComparison, compare
from kinetoken.comparison.page import to_html
from kinetoken.comparison.text import to_markdown
from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import ClipStore
from tests.support.two_revisions import commit, git, two_revisions


def cached(cache: Path, path: Path) -> str:
    """The hash under which DVC files a file or a folder, once it is in the cache."""
    if path.is_dir():
        rows = [{"md5": cached(cache, each), "relpath": each.relative_to(path).as_posix()}
                for each in sorted(path.rglob("*")) if each.is_file()]
        content, end = json.dumps(rows).encode(), ".dir"
    else:
        content, end = path.read_bytes(), ""
    digest = hashlib.md5(content).hexdigest() + end
    (cache / digest[:2]).mkdir(parents=True, exist_ok=True)
    (cache / digest[:2] / digest[2:]).write_bytes(content)
    return digest


def record(repository: Path, **hashes: str) -> None:
    """Put hashes of outputs (`a__b` for a/b) into dvc.lock, and commit it."""
    lock = yaml.safe_load((repository / "dvc.lock").read_text())
    outs = {out["path"]: out for entry in lock["stages"].values() for out in entry["outs"]}
    for path, digest in hashes.items():
        outs[path]["md5"] = digest
    (repository / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    commit(repository, "other outputs")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, applied: Path, tiny_data: Path) -> Path:
    """Two revisions with other tokenizers; the cache lies where the configuration says."""
    folder = two_revisions(tmp_path_factory.mktemp("cached"))
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n['remote \"x\"']\n    url = ../x\n")
    (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = ../../elsewhere\n")
    cache = cache_folder(folder)
    assert cache.resolve() == folder.parent / "elsewhere" / "files" / "md5"
    other = folder.parent / "tokenizer"
    shutil.copytree(applied / "models" / "tokenizer", other)
    weights = load_file(other / "model.safetensors")
    save_file({name: 0.9 * value for name, value in weights.items()}, other / "model.safetensors")
    common = {VIDEOS: cached(cache, tiny_data / "videos"), PREDICTOR: cached(cache, applied / "models" / "predictor")}
    one, two = cached(cache, applied / "models" / "tokenizer"), cached(cache, other)
    record(folder, **common, **{TOKENIZER: one})
    git(folder, "switch", "--quiet", "short")
    record(folder, **common, **{TOKENIZER: two})
    git(folder, "switch", "--quiet", "main")
    return folder


@pytest.fixture(scope="module")
def found(repository: Path) -> RevisionComparison:
    return compare(repository, "main", "short", clips_per_class=1)


def frames(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))


def test_the_same_clips_by_the_models_of_both(found: RevisionComparison, tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    classes = sorted(set(store.label))
    assert found.clips.said == ABOUT and len(found.clips.cards) == len(classes)
    first = {label: int(store.track_id[(store.label == label) & (store.split == "test")][0]) for label in classes}
    assert [card.title for card in found.clips.cards] == [f"{label}, track {first[label]}" for label in classes]
    for card in found.clips.cards:
        words = [one.caption.partition(", ")[0::2] for one in card.sprites]
        assert [name for name, _ in words] == ["original", "A", "B", "A", "B"]
        assert words[1][1] == words[2][1] == "decoded" and re.fullmatch(r"predicted, [\d.]+ px off", words[3][1])
        assert re.fullmatch(r"A [\d.]+ dB · B [\d.]+ dB", card.note)
        original, decoded, other = (frames(one.source) for one in card.sprites[:3])
        track = int(card.title.rpartition(" ")[2])
        clip = store.take(np.flatnonzero(store.track_id == track)).pixels[0]
        assert np.array_equal(original, clip.transpose(1, 0, 2, 3).reshape(original.shape))  # frame beside frame
        assert not np.array_equal(decoded, other)


def test_the_page_plays_them_without_a_script(found: RevisionComparison) -> None:
    page = to_html(found)
    assert "<script" not in page and page.count('class="screen"') == 5 * len(found.clips.cards)
    assert "prefers-reduced-motion" in page and "Stop the clips" in page and "@keyframes play" in page
    assert page.index('id="results"') < page.index('id="clips"')
    assert f"{len(found.clips.cards)} test clips" in to_markdown(found)
    assert found.to_json()["clips"] == {"shown": [card.title for card in found.clips.cards], "note": ABOUT}


def test_none_are_asked_for(repository: Path) -> None:
    without = compare(repository, "main", "short", clips_per_class=0)
    assert not without.clips.cards and 'id="clips"' not in to_html(without)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    shutil.copytree(repository.parent / "elsewhere", tmp_path / "elsewhere")
    return Path(shutil.copytree(repository, tmp_path / "copy"))


def said(copy: Path, a: str = "main", b: str = "short") -> str:
    found = compare(copy, a, b)
    assert not found.clips.cards and found.clips.said in to_html(found).replace("&#39;", "'")
    assert "\n" not in found.clips.said and "/tmp" not in found.clips.said
    return found.clips.said


def test_what_the_cache_lacks_is_named_with_the_command_that_brings_it(copy: Path) -> None:
    shutil.rmtree(copy.parent / "elsewhere")
    sentence = said(copy)
    assert f"DVC's cache lacks {VIDEOS} of main, {TOKENIZER} of main, {PREDICTOR} of main" in sentence
    assert sentence.endswith(f": dvc fetch --all-commits {VIDEOS} {TOKENIZER} {PREDICTOR}")


def test_revisions_that_make_the_same_or_of_other_clips(copy: Path) -> None:
    git(copy, "switch", "--quiet", "--create", "same", "main")
    record(copy, **{"models/position": "1" * 32})
    assert said(copy, "main", "same") == SAME
    record(copy, **{VIDEOS: "2" * 32})
    assert "the revisions have different clips" in said(copy, "main", "same")


def test_damaged_objects_are_told(copy: Path) -> None:
    cache = cache_folder(copy)
    git(copy, "switch", "--quiet", "--create", "damaged", "main")
    (copy.parent / "model").mkdir()
    (copy.parent / "model" / "config.json").write_text("{}")
    record(copy, **{TOKENIZER: cached(cache, copy.parent / "model")})
    assert said(copy, "main", "damaged").startswith("Clips are not shown: 1/models/tokenizer")
    for number, content in enumerate(("no list", '[{"md5": "00", "relpath": "../x"}]')):
        digest = f"{number:032x}.dir"
        (cache / digest[:2]).mkdir(exist_ok=True)
        (cache / digest[:2] / digest[2:]).write_text(content)
        with pytest.raises(UserError, match="damaged object|leads out of its folder"):
            laid_out(cache, digest, copy.parent / f"out{number}")
    assert not laid_out(cache, "../../../etc/hostname", copy.parent / "out")
    (copy / ".dvc" / "config").write_text("no section\n")
    assert said(copy).startswith("Clips are not shown: .dvc/config: not a configuration of DVC")
