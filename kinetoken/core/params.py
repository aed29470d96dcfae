"""Read one section of params.yaml into its frozen dataclass, strictly.

A section's dataclass lives beside the noun it configures. Every key must be known, and present unless its field has
a default: params.yaml holds what a user would change, the rest stands beside its noun. Types and ranges are checked
before any work starts, and each error names the section and the key.

Overlay a profile onto params.yaml in place, comments kept:

    python -m kinetoken.core.params overlay profiles/gpu.yaml
"""

import argparse
import dataclasses
import io
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from kinetoken.core.artifacts import require_file
from kinetoken.core.errors import UserError
from kinetoken.core.outputs import written_whole
from kinetoken.core.terminal import open_streams

T = TypeVar("T")

LARGEST_FILE = 1 << 24  # bytes of YAML
LARGEST_TREE = 1 << 22  # nodes, and every 16 characters of their text, each counted as often as an alias stands for it


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number, written as ``Annotated[int, Range(ge=1)]``."""

    ge: float = -math.inf
    le: float = math.inf
    gt: float = -math.inf
    lt: float = math.inf

    def holds(self, value: float) -> bool:
        return self.ge <= value <= self.le and self.gt < value < self.lt

    def __str__(self) -> str:
        bounds = [(">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if not math.isinf(bound))


@dataclasses.dataclass(frozen=True)
class NoParams:
    """Of a stage that has none, and so no section in params.yaml."""


Positive = Annotated[int, Range(ge=1)]
PositiveFloat = Annotated[float, Range(gt=0)]
NonNegative = Annotated[int, Range(ge=0)]
NonNegativeFloat = Annotated[float, Range(ge=0)]
Fraction = Annotated[float, Range(ge=0, le=1)]


def load_params(path: str | Path, section: str, cls: type[T]) -> T:
    """The section `section` (dots descend, as in ``render_videos.motion``) of the file as a `cls`.

    Of a union of dataclasses (`A | B`) the one is taken that has most of the section's keys. Raises UserError naming
    the file, the section and the key for anything unknown, missing, of the wrong type or out of range.
    """
    if cls is NoParams:
        return cls()
    node = read_yaml(path)
    for depth, key in enumerate(section.split("."), 1):
        if not isinstance(node, Mapping) or key not in node:
            here = ".".join(section.split(".")[:depth])
            raise UserError(f"{path}: no section '{here}'")
        node = node[key]
    try:
        built: T = build(_closest(cls, node), node, section)
        return built
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _closest(cls: Any, node: object) -> Any:  # noqa: ANN401 - a dataclass, or a union of some
    """Of a union the dataclass whose fields differ least from the keys, the first of equals."""
    if not isinstance(cls, types.UnionType):
        return cls
    keys = set(map(str, node)) if isinstance(node, Mapping) else set()
    return min(get_args(cls), key=lambda each: len(keys - set(_names(each))) + len(_required(each) - keys))


def _names(cls: Any) -> list[str]:  # noqa: ANN401 - a dataclass
    return [field.name for field in dataclasses.fields(cls)]


def _required(cls: Any) -> set[str]:  # noqa: ANN401 - a dataclass
    """The fields that have no default."""
    missing = dataclasses.MISSING
    return {
        field.name for field in dataclasses.fields(cls) if field.default is missing and field.default_factory is missing
    }


def read_yaml(path: str | Path) -> Any:  # noqa: ANN401 - YAML holds anything
    """The parsed file; UserError with line and column if it is not YAML, and if its aliases unfold to too much."""
    path = Path(path)
    require_file(path)
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path}: {path.stat().st_size} bytes; of YAML at most {LARGEST_FILE} are read")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _BoundedLoader)
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deep") from None
    # the constructors of PyYAML let pass what Python says of a date or a number that is none
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, OSError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


class _BoundedLoader(yaml.SafeLoader):
    """Plain values only, and no more of them than the text could hold without aliases."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _unfolded(node, {}) > LARGEST_TREE:
            raise yaml.YAMLError("its aliases unfold to more than can be read")
        return node


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """How large the tree is under a node, aliases unfolded; infinite where one stands within what it stands for."""
    if id(node) not in known:
        known[id(node)] = math.inf
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
        else:
            inner = node.value if isinstance(node, yaml.SequenceNode) else []
        text = 0 if inner else len(node.value) // 16
        known[id(node)] = 1 + text + sum(_unfolded(each, known) for each in inner)
    return known[id(node)]


def build(cls: type[T], mapping: object, where: str) -> T:
    """A dataclass from a mapping of its fields; `where` is the dotted place for error messages."""
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where}: expected keys and values, found {_shown(mapping)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    names = _names(cls)
    if unknown := sorted(set(map(str, mapping)) - set(names)):
        raise UserError(f"{where}.{unknown[0]}: unknown key; known are {', '.join(sorted(names))}")
    if missing := [name for name in names if name in _required(cls) - set(mapping)]:
        raise UserError(f"{where}.{missing[0]}: missing")
    values = {name: _convert(mapping[name], hints[name], f"{where}.{name}") for name in names if name in mapping}
    try:
        return cls(**values)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _convert(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        converted = _convert(value, args[0], where)
        for bound in args[1:]:
            if isinstance(bound, Range) and converted is not None and not bound.holds(converted):
                raise UserError(f"{where}: must be {bound}, is {_shown(value)}")
        return converted
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(value, _alternative(value, [arg for arg in args if arg is not type(None)], where), where)
    if origin is Literal:
        if value not in args:
            raise UserError(f"{where}: must be one of {', '.join(map(str, args))}, is {_shown(value)}")
        return value
    if origin is tuple:
        return _convert_tuple(value, args, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected keys and values, found {_shown(value)}")
        return {str(k): _convert(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(value, hint, where)


def _alternative(value: Any, hints: list[Any], where: str) -> Any:  # noqa: ANN401
    """Of several dataclasses the one whose Literal field `name` holds the value's own; of one hint that one."""
    if len(hints) == 1:
        return hints[0]
    known = {name: each for each in hints for name in get_args(typing.get_type_hints(each)["name"])}
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or name not in known:
        raise UserError(f"{where}.name: must be one of {', '.join(known)}, is {_shown(name)}")
    return known[name]


def _convert_tuple(value: Any, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list, found {_shown(value)}")
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise UserError(f"{where}: expected {len(args)} values, found {len(value)}")
    return tuple(
        _convert(item, arg, f"{where}[{i}]") for i, (item, arg) in enumerate(zip(value, args, strict=True))
    )


def _convert_scalar(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and number:
        if not math.isfinite(value):
            raise UserError(f"{where}: must be finite, is {value}")
        return float(value)
    if hint is int and number and float(value).is_integer() and isinstance(value, int):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    names = {float: "a number (write 0.001, not 1e-3)", int: "a whole number", bool: "true or false", str: "text"}
    raise UserError(f"{where}: expected {names.get(hint, hint)}, found {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def overlay(profile: str | Path, params: str | Path) -> int:
    """Write every leaf of `profile` over `params` in place, comments kept; how many leaves changed.

    A leaf that params.yaml leaves to its default is added to its section; whether it is known is checked when the
    section is read. Raises UserError for a section that params.yaml does not have.
    """
    from ruamel.yaml import YAML  # a comment-preserving round trip, which PyYAML cannot do

    round_trip = YAML()
    round_trip.width = 4096
    tree = round_trip.load(Path(params).read_text(encoding="utf-8"))
    changed = _overlay_node(tree, read_yaml(profile) or {}, str(profile), "")
    laid_over = io.StringIO()
    round_trip.dump(tree, laid_over)
    with written_whole(Path(params).resolve(), force=True) as partial:  # a kill leaves the old params or the new
        partial.write_text(laid_over.getvalue(), encoding="utf-8")
    return changed


def _overlay_node(tree: Any, patch: Mapping[str, Any], source: str, where: str) -> int:  # noqa: ANN401
    changed = 0
    for key, value in patch.items():
        here = f"{where}.{key}".lstrip(".")
        absent = not isinstance(tree, Mapping) or key not in tree
        if absent and (isinstance(value, Mapping) or not where):
            raise UserError(f"{source}: '{here}' is not in params.yaml")
        if not absent and isinstance(value, Mapping) != isinstance(tree[key], Mapping):
            raise UserError(f"{source}: '{here}' is a section in one file and a value in the other")
        if isinstance(value, Mapping):
            changed += _overlay_node(tree[key], value, source, here)
        elif absent or tree[key] != value:
            tree[key] = value
            changed += 1
    return changed


def main() -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("overlay", help="write a profile over params.yaml")
    command.add_argument("profile")
    command.add_argument("--params", default="params.yaml")
    options = parser.parse_args()
    try:
        changed = overlay(options.profile, options.params)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.params}: {changed} values set from {options.profile} (undo: git checkout {options.params})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
