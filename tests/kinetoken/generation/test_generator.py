"""Priors over codes, and the measures by which their clips are judged."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context
from kinetoken.generation import judging
from kinetoken.generation.gaussian_prior import GaussianPrior
from kinetoken.generation.generator import PRIORS, Generator, GeneratorShape, load_generator
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.codebook import Codebook
from tests.support.generators import MASKED, PARAMS, PLAN_SHAPE, some_seen

SHAPE = GeneratorShape(
    ("a", "b"), (2, 2, 2), (2, 2), 4, coordinates=2, slice_frames=4, components=3, plan=PLAN_SHAPE, patch=1, width=16,
    layers=1, heads=2,
)
CODEBOOK = Codebook(torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), (2, 2))


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Class a holds code 0 and class b code 3, but for one token that is drawn."""
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 40)
    codes = np.where(label == "a", 0, 3)[:, None, None, None] * np.ones((1, 2, 2, 2), np.int32)
    codes[:, 0, 0, 0] = rng.integers(0, 4, 80)
    split = np.tile(["train"] * 4 + ["val"], 16)
    torch.manual_seed(0)
    built = Generator(SHAPE, CODEBOOK, MASKED.sampling)
    meta = CodesMeta((2, 2, 2), 4, "fsq", (2, 2), "abc")
    table = CodesTable(np.arange(80, dtype=np.int32), label, split, codes, meta)
    seen = {name: some_seen(int((split == name).sum()), 8) for name in ("train", "val")}
    built.fit(table, seen, PARAMS, Context.silent())
    built.tokenizer_hash = "abc"
    return built


def test_a_generator_keeps_code_vectors_of_its_own() -> None:
    vectors = CODEBOOK.vectors.clone()
    built = Generator(SHAPE, Codebook(vectors, CODEBOOK.levels), MASKED.sampling)
    vectors.zero_()
    assert (built.table == CODEBOOK.vectors).all()


@pytest.fixture(scope="module")
def clips(tiny_data: Path) -> np.ndarray:
    return ClipStore(tiny_data / "videos").read("train").pixels


@pytest.fixture(scope="module")
def background(tiny_data: Path) -> np.ndarray:
    return ClipStore(tiny_data / "videos").scene.background()


def test_class_gaussian_draws_what_its_class_holds(generator: Generator) -> None:
    for label, code in (("a", 0), ("b", 3)):
        drawn = generator.sample("class_gaussian", label, 30, seed=1)
        assert drawn.shape == (30, 2, 2, 2) and drawn.dtype == np.int32
        assert (drawn.reshape(30, -1)[:, 1:] == code).all()
        assert len(set(drawn[:, 0, 0, 0])) > 1, "the token that varies must vary"


def test_plain_gaussian_ignores_the_class(generator: Generator) -> None:
    share = [(generator.sample("gaussian", label, 200, seed=1)[:, 1, 1, 1] == 0).mean() for label in ("a", "b")]
    assert all(0.3 < each < 0.7 for each in share)


def test_masked_prior_draws_what_its_class_holds(generator: Generator) -> None:
    for label, code in (("a", 0), ("b", 3)):
        drawn = generator.sample("masked", label, 40, seed=1).reshape(40, -1)
        assert (drawn[:, 1:] == code).mean() > 0.9
        assert len(set(drawn[:, 0])) > 1, "the token that varies must vary"


def test_the_future_is_predicted_from_the_past_alone(generator: Generator) -> None:
    past = np.repeat([0, 3], 5)[:, None, None, None] * np.ones((1, 1, 2, 2), np.int32)
    ahead = generator.complete(past, 1)
    assert ahead.shape == (10, 1, 2, 2) and ahead.dtype == np.int32
    assert np.array_equal(ahead, generator.complete(past, 1))
    assert (ahead[:5] == 0).mean() > 0.9 and (ahead[5:] == 3).mean() > 0.9
    with pytest.raises(UserError, match="2 slices more: the generator's clips are"):
        generator.complete(past, 2)


@pytest.mark.parametrize("prior", PRIORS)
def test_samples_repeat_with_the_seed_alone(generator: Generator, prior: str, tmp_path: Path) -> None:
    first = generator.sample(prior, "a", 20, seed=4)
    assert np.array_equal(first, generator.sample(prior, "a", 20, seed=4))
    assert not np.array_equal(first, generator.sample(prior, "a", 20, seed=5))
    generator.save(tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert np.array_equal(first, loaded.sample(prior, "a", 20, seed=4))
    assert loaded.classes == ("a", "b") and loaded.tokenizer_hash == "abc"


def test_unknown_prior_and_class_are_named(generator: Generator) -> None:
    with pytest.raises(UserError, match="no prior 'x'"):
        generator.sample("x", "a", 1, 0)
    with pytest.raises(UserError, match="no class 'x'"):
        generator.sample("gaussian", "x", 1, 0)


def test_gaussian_keeps_mean_and_correlation() -> None:
    """Two of the coordinates move together in training; in draws, before rounding, they do so as much."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((4000, 16)) * 0.1 + 2
    vectors[:, 3] = vectors[:, 7] + 0.05 * rng.standard_normal(4000)
    prior = GaussianPrior(1, (2, 2, 2), 2, 16)
    prior.fit(vectors, np.zeros(4000, int), 0.02)
    drawn = prior.draw(0, 4000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(0), 2, atol=0.02)
    assert np.corrcoef(drawn[:, 3], drawn[:, 7])[0, 1] == pytest.approx(
        np.corrcoef(vectors[:, 3], vectors[:, 7])[0, 1], abs=0.05
    )


def test_real_clips_are_valid_and_broken_ones_are_not(clips: np.ndarray, background: np.ndarray) -> None:
    real = judging.follow(clips, background)
    limits = judging.Validity.of_training(real, 64)
    assert limits.holds(real).all()
    still = (background * 255 + 0.5).astype(np.uint8)
    empty, jump, two, half_gone = (clips[:8].copy() for _ in range(4))
    empty[:, 5] = still
    jump[:, 8:] = clips[:8, 8:][:, :, :, ::-1]
    two = np.maximum(two, clips[:8][:, :, ::-1, ::-1])
    half_gone[:, 7, :, 32:] = still[:, 32:]
    assert not limits.holds(judging.follow(empty, background)).any()
    far = np.abs(real.tracked.u[:8, 7] - (63 - real.tracked.u[:8, 8])) > limits.step
    apart = np.abs(real.tracked.u[:8] - 31.5).max(1) > 12
    assert far.any() and apart.any()
    assert not limits.holds(judging.follow(jump, background))[far].any()
    assert not limits.holds(judging.follow(two, background))[apart].any()
    gone = real.tracked.u[:8, 7] > 40
    assert not limits.holds(judging.follow(half_gone, background))[gone].any()


def test_coverage_and_density_of_known_sets() -> None:
    rng = np.random.default_rng(0)
    real, same, one = rng.standard_normal((3, 300, 4))
    covered, dense = judging.coverage_and_density(real, same, 5)
    assert covered.mean() == pytest.approx(1 - 2**-5, abs=0.03)  # exchangeable sets, Naeem et al., lemma 2
    assert dense.mean() == pytest.approx(1, abs=0.15)
    assert judging.coverage_and_density(real, same + 50, 5)[0].mean() == 0
    assert judging.coverage_and_density(real, np.repeat(one[:1], 300, 0), 5)[0].mean() < 0.1


def test_precision_and_recall_of_known_sets() -> None:
    rng = np.random.default_rng(0)
    real, same = rng.standard_normal((2, 300, 4))
    for score in judging.precision_and_recall(real, same, 5):
        assert score.mean() == pytest.approx(1, abs=0.08)
    precise, recalled = judging.precision_and_recall(real, 0.1 * same, 5)
    assert precise.mean() == 1 and recalled.mean() < 0.1, "clips all alike are good ones, and few of them"
    precise, recalled = judging.precision_and_recall(real, 8 * same, 5)
    assert precise.mean() < 0.1 and recalled.mean() > 0.9, "clips too wild surround the real ones"


def test_copies_count_as_memorised_and_fresh_draws_do_not() -> None:
    rng = np.random.default_rng(0)
    training, held_out, fresh = rng.standard_normal((3, 400, 6))
    assert judging.memorised(training, held_out, training[:50]).mean() == 1
    assert judging.memorised(training, held_out, fresh).mean() < 0.04


def test_whitening_gives_unit_variance_and_drops_noise() -> None:
    rng = np.random.default_rng(0)
    paths = rng.standard_normal((500, 2)) @ np.array([[5.0, 1, 0, 0], [0, 2, 0, 0]])
    paths = paths + 0.01 * rng.standard_normal(paths.shape)
    white = judging.Whitening.of_training(paths)(paths)
    assert white.shape == (500, 2)
    np.testing.assert_allclose(white.std(0), 1, atol=1e-6)
