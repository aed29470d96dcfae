import numpy as np
import pytest

from kinetoken.diagnosis.chain import (
    averaged_over_space,
    even_sample,
    flow_tokens,
    pixel_tokens,
    still_tokens,
)


def test_even_sample_keeps_the_proportions_and_spreads() -> None:
    label = np.array(["a"] * 60 + ["b"] * 30)
    rows = even_sample(label, 30)
    assert len(set(rows)) == 30 and (np.diff(rows) > 0).all()
    assert (label[rows] == "a").sum() == 20 and rows[0] < 4 and rows[-1] > 85
    assert even_sample(label, 500).tolist() == list(range(90))


def test_pixel_tokens_are_the_projection_of_each_cell() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 4, 16, 16, 3)).astype(np.uint8)
    background = rng.random((16, 16, 3)).astype(np.float32)
    tokens = pixel_tokens(pixels, background, (2, 2, 2))
    assert tokens.shape == (2, 2, 2, 2, 2 * 6)
    cell = (pixels[1, 3, 8:, :8].astype(float) / 255 - background[8:, :8]).mean(-1)  # slice 1, its 2nd frame
    y, x = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)
    explained = basis @ np.linalg.lstsq(basis, cell.ravel(), rcond=None)[0]
    assert np.square(tokens[1, 1, 1, 0, 6:]).sum() == pytest.approx(np.square(explained).sum(), rel=1e-4)


def test_pixel_tokens_of_a_still_background_are_nothing() -> None:
    background = np.full((16, 16, 3), 51 / 255, np.float32)
    pixels = np.full((3, 4, 16, 16, 3), 51, np.uint8)
    assert np.abs(pixel_tokens(pixels, background, (1, 2, 2))).max() < 1e-5


def test_averaging_forgets_where() -> None:
    tokens = np.random.default_rng(1).random((2, 4, 3, 3, 5)).astype(np.float32)
    moved = np.roll(tokens, 1, axis=3)
    assert averaged_over_space(tokens).shape == (2, 4, 1, 1, 5)
    assert averaged_over_space(moved) == pytest.approx(averaged_over_space(tokens), abs=1e-6)


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -1), (-1, 1)])
def test_flow_is_the_velocity_and_colour_of_what_moves(right: int, down: int) -> None:
    y, x = np.mgrid[:32, :32]
    frames = np.stack([
        np.exp(-((x - 16 - right * t) ** 2 + (y - 16 - down * t) ** 2) / 18) for t in range(-4, 4)
    ])[None, ..., None]
    colour = np.array([200.0, 100.0, 20.0])
    pixels = np.rint(frames * colour).astype(np.uint8)
    found = flow_tokens(pixels, 2)
    assert found.shape == (1, 2, 1, 1, 6)
    velocity = found[0, :, 0, 0, :2]
    assert velocity == pytest.approx(np.array([[right, down]] * 2), abs=0.12)
    hue = found[0, 0, 0, 0, 3:]
    assert hue / hue.sum() == pytest.approx(colour / colour.sum(), abs=0.01)
    still = flow_tokens(np.repeat(pixels[:, :1], 8, 1), 2)
    assert np.abs(still[..., :2]).max() == 0 and still[..., 2].max() < found[..., 2].min()


def test_still_tokens_hold_the_mean_frames_colours_and_nothing_of_its_order() -> None:
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (3, 4, 8, 12, 3)).astype(np.uint8)
    found = still_tokens(clips, (4, 2, 3))
    assert found.shape == (3, 1, 2, 3, 18)
    assert np.allclose(found, still_tokens(clips[:, ::-1], (2, 2, 3)), atol=1e-5)
    mean = clips.mean(1).reshape(3, 2, 4, 3, 4, 3).mean((2, 4)) / 255  # (n, rows, columns, colour)
    first = found[:, 0].reshape(3, 2, 3, 3, 6)[..., 0]  # the constant polynomial, of unit norm over 16 pixels
    assert np.allclose(first, 4 * mean, atol=1e-4)
