"""Where the ball is in every frame, in metres, read from codes; any prefix of slices.

For each frame of a slice one attention map over cells gives the ball's place in the image (soft-argmax with an
offset in each cell) and the logarithm of its apparent radius. What
earlier slices told is then used to correct both. From one camera, depth is known through the ball's radius alone.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.absence import why_absent
from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import Headlines
from kinetoken.core.params import Fraction, NonNegative, Positive, PositiveFloat, build
from kinetoken.heads.poolings import NOTICED, CodeEncoder, Grid, require_prefix
from kinetoken.layers import cell_centres, expected_places
from kinetoken.scenes.camera import Camera
from kinetoken.training.loop import Batch, Step, TrainingParams, index_batches

if TYPE_CHECKING:
    from kinetoken.dataset import Dataset

Array = NDArray[np.float64]

READ = 3  # u, v and log radius of a frame
ERRORS = ("error_px", "error_depth_percent", "error_m")
HEADLINES = Headlines(ERRORS, further=tuple(f"ood.{name}" for name in ERRORS), bounded=ERRORS)
HUBER_PX = 0.5  # pixels beyond which an error counts linearly


@dataclasses.dataclass(frozen=True, kw_only=True)
class PositionParams(TrainingParams):
    """Section train_position."""

    channels: Positive  # of each cell's features
    blocks: NonNegative  # of convolutions over cells
    width: Positive  # of the correction from earlier slices
    dropout: Fraction
    depth_weight: PositiveFloat  # pixels that an error of 1 in log depth weighs as much as
    augment: tuple[Literal["mirror", "reverse"], ...]  # train on clips changed in these ways too, each encoded anew

    def __post_init__(self) -> None:
        if len(set(self.augment)) < len(self.augment):
            raise ValueError("augment: each change once")


class PositionHead(nn.Module):
    """codes (B, K, H', W') → u, v, log radius of each frame seen (B, K F, 3), F frames a slice."""

    cells: Tensor
    typical: Tensor

    def __init__(
        self, coordinates: Tensor, grid: Grid, frames: int, camera: Camera, *, channels: int, blocks: int, width: int,
        dropout: float = 0.0,
    ) -> None:
        """coordinates: (codebook_size, D) of each code; frames: of a time slice."""
        super().__init__()
        self.grid, self.frames, self.camera = grid, frames, camera
        self.rebuilt_from = {
            "grid": list(grid), "frames": frames, "camera": dataclasses.asdict(camera),
            "codebook": list(coordinates.shape),
            "network": {"channels": channels, "blocks": blocks, "width": width},
        }
        self.tokenizer_hash, self.sigma = "", dict[str, list[float]]()
        self.encoder = CodeEncoder(coordinates, grid, channels, blocks)
        self.maps = nn.Conv2d(channels, frames * (1 + READ), 1)
        self.noticed = nn.Parameter(torch.full((frames, 1), NOTICED))
        self.register_buffer("cells", cell_centres(*grid[1:], *camera.edges), persistent=False)  # (H' W', 2) px
        self.register_buffer("typical", torch.zeros(()))  # mean log radius in training
        features = frames * (channels + READ)
        self.dropout = nn.Dropout(dropout)
        self.slices = nn.Parameter(torch.randn(grid[0], grid[0], features, width) / (features * grid[0]) ** 0.5)
        self.place = nn.Parameter(torch.zeros(grid[0], width))
        last = nn.Linear(width, frames * READ)
        nn.init.zeros_(last.weight)
        self.correct = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), last)

    @property
    def focal(self) -> float:
        """Focal length in pixels of the camera that the positions are seen by."""
        return self.camera.focal

    def forward(self, codes: Tensor) -> Tensor:
        count = codes.shape[1]
        seen, found = self._look(codes, self.encoder(codes))  # (B, K, F, 3), (B, K, F, C)
        told = torch.cat([self._scaled(seen), found], -1).flatten(2)  # (B, K, F (C + 3))
        causal = torch.ones(count, count, device=codes.device).tril()[..., None, None]
        weights = self.slices[:count, :count] * causal  # (K now, K seen, features, width)
        known = torch.einsum("bsf,ksfw->bkw", self.dropout(told), weights)
        change = rearrange(self.correct(known + self.place[:count]), "b k (f r) -> b k f r", r=READ)
        scale = torch.tensor([1.0, 1.0, 0.1], device=codes.device)
        read: Tensor = rearrange(seen + change * scale, "b k f r -> b (k f) r")
        return read

    def _look(self, codes: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, K, H', W') and features of their cells (B, K, C, H', W') → u, v, log radius (B, K, F, 3), and the
        features there (B, K, F, C)."""
        batch = cells.shape[0]
        flat = rearrange(cells, "b k c h w -> (b k) c h w")
        maps = rearrange(self.maps(flat), "n (f r) h w -> n f r (h w)", r=1 + READ)
        unusual = rearrange(self.encoder.unusual(codes), "b k h w -> (b k) 1 (h w)")
        weights = (maps[:, :, 0] + self.noticed * unusual).softmax(-1)  # (B K, F, H' W')
        pitch = self.camera.centre * 2 / self.grid[2]
        place = self.cells.T + pitch * maps[:, :, 1:3]  # (B K, F, 2, H' W')
        size = self.typical + maps[:, :, 3:]
        seen = expected_places(weights, torch.cat([place, size], 2).mT)
        found = torch.einsum("nfp,ncp->nfc", weights, rearrange(flat, "n c h w -> n c (h w)"))
        return (
            rearrange(seen, "(b k) f r -> b k f r", b=batch), rearrange(found, "(b k) f c -> b k f c", b=batch)
        )

    def _scaled(self, seen: Tensor) -> Tensor:
        """u, v, log radius to order one."""
        place = (seen[..., :2] - self.camera.centre) / (self.camera.centre / 2)
        return torch.cat([place, 4 * (seen[..., 2:] - self.typical)], -1)

    def positions(self, codes: np.ndarray, batch_size: int = 256) -> Array:
        """codes (N, K, H', W'), the first K ≥ 1 slices → positions (N, K F, 3) in metres.

        Frames of a slice do not depend on later slices. Raises ValueError for more slices than the head was
        trained on, or another grid.
        """
        parts = [part.double().cpu().numpy() for part in self._read(codes, batch_size)]
        return self.camera.unproject_log(np.concatenate([np.empty((0, codes.shape[1] * self.frames, READ)), *parts]))

    def _read(self, codes: np.ndarray, batch_size: int) -> Iterator[Tensor]:
        require_prefix(codes, self.grid)
        self.eval()
        with torch.no_grad():
            for rows in index_batches(len(codes), batch_size):
                yield self(torch.from_numpy(codes[rows].astype(np.int64)).to(self.place.device))


def build_position_head(
    params: PositionParams, coordinates: Tensor, grid: Grid, camera: Camera, train: Array
) -> PositionHead:
    """An untrained head for tracks like `train` (N, T, 3) m; its weights come from the params' seed."""
    torch.manual_seed(params.seed)
    frames = train.shape[1] // grid[0]
    head = PositionHead(
        coordinates, grid, frames, camera, channels=params.channels, blocks=params.blocks, width=params.width,
        dropout=params.dropout,
    )
    head.typical.fill_(float(camera.project_log(train)[..., 2].mean()))
    return head


def position_step(depth_weight: float) -> Step:
    """Huber loss in pixels for u and v, and for log depth times `depth_weight`; batch["seen"] (B, T, 3)."""
    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        error = module(batch["codes"]) - batch["seen"]  # (B, T, 3)
        error = error * torch.tensor([1.0, 1.0, depth_weight], device=error.device)
        loss = functional.huber_loss(error, torch.zeros_like(error), delta=HUBER_PX)
        return loss, {"train_error_px": error[..., :2].detach().norm(dim=-1).mean()}

    return step


def position_errors(found: Array, truth: Array, camera: Camera) -> dict[str, Array]:
    """error_px, error_depth_percent and error_m in each frame: found and truth (N, T, 3) m → (N, T) each."""
    image = camera.project_log(found)[..., :2] - camera.project_log(truth)[..., :2]
    return {
        "error_px": np.linalg.norm(image, axis=-1),
        "error_depth_percent": 100 * np.abs(found[..., 2] / truth[..., 2] - 1),
        "error_m": np.linalg.norm(found - truth, axis=-1),
    }


def sigma_by_frame(found: Array, truth: Array, camera: Camera) -> dict[str, list[float]]:
    """Root-mean-square error a coordinate in each frame: px of u and v, depth_fraction of z. (N, T, 3) m each."""
    image = camera.project_log(found)[..., :2] - camera.project_log(truth)[..., :2]
    depth = found[..., 2] / truth[..., 2] - 1
    return {
        "px": np.sqrt((image**2).mean((0, 2))).tolist(), "depth_fraction": np.sqrt((depth**2).mean(0)).tolist(),
    }


def measured_sigma(found: Array, truth: Array, camera: Camera) -> dict[str, float]:
    """The same over all frames."""
    each = sigma_by_frame(found, truth, camera)
    return {name: float(np.sqrt(np.square(values).mean())) for name, values in each.items()}


def save_position_head(
    folder: Path, head: PositionHead, tokenizer_hash: str, sigma: Mapping[str, list[float]],
) -> None:
    """models/position: weights with the codes' coordinates, and a config that rebuilds it; `sigma` by frame."""
    save_model(folder, head, {**head.rebuilt_from, "sigma": dict(sigma), "tokenizer": tokenizer_hash})


def load_position_head(folder: Path) -> PositionHead:
    """The trained head, in eval mode; UserError if the folder is damaged or another kind of model."""
    with rebuilding(folder) as config:
        if not {"grid", "frames", "camera", "sigma", "codebook", "network"} <= set(config):
            raise UserError(f"{folder}: not a position head")
        head = position_head_of(config)
        head.tokenizer_hash, head.sigma = config["tokenizer"], config["sigma"]
        load_weights(folder, head)
    return head.eval()


def position_head_of(config: Mapping[str, Any]) -> PositionHead:
    """A head without its weights, from what `PositionHead.rebuilt_from` says."""
    return PositionHead(
        torch.zeros(config["codebook"]), tuple(config["grid"]), config["frames"],
        build(Camera, config["camera"], "config.json: camera"),
        **config["network"],
    )


def position_head_for(dataset: "Dataset", folder: Path) -> PositionHead | None:
    """The head in `folder`, which reads positions from this dataset's codes; None where none could be trained.

    UserError for a head of another tokenizer.
    """
    if not dataset.tracked or not folder.exists() or why_absent(folder):
        return None
    head = load_position_head(folder)
    dataset.require_tokenizer_of(head, folder)
    return head
