"""Numbers of a stage: nothing lost in the table, headlines as they were asked for, faults named, the same bytes."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetoken.core.errors import UserError
from kinetoken.core.numbers import MOST, Headlines, read_numbers, write_numbers, write_numbers_table

METRICS: dict[str, Any] = {
    "accuracy": 1 / 3, "accuracy_floor": 0.25, "accuracy_ceiling": 1, "accuracy_ci95_low": 0.3,
    "accuracy_ci95_high": 0.4, "parameters": np.int64(5566238), "ece": torch.tensor(2.0e-17),
    "per_class": {"up, then \"down\"": 0.5, "a/b": 0.25}, "lone_floor": 7, "points.error_m": 0.5,
    "points.error_m_floor": 2, "points.error_m_floor_ci95_low": 1,
}
HEADLINES = Headlines(("accuracy", "per_class.*", "lone_floor"), ("points.error_m", "recall"), ("accuracy", "recall"))
TABLE = '''\
name,value,baseline,upper_bound,ci95_low,ci95_high
accuracy,0.333333,0.25,1,0.3,0.4
ece,2e-17,,,,
lone_floor,7,,,,
parameters,5566238,,,,
per_class.a/b,0.25,,,,
"per_class.up, then ""down""",0.5,,,,
points.error_m,0.5,2,,,
points.error_m_floor_ci95_low,1,,,,
'''


@dataclasses.dataclass(frozen=True)
class Paths:
    metrics: Path
    headlines: Path
    numbers: Path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "m/x.json", tmp_path / "m/x", tmp_path / "p/x/numbers.csv")


def flat(node: dict[str, Any], where: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in node.items():
        found |= flat(value, f"{where}{key}.") if isinstance(value, dict) else {where + key: float(value)}
    return found


def rounded(node: dict[str, Any]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") if value % 1 else value for name, value in flat(node).items()}


# ---- the table


def test_the_table_holds_every_number_with_its_bounds_beside_it(paths: Paths) -> None:
    write_numbers(paths, METRICS, HEADLINES)
    assert paths.numbers.read_text(encoding="utf-8") == TABLE
    assert read_numbers(paths.numbers) == rounded(METRICS)
    write_numbers_table(paths.metrics, METRICS)
    assert paths.metrics.read_bytes() == paths.numbers.read_bytes()


KEYS = st.from_regex(r"[a-z ]{1,3}(_floor|_ceiling|_ci95_low|_ci95_high){0,2}", fullmatch=True)
NUMBERS = st.floats(-1e9, 1e9) | st.integers(-10**9, 10**9)
TREES = st.recursive(
    st.dictionaries(KEYS, NUMBERS, max_size=5), lambda deeper: st.dictionaries(KEYS, deeper | NUMBERS, max_size=5),
)


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_whatever_is_written_is_read_back(tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    write_numbers_table(path, tree)
    assert read_numbers(path) == rounded(tree)


def test_the_same_numbers_in_another_order_leave_the_same_bytes(paths: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path / "o.json", tmp_path / "o", tmp_path / "o.csv")
    write_numbers(paths, METRICS, HEADLINES)
    write_numbers(other, dict(reversed(METRICS.items())), HEADLINES)
    for one, another in zip(dataclasses.astuple(paths), dataclasses.astuple(other), strict=True):
        pairs = [(one, another)] if one.is_file() else list(zip(sorted(one.iterdir()), sorted(another.iterdir()),
                                                                strict=True))
        assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.5", [1.0], np.ones(2), np.ones(1), torch.ones(3)])
def test_what_is_no_number_is_refused_by_name_and_nothing_is_written(paths: Paths, value: object) -> None:
    with pytest.raises(ValueError, match="metric per_class.b"):
        write_numbers(paths, METRICS | {"per_class": {"a": 1, "b": value}}, HEADLINES)
    assert not any(path.exists() for path in dataclasses.astuple(paths))


def test_two_numbers_of_one_name_are_refused(paths: Paths) -> None:
    with pytest.raises(ValueError, match="metric a.b is there twice"):
        write_numbers(paths, {"a": {"b": 1}, "a.b": 2}, Headlines(()))


@pytest.mark.parametrize(("change", "fault"), [
    (("0.25,1,", "0.25,one,"), "'accuracy_ceiling' is not a number: 'one'"),
    (("2e-17", "nan"), "'ece' is not a number: 'nan'"),
    (("lone_floor", "accuracy"), "'accuracy' is there twice"),
    (("points.error_m_floor_ci95_low", "accuracy_floor"), "'accuracy_floor' is there twice"),
    (("ece,2e-17,", "ece,2e-17"), "line 3: 5 cells, expected 6"),
    (("upper_bound", "ceiling"), "its columns must be name, value, baseline"),
    (('""",', '"",'), "not a table of numbers"),
])
def test_a_damaged_table_is_named(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(TABLE.replace(*change, 1))
    with pytest.raises(UserError, match=f"numbers.csv: .*{fault}"):
        read_numbers(path)


def test_a_table_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="numbers.csv: no such file"):
        read_numbers(tmp_path / "numbers.csv")
    (tmp_path / "numbers.csv").touch()
    with pytest.raises(UserError, match="numbers.csv: not a table of numbers"):
        read_numbers(tmp_path / "numbers.csv")
    with pytest.raises(UserError, match="not a table of numbers"):
        read_numbers(tmp_path)


# ---- the headlines


def test_the_short_file_holds_the_headlines_and_the_folder_one_file_each(paths: Paths) -> None:
    write_numbers(paths, METRICS, HEADLINES)
    assert json.loads(paths.metrics.read_text()) == {
        "accuracy": 0.333333, "accuracy_ceiling": 1, "accuracy_ci95_high": 0.4, "accuracy_ci95_low": 0.3,
        "accuracy_floor": 0.25, "lone_floor": 7, "per_class": {"a/b": 0.25, "up, then \"down\"": 0.5},
        "points.error_m": 0.5,
    }
    files = {path.name: json.loads(path.read_text()) for path in paths.headlines.iterdir()}
    assert files == {
        "accuracy.json": {
            "value": 0.333333, "baseline": 0.25, "upper_bound": 1, "ci95_low": 0.3, "ci95_high": 0.4,
        },
        "per_class.a%2Fb.json": {"value": 0.25}, "per_class.up, then %22down%22.json": {"value": 0.5},
        "lone_floor.json": {"value": 7}, "points.error_m.json": {"value": 0.5, "baseline": 2},
    }


def test_a_bound_among_the_headlines_has_no_file_of_its_own(paths: Paths) -> None:
    write_numbers(paths, METRICS, Headlines(("accuracy", "accuracy_floor")))
    assert json.loads(paths.metrics.read_text()) == {"accuracy": 0.333333, "accuracy_floor": 0.25}
    assert [path.name for path in paths.headlines.iterdir()] == ["accuracy.json"]


@pytest.mark.parametrize("name", ["recall", "per_step.*", "accuracy.*", "per_class.*.accuracy"])
def test_a_missing_headline_is_named(paths: Paths, name: str) -> None:
    with pytest.raises(ValueError, match=f"headline {name.replace('*', '.')} is missing"):
        write_numbers(paths, METRICS, Headlines(("accuracy", name)))
    assert not any(path.exists() for path in dataclasses.astuple(paths))


def test_a_star_stands_for_numbers_at_its_depth_and_for_no_bounds(paths: Paths) -> None:
    metrics = {"pooling": {"a": {"accuracy": 1, "accuracy_floor": 0, "ece": 2}, "b": {"accuracy": 3}, "c": 4}}
    write_numbers(paths, metrics, Headlines(("pooling.*.acc*",)))
    assert json.loads(paths.metrics.read_text()) == {"pooling": {"a": {"accuracy": 1}, "b": {"accuracy": 3}}}


def test_a_short_file_has_room_for_as_many_as_there_may_be(paths: Paths) -> None:
    many = {f"n{i:02d}": i for i in range(MOST)}
    write_numbers(paths, many, Headlines(tuple(many)))
    assert json.loads(paths.metrics.read_text()) == many
    many["n25"] = 25
    with pytest.raises(ValueError, match="26 headline numbers are required, 25 are the most"):
        write_numbers(paths, many, Headlines(tuple(many)))


def test_what_has_no_room_is_left_out_whole(paths: Paths) -> None:
    """First the further ones as far as they go, then the bounds of one after another."""
    few = {f"n{i:02d}": i for i in range(MOST - 3)}
    bounds = {"n00_floor": 0, "n00_ceiling": 1, "n01_floor": 2}
    metrics = {**few, **bounds, "per_class": dict.fromkeys("abcd", 0.5), "last": 5}
    write_numbers(paths, metrics, Headlines((*few, "per_class.*"), ("none", "last"), ("n00", "n01")))
    kept = json.loads(paths.metrics.read_text())
    assert kept == {**few, "last": 5, "n00_floor": 0, "n00_ceiling": 1}
    assert {path.stem for path in paths.headlines.iterdir()} == {*few, "last"}
    assert read_numbers(paths.numbers) == rounded(metrics)


def test_names_of_any_length_are_files_of_their_own(paths: Paths) -> None:
    """As a class is named by its user: 100 characters, of four bytes each."""
    names = ["\U0001f3d0" * 99 + end for end in "ab"]
    write_numbers(paths, {"per_class": dict.fromkeys(names, 0.5)}, Headlines(("per_class.*",)))
    assert len(list(paths.headlines.iterdir())) == 2
    assert read_numbers(paths.numbers) == {f"per_class.{name}": 0.5 for name in names}
