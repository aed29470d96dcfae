"""The masked prior: what it may see, what it hides, and what its draws are distributed like."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.generation.masked_prior import MaskedPrior, MaskedShape, SamplingParams, plan_features
from kinetoken.generation.plan import COLOURS, Plan
from kinetoken.generation.training import draw_hidden, hidden_losses
from kinetoken.scenes.paths import to_path_coordinates
from kinetoken.tokenizer.codebook import Codebook
from tests.support.generators import some_seen

LEVELS = (4, 3)
CODEBOOK = Codebook(torch.cartesian_prod(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 3)), LEVELS)
SHAPE = MaskedShape(classes=2, grid=(3, 4, 4), levels=LEVELS, patch=2, width=16, layers=1, heads=2, slice_frames=2)
SAMPLING = SamplingParams(
    steps=5, order="unsure", temperature=1.0, final_temperature=1.0, guidance=0.0, plan_spread=1.0,
)


@pytest.fixture()
def prior() -> MaskedPrior:
    torch.manual_seed(0)
    return MaskedPrior(SHAPE, CODEBOOK).eval()


def some_codes(count: int) -> torch.Tensor:
    return torch.randint(0, 12, (count, 3, 4, 4), generator=torch.Generator().manual_seed(1))


def test_patches_and_back(prior: MaskedPrior) -> None:
    codes = some_codes(5)
    digits = prior.to_patches(codes)
    assert digits.shape == (5, 3 * 2 * 2, 4 * 2) and (digits < torch.tensor(SHAPE.choices)).all()
    assert torch.equal(prior.to_codes(digits), codes)
    # the first patch of the first slice holds its upper left corner, token by token
    assert torch.equal(digits[:, 0].reshape(5, 4, 2), CODEBOOK.digits()[codes[:, 0, :2, :2].reshape(5, 4)])


def test_hidden_patches_are_not_seen(prior: MaskedPrior) -> None:
    digits = prior.to_patches(some_codes(4))
    other = prior.to_patches(some_codes(8)[4:])
    hidden = torch.rand(4, 12, generator=torch.Generator().manual_seed(2)) < 0.5
    mixed = torch.where(hidden[..., None], other, digits)
    label = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(prior(digits, hidden, label), prior(mixed, hidden, label))
    assert not torch.allclose(prior(digits, hidden, label), prior(mixed, ~hidden, label))


def test_a_digit_is_read_from_those_before_it_alone(prior: MaskedPrior) -> None:
    known = torch.randn(6, 16, generator=torch.Generator().manual_seed(3))
    digits = prior.to_patches(some_codes(6))[:, 0]
    logits = prior.digit_logits(known, digits)
    for turn in range(8):
        changed = digits.clone()
        changed[:, turn] = (changed[:, turn] + 1) % SHAPE.choices[turn]
        moved = (prior.digit_logits(known, changed) - logits).nan_to_num().abs().amax((0, 2)) > 0
        assert not moved[: turn + 1].any() and moved[turn + 1 :].all()
    assert (logits[:, 1::2, 3] < -1e8).all(), "a level that the second part lacks is impossible"


def test_drawing_follows_the_training_head(prior: MaskedPrior) -> None:
    """Many draws of one patch come as often as the probabilities of the head that is trained say."""
    shape = dataclasses.replace(SHAPE, grid=(1, 1, 1), patch=1)
    torch.manual_seed(4)
    small = MaskedPrior(shape, CODEBOOK).eval()
    count = 20_000
    plan = some_seen(1, 2)
    many = Plan(plan.path.expand(count, -1, -1), plan.colour.expand(count, -1))
    codes = small.write(many, 1, torch.Generator().manual_seed(0), dataclasses.replace(SAMPLING, steps=1))
    pairs = torch.tensor(list(itertools.product(range(4), range(3))))  # every patch there is
    ones = torch.ones(12, 1, dtype=torch.bool)
    told = Plan(many.path[:12], many.colour[:12])
    known = small(pairs[:, None], ones, torch.ones(12, dtype=torch.int64), told)[:, 0]
    logits = small.digit_logits(known, pairs).log_softmax(-1)
    expected = logits.gather(-1, pairs[..., None])[..., 0].sum(-1).exp().detach()
    assert float(expected.sum()) == pytest.approx(1, abs=1e-4)
    wanted = small.to_codes(pairs[:, None]).flatten()
    seen = np.bincount(codes.flatten(), minlength=12)[wanted.numpy()] / count
    np.testing.assert_allclose(seen, expected.numpy(), atol=4 * np.sqrt(0.25 / count))


@pytest.mark.parametrize("order", ["unsure", "sure"])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_filling_keeps_what_is_shown_and_needs_its_steps(
    prior: MaskedPrior, order: str, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = prior.to_patches(some_codes(6))
    hidden = torch.arange(12).expand(6, -1) >= 4
    sampling = dataclasses.replace(SAMPLING, order=order, guidance=guidance)
    calls = []
    forward = MaskedPrior.forward
    monkeypatch.setattr(MaskedPrior, "forward", lambda *a: calls.append(int(a[2][0].sum())) or forward(*a))
    label = torch.ones(6, dtype=torch.int64)
    filled = prior.fill(digits, hidden, label, sampling, torch.Generator().manual_seed(0))
    assert torch.equal(filled[:, :4], digits[:, :4]) and (filled < torch.tensor(SHAPE.choices)).all()
    left = [8, *(int(8 * np.cos(np.pi / 2 * step / 5) + 1e-9) for step in range(1, 5))]
    expected = [n for n, after in zip(left, [*left[1:], 0], strict=True) if n > after]
    assert calls == [n for n in expected for _ in range(2 if guidance else 1)]


def test_no_temperature_takes_the_most_probable(prior: MaskedPrior) -> None:
    surest = dataclasses.replace(SAMPLING, temperature=0.0, final_temperature=0.0)
    plan = Plan(some_seen(1, 6).path.expand(3, -1, -1), some_seen(1, 6).colour.expand(3, -1))
    one, two = (prior.write(plan, 0, torch.Generator().manual_seed(seed), surest) for seed in (1, 2))
    assert np.array_equal(one, two) and (one == one[:1]).all()
    drawn = prior.write(plan, 0, torch.Generator().manual_seed(1), SAMPLING)
    assert not (drawn == drawn[:1]).all()


def test_a_plan_is_heard_unless_it_is_withheld(prior: MaskedPrior) -> None:
    digits, hidden = prior.to_patches(some_codes(4)), torch.ones(4, 12, dtype=torch.bool)
    label, plan = torch.zeros(4, dtype=torch.int64), some_seen(4, 6)
    withheld = torch.tensor([True, False, True, False])
    without, told = prior(digits, hidden, label), prior(digits, hidden, label, plan, withheld)
    torch.testing.assert_close(told[withheld], without[withheld])
    assert not torch.isclose(told[~withheld], without[~withheld]).all(-1).any()


def test_a_patch_is_told_where_the_ball_is_as_seen_from_it() -> None:
    """A ball in the middle of one token of a 64 px image: no offset from that token, two tokens from one 16 px off."""
    shape = dataclasses.replace(SHAPE, grid=(1, 8, 8))
    u = np.full((1, 2), 8 * 3 + 3.5)  # the middle of column 3; row 5
    v = np.full((1, 2), 8 * 5 + 3.5)
    path = to_path_coordinates(u, v, np.full((1, 2), 4.0), 64)
    told = plan_features(Plan(path, torch.tensor([[0.1, 0.2, 0.3]])), shape)  # (1, 16, …)
    frames, tokens = 3, 4
    offsets = told[0, :, : frames * tokens * 4].reshape(4, 4, frames, 2, 2, 4)
    here = offsets[5 // 2, 3 // 2, :, 5 % 2, 3 % 2]  # (frames, 4)
    torch.testing.assert_close(here[:, :2], torch.zeros(3, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(here[:, 2], torch.full((3,), float(np.tanh(-0.5))))  # a radius of half a token
    torch.testing.assert_close(here[:, 3], torch.ones(3))
    torch.testing.assert_close(offsets[2, 0, :, 1, 1, 0], torch.full((3,), 2.0))
    torch.testing.assert_close(told[0, :, -COLOURS:], torch.tensor([0.1, 0.2, 0.3]).expand(16, 3))


def test_hiding_takes_shares_of_a_cosine_and_whole_futures() -> None:
    torch.manual_seed(0)
    hidden, foretold = draw_hidden((4, 2, 2), 8000, 0.25, torch.device("cpu"))
    assert float(foretold.float().mean()) == pytest.approx(0.25, abs=0.02)
    count = hidden.sum(1)
    assert (count >= 1).all()
    assert float(count[~foretold].float().mean()) == pytest.approx(16 * 2 / np.pi + 0.5, abs=0.25)  # mean of cos, ceil
    future = hidden[foretold].reshape(-1, 4, 4)
    assert set(map(tuple, future.all(-1).int().tolist())) == {(0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1)}
    assert torch.equal(future.all(-1), future.any(-1))


def test_a_fresh_network_is_about_as_surprised_as_by_chance(prior: MaskedPrior) -> None:
    digits = prior.to_patches(some_codes(16))
    hidden = torch.ones(16, 12, dtype=torch.bool)
    for loss in hidden_losses(prior, prior(digits, hidden, torch.zeros(16, dtype=torch.int64)), digits, hidden):
        assert float(loss) == pytest.approx((np.log(4) + np.log(3)) / 2, rel=0.5)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="3 tokens a side do not divide a grid of 4×4"):
        dataclasses.replace(SHAPE, patch=3)
    with pytest.raises(UserError, match="16 is no multiple of 3 heads"):
        dataclasses.replace(SHAPE, heads=3)
