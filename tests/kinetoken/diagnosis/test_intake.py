"""What the doctor takes in from a user's own files, and what it says of files that it cannot use."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetoken.codes import CodesMeta, CodesTable, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.api import DEFAULT
from kinetoken.diagnosis.chain import FLOW, STILL
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.spaces import laid_out

GRID, SIZE, COUNT = (2, 3, 4), 20, 60


def codes_of(count: int = COUNT, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, (count, *GRID)).astype(np.int32)


def names_of(count: int = COUNT) -> np.ndarray:
    return np.array(["up", "down", "still"])[np.arange(count) % 3]


def taken(codes: Path, **others: Path) -> Patient:
    return take_in(Files(codes, **others), DEFAULT, Progress.silent())


def config(folder: Path, **content: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def as_npz(path: Path) -> None:
    np.savez(path, codes=codes_of(), label=names_of())


def as_flat_lists(path: Path) -> None:
    pq.write_table(pa.table({"tokens": codes_of().reshape(COUNT, -1).tolist(), "label": names_of().tolist()}), path)


def as_nested_lists(path: Path) -> None:
    pq.write_table(pa.table({"anything": codes_of().tolist(), "y": names_of().tolist()}), path, row_group_size=7)


def as_fractionless_floats(path: Path) -> None:
    np.savez(path, indices=codes_of().astype(np.float32), classes=names_of())


def as_kinetoken_table(path: Path) -> None:
    meta = CodesMeta(GRID, SIZE, "vq", (), "x")
    split = np.array(["train"] * 30 + ["val"] * 12 + ["test"] * 18)
    write_codes(path, meta, [CodesTable(np.arange(COUNT, dtype=np.int32) + 5, names_of(), split, codes_of(), meta)])


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.npz", as_npz), ("a.parquet", as_flat_lists), ("b.parquet", as_nested_lists), ("f.npz", as_fractionless_floats),
     ("k.parquet", as_kinetoken_table)],
)
def test_every_layout_gives_the_same_codes_and_labels(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    patient = taken(tmp_path / name, config=config(tmp_path, grid=list(GRID), codebook_size=SIZE))
    assert patient.codes is not None and patient.tally is not None and not patient.unreadable
    rows = patient.track_id - (5 if name == "k.parquet" else 0)
    assert (patient.codes == codes_of()[rows]).all() and (patient.label == names_of()[rows]).all()
    assert patient.tally.clips == COUNT and patient.meta.grid == GRID
    assert (patient.tally.counts == np.bincount(codes_of().ravel(), minlength=SIZE)).all()


def test_what_is_not_said_is_assumed_aloud(tmp_path: Path) -> None:
    as_flat_lists(tmp_path / "a.parquet")
    patient = taken(tmp_path / "a.parquet")
    said = " ".join(patient.notes)
    assert patient.meta.grid == (1, 1, 24) and patient.meta.codebook_size == SIZE
    assert "largest code, 19, is taken as its last" in said and "were drawn by label" in said and "approximate" in said
    shares = [(patient.split == name).sum() for name in ("train", "val", "test")]
    assert shares == [36, 9, 15]
    for split in ("train", "val", "test"):
        inside = patient.label[patient.split == split]
        assert len({(inside == name).sum() for name in patient.classes}) == 1, "stratified"


def test_own_splits_are_kept_and_a_missing_val_is_taken_from_train(tmp_path: Path) -> None:
    split = np.array(["training"] * 30 + ["test"] * 15 + ["ood"] * 15)
    np.savez(tmp_path / "a.npz", codes=codes_of(), label=names_of(), split=split)
    patient = taken(tmp_path / "a.npz")
    assert [(patient.split == name).sum() for name in ("train", "val", "test")] == [24, 6, 15]
    assert (patient.track_id[patient.split == "test"] == np.arange(30, 45)).all()
    assert any("20% of train" in note for note in patient.notes)


def test_labels_beside_are_matched_by_id_or_by_order(tmp_path: Path) -> None:
    as_kinetoken_table(tmp_path / "k.parquet")
    ids = np.arange(COUNT) + 5
    table = pd.DataFrame({"track_id": ids[::-1], "label": [f"n{i}" for i in ids[::-1] % 2]})
    table.to_csv(tmp_path / "l.csv", index=False)
    patient = taken(tmp_path / "k.parquet", labels=tmp_path / "l.csv")
    assert (patient.label == np.array([f"n{i % 2}" for i in patient.track_id])).all()
    assert set(patient.split) == {"train", "val", "test"} and (patient.split == "train").sum() == 30
    np.save(tmp_path / "l.npy", names_of())
    as_npz(tmp_path / "a.npz")
    by_order = taken(tmp_path / "a.npz", labels=tmp_path / "l.npy")
    assert (by_order.label == names_of()[by_order.track_id]).all()


IDS: dict[str, Callable[[int], object]] = {
    "text": lambda i: f"clip_{i}", "padded": lambda i: f"{i:04d}", "large": lambda i: 2**62 + i,
    "negative": lambda i: -i,
}


def write_labels(path: Path, **columns: np.ndarray) -> Path:
    """A table of labels as the name of the file says."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({name: values.tolist() for name, values in columns.items()}), path)
    else:
        pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_shuffled_labels_are_found_by_ids_of_any_type(tmp_path: Path, kind: str, suffix: str) -> None:
    ids = np.array([IDS[kind](i) for i in range(COUNT)])
    np.savez(tmp_path / "a.npz", codes=codes_of(), video_id=ids)
    split = np.array(["train", "val", "test"])[np.arange(COUNT) // 3 % 3]
    order = np.random.default_rng(3).permutation(COUNT)
    plain, shuffled = (
        taken(tmp_path / "a.npz", labels=write_labels(
            tmp_path / f"{name}{suffix}", label=names_of()[rows], split=split[rows], video_id=ids[rows],
        )) for name, rows in (("plain", np.arange(COUNT)), ("shuffled", order))
    )
    for name in ("track_id", "label", "split", "codes", "notes"):
        assert np.array_equal(getattr(plain, name), getattr(shuffled, name)), name
    assert set(plain.track_id) == set(ids.tolist()) and not any("row order" in note for note in plain.notes)


def test_labels_of_more_clips_than_there_are_codes_are_counted_and_others_refused(tmp_path: Path) -> None:
    ids = np.array([f"v{i}" for i in range(COUNT)])
    np.savez(tmp_path / "some.npz", codes=codes_of()[:40], video_id=ids[:40])
    label = np.where(np.arange(COUNT) < 40, names_of(), "elsewhere")
    patient = taken(tmp_path / "some.npz", labels=write_labels(tmp_path / "l.csv", label=label, video_id=ids))
    assert "20 of the 60 labels of l.csv belong to no clip of some.npz and were left out." in patient.notes
    assert patient.tally is not None and patient.tally.classes == 3, "a label of no clip is no class"
    write_labels(tmp_path / "one.csv", label=np.where(np.arange(COUNT) < 40, "a", "b"), video_id=ids)
    assert taken(tmp_path / "some.npz", labels=tmp_path / "one.csv").unreadable == "all clips have one label ('a')"
    np.savez(tmp_path / "all.npz", codes=codes_of(), video_id=ids)
    write_labels(tmp_path / "few.csv", label=label[2:], video_id=ids[2:])
    with pytest.raises(UserError, match=r"few.csv: no labels for video_id v0, v1: 2 of the 60 clips of .*all.npz"):
        taken(tmp_path / "all.npz", labels=tmp_path / "few.csv")


def test_row_order_is_never_assumed_in_silence(tmp_path: Path) -> None:
    as_npz(tmp_path / "a.npz")
    np.save(tmp_path / "l.npy", names_of())
    np.save(tmp_path / "z.npy", np.zeros((COUNT, *GRID, 2), np.float32))
    np.save(tmp_path / "c.npy", np.zeros((COUNT, 4, 24, 32, 3), np.uint8))
    names = {"labels": "l.npy", "latents": "z.npy", "clips": "c.npy", "reconstructions": "c.npy"}
    notes = taken(tmp_path / "a.npz", **{name: tmp_path / file for name, file in names.items()}).notes
    for name, file in names.items():
        assert sum(f"{name} of {file} were joined by row order" in note for note in notes) == 1, name


def test_latents_and_clips_with_ids_are_joined_by_them_too(tmp_path: Path) -> None:
    ids, order = np.array([f"v{i}" for i in range(COUNT)]), np.random.default_rng(5).permutation(COUNT)
    np.savez(tmp_path / "a.npz", codes=codes_of(), label=names_of(), video_id=ids)
    rng = np.random.default_rng(4)
    latents = rng.standard_normal((COUNT, *GRID, 2)).astype(np.float32)
    clips = rng.integers(0, 256, (COUNT, 4, 6, 8, 3)).astype(np.uint8)
    found = []
    for name, rows in (("plain", np.arange(COUNT)), ("shuffled", order)):
        np.savez(tmp_path / f"{name}_clips.npz", clips=clips[rows], video_id=ids[rows])
        np.savez(tmp_path / f"{name}_drawn.npz", clips=clips[rows] ^ 1, video_id=ids[rows])
        pq.write_table(
            pa.table({"latents": latents[rows].tolist(), "video_id": ids[rows]}), tmp_path / f"{name}.parquet",
            row_group_size=9,
        )
        beside = {"latents": f"{name}.parquet", "clips": f"{name}_clips.npz", "reconstructions": f"{name}_drawn.npz"}
        found.append(taken(tmp_path / "a.npz", **{what: tmp_path / file for what, file in beside.items()}))
    plain, shuffled = found
    assert set(plain.tokens) == {"latents", "codes", "codes_pooled", "pixels", STILL, FLOW}
    assert plain.notes == shuffled.notes
    for name, tokens in plain.tokens.items():
        assert np.array_equal(tokens, shuffled.tokens[name]), name
    assert plain.painted is not None and shuffled.painted is not None
    assert plain.painted.psnr_db == shuffled.painted.psnr_db == pytest.approx(20 * np.log10(255))  # off by 1 of 255


def test_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    as_npz(tmp_path / "a.npz")
    write_labels(tmp_path / "l.npz", label=names_of(), id=np.arange(COUNT - 1))
    with pytest.raises(UserError, match=r"l.npz: 59 values in 'id', but 60 in 'label'"):
        taken(tmp_path / "a.npz", labels=tmp_path / "l.npz")
    np.savez(tmp_path / "b.npz", codes=codes_of(), label=names_of()[:7])
    with pytest.raises(UserError, match=r"b.npz: 7 values in 'label', but the codes table has 60 rows"):
        taken(tmp_path / "b.npz")


def test_samples_are_bounded_and_all_clips_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", codes=codes_of(5000), label=names_of(5000))
    params = dataclasses.replace(DEFAULT, train_clips=30, val_clips=9, test_clips=12)
    patient = take_in(Files(tmp_path / "a.npz"), params, Progress.silent())
    assert len(patient) == 51 and patient.tally is not None and patient.tally.clips == 5000
    assert patient.codes is not None and (patient.codes == codes_of(5000)[patient.track_id]).all()


def test_no_labels_one_label_and_few_clips_are_reasons_not_errors(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", codes_of())
    assert taken(tmp_path / "bare.npy").unreadable == "no labels were given"
    np.savez(tmp_path / "one.npz", codes=codes_of(), label=np.full(COUNT, "a"))
    assert taken(tmp_path / "one.npz").unreadable == "all clips have one label ('a')"
    rare = names_of()
    rare[0] = "rare"
    np.savez(tmp_path / "rare.npz", codes=codes_of(), label=rare)
    assert "label 'rare' has" in taken(tmp_path / "rare.npz").unreadable


def test_features_that_were_never_quantized_are_a_finding(tmp_path: Path) -> None:
    features = np.random.default_rng(1).standard_normal((COUNT, *GRID, 5))
    np.savez(tmp_path / "a.npz", codes=features, label=names_of())
    patient = taken(tmp_path / "a.npz")
    assert patient.codes is None and patient.tally is None and patient.tokens["codes"].shape[1:] == (*GRID, 5)
    assert any("no quantizer ran" in note for note in patient.notes)


def test_latents_channels_first_or_last_lie_on_the_grid(tmp_path: Path) -> None:
    as_npz(tmp_path / "a.npz")
    latents = np.random.default_rng(2).standard_normal((COUNT, *GRID, 5)).astype(np.float32)
    layouts = {"last": latents, "first": np.moveaxis(latents, -1, 1), "flat": latents.reshape(COUNT, 24, 5)}
    for name, values in layouts.items():
        np.save(tmp_path / f"{name}.npy", values)
        patient = taken(tmp_path / "a.npz", latents=tmp_path / f"{name}.npy")
        assert (patient.tokens["latents"] == latents[patient.track_id]).all(), name
        assert patient.real_vectors and patient.tokens["codes"].shape[-1] == 5
    with pytest.raises(UserError, match=r"of shape \[7\] a clip do not fit"):
        laid_out(np.zeros((2, 7), np.float32), GRID, Path("z.npy"), "latents")


def test_latents_with_nan_are_filled_up_or_left_out_and_kept_as_a_fact(tmp_path: Path) -> None:
    as_npz(tmp_path / "a.npz")
    latents = np.random.default_rng(2).standard_normal((COUNT, *GRID, 2)).astype(np.float32)
    for rows, left in ((slice(0, 50, 10), True), (slice(None), False)):
        holes = latents.copy()
        holes[rows, 0, 1] = np.nan
        np.save(tmp_path / "z.npy", holes)
        patient = taken(tmp_path / "a.npz", latents=tmp_path / "z.npy")
        assert patient.facts is not None and patient.facts.holes is not None
        assert patient.facts.holes.count == (5 if left else COUNT)
        assert patient.facts.holes.rows[:2] == (0, 10 if left else 1)
        assert ("latents" in patient.tokens) == left and any("hold NaN or infinite values" in n for n in patient.notes)
        if left:
            good = np.isfinite(holes[patient.track_id])
            assert np.isfinite(patient.tokens["latents"]).all()
            assert (patient.tokens["latents"][good] == latents[patient.track_id][good]).all()


def bad_files(folder: Path) -> dict[str, tuple[Files, str]]:
    """Files that cannot be used, and what must be said of them."""
    good, path = folder / "good.npz", lambda name: folder / name
    np.savez(good, codes=codes_of(), label=names_of())
    pq.write_table(pa.table({"codes": [[[1, 2]], [[1, 2]], [[3]]]}), path("ragged.parquet"))
    pq.write_table(pa.table({"codes": [[1, 2], None, [3, 1]]}), path("empty_row.parquet"))
    pq.write_table(pa.table({"a": [[1]], "b": [[2]]}), path("two_lists.parquet"))
    pq.write_table(pa.table({"codes": [["x"], ["y"]]}), path("text.parquet"))
    path("garbage.parquet").write_bytes(b"PAR1 no")
    path("garbage.npz").write_bytes(b"no")
    np.save(path("objects.npy"), np.array([[1], [1, 2]], dtype=object), allow_pickle=True)
    np.save(path("one.npy"), codes_of(1))
    np.save(path("negative.npy"), codes_of() - 1)
    nan = codes_of().astype(np.float64) + 0.5
    nan[17, 0, 0, 0] = np.nan
    np.save(path("nan.npy"), nan)
    np.save(path("short.npy"), np.zeros((COUNT - 1, *GRID, 2), np.float32))
    np.save(path("small.npy"), np.zeros((COUNT, 4, 2, 2, 3), np.uint8))
    np.save(path("dark.npy"), np.full((COUNT, 4, 8, 8, 3), -1.0))
    pd.DataFrame({"label": ["a"] * 7}).to_csv(path("few.csv"), index=False)
    pd.DataFrame({"label": ["a"] * 59 + [""]}).to_csv(path("gap.csv"), index=False)
    pd.DataFrame({"speed": [1.0] * COUNT}).to_csv(path("none.csv"), index=False)
    path("pooling.yaml").write_text("pooling: attention\n")
    pd.DataFrame({"epoch": [1, 2], "val_loss": [1, np.inf]}).to_csv(path("endless.csv"), index=False)
    return {
        "absent": (Files(path("absent.npz")), "no such file"),
        "ragged": (Files(path("ragged.parquet")), "ragged rows: row 2 has 1 values, row 0 2"),
        "empty row": (Files(path("empty_row.parquet")), "row 1 is empty"),
        "two lists": (Files(path("two_lists.parquet")), "codes not found: name the column codes"),
        "text": (Files(path("text.parquet")), "not numbers"),
        "garbage parquet": (Files(path("garbage.parquet")), "not a Parquet file"),
        "garbage npz": (Files(path("garbage.npz")), "not a readable|Python objects"),
        "objects": (Files(path("objects.npy")), "rows of different length"),
        "one clip": (Files(path("one.npy")), "1 clips; at least two"),
        "negative": (Files(path("negative.npy")), "row 0: code -1 lies outside"),
        "too high": (Files(good, config=config(folder, codebook_size=12)), "lies outside the codebook of 12"),
        "nan": (Files(path("nan.npy")), "row 17 holds NaN"),
        "short latents": (Files(good, latents=path("short.npy")), "59 rows of latents, but the codes table has 60"),
        "few labels": (Files(good, labels=path("few.csv")), "7 labels, but the codes table has 60 rows"),
        "a gap": (Files(good, labels=path("gap.csv")), "row 59 has no label"),
        "no labels": (Files(good, labels=path("none.csv")), "no labels: name the column"),
        "small clips": (Files(good, clips=path("small.npy")), "are too small for a grid"),
        "dark clips": (Files(good, clips=path("dark.npy")), "clips run from -1"),
        "unknown pooling": (Files(good, config=path("pooling.yaml")), "pooling"),
        "endless history": (Files(good, history=path("endless.csv")), "val_loss are not finite numbers"),
        "reconstructions alone": (Files(good, reconstructions=path("small.npy")), "need the clips"),
    }


def test_every_unusable_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for name, (files, message) in bad_files(tmp_path).items():
        with pytest.raises(UserError, match=message) as caught:
            take_in(files, DEFAULT, Progress.silent())
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize(
    ("content", "message"),
    [({"gird": [1, 2, 3]}, "gird: unknown key"), ({"grid": [2, 2]}, "expected 3 values"),
     ({"levels": [4, 5], "codebook_size": 21}, "make 20 codes, but codebook_size is 21"),
     ({"grid": [5, 5, 5]}, "needs 125"), ({"codebook_size": 1}, "must be >= 2")],
)
def test_wrong_settings_are_refused(tmp_path: Path, content: dict[str, object], message: str) -> None:
    as_npz(tmp_path / "a.npz")
    with pytest.raises(UserError, match=message):
        taken(tmp_path / "a.npz", config=config(tmp_path, **content))


def test_whole_number_labels_and_ids_of_a_parquet_file(tmp_path: Path) -> None:
    table = {"codes": codes_of().reshape(COUNT, -1).tolist(), "y": (np.arange(COUNT) % 3 * 10).tolist()}
    pq.write_table(pa.table({**table, "id": (np.arange(COUNT) + 7).tolist()}), tmp_path / "a.parquet")
    patient = taken(tmp_path / "a.parquet")
    assert patient.classes == ("0", "10", "20")
    assert (patient.label == np.array([str((i - 7) % 3 * 10) for i in patient.track_id])).all()
    for values in (["a"] * 41 + [None] + ["b"] * 18, [1] * 41 + [None] + [2] * 18):
        pq.write_table(pa.table({"codes": table["codes"], "label": values}), tmp_path / "gap.parquet")
        with pytest.raises(UserError, match=r"gap\.parquet: row 41 has no label"):
            taken(tmp_path / "gap.parquet")
