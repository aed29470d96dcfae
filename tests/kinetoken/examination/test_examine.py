"""A whole examination: of a tokenizer that keeps some, of one that loses all, and of one that never quantizes."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

import kinetoken
from kinetoken.core.errors import UserError
from kinetoken.examination.card import KIND, MEASURES, SCHEMA, MotionCard, read_card
from kinetoken.examination.compare import compare_cards, compared
from kinetoken.examination.motion_set import MotionSet
from kinetoken.examination.page import comparison_html, comparison_markdown
from tests.kinetoken.diagnosis.test_doctor import PARAMS
from tests.support.tokenizers import Blocks, Constant, Continuous, Toy

QUICK = dataclasses.replace(PARAMS, probe=dataclasses.replace(PARAMS.probe, epochs=2))


def card_of(adapter: Any, toy_set: MotionSet, **options: Any) -> MotionCard:
    return kinetoken.examine(
        adapter, clips=80, motion_set=toy_set.store.folder, params=QUICK, threads=1, **options
    )


@pytest.fixture(scope="module")
def blocks(toy_set: MotionSet) -> MotionCard:
    return card_of(Blocks(), toy_set)


@pytest.fixture(scope="module")
def constant(toy_set: MotionSet) -> MotionCard:
    return card_of(Constant(), toy_set, name="constant", library="vector-quantize-pytorch")


@pytest.fixture(scope="module")
def continuous(toy_set: MotionSet) -> MotionCard:
    return card_of(Continuous(), toy_set)


def test_blocks_of_colour_keep_some(blocks: MotionCard) -> None:
    numbers = blocks.numbers
    assert blocks.verdict.cause and blocks.codes_shape == (2, 4, 4, 3)
    position = numbers["position_r2.codes"]
    assert position.value > 0.3 and position.baseline == 0 and position.upper_bound > 0.95  # type: ignore[operator]
    error = numbers["position_error_px.codes"]
    assert error.upper_bound < 0.2 < error.value < error.baseline  # type: ignore[operator]
    assert {check.name: check.answer for check in blocks.checks} == {
        "repeatable": "yes", "batch_independent": "yes", "causal": "yes",
    }
    assert numbers["cost.tokens"].value == 2 * 4 * 4 * 3 and numbers["cost.bits"].value == 2 * 4 * 4 * 3 * 4
    assert numbers["cost.bits"].baseline == 4 * 16 * 16 * 24  # 8-bit RGB itself
    assert 0 < numbers["cost.entropy_bits"].value < numbers["cost.bits"].value


def test_a_constant_tokenizer_has_collapsed_and_keeps_nothing(constant: MotionCard) -> None:
    numbers, verdict = constant.numbers, constant.verdict
    assert verdict.cause == "codebook collapse" and verdict.healthy is False and verdict.cure
    assert numbers["codes.perplexity"].value == 1 and numbers["codes.usage"].value == pytest.approx(1 / 64, rel=1e-4)
    assert numbers["cost.bits"].value == 2 * 4 * 4 * 6 and numbers["cost.entropy_bits"].value == 0
    for name in ("position", "velocity"):
        assert numbers[f"{name}_r2.codes"].value <= 0 < numbers[f"{name}_r2.pixels"].value
        codes = numbers[f"{name}_error_px.codes"]
        assert codes.value == pytest.approx(codes.baseline, rel=1e-4)  # the training clips' mean, no better
    assert numbers["class.codes"].value <= numbers["class.codes"].baseline + 0.15  # type: ignore[operator]
    assert numbers["reconstruction.psnr_db"].value < numbers["reconstruction.psnr_db"].baseline  # type: ignore[operator]
    assert constant.tokenizer.library == "vector-quantize-pytorch" and "class.latents" not in numbers
    assert any("no method latents" in note for note in constant.notes)
    probe = constant.to_json()["diagnosis"]["numbers"]["probe"]  # what is decoded from one code shows nothing either
    assert probe["reconstructions"] <= probe["reconstructions_floor"] + 0.15


def test_the_training_curve_is_read_before_the_long_work_and_judged(toy_set: MotionSet, tmp_path: Path) -> None:
    curve = tmp_path / "curve.csv"
    with pytest.raises(UserError, match="curve.csv"):
        card_of(Toy(), toy_set, history=curve)
    curve.write_text("step,val_loss\n0,1.0\n10,0.8\n20,0.6\n30,0.4\n")
    diagnosis = card_of(Constant(), toy_set, history=curve).to_json()["diagnosis"]
    assert diagnosis["measures"]["loss_fall"] == pytest.approx(0.6)


def test_a_continuous_tokenizer_gets_a_card_that_says_so(continuous: MotionCard) -> None:
    assert continuous.verdict.cause == "never quantized" and continuous.verdict.healthy is None
    assert continuous.verdict.severity is None and "continuous latents" in continuous.verdict.evidence
    assert "codes.usage" not in continuous.numbers and "cost.entropy_bits" not in continuous.numbers
    assert continuous.numbers["cost.bits"].value == 16 * 3 * 2 * 4 * 4
    assert continuous.numbers["position_r2.codes"].value > 0.5
    assert "continuous latents, never quantized" in continuous.to_markdown()


def test_the_card_is_written_whole_and_read_back(blocks: MotionCard, tmp_path: Path) -> None:
    blocks.write(tmp_path / "card")
    held = {str(file.relative_to(tmp_path / "card")) for file in (tmp_path / "card").rglob("*") if file.is_file()}
    assert {"card.html", "card.md", "card.json", "diagnosis/report.html", "diagnosis/report.json"} <= held
    content = json.loads((tmp_path / "card/card.json").read_text())
    assert content["kind"] == KIND and content["schema"] == SCHEMA == 1
    assert content["diagnosis"]["verdict"]["cause"] == content["verdict"]["cause"]
    assert set(content["numbers"]) <= set(MEASURES) and content["motion_set"]["test"] == 24
    assert read_card(tmp_path / "card") == blocks == MotionCard.read(tmp_path / "card/card.json")
    html = (tmp_path / "card/card.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', html) and "http://" not in html
    assert len(re.findall(r"data:image/(?:png|webp)", html)) == 8  # four laws, original and reconstruction
    assert (tmp_path / "card/card.md").read_text() == blocks.to_markdown()
    with pytest.raises(UserError, match="card exists; choose another place"):
        blocks.write(tmp_path / "card")


def test_every_number_of_a_card_stands_on_its_pages_with_its_interval(blocks: MotionCard) -> None:
    shown = blocks.to_markdown()
    for key in blocks.numbers:
        assert f"| {MEASURES[key].name}" in shown, key
    interval = blocks.numbers["position_r2.codes"]
    assert f"{interval.ci95_low:.4g} … {interval.ci95_high:.4g}" in shown


@pytest.mark.parametrize(("change", "message"), [
    (lambda card: {**card, "schema": 99}, "a card of schema 99, this version of kinetoken reads 1"),
    (lambda card: {**card, "kind": "other"}, "not a motion card"),
    (lambda card: [], "not a motion card"),
    (lambda card: {**card, "numbers": {"class.codes": {"value": "high"}}}, "a damaged card: card.numbers.class.codes"),
    (lambda card: {key: card[key] for key in card if key != "checks"}, "a damaged card: card.checks: missing"),
])
def test_a_file_that_is_no_card_is_one_sentence(
    constant: MotionCard, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(change(constant.to_json())))
    with pytest.raises(UserError, match=message):
        read_card(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_card(path)
    with pytest.raises(UserError, match=r"no such file; `kinetoken examine … --out FOLDER` writes a card"):
        read_card(tmp_path / "absent")


def test_cards_stand_side_by_side(
    blocks: MotionCard, constant: MotionCard, continuous: MotionCard, tmp_path: Path
) -> None:
    worse = dataclasses.replace(continuous, numbers={
        key: number for key, number in continuous.numbers.items() if not key.startswith("position")
    })
    found = compared([blocks, constant, worse, constant])
    assert found.names == ("Blocks", "constant", "Continuous", "constant (2)")
    rows = {row.measure.key: row for group in found.groups.values() for row in group}
    assert rows["position_r2.codes"].best == (0,) and rows["cost.bits"].best == (1, 3)
    assert rows["codes.usage"].best == () and rows["codes.usage"].numbers[2] is None
    text = comparison_markdown(found)
    best = f"{found.cards[0].numbers['position_r2.codes'].value:.4g}"
    assert "| verdict | " in text and f"**{best}**" in text and "Never quantized" in text
    assert f"{best} ●" in comparison_html(found)
    for name, card in (("a", blocks), ("b", constant)):
        card.write(tmp_path / name)
    stored = compare_cards([tmp_path / "a", tmp_path / "b" / "card.json"])
    stored.write(tmp_path / "both")
    content = json.loads((tmp_path / "both/comparison.json").read_text())
    assert content["names"] == ["Blocks", "constant"] and content["schema"] == 1
    assert content["numbers"]["cost.bits"][0]["value"] == 384
    with pytest.raises(UserError, match="at least two cards"):
        compare_cards([tmp_path / "a"])


def test_cards_of_other_sizes_are_not_ranked_in_pixels(blocks: MotionCard, constant: MotionCard) -> None:
    larger = dataclasses.replace(constant, motion_set=dataclasses.replace(constant.motion_set, size=32, test=30))
    found = compared([blocks, larger])
    rows = {row.measure.key: row for group in found.groups.values() for row in group}
    assert rows["reconstruction.centroid_error_px"].best == () and rows["position_r2.codes"].best == (0,)
    assert "not ranked" in found.notes[0] and "numbers of clips differ" in found.notes[1]


def test_what_an_adapter_does_wrong_is_said_before_the_long_work(toy_set: MotionSet, tmp_path: Path) -> None:
    class Breaks(Toy):
        def decode(self, indices: object) -> object:
            raise RuntimeError("no decoder")

    with pytest.raises(UserError, match="tokenizer Breaks: decode raised RuntimeError: no decoder"):
        card_of(Breaks(), toy_set, out=tmp_path / "card")
    assert not (tmp_path / "card").exists()
    (tmp_path / "card").mkdir()
    (tmp_path / "card/mine").touch()
    with pytest.raises(UserError, match="card exists"):
        card_of(Toy(), toy_set, out=tmp_path / "card")
    with pytest.raises(UserError, match="no cures are known for the library 'mine'"):
        kinetoken.examine(Toy(), library="mine")
    with pytest.raises(UserError, match="no section 'diagnose_codes'"):
        (tmp_path / "params.yaml").write_text("a: 1")
        kinetoken.examine(Toy(), params=tmp_path / "params.yaml")
