"""The study of patients from elsewhere: its plan, its makers, whether each fault is what it is called, its score."""

import dataclasses
import inspect
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.diagnosis import api
from studies.patients import breakages
from studies.patients.bundle import Bundle
from studies.patients.examining import (
    FORMS,
    HANDED,
    MAKERS,
    bundle_of,
    examined,
    hand_in,
    known_inputs,
)
from studies.patients.moving import SCENES, SHAPES, Look, filmed
from studies.patients.plan import HEALTHY, SOUND, Case, Patients, cases, tree
from studies.patients.quantizing import fitted_quantizer, nearest
from studies.patients.reading import reading
from studies.patients.run_cases import finished, run_twin
from studies.patients.score import accepted, judged, numbers
from studies.patients.tables import NearestVector

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "studies/patients/params.yaml"
NAMES = {
    # of use
    "codebook collapse", "dead codebooks", "duplicate entries", "indices rounded by low precision", "codes of NaN",
    "codes differ between runs", "codes depend on the batch", "usage fell during training", "training counters differ",
    "drift over the file",
    # of what was kept
    "quantizer bypassed", "codes of other clips", "tokens out of place", "codes of another tokenizer",
    "levels too few", "dimensional collapse", "encoder and codebook drifted apart", "loss dominated by background",
    "encoder starved", "undertrained", "pooling drops position", "inputs on another scale", "axes swapped",
    "first frames not reconstructed", "lost in quantizing", "lost in the encoder", "lost between pixels and codes",
    "probe too weak",
    # of the data, and what is no fault
    "too little data", "labels not separable in pixels", HEALTHY, "cannot tell", "refused",
}


@pytest.fixture(scope="module")
def patients() -> Patients:
    return load_params(PARAMS, "patients", Patients)


def case(patients: Patients, start: str) -> Case:
    return next(one for one in cases(patients) if one.name.startswith(start))


# ---- the plan


def test_names_are_unique_and_every_truth_is_a_headline(patients: Patients) -> None:
    every = cases(patients)
    assert len({one.name for one in every}) == len(every)
    assert {name for one in every for name in one.truth} <= NAMES
    assert all(len(one.truth) <= 2 for one in every)


def test_each_half_has_enough_of_both_and_the_halves_share_no_seed(patients: Patients) -> None:
    for half in ("setting", "scoring"):
        own = [one for one in cases(patients) if one.half == half]
        assert sum(one.fault != SOUND for one in own) >= 60
        assert sum(one.truth == (HEALTHY,) for one in own) >= 30
        assert len({one.truth[0] for one in own}) >= 25
    for family in patients.families.values():
        assert not set(family.setting) & set(family.scoring)
    seeds = [seed for family in patients.families.values() for seed in (*family.setting, *family.scoring)]
    assert len(set(seeds)) == len(seeds)


def test_four_libraries_at_least_make_codes(patients: Patients) -> None:
    kinds = {str(tree(family.options).get("quantizer")) for family in patients.families.values()}
    assert {"kmeans", "minibatch", "vq", "fsq", "lfq", "simvq", "rvq", "rfsq"} <= kinds
    backbones = {str(tree(family.options).get("backbone")) for family in patients.families.values()}
    assert {"torchvision", "timm"} <= backbones
    assert {family.maker for family in patients.families.values()} == set(MAKERS)


def test_every_change_is_an_option_of_the_maker_or_a_breakage(patients: Patients) -> None:
    known = {*breakages.BREAKAGES, *breakages.FROM_OTHERS, *HANDED}
    for one in cases(patients):
        options = inspect.signature(MAKERS[one.maker]).parameters
        changed = tree((*one.options, *one.changes))
        assert set(changed) - known <= set(options), one.name
        assert set(changed.get("look", {})) <= {field.name for field in dataclasses.fields(Look)}
        assert one.fault == SOUND or one.changes


def test_a_later_change_overrides_and_dots_go_deeper() -> None:
    assert tree(("a.b=1", "c=[1, 2]", "a.b=2", "a.d=x")) == {"a": {"b": 2, "d": "x"}, "c": [1, 2]}


# ---- clips


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_scenes_show_their_classes_in_even_numbers(scene: str) -> None:
    clips, labels = filmed(scene, 3, count=48, size=16, frames=4)
    assert clips.shape == (48, 4, 16, 16, 3) and clips.dtype == np.uint8
    counts = np.unique(labels, return_counts=True)[1]
    assert counts.max() - counts.min() <= (8 if scene == "courses" else 1)
    again, _ = filmed(scene, 3, count=48, size=16, frames=4)
    assert (clips == again).all() and (clips != filmed(scene, 4, count=48, size=16, frames=4)[0]).any()


def test_hues_have_one_brightness_and_still_shapes_do_not_move() -> None:
    clips, labels = filmed("hues", 1, count=400, noise=0.0)
    middle = clips.max((1, 2, 3)).astype(float)  # the body's colour a clip
    brightness = np.array([middle[labels == one].mean() for one in np.unique(labels)])
    assert np.ptp(middle.mean(0)) < 15 and np.ptp(brightness) < 0.1 * brightness.mean()
    clips, labels = filmed("still", 1, count=16, noise=0.0)
    assert (clips == clips[:, :1]).all() and set(labels) == set(SHAPES)


# ---- quantizers of other libraries


@pytest.mark.parametrize(("kind", "options"), [
    ("kmeans", {"size": 32}), ("minibatch", {"size": 32}), ("vq", {"codebook_size": 32, "kmeans_init": True}),
    ("simvq", {"codebook_size": 64, "passes": 20}), ("rvq", {"codebook_size": 16, "num_quantizers": 3,
                                                              "kmeans_init": True}),
    ("fsq", {"levels": [7, 7, 7, 7]}), ("rfsq", {"levels": [7, 7, 7, 7], "num_quantizers": 2}),
    ("lfq", {"codebook_size": 16}),
])
def test_vectors_of_codes_follow_the_latents(kind: str, options: dict[str, Any]) -> None:
    latents = np.random.default_rng(0).normal(size=(60, 3, 4, 4, 4)).astype(np.float32)
    quantizer = fitted_quantizer(kind, latents, 1, options)
    codes = quantizer.quantize(latents)
    depth = 2 if kind == "rfsq" else 3
    assert codes.shape == (60, 3, 4, 4, *([depth] if kind in ("rvq", "rfsq") else []))
    assert codes.min() >= 0 and codes.max() < quantizer.size
    vectors = quantizer.vectors(codes)
    assert vectors.shape == latents.shape
    for channel in range(4):
        assert np.corrcoef(vectors[..., channel].ravel(), latents[..., channel].ravel())[0, 1] > 0.5
    book = quantizer.codebook
    assert (book is None) == (kind in ("fsq", "lfq", "rfsq"))
    if book is not None:
        assert book.shape == ((3, 16, 4) if kind == "rvq" else (quantizer.size, 4))


# ---- is each fault what it is called?


COSTLY = [  # a case that costs, by the study's own readers, and where its twin stands
    ("track-setting", "collapse"), ("track-setting", "rows"), ("track_imbalanced-setting", "rows"),
    ("words_audio-setting", "noise"), ("residual_audio-setting", "rows"), ("track_lfq-setting", "rows"),
]


@pytest.mark.parametrize(("family", "fault"), COSTLY)
def test_the_twin_holds_the_class_and_the_fault_does_not(patients: Patients, family: str, fault: str) -> None:
    sound_one = case(patients, family)
    broken = next(one for one in cases(patients) if one.twin == sound_one.twin and one.fault == fault)
    twin, broken = (dataclasses.replace(one, options=(*one.options, "count=600")) for one in (sound_one, broken))
    sound = reading(bundle_of(twin)[0])
    assert sound > 0.85 and sound - reading(bundle_of(broken)[0]) >= 0.05


def test_colour_is_lost_in_the_encoder_and_not_in_the_clips(patients: Patients) -> None:
    small = ("scene=hues", "quantizer=kmeans", "options.size=32", "look.count=240", "fitted=120")
    twin = dataclasses.replace(case(patients, "patch_hues-setting"), options=small)
    grey = dataclasses.replace(twin, changes=("grey_input=1.0",))
    assert reading(bundle_of(twin)[0]) > 0.9 and reading(bundle_of(grey)[0]) < 0.6


def bundle(**changes: Any) -> Bundle:
    found = MAKERS["track"](1, count=120, size=64)
    return dataclasses.replace(found, **changes)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_codes_of_a_hand_made_table_are_the_nearest_vectors() -> None:
    found = bundle()
    assert found.latents is not None and found.codebook is not None
    away = ((found.latents[..., None, :] - found.codebook) ** 2).sum(-1)
    assert (away.argmin(-1) == found.codes).mean() > 0.999


def test_rows_and_places_move_and_nothing_is_lost() -> None:
    whole = bundle()
    rows = breakages.rows_of_others(whole, 0.5, rng()).codes
    assert (rows != whole.codes).any((1, 2, 3)).sum() == 60
    assert {row.tobytes() for row in rows} <= {row.tobytes() for row in whole.codes}
    places = breakages.places_moved(whole, 1.0, rng()).codes
    assert (np.sort(places.reshape(120, -1)) == np.sort(whole.codes.reshape(120, -1))).all()
    swapped = breakages.swapped(whole, [1, 2], rng()).codes
    assert (swapped == whole.codes.swapaxes(2, 3)).all()
    assert (breakages.reshaped(whole, "n h w t", rng()).codes.shape) == whole.codes.shape


def test_places_of_several_codebooks_move_together() -> None:
    found = MAKERS["residual"](1, count=40, length=12)
    moved = breakages.places_moved(found, 1.0, rng()).codes
    tuples = [sorted(map(tuple, row.tolist())) for row in found.codes]
    assert [sorted(map(tuple, row.tolist())) for row in moved] == tuples


def test_bfloat16_leaves_even_indices_above_256() -> None:
    codes = np.arange(0, 480).reshape(2, 240)
    found = breakages.few_bits(Bundle(codes, np.array(["a", "b"])), "bfloat16", rng()).codes
    assert (found[codes >= 256] % 2 == 0).all() and (found[codes < 256] == codes[codes < 256]).all()


def test_duplicates_are_in_the_codebook_and_in_use() -> None:
    found = breakages.duplicates(bundle(), 0.5, rng())
    assert found.codebook is not None
    away = ((found.codebook[:, None] - found.codebook[None]) ** 2).sum(-1) + 9 * np.eye(64)
    assert (away.min(1) < 1e-6).mean() > 0.5
    assert len(np.unique(found.codes)) > 40


def test_collapsed_codes_are_those_of_the_codebook_that_is_handed_in() -> None:
    whole = bundle()
    found = breakages.one_code(whole, 0.998, rng())
    assert found.latents is not None and found.codebook is not None
    assert (nearest(found.latents, found.codebook) == found.codes).mean() > 0.99
    deep = MAKERS["residual"](1, count=40, length=12)
    dead = breakages.dead_levels(deep, [1, 2, 3], rng())
    assert dead.latents is not None and dead.codebook is not None and (dead.codes[..., 1:] == 0).all()
    assert (NearestVector(dead.codebook).quantize(dead.latents) == dead.codes).mean() > 0.95


def test_second_extractions_differ_where_they_are_said_to() -> None:
    whole = bundle()
    some = breakages.again(whole, 0.2, rng())
    assert 0.1 < (some.again != whole.codes).mean() < 0.2
    assert (breakages.again(whole, 0.0, rng()).again == whole.codes).all()
    by_batch = breakages.again_by_batch(whole, 16, rng())
    rows = (by_batch.again != whole.codes).any((1, 2, 3))
    assert not rows[np.arange(120) % 16 < 12].any() and rows[np.arange(120) % 16 >= 12].all()


def test_histories_tell_what_the_codes_show_or_do_not() -> None:
    whole = bundle()
    fell = breakages.usage_fell(whole, 0.1, rng())
    assert fell.history is not None and max(fell.history["usage"]) > 0.9
    assert len(np.unique(fell.codes)) / 64 == pytest.approx(fell.history["usage"][-1], abs=0.02)
    true = breakages.true_counters(whole, True, rng())
    assert true.history is not None and true.history["usage"][-1] == len(np.unique(whole.codes)) / 64


def test_rows_end_in_code_0_and_nan_or_are_padded() -> None:
    whole = bundle()
    broken = breakages.not_a_number(whole, 0.25, rng())
    assert (broken.codes[90:] == 0).all() and (broken.codes[:90] == whole.codes[:90]).all()
    assert broken.latents is not None and np.isnan(broken.latents[90:]).all() and whole.latents is not None
    padded = breakages.padded(MAKERS["words"](1, count=50, length=20), 0.5, rng())
    ends = (padded.codes >= 0).sum(1)
    assert ends.min() >= 10 and ends.max() <= 20 and (np.diff((padded.codes < 0).astype(int), axis=1) >= 0).all()


def test_hashed_codes_determine_the_class_and_no_reader_finds_it() -> None:
    found = MAKERS["hashed"](1, count=600)
    ones = [sum(int(code).bit_count() for code in row[:2]) % 4 for row in found.codes]
    assert found.labels.tolist() == [f"class {one}" for one in ones]
    assert reading(found) < 0.4


# ---- files as their owner has them


@pytest.mark.parametrize("form", FORMS)
def test_codes_come_back_from_every_form(tmp_path: Path, form: str) -> None:
    whole = bundle(order=np.arange(120)[::-1] if form == "parquet" else None)
    given = hand_in(whole, tmp_path, ("config",), form)
    found = api.diagnose(**given, threads=1)
    assert found.numbers["usage"] == pytest.approx(len(np.unique(whole.codes)) / 64)


def test_labels_in_another_order_keep_their_ids(tmp_path: Path) -> None:
    import pandas as pd

    whole = breakages.by_ids(bundle(), True, rng())
    given = hand_in(whole, tmp_path, ("labels",), "npz")
    table = pd.read_csv(given["labels"]).set_index("video_id")
    stored = np.load(given["codes"])
    assert table.loc[stored["video_id"], "label"].tolist() == whole.labels.tolist()
    assert table.index.tolist() != stored["video_id"].tolist() and "config" not in given


def test_inputs_that_the_doctor_does_not_know_yet_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "diagnose", lambda codes, labels=None: None)
    assert known_inputs({"codes": 1, "again": 2}) == ({"codes": 1}, ["again"])
    monkeypatch.setattr(api, "diagnose", lambda codes, again=None: None)
    assert known_inputs({"codes": 1, "again": 2}) == ({"codes": 1, "again": 2}, [])


# ---- examination and score


def test_a_case_is_examined_from_its_files(patients: Patients) -> None:
    collapsed = next(one for one in cases(patients) if one.family == "only_codes" and one.fault == "collapse")
    row = examined(dataclasses.replace(collapsed, options=("count=120", "size=128")), patients.diagnosis)
    assert row["named"] not in ("refused", "crashed") and row["reading"] is None and row["clips"] == 120
    json.dumps(row)


def test_refusals_and_tracebacks_are_headlines(patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted = next(one for one in cases(patients) if one.fault == "negative")
    small = dataclasses.replace(shifted, options=("count=60", "size=64"), changes=("constant_shift=-40",))
    assert examined(small, patients.diagnosis)["named"] == "refused"

    def broken(codes: object, **rest: object) -> types.SimpleNamespace:
        raise IndexError("out of range")

    monkeypatch.setattr(api, "diagnose", broken)
    row = examined(small, patients.diagnosis)
    assert row["named"] == "crashed" and row["evidence"].startswith("IndexError: out of range (test_patients.py")


def row(name: str, truth: list[str], named: str, read: float | None, **changes: Any) -> dict[str, Any]:
    fault = {"fault": SOUND if truth in ([HEALTHY], ["cannot tell"]) else name}
    return {
        "name": name, "family": "a", "half": "scoring", "severity": 1, "seed": 1, "counts": "cost", "changes": ["b=1"],
        "twin": "a-1", "truth": truth, "named": named, "reading": read, "doctor_reading": None, "clips": 9,
        "making_seconds": 1.0, "doctor_seconds": 1.0, "reading_seconds": 1.0, "evidence": "",
    } | fault | changes


def test_faults_count_by_cost_or_always_and_sound_ones_apart() -> None:
    rows = [
        row("well", [HEALTHY], HEALTHY, 0.9), row("rows", ["codes of other clips"], HEALTHY, 0.5),
        row("cheap", ["codes of other clips"], HEALTHY, 0.88),
        row("dead", ["dead codebooks"], "dead codebooks", 0.9, counts="always"),
        row("bare", ["cannot tell"], "cannot tell without the videos", None, counts="always", twin="b"),
        row("alarm", [HEALTHY], "undertrained", 0.9, twin="c"),
        row("shy", [HEALTHY], "cannot tell without the videos", 0.9, twin="d"),
        row("set", ["levels too few"], "levels too few", 0.3, half="setting"),
    ]
    found = numbers(judged(rows))
    assert found["scored"]["cases"] == 3 and found["scored"]["named_right"] == 2
    assert found["scored"]["named_right_share"] == pytest.approx(2 / 3)
    assert found["scored"]["false_healthy"] == 1 and found["scored"]["faults_that_cost_less"] == 1
    assert found["healthy"]["cases"] == 3 and found["healthy"]["false_alarms"] == 1
    assert found["healthy"]["called_healthy"] == 1
    assert found["scored"]["named_right_share_ci95_low"] < 2 / 3 < found["scored"]["named_right_share_ci95_high"]
    assert found["set"]["scored"]["cases"] == 1


def test_cannot_tell_stands_for_all_that_begin_so() -> None:
    assert accepted("cannot tell without pixels", ["probe too weak", "cannot tell"])
    assert not accepted("healthy", ["cannot tell"]) and accepted("a", ["b", "a"])


def test_scripts_run_to_the_score_and_a_killed_run_loses_one_case(tmp_path: Path, patients: Patients) -> None:
    from studies.patients import run_cases, score

    families = {}
    for name in ("only_codes", "residual_only"):
        family = patients.families[name]
        faults = dict(list(family.faults.items())[:1])
        depth = ("depth=8",) if family.maker == "residual" else ()
        options = ("count=80", "size=64", *depth)
        families[name] = dataclasses.replace(family, options=options, varied=(), faults=faults)
    small = dataclasses.replace(patients, families=families, processes=1)
    context = dataclasses.replace(Context.silent(), checkpoints=tmp_path / "checkpoints")
    paths = run_cases.Paths(tmp_path / "cases.jsonl")
    run_cases.run(small, paths, context)
    rows = [json.loads(line) for line in paths.cases.read_text(encoding="utf-8").splitlines()]
    assert [one["name"] for one in rows] == [one.name for one in cases(small)] and len(rows) == 8

    place = tmp_path / "checkpoints/twins/only_codes-setting-161.jsonl"
    kept = rows[0] | {"named": "kept from before"}
    place.write_text(f"{json.dumps(kept)}\n{json.dumps(rows[1])[:50]}", encoding="utf-8")
    group = [one for one in cases(small) if one.twin == "only_codes-setting-161"]
    assert run_twin(group, small.diagnosis, place) == 1
    assert [one["named"] for one in finished(place).values()] == ["kept from before", rows[1]["named"]]

    out = tmp_path / "out"
    score.run(small, score.Paths(
        paths.cases, out / "m.json", out / "cases.csv", out / "confusion.csv", out / "table.md", out / "confusion.png",
    ), context)
    found = json.loads((out / "m.json").read_text(encoding="utf-8"))
    assert found["scored"]["cases"] == 4 and (out / "confusion.png").read_bytes()[:4] == b"\x89PNG"
