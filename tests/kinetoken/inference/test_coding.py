"""Codes for models: those of a table, and those made of clips, which are the stage's own."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context
from kinetoken.inference.coding import (
    CodesNeed,
    NamedCodes,
    OpenCodes,
    codes_for,
    joined_codes,
    open_any,
    regrouped,
    write_named_codes,
)
from kinetoken.inference.models import load_model
from kinetoken.inference.opening import OpenClips, open_clips
from kinetoken.inference.painting import tokenize
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, save_tokenizer
from stages import extract_codes


@pytest.fixture(scope="module")
def table(applied: Path) -> CodesTable:
    return read_codes(applied / "codes.parquet")


def extracted(videos: Path, tokenizer: Path, out: Path) -> CodesTable:
    """By the stage."""
    paths = extract_codes.Paths(
        videos, tokenizer, out / "codes.parquet", out / "metrics.json", out / "metrics", out / "numbers.csv"
    )
    extract_codes.run(extract_codes.Extraction(batch_size=16), paths, Context.silent())
    return read_codes(paths.codes)


def need_of(applied: Path, frames: int | None = None, past: bool = False) -> CodesNeed:
    model = load_model(applied / "models" / "classifier", "classifier")
    return CodesNeed.prefix(model, applied / "models" / "classifier", "classifier", model.grid, frames, past)


def test_codes_are_those_of_the_stage(applied: Path, tiny_data: Path, tmp_path: Path) -> None:
    there = extracted(tiny_data / "videos", applied / "models" / "tokenizer", tmp_path)
    found = joined_codes(list(tokenize(tiny_data / "videos", applied / "models" / "tokenizer")))
    np.testing.assert_array_equal(found.codes, there.codes)
    assert found.meta == there.meta and len(found) == 96
    for name in ("track_id", "label", "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(there, name))
    write_named_codes(tmp_path / "again.parquet", [found])
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "again.parquet"), pd.read_parquet(tmp_path / "codes.parquet")
    )


def test_arrays_have_the_same_codes(applied: Path, tiny_data: Path, tmp_path: Path) -> None:
    pixels = ClipStore(tiny_data / "videos").read().pixels
    np.save(tmp_path / "clips.npy", pixels)
    there = read_codes(applied / "codes.parquet")
    for source in (pixels, tmp_path / "clips.npy", pixels.astype(np.float32) / 255):
        found = joined_codes(list(tokenize(source, applied / "models" / "tokenizer")))
        assert (found.codes != there.codes).mean() < 1e-4  # other batches may round otherwise
        assert found.meta == there.meta


def test_a_codes_table_keeps_the_clips_names(applied: Path, tiny_data: Path, tmp_path: Path) -> None:
    clips = open_clips(tiny_data / "videos", window="all", limit=7)
    parts = list(tokenize(clips, applied / "models" / "tokenizer", frames=8))
    path = tmp_path / "codes.parquet"
    assert write_named_codes(path, parts) == 7
    opened = OpenCodes(path)
    assert opened.name.tolist() == ["0:0", "0:8", "1:0", "1:8", "2:0", "2:8", "3:0"] and opened.labelled
    assert read_codes(path).track_id.tolist() == list(range(7)) and opened.table.meta.grid == (2, 8, 8)
    assert OpenCodes(path, limit=2).name.tolist() == ["0:0", "0:8"]
    assert not list(tmp_path.glob("*.named"))


def test_a_table_holds_clips_of_one_length(applied: Path, tmp_path: Path) -> None:
    frames = np.zeros((16, 64, 64, 3), np.uint8)
    parts = [list(tokenize(frames[:count], applied / "models" / "tokenizer"))[0] for count in (16, 8)]
    with pytest.raises(UserError, match="array: codes of 2 slices, those before have 4"):
        write_named_codes(tmp_path / "codes.parquet", parts)
    with pytest.raises(UserError, match="no clips"):
        write_named_codes(tmp_path / "codes.parquet", [])


def test_what_is_given_is_told_apart(applied: Path, tiny_data: Path) -> None:
    assert isinstance(open_any(applied / "codes.parquet"), OpenCodes)
    assert isinstance(open_any([str(applied / "codes.parquet")]), OpenCodes)
    assert isinstance(open_any(tiny_data / "videos"), OpenClips)
    assert isinstance(open_any(tiny_data / "trajectories.parquet"), OpenClips)
    opened = open_any(tiny_data / "videos")
    assert open_any(opened) is opened
    with pytest.raises(UserError, match="a codes table, and this needs the clips themselves"):
        next(tokenize(applied / "codes.parquet", applied / "models" / "tokenizer"))


@pytest.mark.parametrize("size", [1, 7, 40, 200])
def test_regrouped_codes_are_the_same_clips(table: CodesTable, size: int) -> None:
    def part(rows: slice, meta: object = table.meta) -> NamedCodes:
        return NamedCodes(
            table.track_id[rows], table.label[rows], table.split[rows], table.codes[rows], meta,  # type: ignore[arg-type]
            table.track_id[rows].astype(str),
        )

    groups = list(regrouped([part(slice(0, 5)), part(slice(5, 70)), part(slice(70, 96))], size))
    assert [len(group) for group in groups[:-1]] == [size] * (len(groups) - 1) and 0 < len(groups[-1]) <= size
    np.testing.assert_array_equal(joined_codes(groups).codes, table.codes)
    other = dataclasses.replace(table.meta, codebook_size=2000)
    assert [len(group) for group in regrouped([part(slice(0, 5)), part(slice(5, 8), other)], 100)] == [5, 3]


def test_a_prefix_of_codes_and_of_clips(applied: Path, tiny_data: Path, table: CodesTable) -> None:
    need = need_of(applied, 8)
    from_table = joined_codes(list(codes_for(open_any(applied / "codes.parquet"), need, None)))
    np.testing.assert_array_equal(from_table.codes, table.codes[:, :2])
    clips = open_any(tiny_data / "videos")
    from_clips = joined_codes(list(codes_for(clips, need, applied / "models" / "tokenizer")))
    assert from_clips.meta.grid == (2, 8, 8) and (from_clips.codes != table.codes[:, :2]).mean() < 1e-4
    for frames in (0, -4, 6, 20):
        with pytest.raises(UserError, match=rf"--frames {frames}: .*classifier reads a multiple of 4 frames, at most"):
            need_of(applied, frames)


def another_tokenizer(applied: Path, folder: Path) -> Path:
    module = load_tokenizer(applied / "models" / "tokenizer")
    module.background += 0.01
    save_tokenizer(folder, module)
    return folder


def test_codes_and_tokenizers_that_do_not_belong_are_refused(
    applied: Path, tiny_data: Path, table: CodesTable, tmp_path: Path
) -> None:
    need = need_of(applied)
    clips, codes = open_any(tiny_data / "videos"), open_any(applied / "codes.parquet")

    def refused(words: str, source: object, tokenizer: Path | None, asked: CodesNeed = need) -> None:
        with pytest.raises(UserError, match=words):
            next(codes_for(source, asked, tokenizer))  # type: ignore[arg-type]

    other = another_tokenizer(applied, tmp_path / "other")
    words = "models/classifier: trained on codes of tokenizer .*, but .*other is .*; give the one that it was trained"
    refused(words, clips, other)
    refused(words, codes, other)
    refused("videos: .*models/classifier reads codes; --tokenizer names what makes them of clips", clips, None)
    refused("config.json", clips, tmp_path)
    path = tmp_path / "foreign.parquet"
    meta = dataclasses.replace(table.meta, tokenizer="f" * 64)
    write_codes(path, meta, [dataclasses.replace(table, meta=meta)])
    refused("foreign.parquet: made by tokenizer ffffffffffff, but .*models/classifier belongs", open_any(path), None)
    for grid, frames in (((2, 8, 8), 8), ((8, 8, 8), 32)):
        meta = dataclasses.replace(table.meta, grid=grid)
        long = np.concatenate([table.codes, table.codes], 1)[:, : grid[0]]
        write_codes(path, meta, [dataclasses.replace(table, meta=meta, codes=long)])
        refused(rf"foreign.parquet: codes of {frames} frames; .*models/classifier reads", open_any(path), None)
    meta = dataclasses.replace(table.meta, grid=(4, 4, 16))
    write_codes(path, meta, [dataclasses.replace(table, meta=meta)])
    refused(r"codes on a grid of \[4, 4, 16\]; .*reads \[4, 8, 8\]", open_any(path), None)


def test_a_tokenizer_that_sees_ahead_gives_no_pasts(applied: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(applied / "models" / "tokenizer", folder)
    config = json.loads((folder / "config.json").read_text())
    config["network"]["causal"] = False
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer: Tokenizer = load_tokenizer(folder)
    need = dataclasses.replace(need_of(applied, 8), tokenizer=tokenizer.hash)
    with pytest.raises(UserError, match="trained with causal: false"):
        next(codes_for(open_any(tiny_data / "videos"), need, folder))
    whole = dataclasses.replace(need_of(applied), tokenizer=tokenizer.hash)
    assert len(next(codes_for(open_any(tiny_data / "videos"), whole, folder))) == 96


def test_empty_tables_and_damaged_ones(applied: Path, tmp_path: Path, table: CodesTable) -> None:
    path = tmp_path / "codes.parquet"
    content = (applied / "codes.parquet").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="codes.parquet: damaged"):
        open_any(path)
    write_codes(path, table.meta, [])
    with pytest.raises(UserError, match="codes.parquet: no clip in it"):
        open_any(path)
    with pytest.raises(UserError, match="no clip of split 'dev'"):
        open_any(applied / "codes.parquet", split="dev")
