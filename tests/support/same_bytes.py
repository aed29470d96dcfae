"""Outputs of two runs that should be the same to the byte; where they are not, what differs and by how much."""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from kinetoken.core.artifacts import hash_path


def assert_same_outputs(one: object, other: object, names: Sequence[str]) -> None:
    """Fail unless the named paths of two Paths dataclasses hold the same bytes."""
    for name in names:
        first, second = getattr(one, name), getattr(other, name)
        if hash_path(first) != hash_path(second):
            raise AssertionError(f"{name}: {first} and {second} differ{_tensors_apart(first, second)}")


def _tensors_apart(one: Path, other: Path) -> str:
    """Of two model folders, the tensors that differ, and by how much at the most."""
    if not (one / "model.safetensors").is_file():
        return ""
    first, second = (load_file(str(folder / "model.safetensors")) for folder in (one, other))
    if set(first) != set(second):
        return f": not the same tensors: {sorted(set(first) ^ set(second))}"
    apart = {name: float((first[name].double() - second[name].double()).abs().max()) for name in sorted(first)}
    return ", at the most by: " + ", ".join(f"{name} {value:.3g}" for name, value in apart.items() if value)
