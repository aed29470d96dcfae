import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kinetoken.codes import CodesTable, read_codes, write_codes
from kinetoken.core.absence import why_absent
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import CPU, Context, Output, marked_paths
from kinetoken.diagnosis.chain import CHAIN, Diagnosis
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.probes import PROBES, MomentsParams
from kinetoken.diagnosis.statement import read_statement
from kinetoken.diagnosis.text import verdict_page
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, save_tokenizer
from stages import diagnose_codes, extract_codes
from tests.support.numbers import nested
from tests.support.quantizers import FSQ
from tests.support.same_bytes import assert_same_outputs

PARAMS = Diagnosis(
    seed=1, train_clips=48, val_clips=16, test_clips=20, shown_clips=16, reconstructed_clips=4,
    probe=MomentsParams(
        seed=1, epochs=2, batch_size=16, learning_rate=0.005, warmup_fraction=0.1, weight_decay=0.05,
        gradient_clip=1.0, ema_decay=0.0, patience=0, width=8, heads=2,
    ),
)
NETWORK = NetworkParams(
    stem="patch", causal=True, fine_channels=8, fine_blocks=1, coarse_channels=16, coarse_blocks=1,
)
SILENT = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))


def make_tokenizer(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_tokenizer(folder, Tokenizer(NETWORK, FSQ, 64))
    return folder


@pytest.fixture(scope="module")
def paths(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> diagnose_codes.Paths:
    """The tiny dataset with an untrained tokenizer and the codes it makes."""
    folder = tmp_path_factory.mktemp("diagnose")
    tokenizer = make_tokenizer(folder / "tokenizer", seed=0)
    sources = extract_codes.Paths(
        videos=tiny_data / "videos", tokenizer=tokenizer, codes=folder / "codes.parquet", metrics=folder / "x.json",
        headlines=folder / "x", numbers=folder / "x.csv",
    )
    extract_codes.run(extract_codes.Extraction(batch_size=32), sources, SILENT)
    (folder / "curves.csv").write_text("epoch,val_loss\n1,0.5\n2,0.3\n3,0.2\n4,0.2\n5,0.1\n")
    return given(folder / "first", tiny_data, sources.codes, tokenizer)


def given(out: Path, data: Path, codes: Path, tokenizer: Path) -> diagnose_codes.Paths:
    return diagnose_codes.Paths(
        videos=data / "videos", trajectories=data / "trajectories.parquet", track_params=data / "track_params.parquet",
        codes=codes, tokenizer=tokenizer, history=codes.parent / "curves.csv",
        metrics=out / "m.json", headlines=out / "m", numbers=out / "m.csv", verdict=out / "verdict.md",
        verdict_json=out / "verdict.json",
        information=out / "information.csv", positions=out / "positions.csv", levels=out / "levels.csv",
        embedding=out / "embedding.csv", embedding_image=out / "embedding.png", usage_image=out / "usage.png",
    )


def elsewhere(paths: diagnose_codes.Paths, folder: str) -> diagnose_codes.Paths:
    """The same inputs, the outputs in another folder beside."""
    moved = {name: path.parent.with_name(folder) / path.name for name, path in marked_paths(paths, Output).items()}
    return dataclasses.replace(paths, **moved)


@pytest.fixture(scope="module")
def ran(paths: diagnose_codes.Paths) -> diagnose_codes.Paths:
    diagnose_codes.run(PARAMS, paths, SILENT)
    return paths


def test_metrics_hold_the_contract_with_floors_and_intervals(ran: diagnose_codes.Paths) -> None:
    metrics = nested(ran.numbers)
    assert metrics["healthy"] in (0, 1)
    whole = {**metrics, **{f"probe.{key}": value for key, value in metrics["probe"].items()}}
    names = ("usage", "perplexity", "perplexity_foreground", "effective_rank_latents", "effective_rank_codes",
             "label_information_bits", *(f"probe.{point}" for point in CHAIN))
    for name in names:
        assert whole[f"{name}_ci95_low"] <= whole[name] <= whole[f"{name}_ci95_high"], name
        assert f"{name}_floor" in whole, name
    assert metrics["probe"]["codes_floor"] == pytest.approx(0.25)
    assert metrics["code_mismatch"] == 0 and 1 <= metrics["effective_rank_codes"] <= 4


def test_figures_agree_with_a_count_of_the_codes_table(ran: diagnose_codes.Paths) -> None:
    metrics, table = nested(ran.numbers), read_codes(ran.codes)
    everything = dataclasses.replace(PARAMS, test_clips=24)
    other = elsewhere(ran, "all")
    diagnose_codes.run(everything, other, SILENT)
    share = np.bincount(table.of_split("test").codes.ravel(), minlength=1000)
    share = share[share > 0] / share.sum()
    found = nested(other.numbers)
    assert found["perplexity"] == pytest.approx(2 ** -(share * np.log2(share)).sum(), rel=1e-4)
    assert found["usage"] == pytest.approx(len(share) / 1000) and found["usage"] >= metrics["usage"]


def test_plots_are_readable_tables_and_pictures(ran: diagnose_codes.Paths) -> None:
    information = pd.read_csv(ran.information)
    further = {f"pixels_{what}_{probe}" for what in ("still", "flow") for probe in ("linear", "knn")}
    decoded = {f"reconstructions_{probe}" for probe in (*PROBES, *further)}
    assert tuple(information["point"]) == CHAIN and set(information["probe"]) <= {*PROBES, *further, *decoded}
    family = information[information["probe"].isin(PROBES)]
    assert family["accuracy"].tolist() == [row[row["probe"]] for _, row in family.iterrows()]
    numbers = nested(ran.numbers)["probe"]
    assert information["accuracy"].tolist() == pytest.approx([numbers[point] for point in CHAIN])
    assert len(pd.read_csv(ran.positions)) == 4 * 8 * 8
    assert pd.read_csv(ran.levels).groupby("channel")["share"].sum().to_numpy() == pytest.approx(np.ones(4), abs=1e-4)
    embedding = pd.read_csv(ran.embedding)
    assert len(embedding) == 2 * 2 * 16 and set(embedding["class"]) == {"circular", "helical", "linear", "parabolic"}
    for image in (ran.embedding_image, ran.usage_image):
        assert image.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and b"Software" not in image.read_bytes()


def test_the_verdict_in_words_is_drawn_from_its_data(ran: diagnose_codes.Paths) -> None:
    statement, metrics = read_statement(ran.verdict_json), json.loads(ran.metrics.read_text())
    assert ran.verdict.read_text() == verdict_page(statement)
    assert int(statement.healthy) == metrics["healthy"]
    values = {one.measure: one.value for one in (*statement.rests_on, *statement.others)}
    assert set(values) == {field.name for field in dataclasses.fields(Measures)}
    assert values["probe_codes"] == pytest.approx(metrics["probe"]["codes"], rel=1e-5)


def test_second_run_leaves_the_same_bytes(ran: diagnose_codes.Paths) -> None:
    again = elsewhere(ran, "again")
    diagnose_codes.run(PARAMS, again, SILENT)
    assert_same_outputs(again, ran, sorted(marked_paths(ran, Output)))


def test_codes_of_another_tokenizer_are_refused(paths: diagnose_codes.Paths, tmp_path: Path) -> None:
    other = dataclasses.replace(paths, tokenizer=make_tokenizer(tmp_path / "other", seed=9))
    with pytest.raises(UserError, match=r"codes\.parquet: made by tokenizer"):
        diagnose_codes.run(PARAMS, other, SILENT)


def rewritten(paths: diagnose_codes.Paths, codes: Path, table: CodesTable) -> diagnose_codes.Paths:
    write_codes(codes, table.meta, [table])
    return dataclasses.replace(paths, codes=codes)


def test_codes_without_classes_are_examined_as_far_as_they_can_be(
    paths: diagnose_codes.Paths, tmp_path: Path
) -> None:
    table = read_codes(paths.codes)
    table.label[:] = "unlabelled"
    unlabelled = rewritten(paths, tmp_path / "b.parquet", table)
    out = tmp_path / "out"
    moved = {name: out / Path(path).name for name, path in marked_paths(unlabelled, Output).items()}
    out.mkdir()
    unlabelled = dataclasses.replace(unlabelled, **moved)
    diagnose_codes.run(PARAMS, unlabelled, SILENT)
    statement = read_statement(unlabelled.verdict_json)
    assert statement.headline.name == "cannot tell without labels"
    numbers = read_numbers(unlabelled.numbers)
    assert numbers["healthy"] == 0 and numbers["perplexity"] > 1 and "physics.acceleration_r2.codes" in numbers
    assert "probe.codes" not in numbers and "no classes" in (why_absent(unlabelled.information) or "")


def test_empty_split_and_unknown_track_are_refused(paths: diagnose_codes.Paths, tmp_path: Path) -> None:
    table = read_codes(paths.codes)
    no_test = rewritten(paths, tmp_path / "a.parquet", table.take(np.flatnonzero(table.split != "test")))
    with pytest.raises(UserError, match="split 'test' is empty"):
        diagnose_codes.run(PARAMS, no_test, SILENT)
    unknown = dataclasses.replace(table, track_id=table.track_id + 1000)
    with pytest.raises(UserError, match=r"videos: no clip of track \d+"):
        diagnose_codes.run(PARAMS, rewritten(paths, tmp_path / "c.parquet", unknown), SILENT)
