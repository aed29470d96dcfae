"""What the study examines: families of tokenizers as data, each sound and with faults, in two halves."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml

from kinetoken.core.params import Range
from kinetoken.diagnosis.chain import Diagnosis

Half = Literal["setting", "scoring"]
HALVES: tuple[Half, ...] = ("setting", "scoring")  # thresholds may be set on the one and are scored on the other
HEALTHY = "healthy"
SOUND = "sound"  # the name of a case without a fault
Changes = tuple[str, ...]  # name=value, dotted names for what lies deeper; a later one overrides


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of one family.

    truth: headlines that are right, by how the case is made; counts: by its cost in accuracy against the healthy twin,
    or always (faults of how codes are used, and limits of the data); setting, scoring: severities by half.
    """

    truth: tuple[str, ...]
    counts: Literal["cost", "always"]
    setting: tuple[Changes, ...]
    scoring: tuple[Changes, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """One maker with its options, sound and with faults.

    give: the files that its owner hands in beside the codes; truth: headlines that are right without a fault;
    varied: what the scoring half makes otherwise; setting, scoring: seeds, each a healthy twin of its own.
    """

    maker: str
    options: Changes
    varied: Changes
    give: tuple[str, ...]
    truth: tuple[str, ...]
    setting: tuple[int, ...]
    scoring: tuple[int, ...]
    faults: dict[str, Fault]


@dataclasses.dataclass(frozen=True)
class Patients:
    """Section patients of the study's params."""

    families: dict[str, Family]
    diagnosis: Diagnosis
    processes: Annotated[int, Range(ge=1, le=16)]


@dataclasses.dataclass(frozen=True)
class Case:
    """One examination: a family's tokenizer of one seed, as it is or with one fault."""

    family: str
    fault: str
    half: Half
    severity: int
    seed: int
    maker: str
    options: Changes
    changes: Changes
    give: tuple[str, ...]
    truth: tuple[str, ...]
    counts: Literal["cost", "always"]

    @property
    def name(self) -> str:
        return f"{self.family}-{self.half}-{self.seed}-{self.fault.replace(' ', '_')}-{self.severity}"

    @property
    def twin(self) -> str:
        """What a fault shares with the sound case that it is held against."""
        return f"{self.family}-{self.half}-{self.seed}"


def cases(patients: Patients) -> list[Case]:
    """All of them; those of one twin stand together, the sound one first."""
    return [
        case for half in HALVES for name, family in patients.families.items() for seed in getattr(family, half)
        for case in _of_twin(name, family, half, seed)
    ]


def _of_twin(name: str, family: Family, half: Half, seed: int) -> Iterator[Case]:
    options = (*family.options, *(family.varied if half == "scoring" else ()))
    sound = Case(
        name, SOUND, half, 0, seed, family.maker, options, (), family.give, family.truth,
        "cost" if family.truth == (HEALTHY,) else "always",
    )
    yield sound
    for fault, how in family.faults.items():
        for number, changes in enumerate(getattr(how, half), 1):
            yield dataclasses.replace(
                sound, fault=fault, severity=number, changes=changes, truth=how.truth, counts=how.counts,
            )


def tree(changes: Changes) -> dict[str, Any]:
    """Changes as nested keys and values, in the order in which they were first named."""
    found: dict[str, Any] = {}
    for change in changes:
        dotted, text = change.split("=", 1)
        *path, last = dotted.split(".")
        node = found
        for key in path:
            node = node.setdefault(key, {})
        node[last] = yaml.safe_load(text)
    return found
