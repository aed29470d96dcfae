"""What may change a result: parameters, code and inputs, as params.yaml, code/ and dvc.lock record them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kinetoken.comparison.revisions import Revision
from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml

ABSENT = "not set"  # in place of a parameter's value
CODE_FOLDERS = ("kinetoken", "stages", "tools")  # which the stage that hashes the code depends on
TEST_DATA = ("data/motion/trajectories.parquet", "data/motion/videos", "data/persistence/trajectories.parquet",
             "data/persistence/videos", "data/actions")


@dataclass(frozen=True)
class ParamChange:
    """A parameter that differs; values as text, `ABSENT` where a revision does not set it."""

    section: str  # the stage, or hardware
    name: str  # within the section
    a: str
    b: str


@dataclass(frozen=True)
class Rerun:
    """A stage whose record in dvc.lock differs. Both sequences are empty for a stage that only one revision has."""

    stage: str
    how: str  # "ran again", "new" or "gone"
    causes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()  # whose content differs; none: it made the same again


def changed_params(a: Revision, b: Revision) -> list[ParamChange]:
    """The parameters that differ, in the order of params.yaml."""
    before, after = (dict(_leaves(_mapping(each, "params.yaml"))) for each in (a, b))
    changes = []
    for place in [*after, *(place for place in before if place not in after)]:
        values = [ABSENT if place not in each else _shown(each[place]) for each in (before, after)]
        if values[0] != values[1]:
            changes.append(ParamChange(place[0], ".".join(place[1:]), values[0], values[1]))
    return changes


def changed_fingerprints(a: Revision, b: Revision) -> list[str]:
    """The stages whose hash of the code (code/<stage>.txt) differs, or which only one revision has."""
    names = sorted(a.names("code/*.txt") | b.names("code/*.txt"))
    return [name.removeprefix("code/").removesuffix(".txt") for name in names if _content(a, name) != _content(b, name)]


def reruns(a: Revision, b: Revision) -> list[Rerun]:
    """The stages that ran again between the revisions, by their records in dvc.lock."""
    before, after = (_stages(each) for each in (a, b))
    found = [Rerun(stage, "new") for stage in after if stage not in before]
    found += [Rerun(stage, "gone") for stage in before if stage not in after]
    for stage in (stage for stage in after if stage in before):
        causes = tuple(dict.fromkeys(_causes(before[stage], after[stage])))
        made = [_hashes(each[stage], "outs") for each in (before, after)]
        outputs = tuple(path for path in sorted(made[0] | made[1]) if made[0].get(path) != made[1].get(path))
        if causes or outputs:
            found.append(Rerun(stage, "ran again", causes, outputs))
    order = [*after, *before]
    return sorted(found, key=lambda one: order.index(one.stage))


def differing_test_data(a: Revision, b: Revision) -> list[str]:
    """Of the data that results are measured on, what differs between the revisions."""
    made = [recorded_outputs(each) for each in (a, b)]
    return [path for path in TEST_DATA if made[0].get(path) != made[1].get(path)]


def recorded_outputs(revision: Revision) -> dict[str, str]:
    """Path → hash of every output in dvc.lock."""
    found: dict[str, str] = {}
    for entry in _stages(revision).values():
        found |= _hashes(entry, "outs")
    return found


def _causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = _hashes(before, "deps"), _hashes(after, "deps")
    for path in sorted(old | new):
        if old.get(path) != new.get(path):
            yield "code" if path.startswith("code/") or path in CODE_FOLDERS or path.endswith(".py") else path
    params = [dict(_leaves(entry.get("params") or {})) for entry in (before, after)]
    for place in sorted(set(params[0]) | set(params[1])):
        if place not in params[0] or place not in params[1] or params[0][place] != params[1][place]:
            yield "parameter " + ".".join(place[1:])  # the first is the file's name
    if _words(before) != _words(after):
        yield "command"


def _words(entry: Mapping[str, Any]) -> list[str]:
    return str(entry.get("cmd", "")).split()


def _stages(revision: Revision) -> dict[str, dict[str, Any]]:
    stages = _mapping(revision, "dvc.lock").get("stages")
    if not isinstance(stages, dict) or not all(isinstance(entry, dict) for entry in stages.values()):
        raise UserError(f"{revision.name}: dvc.lock: expected `stages`, a mapping of each stage to its record")
    return {str(name): entry for name, entry in stages.items()}


def _hashes(entry: Mapping[str, Any], key: str) -> dict[str, str]:
    """Path → hash, of a stage's `deps` or `outs`; other lock files than DVC's own yield nothing."""
    listed = entry.get(key)
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return {str(row.get("path")): str(row.get("md5", row.get("etag"))) for row in rows}


def _mapping(revision: Revision, name: str) -> dict[str, Any]:
    with revision.naming():
        content = read_yaml(revision.path(name))
    if not isinstance(content, dict):
        raise UserError(f"{revision.name}: {name}: expected keys and values at the top")
    return content


def _leaves(node: Mapping[Any, Any], where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*where, str(key)))
        else:
            yield (*where, str(key)), value


def _shown(value: object) -> str:
    """A value as params.yaml would have it, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _content(revision: Revision, name: str) -> str:
    path = revision.path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
