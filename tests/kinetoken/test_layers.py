"""Cell centres and expected places: closed forms, properties, and the very bits that trained networks rest on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kinetoken.layers import cell_centres, expected_places

Operation = Callable[..., Tensor]

sides = st.integers(1, 40)


def test_cells_of_pixels_lie_at_the_mean_of_their_pixels() -> None:
    columns, rows = np.arange(64).reshape(8, 8).mean(1), np.arange(64).reshape(4, 16).mean(1)
    found = cell_centres(4, 8, -0.5, 63.5).unflatten(0, (4, 8))
    torch.testing.assert_close(found[0, :, 0], torch.from_numpy(columns).float())
    torch.testing.assert_close(found[:, 0, 1], torch.from_numpy(rows).float())


def test_places_are_row_major_and_x_comes_first() -> None:
    assert cell_centres(2, 3, 0, 6).tolist() == [[1, 1.5], [3, 1.5], [5, 1.5], [1, 4.5], [3, 4.5], [5, 4.5]]
    assert cell_centres(2, 3, -1, 1, "centres").tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]


def test_a_single_cell_lies_in_the_middle() -> None:
    assert cell_centres(1, 1, -1, 1, "centres").tolist() == cell_centres(1, 1, -1, 1).tolist() == [[0, 0]]
    assert cell_centres(1, 2, 2, 6, "centres").tolist() == [[2, 4], [6, 4]]


@given(sides, sides, st.sampled_from(["edges", "centres"]))
def test_cells_are_evenly_spaced_and_mirror_each_other(rows: int, columns: int, ends: str) -> None:
    found = cell_centres(rows, columns, -2, 2, ends, dtype=torch.float64)  # type: ignore[arg-type]
    assert found.shape == (rows * columns, 2) and found.dtype == torch.float64
    torch.testing.assert_close(found.flip(0), -found)
    for axis, count in ((0, columns), (1, rows)):
        values = torch.unique(found[:, axis].round(decimals=12))
        gap = 4 / count if ends == "edges" else 4 / max(count - 1, 1)
        assert len(values) == count
        torch.testing.assert_close(values.diff(), torch.full((count - 1,), gap, dtype=torch.float64))
        assert abs(float(values[-1]) - (2 - gap / 2 if ends == "edges" else 2 * (count > 1))) < 1e-9


PLACES: dict[str, Callable[[int, int, int], Tensor]] = {  # clips, maps, cells → places of each kind, of 3 numbers
    "all alike": lambda n, m, s: torch.randn(s, 3), "of each clip": lambda n, m, s: torch.randn(n, s, 3),
    "of each map": lambda n, m, s: torch.randn(n, m, s, 3),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_map_of_one_cell_gives_its_place_and_an_even_map_the_mean(kind: str) -> None:
    torch.manual_seed(0)
    places = PLACES[kind](5, 4, 12)
    each = places.expand(5, 4, 12, 3) if places.ndim != 3 else places[:, None].expand(5, 4, 12, 3)
    cell = torch.randint(12, (5, 4))
    sure = torch.nn.functional.one_hot(cell, 12).float()
    wanted = each.gather(2, cell[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
    torch.testing.assert_close(expected_places(sure, places), wanted)
    torch.testing.assert_close(expected_places(torch.full((5, 4, 12), 1 / 12), places), each.mean(2))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), sides, st.sampled_from(sorted(PLACES)))
def test_expected_places_are_the_weighted_sum(seed: int, clips: int, maps: int, cells: int, kind: str) -> None:
    torch.manual_seed(seed)
    weights, places = torch.randn(clips, maps, cells).softmax(-1), PLACES[kind](clips, maps, cells)
    each = places[:, None] if places.ndim == 3 else places
    found = expected_places(weights, places)
    torch.testing.assert_close(found, (weights[..., None] * each).sum(2))
    assert (found <= each.amax(-2) + 1e-5).all() and (found >= each.amin(-2) - 1e-5).all()
    order = torch.randperm(cells)
    torch.testing.assert_close(expected_places(weights[..., order], places[..., order, :]), found)


# how the networks computed it when their committed results were made: (old, new, what is drawn for both)
OPERATIONS: dict[str, tuple[Operation, Operation, Callable[[int, int, int], tuple[Tensor, ...]]]] = {
    "PathReader, PositionHead": (
        lambda w, p: torch.einsum("nfs,nfcs->nfc", w, p), lambda w, p: expected_places(w, p.mT),
        lambda n, m, s: (torch.randn(n, m, s).softmax(-1), torch.randn(n, m, 3, s)),
    ),
    "SoftArgmax": (
        lambda w, p: w @ p, expected_places, lambda n, m, s: (torch.randn(n, m, s).softmax(-1), torch.randn(s, 2)),
    ),
    "StreamReader": (
        lambda w, p: w.mT @ p, lambda w, p: expected_places(w.mT, p),
        lambda n, m, s: (torch.randn(n, 4, s, m).softmax(2), torch.randn(s, 2)),
    ),
    "MomentsNetwork": (
        lambda w, p: torch.einsum("nph,npv->nhv", w, p), lambda w, p: expected_places(w.mT, p),
        lambda n, m, s: (torch.randn(n, s, m).softmax(1), torch.randn(n, s, 14)),
    ),
    "persistence Reader": (
        lambda w, p: torch.einsum("bsn,bsnfd->bsfd", w, p),
        lambda w, p: expected_places(w[:, :, None], p.flatten(3)).unflatten(-1, (-1, 2)).squeeze(2),
        lambda n, m, s: (torch.rand(n, m, s), torch.randn(n, m, s, 4, 2)),
    ),
}


def _with_slopes(operation: Operation, given_: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What comes out, and the gradients of a random function of it."""
    leaves = [each.detach().clone().requires_grad_() for each in given_]
    found = operation(*leaves)
    found.backward(torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found.dtype))
    return (found.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("network", OPERATIONS)
def test_the_bits_of_each_network_are_those_of_its_own_operation(network: str, half: bool) -> None:
    torch.manual_seed(0)
    old, new, draw = OPERATIONS[network]
    for trial in range(60):
        clips, maps = int(torch.randint(1, 70, ())), int(torch.randint(1, 9, ()))
        cells = 1 if trial < 5 else int(torch.randint(1, 9, ())) * int(torch.randint(1, 9, ()))
        drawn = draw(clips, maps, cells)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            for before, after in zip(_with_slopes(old, drawn), _with_slopes(new, drawn), strict=True):
                assert before.dtype == after.dtype and torch.equal(before, after), (clips, maps, cells)
