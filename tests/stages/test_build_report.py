"""The report from a small run: real tokenizer, predictor and generator, untrained; metrics made for the test."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.core.absence import write_absent
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers_table
from kinetoken.core.stage import Context
from kinetoken.diagnosis.statement import Measured, Said, Statement, write_statement
from kinetoken.generation.generator import Generator, GeneratorShape
from kinetoken.prediction.network import Predictor, PredictorShape
from kinetoken.report.headline import BuildReport
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from stages import build_report
from stages.build_report import Paths
from tests.support.generators import MASKED, PLAN_SHAPE
from tests.support.quantizers import FSQ

PARAMS = BuildReport(
    seed=0, clips_per_class=1, descriptions=1,
    marks={"train_classifier.accuracy": 0.97, "train_tokenizer.psnr_db": 30.0}, clips=6, candidates=3,
)
METRICS: dict[str, Any] = {
    "train_tokenizer": {"psnr_db": 36.25, "psnr_db_floor": 26.5, "psnr_db_ci95_low": 36.0, "psnr_db_ci95_high": 36.5},
    "train_baselines": {"majority": {"accuracy": 0.25}, "video": {"accuracy": 0.97}},
    "train_classifier": {"accuracy": 0.955, "accuracy_floor": 0.25, "pooling": {"spatial_mean": {"accuracy": 0.52}}},
    "diagnose_codes": {"healthy": 1, "probe": {"pixels": 0.93, "codes": 0.9, "codes_pooled": 0.5}},
    "detect_persistence": {
        "control": {"metadata": {"accuracy": 0.5, "accuracy_ci95_low": 0.48, "accuracy_ci95_high": 0.52}},
        "transformer": {"accuracy": 0.97, "regret": 1.5, "by_lifetime": {"01-02": {"accuracy": 0.9, "tracks": 9}}},
    },
    "describe_motion": {"is_llm": 0},
}
EVIL = "<script>alert('x')</script>"
COLLAPSE = Said(
    "codebook collapse", "kept", 0.25, "mild", "likely", f"Few codes. {EVIL}", "", "Train longer.", "", (),
)
POOLED = Said("pooling drops position", "kept", 0.0, "none", "likely", "It falls.", "", "Keep the grid.", "", ())
STATEMENT = Statement(
    2, "kinetoken", False, COLLAPSE, COLLAPSE, (POOLED,),
    (Measured("probe_pixels", 0.97123), Measured("probe_latents", None)), (Measured("codebook_size", 1000.0),),
    ("No tracks were given.",),
)


def small_tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    network = NetworkParams(
        stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=8, coarse_blocks=0,
    )
    return Tokenizer(network, FSQ, 64)


def description(track: int, law: str, correct: bool) -> dict[str, Any]:
    return {
        "track_id": track, "true_law": law, "x": "0.5*t", "y": "1 - 4.9*t**2", "z": EVIL, "provider": "offline",
        "description": f"Track {track} goes right.",
        "verdicts": {
            "equation_correct": correct, "form_match": True, "nmse_extrapolated": 0.002 if correct else None,
            "failure": "" if correct else "right law, wrong constants",
        },
    }


def write_all(plots: Path, metrics: dict[str, Any]) -> Path:
    """The stages' tables of numbers, and nothing else, in the folder."""
    for stage, numbers in metrics.items():
        write_numbers_table(plots / stage / "numbers.csv", numbers)
    return plots


@pytest.fixture(scope="module")
def run_folder(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metrics, plots, models, codes and descriptions of a small run."""
    folder = tmp_path_factory.mktemp("run")
    write_all(folder / "plots", METRICS)
    for name, text in {
        "train_classifier/confusion.csv": "actual,predicted\ncircular,circular\ncircular,helical\nhelical,helical\n",
        "train_tokenizer/curves.csv": "model,epoch,step,loss\ntokenizer,1,10,2.5\ntokenizer,2,20,1.5\n",
        "detect_persistence/decisions.csv": "extractor,actual,predicted,frames\ntransformer,persistent,persistent,6\n",
        "detect_persistence/reasons.jsonl": json.dumps({
            "extractor": "transformer", "track_id": 7, "actual": "transient", "decision": "persistent",
            "sentence": f"Decided {EVIL}",
        }) + "\n",
    }.items():
        (folder / "plots" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "plots" / name).write_text(text)
    write_statement(folder / "plots" / "diagnose_codes" / "verdict.json", STATEMENT)
    (folder / "plots" / "detect_persistence" / "attention").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
        folder / "plots" / "detect_persistence" / "attention" / "transformer.png"
    )
    save_tokenizer(folder / "tokenizer", small_tokenizer())
    tokenizer = load_tokenizer(folder / "tokenizer")
    clips = ClipStore(tiny_data / "videos").read()
    codes = tokenizer.encode(torch.from_numpy(clips.pixels)).numpy().astype("int32")
    meta = CodesMeta((4, 8, 8), 1000, "fsq", (8, 5, 5, 5), tokenizer.hash)
    table = CodesTable(clips.track_id, clips.label, clips.split, codes, meta)
    write_codes(folder / "codes.parquet", meta, [table])
    predictor = Predictor(PredictorShape(
        grid=meta.grid, levels=meta.levels, coordinates=4, codebook_size=1000, past_slices=3, slice_frames=4,
        image_size=64, width=8, filters=2, lstm_width=8, transformer_width=8,
    ), Codebook.of(tokenizer))
    predictor.tokenizer_hash = tokenizer.hash
    predictor.save(folder / "predictor")
    shape = GeneratorShape(
        table.classes, meta.grid, meta.levels, 1000, coordinates=4, slice_frames=4, components=4,
        plan=PLAN_SHAPE, patch=2, width=8, layers=1, heads=2,
    )
    generator = Generator(shape, Codebook.of(tokenizer), MASKED.sampling)
    generator.tokenizer_hash = tokenizer.hash
    generator.save(folder / "generator")
    rows = [description(i, law, i % 2 == 0) for i, law in enumerate(("linear", "linear", "circular", "circular"))]
    (folder / "descriptions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "reasons.jsonl").write_text(json.dumps({
        "actual": "transient", "record": {"track_id": 7, "extractor": "magvit"}, "words": f"Because {EVIL}",
        "verdicts": {"decision": True, "numbers": False},
    }) + "\n")
    return folder


@pytest.fixture
def paths_to(run_folder: Path, tiny_data: Path, tmp_path: Path) -> Callable[..., Paths]:
    def make(**changed: Path) -> Paths:
        paths = Paths(
            run_folder / "plots", tiny_data / "videos", run_folder / "codes.parquet",
            run_folder / "tokenizer", run_folder / "predictor", run_folder / "generator",
            run_folder / "descriptions.jsonl", run_folder / "reasons.jsonl", tiny_data / "trajectories.parquet",
            run_folder / "none", run_folder / "none", tiny_data / "videos", run_folder / "codes.parquet",
            tiny_data / "trajectories.parquet", run_folder / "none", run_folder / "none", tmp_path / "report.html",
            tmp_path / "summary",
        )
        return dataclasses.replace(paths, **changed)

    return make


@pytest.fixture(scope="module")
def page(run_folder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    report = tmp_path_factory.mktemp("page") / "report.html"
    build_report.run(PARAMS, Paths(
        run_folder / "plots", tiny_data / "videos", run_folder / "codes.parquet",
        run_folder / "tokenizer", run_folder / "predictor", run_folder / "generator",
        run_folder / "descriptions.jsonl", run_folder / "reasons.jsonl", tiny_data / "trajectories.parquet",
        run_folder / "none", run_folder / "none", tiny_data / "videos", run_folder / "codes.parquet",
        tiny_data / "trajectories.parquet", run_folder / "none", run_folder / "none", report,
        report.with_name("summary"),
    ), Context.silent())
    return report.read_text(encoding="utf-8")


def test_answer_and_marks_come_from_the_metrics(page: str) -> None:
    assert "<h1>Yes.</h1>" in page  # (0.955 − 0.25) / (0.97 − 0.25) = 0.98
    assert "95.5 %" in page and "≥ 97.0 %" in page and "36.0 … 36.5 dB" in page
    row = re.search(r'title="train_classifier.accuracy">.*?</tr>', page, re.S)
    other = re.search(r'title="train_tokenizer.psnr_db">.*?</tr>', page, re.S)
    assert row is not None and "not met" in row[0]
    assert other is not None and 'class="met"' in other[0]


def test_the_diagnosis_says_all_that_the_doctor_stated(page: str) -> None:
    panel = page[page.index('<section id="answer"') : page.index('<section id="codes">')]
    for part in (
        "<b>Verdict: codebook collapse.</b>", "Cost: 25% of what can be read (severity: mild).",
        "<b>What to change:</b> Train longer. Pooling drops position. It falls. Keep the grid.",
        'labels read from pixels</th><td class="n">97.1 %</td>',
        'labels read from latents</th><td class="n">not measured</td>',
        'entries of the codebook</th><td class="n">1,000</td>', "<li>No tracks were given.</li>",
    ):
        assert part in panel
    assert EVIL not in panel and "&lt;script&gt;alert(" in panel


def test_a_damaged_verdict_is_named(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    (tmp_path / "diagnose_codes").mkdir()
    (tmp_path / "diagnose_codes" / "verdict.json").write_text('{"healthy": true}')
    write_numbers_table(tmp_path / "diagnose_codes" / "numbers.csv", {"healthy": 1})
    with pytest.raises(UserError, match=r"verdict\.json: statement\..*: missing"):
        build_report.run(PARAMS, paths_to(plots=tmp_path, videos=tmp_path / "none"), Context.silent())


def test_every_kind_of_clip_is_there_and_complete(page: str) -> None:
    classes = 4
    page = page.replace('<span class="screen"', "")  # of galleries
    # 4 a reconstruction, 4 a prediction; of two priors 2 samples beside 4 real clips a class; 2 samples of the third
    assert page.count('class="screen"') == 4 * classes + 2 * 4 * classes + 2 * (2 + 4) * classes + 2
    assert page.count(": not lawful, ") + page.count(": lawful, ") + page.count("no ball in some") >= 2 * 6 * classes
    assert page.count('data-future="12"') == 2 * classes  # of first clips and of the worst
    assert page.count('class="law good"') == 1 and page.count('class="law bad"') == 3  # two of them early decisions


def test_nothing_is_loaded_and_text_is_escaped(page: str) -> None:
    assert EVIL not in page and page.count("&lt;script&gt;alert(") == 5
    assert page.count('<script id="vega">') == 1, "the script of all charts is there once"
    without_data = re.sub(r'<script id="vega">.*?</script>', "", page, flags=re.S)
    without_data = re.sub(r"data:image/(?:png|webp);base64,[A-Za-z0-9+/=]+", "data:", without_data)
    assert re.findall(r'(?:src|href)="(?!#|data:)', without_data) == []
    assert "http://" not in without_data and "https://" not in without_data and "@import" not in without_data


def test_what_is_missing_is_stated(page: str, paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    assert "plots/train_predictor/horizon.csv" in page and "A language model" in page
    bare = paths_to(
        plots=write_all(tmp_path / "plots", METRICS), videos=tmp_path / "none", predictor=tmp_path / "none",
        descriptions=tmp_path / "none",
    )
    build_report.run(PARAMS, bare, Context.silent())
    text = bare.report.read_text(encoding="utf-8")
    assert text.count('class="gap"') >= 8 and 'class="screen"' not in text and "<h1>Yes.</h1>" in text


def test_laws_in_words_say_who_wrote_them_and_why_they_fail(page: str) -> None:
    section = page[page.index('<section id="words">') : page.index('<section id="provenance">')]
    assert "least-squares fit, no language model (is_llm 0)" in section
    assert "<td>right law, wrong constants</td><td>2</td>" in section and "not as recorded" in section
    assert "numbers wrong" in section and "decision wrong" not in section and EVIL not in section


def test_early_decisions_are_told_and_their_gaps_stated(
    page: str, paths_to: Callable[..., Paths], tmp_path: Path
) -> None:
    section = page[page.index('<section id="early">') : page.index('<section id="words">')]
    assert "decides 97.0 % of the test tracks correctly" in section and "What transformer decides" in section
    assert 'src="data:image/webp;base64,' in section and "1–2 frames" in section and "truly transient" in section
    assert re.search(r'48.0 … 52.0.*?<span class="met">yes</span>', section, re.S)
    for name in ("operating.csv", "attention.csv", "budgets.csv"):
        assert f"<code>plots/detect_persistence/{name}</code> was not found" in section
    bare = paths_to(plots=write_all(tmp_path / "plots", {"describe_motion": {"is_llm": 0}}))
    build_report.run(PARAMS, bare, Context.silent())
    text = bare.report.read_text(encoding="utf-8")
    section = text[text.index('<section id="early">') : text.index('<section id="words">')]
    assert section.count('class="gap"') == 1 and "plots/detect_persistence/numbers.csv" in section
    assert "dvc repro detect_persistence" in text[text.index('<section id="all">') :]


def test_what_was_left_out_is_said_once_in_its_section(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    """An experiment that parameters leave out is no gap that a stage would fill."""
    plots = write_all(tmp_path / "plots", {"describe_motion": {"is_llm": 0}})
    why = {"train_gasm_cast": "left out, actions", "detect_persistence": "left out, candidates"}
    for stage, reason in why.items():
        for name in ("numbers.csv", "confusion.csv", "attention.png", "reasons.jsonl"):
            write_absent(plots / stage / name, reason)
    bare = paths_to(plots=plots)
    build_report.run(PARAMS, bare, Context.silent())
    text, told = bare.report.read_text(encoding="utf-8"), (bare.summary / "report.md").read_text(encoding="utf-8")
    for stage, start, end in (("train_gasm_cast", "actions", "early"), ("detect_persistence", "early", "words")):
        section = text[text.index(f'<section id="{start}">') : text.index(f'<section id="{end}">')]
        assert section.count('class="gap"') == 1 and f"Not measured: {why[stage]}." in section
        assert f"dvc repro {stage}" not in text
        assert told.count(f"Not measured: {why[stage]}.") == 2, "in its section and in the list of gaps"
    assert "attention.png" not in told


def test_same_inputs_same_bytes(page: str, paths_to: Callable[..., Paths]) -> None:
    paths = paths_to()
    build_report.run(PARAMS, paths, Context.silent())
    assert paths.report.read_text(encoding="utf-8") == page


def test_the_summary_says_what_the_page_says(page: str, paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    paths = paths_to()
    build_report.run(PARAMS, paths, Context.silent())
    text = (paths.summary / "report.md").read_text(encoding="utf-8")
    for said in ("**Yes.**", "95.5 %", "≥ 97.0 %", "36.0 … 36.5 dB", "Train longer. Pooling drops position.",
                 "decides 97.0 % of the test tracks correctly", "least-squares fit, no language model"):
        assert said in text and said.replace("**", "").replace(" %", "\N{NO-BREAK SPACE}%").split(".")[0] in \
            page.replace(" %", "\N{NO-BREAK SPACE}%")
    assert EVIL not in text and "&lt;script&gt;alert(" in text
    linked = re.findall(r"!\[[^\n]*\]\(([^)]+)\)", text)
    assert "answer_1.png" in linked and "reading_1.png" in linked
    for name in linked:
        assert Image.open(paths.summary / name).width > 100
    assert {path.name for path in paths.summary.iterdir()} == {"report.md", *linked}
    again = paths_to(summary=tmp_path / "again")
    build_report.run(PARAMS, again, Context.silent())
    assert {path.name: path.read_bytes() for path in paths.summary.iterdir()} == {
        path.name: path.read_bytes() for path in again.summary.iterdir()
    }


def test_the_summary_links_to_pictures_that_stages_drew(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    plots = write_all(tmp_path / "plots", METRICS)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(plots / "train_tokenizer" / "reconstructions.png")
    paths = paths_to(
        plots=plots, videos=tmp_path / "none", candidate_videos=tmp_path / "none", summary=plots / "build_report"
    )
    build_report.run(PARAMS, paths, Context.silent())
    text = (paths.summary / "report.md").read_text(encoding="utf-8")
    assert "](../train_tokenizer/reconstructions.png)" in text and "samples.png" not in text


def test_size_stays_small(page: str) -> None:
    assert 100_000 < len(page) < 10_000_000


def test_clips_that_open_are_bounded_and_know_their_tracks(page: str) -> None:
    facts, images = (
        json.loads(re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
        for name in ("facts", "images")
    )
    motion = facts["motion"]
    assert len(motion["clips"]) == 6 and len(facts["persistence"]["clips"]) == 3
    assert all(len(images[f"motion {track}"]) == 2 for track in motion["clips"]), "original and decoded"
    one = next(iter(motion["clips"].values()))
    assert len(one["true"]) == 16 and motion["grid"] == [4, 8, 8] and len(motion["track"]) > 6
    assert any("x(t) = 0.5*t" in clip["text"] for clip in motion["clips"].values()) or motion["track"][0] > 3


def test_own_class_names_of_any_number_and_none_at_all(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    plots = write_all(tmp_path / "plots", METRICS)
    names = [f"a class <b>{place}</b> & its \u2028 name" for place in range(40)]
    (plots / "train_classifier" / "confusion.csv").write_text(
        "actual,predicted\n" + "".join(f'"{name}","{names[0]}"\n' for name in names)
    )
    (plots / "diagnose_codes" / "embedding.csv").write_text(
        "track_id,class,features,method,x,y\n" + "".join(f'{i},"{n}",codes,PCA,{i},1\n' for i, n in enumerate(names))
    )
    (plots / "train_i3d_magvit").mkdir()
    (plots / "train_i3d_magvit" / "confusion.csv").write_text("actual,predicted\n")
    bare = paths_to(plots=plots, videos=tmp_path / "none", candidate_videos=tmp_path / "none")
    build_report.run(PARAMS, bare, Context.silent())
    text = bare.report.read_text(encoding="utf-8")
    assert "<b>7</b> &" not in text and text.count("plots/train_i3d_magvit/confusion.csv") >= 1
    assert "a class &lt;b&gt;7&lt;/b&gt; &amp; its" in text


def test_no_numbers_is_one_error(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no numbers of any stage"):
        build_report.run(PARAMS, paths_to(plots=tmp_path / "empty"), Context.silent())


def test_codes_of_another_tokenizer_are_refused(
    run_folder: Path, paths_to: Callable[..., Paths], tmp_path: Path
) -> None:
    table = read_codes(run_folder / "codes.parquet")
    write_codes(tmp_path / "codes.parquet", dataclasses.replace(table.meta, tokenizer="f" * 64), [table])
    with pytest.raises(UserError, match="made by tokenizer ffffffffffff"):
        build_report.run(PARAMS, paths_to(codes=tmp_path / "codes.parquet"), Context.silent())


def test_damaged_plot_table_is_named(paths_to: Callable[..., Paths], tmp_path: Path) -> None:
    write_all(tmp_path, METRICS)
    (tmp_path / "train_classifier" / "confusion.csv").write_text("actual,guess\na,b\n")
    with pytest.raises(UserError, match=r"confusion.csv: no column 'predicted'"):
        build_report.run(PARAMS, paths_to(plots=tmp_path), Context.silent())
