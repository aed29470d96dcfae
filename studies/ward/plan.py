"""What the ward runs: healthy tokenizers, and faults as data, each a list of severities beside a healthy twin."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml

from kinetoken.core.params import NonNegative, Positive, Range, build
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.tokenizer.training_clips import TokenizerParams

Half = Literal["setting", "scoring"]
HALVES: tuple[Half, ...] = ("setting", "scoring")  # thresholds are set on the one and scored on the other
HEALTHY = "healthy"
Severity = tuple[str, ...]  # a kind of quantizer, then changes of params (name=value) and breakages of the pipeline


@dataclasses.dataclass(frozen=True)
class Halves:
    """One entry for each half of the ward."""

    setting: tuple[int, ...]
    scoring: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault, the cause that the doctor should name, what brings the codes back, and its severities by half."""

    cause: str
    cure: tuple[str, ...]  # what the doctor prints, on top of the fault's changes; none: do the broken step properly
    pooled: bool  # are the averaged codes what is used, and judged
    setting: tuple[Severity, ...]
    scoring: tuple[Severity, ...]


@dataclasses.dataclass(frozen=True)
class Ward:
    """Section ward of the study's params."""

    tokenizer: TokenizerParams
    clips_a_pass: Positive  # training clips drawn for what the tokenizer counts as an epoch
    quantizers: dict[str, tuple[str, ...]]  # kind → changes of the tokenizer's params
    sizes: dict[str, tuple[str, ...]]  # further healthy networks, one a seed in turn, each with every quantizer
    healthy_seeds: Halves
    fault_seeds: Halves  # among the healthy ones: each is the seed of a twin
    size_seeds: Halves
    cure_seed: NonNegative  # cured runs are trained with the seeds that follow it
    cured_runs: Positive  # of each scored severity that has a cure
    faults: dict[str, dict[str, Fault]]  # group → name → fault
    diagnosis: Diagnosis
    processes: Annotated[int, Range(ge=1, le=16)]


@dataclasses.dataclass(frozen=True)
class Case:
    """One patient: which fault at which severity, on which quantizer and seed."""

    fault: str
    cause: str
    half: Half
    severity: int
    quantizer: str
    seed: int
    changes: tuple[str, ...]
    pooled: bool = False
    cured: bool = False

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.half}-{self.severity}-{self.quantizer}-{self.seed}" + "-cured" * self.cured

    @property
    def twin(self) -> str:
        """The healthy tokenizer of the same quantizer and seed, in the usual size; cured runs have none."""
        return twin_name(self.quantizer, self.seed)


def twin_name(quantizer: str, seed: int) -> str:
    return f"{quantizer}-{seed}"


def healthy_cases(ward: Ward) -> list[Case]:
    """Every quantizer with every healthy seed, and the other sizes."""
    found = []
    for half in HALVES:
        for quantizer, changes in ward.quantizers.items():
            for seed in getattr(ward.healthy_seeds, half):
                found.append(Case(HEALTHY, HEALTHY, half, 0, quantizer, seed, changes))
            for number, (name, size) in enumerate(ward.sizes.items(), 1):
                for seed in getattr(ward.size_seeds, half):
                    found.append(Case(f"{HEALTHY} {name}", HEALTHY, half, number, quantizer, seed, (*changes, *size)))
    return found


def fault_cases(ward: Ward, group: str) -> list[Case]:
    """Every severity and seed of a group of faults; then, where a change of params cures, the cured ones."""
    found = []
    for name, fault in ward.faults[group].items():
        for half in HALVES:
            for number, (quantizer, *changes) in enumerate(getattr(fault, half), 1):
                for seed in getattr(ward.fault_seeds, half):
                    all_changes = (*ward.quantizers[quantizer], *changes)
                    found.append(Case(name, fault.cause, half, number, quantizer, seed, all_changes, fault.pooled))
    return [*found, *_cured(ward, group, found)]


def _cured(ward: Ward, group: str, cases: list[Case]) -> Iterator[Case]:
    """A few cured runs of each scored severity, trained from nothing with seeds that no other run has."""
    first = ward.fault_seeds.scoring[0]
    seed = ward.cure_seed + 100 * list(ward.faults).index(group)
    for case in cases:
        cure = ward.faults[group][case.fault].cure
        if cure and case.half == "scoring" and case.seed == first:
            for _ in range(ward.cured_runs):
                seed += 1
                yield dataclasses.replace(case, cured=True, seed=seed, changes=(*case.changes, *cure))


def split_changes(changes: tuple[str, ...], names: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(changes of params, those that are named in `names`), each name → value; a later one overrides."""
    values = {key: yaml.safe_load(text) for key, text in (change.split("=", 1) for change in changes)}
    return ({k: v for k, v in values.items() if k not in names}, {k: v for k, v in values.items() if k in names})


def changed(params: TokenizerParams, changes: dict[str, Any]) -> TokenizerParams:
    """The params with dotted keys set, checked as if they came from a file."""
    tree = json.loads(json.dumps(dataclasses.asdict(params)))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        node = tree
        for key in path:
            node = node[key]
        node[last] = value
    return build(TokenizerParams, tree, "ward.tokenizer")
