"""What a stage under test left in its table of numbers, nested as the stage made it."""

from pathlib import Path
from typing import Any

from kinetoken.core.numbers import read_numbers

BESIDE_METRICS = ("headlines", "numbers")  # outputs of a stage that go where --metrics goes, if only that is given


def nested(path: Path) -> dict[str, Any]:
    """Dotted names of the table taken apart at their dots."""
    tree: dict[str, Any] = {}
    for name, value in read_numbers(path).items():
        *keys, last = name.split(".")
        node = tree
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = value
    return tree
