"""Networks built from a file's word of their size: no more memory is taken for them than they may have."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

COUNTED = {  # how many values a call makes, by its arguments
    "empty": "sizes", "zeros": "sizes", "ones": "sizes", "full": "sizes", "rand": "sizes", "randn": "sizes",
    "empty_strided": "sizes", "randint": "sizes", "randperm": "sizes",
    "arange": "range", "linspace": "steps", "eye": "square",
}


class Building(TorchDispatchMode):
    """While it is entered, tensors made by their size take at most `room` bytes together, and are at most `most`.

    ValueError before the one that would be too much is made.
    """

    def __init__(self, room: int, most: int) -> None:
        super().__init__()
        self._room, self._most = room, most
        self._taken, self._made = 0.0, 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        how = COUNTED.get(func.overloadpacket.__name__) if func.namespace == "aten" else None
        if how is not None:
            self._count(_values(how, args), kwargs.get("dtype"))
        return func(*args, **kwargs)

    def _count(self, values: float, dtype: torch.dtype | None) -> None:
        self._made += 1
        self._taken += values * (dtype or torch.get_default_dtype()).itemsize
        if self._taken > self._room or self._made > self._most:
            raise ValueError(f"it asks for a network of more than {self._room >> 20} MiB, far more than its weights")


def _values(how: str, args: Sequence[Any]) -> float:
    """How many values the call makes; 0 where its arguments do not tell."""
    numbers = [each for each in args if isinstance(each, int | float)]
    if how == "sizes":
        return math.prod(next((each for each in args if isinstance(each, list | tuple)), numbers[:1]))
    if how == "range":
        start, end, step = (0, *numbers, 1) if len(numbers) == 1 else (*numbers, 1, 1)[:3]
        return max((end - start) / (step or 1), 0)
    return float(numbers[2] if how == "steps" and len(numbers) > 2 else math.prod(numbers[:2]))
