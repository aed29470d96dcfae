"""The position head: camera, causality, what it can express, its folder."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.errors import UserError
from kinetoken.heads.position import (
    PositionHead,
    PositionParams,
    build_position_head,
    load_position_head,
    measured_sigma,
    position_errors,
    position_step,
    save_position_head,
)
from kinetoken.layers import cell_centres
from kinetoken.scenes.camera import Camera

torch.set_num_threads(1)  # steps this small are slower on more

GRID = (4, 8, 8)
COORDINATES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
CAMERA = Camera(focal=55.4, centre=31.5, ball_radius=0.2)
PARAMS = PositionParams(
    seed=5, epochs=1, batch_size=4, learning_rate=0.001, warmup_fraction=0.0, weight_decay=0.0, gradient_clip=0.0,
    ema_decay=0.0, patience=0, channels=6, blocks=1, width=8, dropout=0.0, augment=(), depth_weight=10.0,
)
TRAIN = np.random.default_rng(1).uniform([-0.5, -0.5, 2.5], [0.5, 0.5, 3.5], (6, 16, 3))


def head() -> PositionHead:
    made = build_position_head(PARAMS, COORDINATES, GRID, CAMERA, TRAIN)
    torch.nn.init.normal_(made.correct[-1].weight)  # type: ignore[arg-type]  # starts at zero: let it speak
    return made.eval()


def random_codes(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (5, *GRID)).astype(np.int32)


def test_frames_do_not_depend_on_later_slices() -> None:
    module, codes, changed = head(), random_codes(), random_codes()
    changed[:, 2:] = random_codes(seed=1)[:, 2:]
    whole = module.positions(codes, batch_size=2)
    assert whole.shape == (5, 16, 3)
    np.testing.assert_array_equal(module.positions(changed)[:, :8], module.positions(codes)[:, :8])
    assert np.abs(module.positions(changed)[:, 8:] - whole[:, 8:]).max() > 1e-3
    for count in (1, 2, 3):
        np.testing.assert_allclose(module.positions(codes[:, :count]), whole[:, : 4 * count], rtol=1e-5)
    with pytest.raises(ValueError, match="expected"):
        module.positions(np.zeros((1, 5, 8, 8), np.int32))


def test_cells_cover_the_image() -> None:
    cells = head().cells.numpy()
    np.testing.assert_allclose(cells[0], [3.5, 3.5])
    np.testing.assert_allclose(cells[-1], [59.5, 59.5])
    np.testing.assert_allclose(cells[7], [59.5, 3.5])  # row-major: u runs first


def test_map_that_looks_at_a_code_reads_its_cell() -> None:
    module = PositionHead(COORDINATES, GRID, 4, CAMERA, channels=50, blocks=0, width=4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.typical.fill_(1.3)
        module.encoder.index.weight.copy_(torch.eye(50))
        module.maps.weight.view(4, 4, 50)[:, 0, 7] = 100.0  # every frame looks for code 7
    codes = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
    codes[0, 0, 2, 6] = 7
    torch.testing.assert_close(module(codes)[0], torch.tensor([51.5, 19.5, 1.3]).expand(4, 3))


def test_errors_and_sigma_of_known_offsets() -> None:
    seen = CAMERA.project_log(TRAIN)
    moved = CAMERA.unproject_log(seen + np.array([0.3, -0.4, 0.0]))
    errors = position_errors(moved, TRAIN, CAMERA)
    np.testing.assert_allclose(errors["error_px"], 0.5)
    np.testing.assert_allclose(errors["error_depth_percent"], 0, atol=1e-9)
    np.testing.assert_allclose(errors["error_m"], 0.5 * TRAIN[..., 2] / CAMERA.focal)
    nearer = TRAIN * 0.98  # along the ray
    errors = position_errors(nearer, TRAIN, CAMERA)
    np.testing.assert_allclose(errors["error_px"], 0, atol=1e-9)
    np.testing.assert_allclose(errors["error_depth_percent"], 2)
    assert measured_sigma(moved, TRAIN, CAMERA)["px"] == pytest.approx(np.sqrt(0.125))
    assert measured_sigma(nearer, TRAIN, CAMERA)["depth_fraction"] == pytest.approx(0.02)


def test_step_learns_a_code_that_tells_the_place() -> None:
    torch.manual_seed(0)
    params = dataclasses.replace(PARAMS, blocks=0)
    module = build_position_head(params, COORDINATES, (2, 8, 8), CAMERA, TRAIN[:, :4])
    codes = torch.zeros(32, 2, 8, 8, dtype=torch.int64)
    cell = torch.randint(0, 64, (32,))
    codes.flatten(2)[torch.arange(32), :, cell] = 7
    place = cell_centres(8, 8, *CAMERA.edges)[cell]
    seen = torch.cat([place, torch.full((32, 1), 1.3)], 1)[:, None].expand(-1, 4, -1)
    step, optimizer = position_step(10.0), torch.optim.Adam(module.parameters(), lr=0.03)
    errors = []
    for _ in range(60):
        loss, parts = step(module.train(), {"codes": codes, "seen": seen})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(parts["train_error_px"]))
    assert errors[0] > 10
    assert errors[-1] < 4


def test_folder_rebuilds_the_head_with_no_other_file(tmp_path: Path) -> None:
    module = head()
    sigma = {"px": [0.2, 0.3], "depth_fraction": [0.01, 0.02]}
    save_position_head(tmp_path / "position", module, "e" * 64, sigma)
    loaded = load_position_head(tmp_path / "position")
    assert loaded.tokenizer_hash == "e" * 64
    assert loaded.sigma == sigma
    np.testing.assert_array_equal(loaded.positions(random_codes()), module.positions(random_codes()))
    (tmp_path / "position/config.json").write_text("{}")
    with pytest.raises(UserError, match="not a position head"):
        load_position_head(tmp_path / "position")


def test_a_change_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="augment: each change once"):
        dataclasses.replace(PARAMS, augment=("mirror", "mirror"))
