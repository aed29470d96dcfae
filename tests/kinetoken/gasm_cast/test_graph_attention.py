"""Graph attention: who is a neighbour, what an edge weighs, and that numbering does not matter."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinetoken.core.errors import UserError
from kinetoken.gasm_cast.graph_attention import BUMPS, GraphAttention, distance_basis
from kinetoken.gasm_cast.sizes import grid_places

POSITIONS = grid_places((4, 5)) * [4, 5]  # 20 patches, in patches


def graph(radius: float = 1.0, similar: int = 0, positions: np.ndarray = POSITIONS, seed: int = 0) -> GraphAttention:
    """A graph attention whose parameters are all drawn at random."""
    torch.manual_seed(seed)
    made = GraphAttention(positions, width=12, inner=8, heads=2, radius=radius, similar=similar)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return made


def some_tokens(clips: int = 2, graphs: int = 3) -> Tensor:
    return torch.randn(clips, graphs, len(POSITIONS), 12, generator=torch.Generator().manual_seed(3))


def weights_of(made: GraphAttention, tokens: Tensor) -> Tensor:
    kept: list[Tensor] = []
    made(tokens, kept)
    return kept[0]


def test_a_token_beyond_the_neighbourhood_weighs_exactly_nothing() -> None:
    made, tokens = graph(radius=1.0), some_tokens()
    weights = weights_of(made, tokens)
    assert weights.shape == (2, 3, 2, 20, 20)
    near = torch.tensor(np.abs(POSITIONS[:, None] - POSITIONS[None]).sum(-1) <= 1)  # itself and the four beside it
    assert (weights[..., ~near] == 0).all() and (weights[..., near] > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 2, 20))
    # nor does it reach the output, by the fast way either
    changed = tokens.clone()
    changed[:, :, 7] = 5.0
    touched = ((made(changed) - made(tokens)).abs() > 0).any(-1)
    assert torch.equal(touched, near[7].expand(2, 3, 20))


def test_the_most_similar_tokens_are_neighbours_however_far() -> None:
    made, tokens = graph(radius=0.0, similar=2), some_tokens()
    tokens[:, :, 19] = tokens[:, :, 0] + 0.1 * tokens[:, :, 1]
    reached = weights_of(made, tokens)[:, :, 0] > 0
    unit = F.normalize(made.norm(tokens), dim=-1)
    by_hand = torch.zeros(2, 3, 20, 20, dtype=torch.bool)
    by_hand.scatter_(-1, (unit @ unit.mT).argsort(-1, descending=True)[..., :3], True)  # itself and two more
    assert torch.equal(reached, by_hand)
    assert reached[:, :, 0, 19].all() and reached[:, :, 19, 0].all()


def test_the_graph_of_radius_zero_is_each_token_by_itself() -> None:
    weights = weights_of(graph(radius=0.0), some_tokens())
    assert torch.equal(weights, torch.eye(20).expand(2, 3, 2, 20, 20))


def test_edges_are_a_learned_function_of_distance_and_similarity() -> None:
    made, tokens = graph(radius=9.0), some_tokens()
    normed = made.norm(tokens)
    logits = made.edge_logits(normed)
    i, j = 3, 16  # edge by edge
    distance = np.linalg.norm(POSITIONS[i] - POSITIONS[j])
    at = np.log1p(distance) / np.log1p(np.linalg.norm(POSITIONS[0] - POSITIONS[-1])) * (BUMPS - 1)
    similarity = F.cosine_similarity(normed[..., i, :], normed[..., j, :], dim=-1)
    low, share = int(at), at - int(at)
    near = (1 - share) * made.near[low] + share * made.near[low + 1]
    alike = (1 - share) * made.alike[low] + share * made.alike[low + 1]
    torch.testing.assert_close(logits[..., i, j], near + alike * similarity[..., None])


def test_distance_basis_sums_to_one_and_holds_its_ends() -> None:
    basis = distance_basis(np.linspace(0, 18, 50))
    np.testing.assert_allclose(basis.sum(-1), 1)
    assert basis[0, 0] == 1 and basis[-1, -1] == 1 and (basis >= 0).all()
    assert (distance_basis(np.zeros((1, 1))) == [1] + [0] * (BUMPS - 1)).all()  # a graph of one token


def test_numbering_does_not_matter_where_positions_go_with_the_tokens() -> None:
    order = np.random.default_rng(0).permutation(20)
    tokens = some_tokens()
    renumbered = graph(radius=1.5, similar=3, positions=POSITIONS[order])
    torch.testing.assert_close(
        renumbered(tokens[:, :, order]), graph(radius=1.5, similar=3)(tokens)[:, :, order], atol=1e-5, rtol=1e-5
    )
    # and it does where they stay behind
    assert not torch.allclose(
        graph(1.5, 3)(tokens[:, :, order]), graph(1.5, 3)(tokens)[:, :, order], atol=1e-2
    )


def test_graphs_do_not_see_one_another() -> None:
    made, tokens = graph(similar=2), some_tokens()
    changed = tokens.clone()
    changed[:, 1] = 0.0
    assert torch.equal(made(changed)[:, [0, 2]], made(tokens)[:, [0, 2]])


def test_it_starts_as_the_identity() -> None:
    fresh = GraphAttention(POSITIONS, width=12, inner=8, heads=2, radius=1.0, similar=2)
    tokens = some_tokens()
    assert torch.equal(fresh(tokens), tokens)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="graph_width: 8 is no multiple of 3 heads"):
        GraphAttention(POSITIONS, width=12, inner=8, heads=3, radius=1.0, similar=2)
    with pytest.raises(UserError, match="20 similar ones of 19 other tokens"):
        GraphAttention(POSITIONS, width=12, inner=8, heads=2, radius=1.0, similar=20)
