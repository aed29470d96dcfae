"""Plans: what is read off clips, and a prior of it that is a proper density and learns one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.stage import CPU, Context
from kinetoken.generation.judging import follow
from kinetoken.generation.plan import COLOURS, Plan, PlanPrior, PlanShape
from kinetoken.generation.training import train_plan_prior
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import read_tracks
from tests.support.generators import PLAN, some_seen

SHAPE = PlanShape(components=6, width=16, layers=1, mixture=3)


@pytest.fixture()
def prior() -> PlanPrior:
    torch.manual_seed(0)
    built = PlanPrior(2, 4, SHAPE).eval()
    built.settle(some_seen(200, 4))
    return built


def test_a_ball_is_seen_where_it_is_and_of_its_colour(tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    clips = store.read("train")
    seen = Plan.of_tracks(follow(clips.pixels, store.scene.background()), store.shape[1])
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    rows = np.isin(tracks.track_id, clips.track_id)
    u, v, radius = store.scene.camera.project(tracks.points[rows])
    found = seen.path.numpy()
    assert np.median(np.hypot(31.5 + 16 * found[..., 0] - u, 31.5 + 16 * found[..., 1] - v)) < 0.2
    assert np.median(np.abs(4 * np.exp(found[..., 2] / 4) / radius - 1)) < 0.1
    drawn = tracks.drawn[["colour_r", "colour_g", "colour_b"]].to_numpy()[rows]
    for channel in range(COLOURS):
        assert np.corrcoef(seen.colour[:, channel], drawn[:, channel])[0, 1] > 0.8


def test_components_are_of_unit_variance_and_give_the_plan_back() -> None:
    seen = some_seen(300, 4)
    prior = PlanPrior(2, 4, dataclasses.replace(SHAPE, components=12))
    prior.settle(seen)
    components = prior.to_components(seen)
    torch.testing.assert_close(components.var(0, unbiased=False), torch.ones(15), atol=1e-3, rtol=0)
    back = prior.to_plan(components)
    torch.testing.assert_close(back.path, seen.path, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.colour, seen.colour, atol=1e-4, rtol=0)


def test_fewer_components_keep_most(prior: PlanPrior) -> None:
    seen = some_seen(200, 4)
    lost = (prior.to_plan(prior.to_components(seen)).path - seen.path).square().sum() / seen.path.square().sum()
    assert 0.05 < float(lost) < 0.5, "six of twelve directions"


def test_a_component_is_read_from_those_before_it_alone(prior: PlanPrior) -> None:
    components, label = torch.randn(5, 9), torch.zeros(5, dtype=torch.int64)
    density = prior(components, label)
    for place in range(9):
        changed = components.clone()
        changed[:, place] += 1
        moved = (prior(changed, label) - density).abs().amax(0) > 1e-6
        assert not moved[:place].any() and moved[place:].all()


def test_the_density_of_a_component_integrates_to_one(prior: PlanPrior) -> None:
    axis = torch.linspace(-30, 30, 12_001)
    known = torch.randn(1, 9, generator=torch.Generator().manual_seed(1)).expand(len(axis), -1).clone()
    for place in (0, 4, 8):
        asked = known.clone()
        asked[:, place] = axis
        with torch.no_grad():
            density = prior(asked, torch.ones(len(axis), dtype=torch.int64))[:, place].exp()
        assert float(torch.trapezoid(density, axis)) == pytest.approx(1, abs=1e-3)


def test_it_learns_what_its_classes_do() -> None:
    """Class 0 stays left, class 1 right; whatever x is, y is its square. Draws do the same."""
    rng = torch.Generator().manual_seed(2)

    def world(count: int) -> tuple[Plan, torch.Tensor]:
        label = torch.randint(0, 2, (count,), generator=rng)
        x = (2 * label - 1) * (0.5 + torch.rand(count, generator=rng))
        path = torch.stack([x, x.square(), 0.1 * torch.randn(count, generator=rng)], -1)[:, None].repeat(1, 2, 1)
        return Plan(path, torch.rand(count, 3, generator=rng)), label

    (train, label), (val, val_label) = world(300), world(100)
    torch.manual_seed(0)
    prior = PlanPrior(2, 2, PlanShape(components=3, width=32, layers=2, mixture=4))
    params = dataclasses.replace(PLAN, epochs=32, batch_size=32)
    context = dataclasses.replace(Context.silent(), hardware=dataclasses.replace(CPU, threads=1))
    parts, labels = {"train": train, "val": val}, {"train": label, "val": val_label}
    history = train_plan_prior(prior, parts, labels, params, context, mirrored=False)  # a mirror swaps these classes
    assert history.best_value < history.rows[0]["val_loss"]
    for index, side in ((0, -1), (1, 1)):
        drawn = prior.sample(index, 300, torch.Generator().manual_seed(3)).path[:, 0]
        assert float((drawn[:, 0] * side > 0.3).float().mean()) > 0.95
        assert float((drawn[:, 1] - drawn[:, 0].square()).abs().median()) < 0.15


def test_mirroring_exchanges_left_and_right_only() -> None:
    seen = some_seen(5, 4)
    other = seen.mirrored()
    assert torch.equal(other.path[..., 0], -seen.path[..., 0]) and torch.equal(other.path[..., 1:], seen.path[..., 1:])
    assert torch.equal(other.colour, seen.colour)


def test_with_less_spread_paths_differ_less_and_colours_as_much(prior: PlanPrior) -> None:
    with torch.no_grad():  # one Gaussian of known spread for every component
        prior.out.weight.zero_()
        prior.out.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 0, 1, 1, 1]))
    components = {
        spread: prior.to_components(prior.sample(0, 4000, torch.Generator().manual_seed(1), spread))
        for spread in (1.0, 0.25)
    }
    ratio = components[0.25].std(0) / components[1.0].std(0)
    torch.testing.assert_close(ratio[: SHAPE.components], torch.full((SHAPE.components,), 0.25), atol=1e-3, rtol=0)
    torch.testing.assert_close(ratio[SHAPE.components :], torch.ones(COLOURS), atol=1e-3, rtol=0)
