"""The doctor from files to report: what it says of codes that are sound, pooled, collapsed, or hardly described."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.api import DEFAULT
from kinetoken.diagnosis.causes import Measures, judge
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.doctor import Report, diagnose
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.page import rows_of, to_html, to_markdown
from kinetoken.diagnosis.rules import POOLING

ROOT = Path(__file__).parents[3]
COUNT = 240
PROBE = dataclasses.replace(DEFAULT.probe, epochs=8, width=16, heads=2)
PARAMS = dataclasses.replace(DEFAULT, shown_clips=40, probe=PROBE)
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def moving() -> tuple[np.ndarray, np.ndarray]:
    """Codes (COUNT, 4, 2, 4) of a spot (code 3) that runs right or left on codes 0 to 2, and which it does."""
    rng = np.random.default_rng(0)
    right = np.arange(COUNT) % 2
    codes = rng.integers(0, 3, (COUNT, 4, 2, 4)).astype(np.int32)
    row = rng.integers(0, 2, COUNT)
    for time in range(4):
        codes[np.arange(COUNT), time, row, np.where(right == 1, time, 3 - time)] = 3
    return codes, np.array(["left", "right"])[right]


def clips_of(codes: np.ndarray) -> np.ndarray:
    """The same as pictures (COUNT, 4, 16, 32): each token a square of 8 pixels."""
    return np.kron(codes == 3, np.ones((1, 1, 8, 8), np.uint8)).astype(np.uint8) * 200


def report_on(files: Files, params: Diagnosis = PARAMS) -> Report:
    return diagnose(take_in(files, params, Progress.silent()), params, SILENT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codes, label = moving()
    np.savez(tmp_path / "codes.npz", codes=codes, label=label)
    np.save(tmp_path / "clips.npy", clips_of(codes))
    return tmp_path


def test_sound_codes_are_healthy_and_what_averaging_loses_is_measured(folder: Path) -> None:
    report = report_on(Files(folder / "codes.npz", clips=folder / "clips.npy"))
    assert report.verdict.healthy and report.verdict.severity == pytest.approx(0, abs=0.05)
    assert report.verdict.degree == "none"
    probe = report.numbers["probe"]
    assert probe["codes"] > 0.95 and probe["codes_pooled"] < 0.7 and probe["codes_ceiling"] == probe["pixels"] > 0.95
    assert report.numbers["foreground"]["token_share"] == pytest.approx(1 / 8)
    assert report.numbers["foreground"]["perplexity"] == pytest.approx(1)
    assert any(one.name == POOLING for one in report.verdict.others)


def test_a_user_who_pools_is_told_so(folder: Path) -> None:
    (folder / "c.yaml").write_text("pooling: space\n")
    report = report_on(Files(folder / "codes.npz", config=folder / "c.yaml"))
    assert report.verdict.cause == "pooling drops position" and not report.verdict.healthy
    assert report.verdict.severity is not None and report.verdict.severity > 0.5


def test_one_code_everywhere_is_a_collapse_with_and_without_labels(folder: Path) -> None:
    codes, label = moving()
    np.savez(folder / "flat.npz", codes=codes * 0 + 3, label=label)
    np.save(folder / "bare.npy", codes * 0 + 3)
    for name in ("flat.npz", "bare.npy"):
        report = report_on(Files(folder / name))
        assert report.verdict.cause == "codebook collapse" and "the same code, one of 4" in report.verdict.evidence
        assert report.numbers["perplexity"] == 1 and report.numbers["dead_codes"] == 3
        assert to_markdown(report) and to_html(report, name)


def test_features_in_place_of_codes_are_a_bypassed_quantizer(folder: Path) -> None:
    codes, label = moving()
    features = codes + np.random.default_rng(1).normal(0, 0.1, codes.shape)
    np.savez(folder / "soft.npz", codes=features, label=label)
    report = report_on(Files(folder / "soft.npz"))
    assert report.verdict.cause == "quantizer bypassed" and "perplexity" not in report.numbers
    assert any("holds no codes" in note for note in report.notes)


def test_without_labels_the_report_says_what_it_needs(folder: Path) -> None:
    np.save(folder / "bare.npy", moving()[0])
    report = report_on(Files(folder / "bare.npy"))
    assert report.verdict.cause.startswith("cannot tell without labels") and report.verdict.degree == "unknown"
    assert report.numbers["usage"] == 1 and "probe" not in report.numbers
    assert any("No probe was fitted: no labels were given" in note for note in report.notes)


def test_shuffled_codes_lose_what_the_clips_show(folder: Path) -> None:
    codes, label = moving()
    order = np.random.default_rng(2).permutation(COUNT)
    np.savez(folder / "shuffled.npz", codes=codes[order], label=label)
    report = report_on(Files(folder / "shuffled.npz", clips=folder / "clips.npy"))
    assert not report.verdict.healthy and report.verdict.degree == "total"
    assert report.numbers["code_information_p_value"] > 0.01


def test_labels_with_text_ids_give_the_same_verdict_in_any_order(folder: Path) -> None:
    codes, label = moving()
    ids = np.array([f"video_{i}" for i in range(COUNT)])
    np.savez(folder / "bare.npz", codes=codes, video_id=ids)
    reports = []
    for rows in (np.arange(COUNT), np.random.default_rng(4).permutation(COUNT)):
        pd.DataFrame({"video_id": ids[rows], "label": label[rows]}).to_csv(folder / "labels.csv", index=False)
        reports.append(report_on(Files(folder / "bare.npz", labels=folder / "labels.csv")))
    plain, shuffled = reports
    assert plain.verdict == shuffled.verdict and plain.numbers == shuffled.numbers and plain.notes == shuffled.notes
    assert plain.numbers["probe"]["codes"] > 0.95
    assert plain.numbers == report_on(Files(folder / "codes.npz")).numbers, "as with labels in the same file"


def test_names_from_a_users_file_are_escaped(folder: Path) -> None:
    codes, _ = moving()
    np.savez(folder / "x.npz", codes=codes, label=np.array(["<script>a", "<b>b"])[np.arange(COUNT) % 2])
    page = to_html(report_on(Files(folder / "x.npz")), "<i>x")
    assert "<script>" not in page and "<i>x" not in page and "&lt;script&gt;a" in page


def test_defaults_are_those_of_the_pipeline() -> None:
    theirs = load_params(ROOT / "params.yaml", "diagnose_codes", Diagnosis)
    # the pipeline's probes may take longer: its codes are diagnosed once a run
    assert dataclasses.replace(theirs, train_clips=DEFAULT.train_clips) == DEFAULT


def test_rows_carry_their_ends() -> None:
    rows = rows_of({"a": 1, "a_floor": 0, "b": {"c": 2, "c_ci95_low": 1}, "d_floor": 3})
    assert [(row.name, row.value) for row in rows] == [("a", 1), ("b.c", 2), ("d_floor", 3)]
    assert [(row.floor, row.low) for row in rows] == [(0, None), (None, 1), (None, None)]


@pytest.mark.parametrize(
    ("codes", "severity", "degree"),
    [(0.97, 0, "none"), (0.85, 1 / 6, "mild"), (0.61, 0.5, "serious"), (0.25, 1, "total")],
)
def test_severity_is_the_share_lost_of_what_could_be_read(codes: float, severity: float, degree: str) -> None:
    measures = Measures(
        floor=0.25, probe_pixels=0.97, probe_latents=0.9, probe_codes=codes, probe_codes_pooled=None,
        codebook_size=9, perplexity_foreground=5.0, top1_share_foreground=0.9, effective_rank_latents=3.0,
        latent_channels=4, quantization_error=0.3, mismatch=0.0, foreground_gain_db=9.0, background_gain_db=9.0,
    )
    verdict = judge(measures)
    assert verdict.severity == pytest.approx(severity) and verdict.degree == degree


def test_refused_files_raise_before_anything_is_trained(folder: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        report_on(Files(folder / "codes.npz", clips=folder / "nothing.npy"))
