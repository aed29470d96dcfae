"""The ward: its plan, its ways of breaking things, and a small part of it run for real."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import t as student

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.diagnosis.causes import judge
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.rules import CAUSES, FACTS, LIMITS, USES
from kinetoken.scenes.motion import Trajectories
from kinetoken.scenes.rendering import Rendering
from studies.scoring import clopper_pearson
from studies.ward import breakages
from studies.ward.plan import HEALTHY, Case, Halves, Ward, changed, fault_cases, healthy_cases, split_changes
from studies.ward.score import cures, judged, ward_numbers, welch

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "studies/ward/params.yaml"
PIPELINE = yaml.safe_load((ROOT / "studies/ward/dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.fixture(scope="module")
def ward() -> Ward:
    return load_params(PARAMS, "ward", Ward)


# ---- the plan


def test_every_fault_names_a_cause_that_the_doctor_knows(ward: Ward) -> None:
    known = {rule.cause for rule in (*FACTS, *LIMITS, *CAUSES, *USES)}
    causes = {fault.cause for faults in ward.faults.values() for fault in faults.values()}
    assert causes <= known and len(causes) >= 8


def test_names_are_unique_and_every_fault_has_a_twin(ward: Ward) -> None:
    cases = [*healthy_cases(ward), *(case for group in ward.faults for case in fault_cases(ward, group))]
    assert len({case.name for case in cases}) == len(cases)
    twins = {(case.half, case.twin) for case in cases if case.fault == HEALTHY}
    assert {(case.half, case.twin) for case in cases if case.cause != HEALTHY and not case.cured} <= twins


def test_the_scoring_half_shares_no_seed_with_the_setting_half(ward: Ward) -> None:
    for seeds in (ward.healthy_seeds, ward.fault_seeds, ward.size_seeds):
        assert not set(seeds.setting) & set(seeds.scoring)
    for group in ward.faults.values():
        assert all(len(fault.scoring) * len(ward.fault_seeds.scoring) >= 4 for fault in group.values())
    assert sum(case.half == "scoring" for case in healthy_cases(ward)) >= 60
    assert {case.quantizer for case in healthy_cases(ward)} == {"fsq", "lfq", "vq", "simvq"}


def test_cured_runs_have_the_faults_changes_and_seeds_of_their_own(ward: Ward) -> None:
    cases = [*healthy_cases(ward), *(case for group in ward.faults for case in fault_cases(ward, group))]
    cured = [case for case in cases if case.cured]
    seeds = [case.seed for case in cured]
    assert len(set(seeds)) == len(seeds) and not set(seeds) & {case.seed for case in cases if not case.cured}
    for case in cured:
        fault = next(faults[case.fault] for faults in ward.faults.values() if case.fault in faults)
        assert case.half == "scoring" and case.changes[-len(fault.cure):] == fault.cure
    per_severity = {sum((c.fault, c.severity) == (case.fault, case.severity) for c in cured) for case in cured}
    assert per_severity == {ward.cured_runs}


def test_every_change_is_one_of_the_tokenizers_params_or_a_breakage(ward: Ward) -> None:
    from studies.ward.case import BREAKAGES

    for group in ward.faults:
        for case in fault_cases(ward, group):
            settings, broken = split_changes(case.changes, BREAKAGES)
            changed(ward.tokenizer, settings)  # UserError for an unknown param or a wrong type
            assert settings or broken


# ---- the breakages


def table(count: int = 200) -> CodesTable:
    rng = np.random.default_rng(0)
    label = np.array(["circular", "helical", "linear", "parabolic"] * (count // 4))
    split = np.array((["train"] * 3 + ["test"]) * (count // 4))
    codes = rng.integers(0, 64, (count, 2, 3, 3)).astype(np.int32)
    return CodesTable(np.arange(count, dtype=np.int32), label, split, codes, CodesMeta((2, 3, 3), 64, "vq", (), ""))


def test_mixed_rows_are_other_clips_codes() -> None:
    whole = table()
    mixed = breakages.mixed_rows(whole, 0.3, seed=1)
    moved = (mixed.codes != whole.codes).any((1, 2, 3))
    assert moved.sum() == 60 and (mixed.label == whole.label).all()
    assert {row.tobytes() for row in mixed.codes} == {row.tobytes() for row in whole.codes}


def test_mixed_places_keep_each_rows_tokens() -> None:
    whole = table()
    mixed = breakages.mixed_places(whole, 0.5, seed=1)
    assert (mixed.codes != whole.codes).any((1, 2, 3)).sum() == 100
    assert (np.sort(mixed.codes.reshape(200, -1)) == np.sort(whole.codes.reshape(200, -1))).all()


def test_labels_are_confused_within_their_pair_only() -> None:
    whole = table()
    confused = breakages.confused_labels(whole, 1, seed=1)
    pair = np.isin(whole.label, ("circular", "helical"))
    assert (confused.label[~pair] == whole.label[~pair]).all()
    assert set(confused.label[pair]) == {"circular", "helical"}
    assert 0.3 < (confused.label[pair] == whole.label[pair]).mean() < 0.7


def test_a_far_codebook_collapses_unless_it_starts_from_k_means(ward: Ward) -> None:
    import torch

    from kinetoken.tokenizer.network import Tokenizer

    clips = torch.rand(4, 8, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    used = {}
    for start in (False, True):
        params = changed(ward.tokenizer, {
            "quantizer.kind": "vq", "quantizer.kmeans_start": start, "quantizer.dead_code_threshold": 0.0,
            "quantizer.codebook_size": 64,
        })
        torch.manual_seed(0)
        tokenizer = Tokenizer(params.network, params.quantizer, 32)
        breakages.far_codebook(tokenizer, 5.0)
        with torch.no_grad():
            tokenizer.train()(clips)
        used[start] = len(tokenizer.eval().encode(clips).unique())
    assert used[False] == 1 and used[True] > 20


def test_projected_latents_have_one_direction_about_their_own_mean(ward: Ward) -> None:
    import torch

    from kinetoken.diagnosis.geometry import effective_rank
    from kinetoken.tokenizer.network import Tokenizer

    clips = torch.rand(4, 8, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    tokenizer = Tokenizer(ward.tokenizer.network, ward.tokenizer.quantizer, 32)
    with torch.no_grad():
        before = tokenizer.latents(clips).movedim(1, -1).numpy()
        breakages.project(tokenizer, 1, clips, seed=1)
        after = tokenizer.latents(clips).movedim(1, -1).numpy()
    assert effective_rank(before) > 2 and effective_rank(after) == pytest.approx(1, abs=1e-3)
    assert after.mean((0, 1, 2, 3)) == pytest.approx(before.mean((0, 1, 2, 3)), abs=1e-4)


def test_few_clips_leave_validation_and_test_alone() -> None:
    few = breakages.few_clips(table(), 12)
    assert (few.split == "train").sum() == 12 and (few.split == "test").sum() == 50


# ---- scoring


def row(name: str, cause: str, codes: float, half: str = "scoring", **measures: object) -> dict[str, object]:
    sound = {
        "floor": 0.25, "probe_pixels": 0.97, "probe_latents": 0.97, "probe_codes": codes, "probe_codes_pooled": None,
        "codebook_size": 1000, "perplexity_foreground": 200.0, "top1_share_foreground": 0.05,
        "effective_rank_latents": 3.6, "latent_channels": 4, "quantization_error": 0.05, "mismatch": 0.0,
        "foreground_gain_db": 9.0, "background_gain_db": 0.0, "probe_pixels_half": 0.95, "pair_pixels": 0.96,
    }
    return {
        "name": name, "fault": name, "cause": cause, "half": half, "severity": 0, "quantizer": "fsq", "seed": 1,
        "changes": ["a=1"], "pooled": False, "cured": name.endswith("-cured"), "twin": "fsq-1",
        "measures": sound | measures,
    }


def test_a_fault_counts_by_its_cost_and_a_cure_by_what_it_brings_back() -> None:
    rows = [
        row(HEALTHY, HEALTHY, 0.96), row("mixed", "codes of other clips", 0.6, mismatch=0.4, found_elsewhere=1.0),
        row("cheap", "codes of other clips", 0.95),
    ]
    numbers = ward_numbers(judged(rows))["scoring"]
    assert numbers["healthy"]["false_alarms"] == 0 and numbers["faults"]["cases"] == 2
    assert numbers["faults"]["runs"] == 1 and numbers["faults"]["named_right"] == 1


def test_cured_runs_are_held_against_all_healthy_ones_one_by_one_and_on_average() -> None:
    rows = [
        *(row(HEALTHY, HEALTHY, codes) | {"twin": f"fsq-{seed}"} for seed, codes in enumerate((0.94, 0.95, 0.96), 1)),
        row("mixed", "codes of other clips", 0.6, mismatch=0.4, found_elsewhere=1.0),
        *(row("mixed", "codes of other clips", codes) | {"cured": True, "twin": f"fsq-{seed}"}
          for seed, codes in enumerate((0.92, 0.94, 0.945), 2001)),
        row("cheap", "codes of other clips", 0.95), row("cheap", "codes of other clips", 0.5) | {"cured": True},
    ]
    table = judged(rows)
    assert table[table["cured"]]["cost"].tolist() == pytest.approx([0.03, 0.01, 0.005, 0.45])
    found = cures(table).to_dict("records")
    assert [(one["fault"], one["runs"], one["twins"]) for one in found] == [("mixed", 3, 3)]  # the other cost nothing
    assert found[0]["missing"] == pytest.approx(0.95 - 2.805 / 3)
    assert found[0]["missing_ci95_low"] < 0 < found[0]["missing_ci95_high"] < 0.05
    numbers = ward_numbers(table)["cures"]
    assert (numbers["run"]["runs"], numbers["run"]["within_2_points"]) == (3, 2)
    assert (numbers["severity"]["runs"], numbers["severity"]["within_2_points"]) == (1, 1)


def test_welchs_interval_by_hand() -> None:
    left, right = np.array([3.0, 5.0, 7.0]), np.array([1.0, 2.0, 3.0, 2.0])
    a, b = 4 / 3, (2 / 3) / 4  # variances of the two means
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 3)
    reach = float(student.ppf(0.975, freedom)) * (a + b) ** 0.5
    assert welch(left, right) == pytest.approx((3 - reach, 3 + reach))
    assert welch(left, right[:1]) == (-1.0, 1.0)


def test_clopper_pearson_is_the_published_interval() -> None:
    assert clopper_pearson(0, 60) == pytest.approx((0.0, 1 - 0.025 ** (1 / 60)))
    assert clopper_pearson(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert clopper_pearson(5, 20) == pytest.approx((0.0866, 0.4910), abs=1e-4)


# ---- the scripts, from first to last, on very little


def test_scripts_run_from_clips_to_score_and_a_killed_run_loses_no_finished_case(tmp_path: Path, ward: Ward) -> None:
    from studies.ward import run_cases, run_healthy, score

    here = render_ward(tmp_path, train=160, val=40, test=80)
    small = dataclasses.replace(
        ward, quantizers={"fsq": ward.quantizers["fsq"]}, sizes={}, healthy_seeds=Halves((1,), (11,)),
        fault_seeds=Halves((1,), (11,)), clips_a_pass=4,
        tokenizer=dataclasses.replace(ward.tokenizer, epochs=2, validation_clips=8),
        diagnosis=dataclasses.replace(
            ward.diagnosis, train_clips=160, val_clips=40, test_clips=80, shown_clips=8, reconstructed_clips=8,
            probe=dataclasses.replace(ward.diagnosis.probe, epochs=1),
        ),
        faults={"codebook": {}, "training": {}, "data": {}, "pipeline": {"rows": dataclasses.replace(
            ward.faults["pipeline"]["rows"], setting=(("fsq", "mixed_rows=0.5"),), scoring=(("fsq", "mixed_rows=1.0"),),
        )}},
    )
    context = dataclasses.replace(Context.silent(), checkpoints=here / "checkpoints")
    healthy = run_healthy.Paths(here / "clear", here / "tokenizers", here / "healthy.json")
    run_healthy.run(small, healthy, context)
    names = ("codebook", "training", "data", "pipeline")
    files = {name: here / f"{name}.json" for name in names}
    alone = dataclasses.replace(small, processes=1)  # another process takes its seconds to start
    for name in names:
        given = run_cases.Paths(here / "clear", here / "flat", healthy.twins, files[name], name)
        run_cases.run(alone, given, context)
    rows = json.loads(files["pipeline"].read_text(encoding="utf-8"))
    assert [row["half"] for row in rows] == ["setting", "scoring"]
    assert [row["measures"]["found_elsewhere"] for row in rows] == [1.0, 1.0]
    finished = here / "checkpoints/cases" / f"{rows[0]['name']}.json"
    finished.write_text(json.dumps(rows[0] | {"severity": 77}), encoding="utf-8")
    run_cases.run(alone, run_cases.Paths(here / "clear", here / "flat", healthy.twins, files["pipeline"], "pipeline"),
                  context)
    assert json.loads(files["pipeline"].read_text(encoding="utf-8"))[0]["severity"] == 77
    out = here / "out"
    score.run(small, score.Paths(
        healthy.cases, *files.values(), out / "m.json", out / "cases.csv", out / "confusion.csv", out / "margins.csv",
        out / "cures.csv", out / "confusion.png",
    ), context)
    assert json.loads((out / "m.json").read_text(encoding="utf-8"))["scoring"]["healthy"]["runs"] == 1
    assert (out / "confusion.png").read_bytes()[:4] == b"\x89PNG"


# ---- a small part of it, as large as it is


def render_ward(folder: Path, train: int, val: int, test: int) -> Path:
    """So many of the ward's own clips, in folder/clear."""
    from stages import generate_trajectories, render_videos

    tracks = load_params(PARAMS, "generate_trajectories.clear", Trajectories)
    tracks = dataclasses.replace(tracks, counts=dataclasses.replace(tracks.counts, train=train, val=val, test=test))
    look = load_params(PARAMS, "render_videos.clear", Rendering)
    tables = folder / "clear/trajectories.parquet", folder / "clear/track_params.parquet"
    source = ROOT / "data/sources/synthetic.csv"
    generate_trajectories.run(tracks, generate_trajectories.Paths(source, *tables), Context.silent())
    render_videos.run(look, render_videos.Paths(*tables, folder / "clear/videos"), Context.silent())
    return folder


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_ward(tmp_path_factory.mktemp("ward"), train=1600, val=80, test=160)


@pytest.fixture(scope="module")
def twin(clear: Path, ward: Ward) -> dict[str, object]:
    """A healthy tokenizer, trained and measured, left among the twins."""
    from studies.ward.case import run_case, save_twin

    case = next(case for case in healthy_cases(ward) if case.quantizer == "fsq")
    row, trained = run_case(case, ward, clear, None)
    save_twin(clear / "twins", case.twin, trained)
    return row


def broken(twin: dict[str, object], cause: str, change: str, *, pooled: bool = False) -> Case:
    return Case("test", cause, "setting", 1, "fsq", int(str(twin["seed"])), ("quantizer.kind=fsq", change), pooled)


def test_a_healthy_tokenizer_raises_no_alarm(twin: dict[str, object]) -> None:
    assert judged([twin])["named"].tolist() == [HEALTHY]


@pytest.mark.parametrize(("cause", "change", "pooled"), [
    ("codes of other clips", "mixed_rows=0.5", False),
    ("quantizer bypassed", "bypass=true", True),
    ("encoder and codebook drifted apart", "drift=6.0", False),
])
def test_a_broken_pipeline_is_named(
    twin: dict[str, object], clear: Path, ward: Ward, cause: str, change: str, pooled: bool
) -> None:
    from studies.ward.case import run_case

    found, _ = run_case(broken(twin, cause, change, pooled=pooled), ward, clear, clear / "twins")
    assert judged([twin, found])["named"].tolist() == [HEALTHY, cause]




def test_the_rules_of_today_judge_the_committed_measures_no_worse() -> None:
    """Not a run of the study: its stored measures, which lack those that the doctor takes since."""
    table = pd.read_csv(ROOT / "studies" / "ward" / "plots" / "cases.csv")
    table = table[~table["cured"] & ((table["cause"] == HEALTHY) | table["counted"])]
    names = {field.name for field in dataclasses.fields(Measures)} & set(table.columns)
    wrong = []
    for row in table.to_dict("records"):
        known = {name: None if pd.isna(row[name]) else row[name] for name in names} | {"tokens_a_clip": 256.0}
        known["codebook_size"] = int(row["codebook_size"])
        pooled = row["fault"] in ("pooling", "bypassed")
        if judge(Measures(**known), pooled=pooled).cause != row["cause"]:
            wrong.append(row["name"])
    assert wrong == [] and (table["half"] == "scoring").sum() == 64 + 68
