"""What codes a file holds: their range, codebooks, padding; codes that are offset, huge, or outside the codebook."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.diagnosis import coding
from kinetoken.diagnosis.api import DEFAULT
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.tally import Tally, by_codebook
from tests.kinetoken.diagnosis.test_formats import CODES, COUNT, GRID, LABEL, SIZE, found


def taken(folder: Path, layout: str | None = None, config: dict[str, Any] | None = None, **arrays: Any) -> Patient:
    np.savez(folder / "c.npz", **{"label": LABEL, **arrays})
    return take_in(Files(folder / "c.npz", layout=layout, config=config), DEFAULT, Progress.silent())


def counted(patient: Patient) -> Tally:
    assert patient.tally is not None
    return patient.tally


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32"])
def test_every_type_of_number_is_read(tmp_path: Path, dtype: str) -> None:
    patient = taken(tmp_path, codes=CODES.astype(dtype), config={"codebook_size": SIZE})
    assert (counted(patient).counts == np.bincount(CODES.ravel(), minlength=SIZE)).all()
    assert patient.intake == {"code_least": 0, "code_greatest": SIZE - 1}


@pytest.mark.parametrize(("layout", "codes"), [
    ("B,T,H,W", CODES), ("B,N", CODES.reshape(COUNT, -1)), ("B,T,N", CODES.reshape(COUNT, GRID[0], -1)),
    ("B,N,ONEHOT", np.eye(SIZE, dtype=bool)[CODES.reshape(COUNT, -1)]),
])
def test_layouts_of_the_same_codes_give_the_same_numbers(layout: str, codes: np.ndarray) -> None:
    config = {"codebook_size": SIZE, "quantizer": "vq", "grid": list(GRID)}
    plain, other = found(CODES, labels=LABEL, config=config), found(codes, labels=LABEL, config=config, layout=layout)
    assert plain.numbers == other.numbers and plain.measures == other.measures


def test_an_offset_into_a_language_models_vocabulary_changes_no_number() -> None:
    for config in ({"codebook_size": SIZE}, {}):
        plain, moved = (found(codes, labels=LABEL, config=config) for codes in (CODES, CODES + 151_854))
        assert {**moved.numbers, "code_least": 0, "code_greatest": SIZE - 1} == plain.numbers
        assert (moved.numbers["code_least"], moved.numbers["code_greatest"]) == (151_854, 151_862)
        assert moved.measures == plain.measures and "151854 was subtracted" in " ".join(moved.notes)


@pytest.mark.parametrize("factor", [4**16, 2**58])
def test_codes_too_large_to_count_each_are_compacted(tmp_path: Path, factor: int) -> None:
    patient = taken(tmp_path, codes=CODES * factor)
    tally = counted(patient)
    assert len(tally.counts) == tally.size == SIZE and (tally.counts == np.bincount(CODES.ravel())).all()
    assert patient.intake["code_greatest"] == 8 * factor and "the 9 codes that occur are counted" in patient.notes[2]
    whole = found(CODES * factor, labels=LABEL, config={"codebook_size": 10**18 if factor < 2**40 else 2**62})
    assert whole.numbers["usage"] == pytest.approx(0, abs=1e-12) and whole.numbers["perplexity"] < SIZE


@pytest.mark.parametrize("quantizer", ["lfq", "vq", "unknown"])
def test_a_codebook_of_10_to_the_15_needs_no_memory(tmp_path: Path, quantizer: str) -> None:
    size = 2**50 if quantizer == "lfq" else 10**15
    tracemalloc.start()
    patient = taken(tmp_path, codes=CODES, config={"codebook_size": size, "quantizer": quantizer})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patient.meta.codebook_size == size and peak < 2**26
    assert patient.tokens["codes"].shape[-1] == (50 if quantizer == "lfq" else 24)
    levels = taken(tmp_path, codes=CODES, config={"levels": [1000] * 5})
    assert levels.tokens["codes"].shape[-1] == 5 and levels.tokens["codes"][0, 0, 0, 0, 1] == -1


def test_more_codes_than_can_be_counted_are_one_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "MOST_COUNTED", 100)
    codes = np.arange(COUNT * 12).reshape(COUNT, *GRID) * 1000
    with pytest.raises(UserError, match="more than 100 different codes occur.* --layout B,T,H,W,Q"):
        taken(tmp_path, codes=codes)


def test_codes_outside_the_codebook_are_named_with_their_range(tmp_path: Path) -> None:
    wrong = CODES.copy()
    wrong[40, 1, 0, 1] = 12
    with pytest.raises(UserError, match="row 40: code 12 lies outside the codebook of 9; the codes run from 0 to 12"):
        taken(tmp_path, codes=wrong, config={"codebook_size": SIZE})
    with pytest.raises(UserError, match=r"row \d+: code 309 lies outside|row \d+: code 30\d lies outside"):
        taken(tmp_path, codes=CODES + 300, config={"levels": [3, 3]})  # digits cannot be read of codes that are offset


def levels_of(dead: int) -> np.ndarray:
    """RVQ codes (COUNT, 2, 2, 3, 4) of which the last `dead` codebooks say 0."""
    codes = np.random.default_rng(5).integers(0, SIZE, (COUNT, *GRID, 4))
    codes[..., 4 - dead :] = 0
    codes[:, 0, 0, 0, 0] = CODES[:, 0, 0, 0]
    return codes


@pytest.mark.parametrize("layout", ["B,T,H,W,Q", "B,Q,T,H,W", "B,Q,N"])
def test_codebooks_are_counted_one_by_one(tmp_path: Path, layout: str) -> None:
    codes = levels_of(3)
    stored = {"B,T,H,W,Q": codes, "B,Q,T,H,W": np.moveaxis(codes, -1, 1)}.get(
        layout, np.moveaxis(codes, -1, 1).reshape(COUNT, 4, -1)
    )
    config = {"codebook_size": SIZE, "grid": list(GRID)}
    patient = taken(tmp_path, codes=stored, layout=layout, config=config)
    table = by_codebook(counted(patient))
    assert table["perplexity"].to_numpy()[1:].tolist() == [1, 1, 1] and table["perplexity"][0] > 7
    assert table["dead_codes"].tolist() == [0, 8, 8, 8] and table["size"].tolist() == [SIZE] * 4
    assert patient.codes is not None and patient.codes.shape[1:] == (*GRID, 4)
    assert patient.tokens["codes"].shape[1:] == (*GRID, 4 * 24), "the probes read all codebooks side by side"
    numbers = found(stored, labels=LABEL, layout=layout, config=config).numbers
    assert numbers["codebooks"]["1"]["usage"] == 1 and numbers["codebooks"]["3"]["usage"] == pytest.approx(1 / SIZE)
    assert numbers["usage"] == pytest.approx((1 + 3 / SIZE) / 4)


def test_codebooks_numbered_one_after_the_other_and_given_vectors(tmp_path: Path) -> None:
    codes = levels_of(1)
    plain = taken(tmp_path, codes=codes, layout="B,T,H,W,Q", config={"codebook_size": SIZE})
    moved = taken(
        tmp_path, codes=codes + SIZE * np.arange(4), layout="B,T,H,W,Q", config={"codebook_size": SIZE}
    )
    assert (counted(plain).counts == counted(moved).counts).all()
    assert any("every 9: this was subtracted" in note for note in moved.notes)
    vectors = np.random.default_rng(1).standard_normal((4, SIZE, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    files = Files(tmp_path / "c.npz", codebook=tmp_path / "v.npy", layout="B,T,H,W,Q", config={"codebook_size": SIZE})
    patient = take_in(files, DEFAULT, Progress.silent())
    expected = np.concatenate([vectors[q][codes[patient.track_id][..., q]] for q in range(4)], -1)
    assert (patient.tokens["codes"] == expected).all()


def test_bits_are_the_codes_that_they_spell(tmp_path: Path) -> None:
    codes = np.random.default_rng(3).integers(0, 2**18, (COUNT, *GRID))
    bits = (codes[..., None] >> np.arange(17, -1, -1) & 1).astype(np.int8)
    patient = taken(tmp_path, codes=bits, config={"quantizer": "lfq"})
    assert patient.meta.codebook_size == 2**18 and patient.codes is not None
    assert (patient.codes == codes[patient.track_id]).all()
    assert (patient.tokens["codes"] == bits[patient.track_id] * 2 - 1).all()
    with pytest.raises(UserError, match="262144 values, but codebook_size is 1000"):
        taken(tmp_path, codes=bits, config={"codebook_size": 1000})


def ragged() -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """The same codes filled up with -1, as lists, and their lengths."""
    flat, lengths = CODES.reshape(COUNT, -1), 12 - np.arange(COUNT) // 2 % 3 * 6 // 2
    filled = np.where(np.arange(12) < lengths[:, None], flat, -1)
    return filled, [row[:length].tolist() for row, length in zip(flat, lengths, strict=True)], lengths


def test_padding_masks_lengths_and_lists_of_unequal_length_are_one(tmp_path: Path) -> None:
    filled, lists, lengths = ragged()
    there = filled >= 0
    pq.write_table(pa.table({"codes": lists, "label": LABEL}), tmp_path / "c.parquet", row_group_size=7)
    ways = {
        "filled": taken(tmp_path, codes=filled), "mask": taken(tmp_path, codes=CODES.reshape(COUNT, -1), mask=there),
        "lengths": taken(tmp_path, codes=CODES.reshape(COUNT, -1), lengths=lengths),
        "lists": take_in(Files(tmp_path / "c.parquet"), DEFAULT, Progress.silent()),
    }
    for name, patient in ways.items():
        tally = counted(patient)
        assert (tally.counts == np.bincount(CODES.reshape(COUNT, -1)[there], minlength=SIZE)).all(), name
        assert patient.intake["padding_share"] == pytest.approx(1 - there.mean()), name
        assert sum("padding" in note for note in patient.notes) == 1
        assert patient.codes is not None, name
        assert (patient.codes.reshape(len(patient), -1) == filled[patient.track_id]).all(), name
        assert not patient.tokens["codes"].reshape(len(patient), 12, -1)[~there[patient.track_id]].any(), name
    numbers = [found(each, labels=LABEL).numbers for each in (filled, lists)]
    assert numbers[0] == numbers[1] and "code_information_bits" in numbers[0]


def test_videos_of_unequal_length_stretch_the_grid_along_time(tmp_path: Path) -> None:
    lists = [CODES[place].ravel()[: 6 * (1 + place % 2)].tolist() for place in range(COUNT)]
    pq.write_table(pa.table({"codes": lists}), tmp_path / "c.parquet")
    config = {"grid": [1, *GRID[1:]]}
    patient = take_in(Files(tmp_path / "c.parquet", config=config), DEFAULT, Progress.silent())
    assert patient.meta.grid == GRID
    nested = [CODES[place][: 1 + place % 2].tolist() for place in range(COUNT)]
    pq.write_table(pa.table({"codes": nested}), tmp_path / "n.parquet")
    assert take_in(Files(tmp_path / "n.parquet"), DEFAULT, Progress.silent()).meta.grid == GRID


def test_padding_inside_of_a_row_and_rows_of_nothing_are_refused(tmp_path: Path) -> None:
    filled = ragged()[0].copy()
    filled[5, 2] = -1
    with pytest.raises(UserError, match="row 5: code -1 lies outside the codebook; -1 is read as padding only at the"):
        taken(tmp_path, codes=filled)
    filled[5] = -1
    with pytest.raises(UserError, match="row 5 holds no codes, only padding"):
        taken(tmp_path, codes=filled)
    for name, mask, message in (
        ("mask", np.ones((COUNT, 5)), "'mask' has 5 values a row, but a row has 12"),
        ("mask", np.ones((7, 12)), "7 rows of 'mask', but 64 rows of codes"),
        ("lengths", np.full(COUNT, 13), "'lengths' runs to 13, but a row has 12"),
        ("lengths", np.full(COUNT, 1.5), "'lengths' must be whole numbers"),
        ("lengths", np.full(3, 1), "3 values in 'lengths', but 64 rows"),
    ):
        with pytest.raises(UserError, match=message):
            taken(tmp_path, codes=CODES.reshape(COUNT, -1), **{name: mask})


def test_images_keep_their_rows_and_sequences_have_only_time(tmp_path: Path) -> None:
    image = taken(tmp_path, codes=CODES.reshape(COUNT, 3, 4))
    assert image.meta.grid == (1, 3, 4) and any("B,H,W (rows, columns)" in note for note in image.notes)
    sound = taken(tmp_path, codes=CODES.reshape(COUNT, 12), layout="B,T")
    assert sound.meta.grid == (12, 1, 1)
    assert np.array_equal(sound.tokens["codes"], sound.tokens["codes_pooled"]), "there is no space to average over"
    flat = taken(tmp_path, codes=CODES.reshape(COUNT, 12))
    assert any("--layout B,T for a sequence" in note for note in flat.notes)


def test_classes_are_counted_before_the_sample_is_drawn(tmp_path: Path) -> None:
    count, classes = 600, 10
    np.savez(tmp_path / "c.npz", codes=np.resize(CODES, (count, *GRID)), label=np.arange(count) % classes)
    params = DEFAULT.__class__(**{**vars(DEFAULT), "train_clips": 50})
    patient = take_in(Files(tmp_path / "c.npz"), params, Progress.silent())
    assert (patient.split == "train").sum() == 50 and patient.clips_a_class == 36 and not patient.unreadable


def test_metadata_and_tables_that_are_no_codes_tables(tmp_path: Path) -> None:
    table = pa.table({"codes": CODES.reshape(COUNT, -1).tolist(), "label": LABEL})
    for content in (b"[1, 2]", b"3", b"{", b"\xff"):
        pq.write_table(table.replace_schema_metadata({b"codes": content}), tmp_path / "m.parquet")
        with pytest.raises(UserError, match="m.parquet: its metadata 'codes' is no JSON object"):
            found(tmp_path / "m.parquet")
    tokens = pa.table({"video_id": np.repeat(np.arange(COUNT), 12), "codes": CODES.ravel()})
    pq.write_table(tokens, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"one number a row, .*groupby\('video_id'\)\['codes'\]\.agg\(list\)"):
        found(tmp_path / "t.parquet")
    for name, values in {
        "list": [["a", "b"]] * COUNT, "struct": [{"name": "a"}] * COUNT,
    }.items():
        pq.write_table(pa.table({"codes": table["codes"], "label": values}), tmp_path / "l.parquet")
        with pytest.raises(UserError, match=f"column 'label' holds {name}.*; a clip needs one label"):
            found(tmp_path / "l.parquet")


def test_a_label_of_its_own_for_every_clip_is_refused(tmp_path: Path) -> None:
    for label in ([f"v{place}" for place in range(COUNT)], np.random.default_rng(0).random(COUNT)):
        with pytest.raises(UserError, match="every clip has a label of its own in 'label'; labels name classes"):
            found(CODES, labels=np.asarray(label))


def test_several_codebooks_and_padding_with_clips_and_latents_beside_them() -> None:
    rng = np.random.default_rng(2)
    clips = (rng.random((COUNT, 4, 4, 6)) * 255).astype(np.uint8)
    latents = rng.standard_normal((COUNT, *GRID, 5)).astype(np.float32)
    codes = levels_of(1).reshape(COUNT, 12, 4)
    codes[::3, 9:] = -1
    config = {"codebook_size": SIZE, "grid": list(GRID)}
    result = found(codes, labels=LABEL, clips=clips, latents=latents, layout="B,N,Q", config=config)
    assert {"pixels", "latents", "codes"} <= set(result.numbers["probe"]) and "foreground" in result.numbers
    assert "quantization_error" not in result.numbers and result.numbers["padding_share"] == pytest.approx(22 * 3 / 768)


def test_time_by_flat_places_has_no_columns_that_pixels_could_lie_on(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.zeros((COUNT, 4, 16, 16), np.uint8))
    np.savez(tmp_path / "c.npz", codes=CODES.reshape(COUNT, 2, 6))
    files = Files(tmp_path / "c.npz", clips=tmp_path / "f.npy", layout="B,T,N")
    patient = take_in(files, DEFAULT, Progress.silent())
    assert patient.meta.grid == (2, 1, 6) and patient.tokens["pixels"].shape[1:4] == (4, 8, 8) and patient.mask is None


def test_padded_numbers_can_be_written_as_json(tmp_path: Path) -> None:
    result = found(levels_of(3), labels=LABEL, layout="B,T,H,W,Q", out=tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["numbers"]["codebooks"]["4"]["dead_codes"] == 8
    assert (tmp_path / "report" / "codebooks.csv").exists() and "codebooks" in result.tables


def test_memory_does_not_grow_with_the_clips_of_four_codebooks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    quick = DEFAULT.__class__(**{**vars(DEFAULT), "train_clips": 60, "val_clips": 20, "test_clips": 20})

    def peak(count: int) -> int:
        codes = rng.integers(0, 64, (count, 4, 4, 4, 4)).astype(np.uint16)
        np.savez_compressed(tmp_path / f"{count}.npz", codes=codes, label=np.arange(count) % 4)
        del codes
        tracemalloc.start()
        config = {"codebook_size": 64, "grid": [4, 4, 4]}
        files = Files(tmp_path / f"{count}.npz", config=config, layout="B,T,H,W,Q")
        patient = take_in(files, quick, Progress.silent())
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert counted(patient).clips == count and counted(patient).depth == 4
        return highest

    assert peak(12_000) < 1.15 * peak(3_000)
