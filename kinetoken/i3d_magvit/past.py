"""What is read of the past, for whoever describes motion: where the ball was, its class, and how far to trust both.

How far, is measured once on validation clips and kept in the model's config.
"""

import dataclasses
from pathlib import Path

import torch

from kinetoken.core.artifacts import read_config
from kinetoken.core.errors import UserError
from kinetoken.heads.position import measured_sigma
from kinetoken.i3d_magvit.training import JointPredictions
from kinetoken.scenes.paths import Array, to_pixels
from kinetoken.scenes.rendering import Scene
from kinetoken.scores import Labels, fitted_temperature


@dataclasses.dataclass(frozen=True)
class Trust:
    """Errors of what is read of pasts, root mean squares over validation clips."""

    px: float  # of u and v
    depth_fraction: float  # of the depth, as a share of it
    temperature: float  # by which the logits of the class are divided to be as sure as they are right


def in_metres(path: torch.Tensor, scene: Scene) -> Array:
    """Path coordinates (N, F, 3) → positions (N, F, 3) m."""
    return scene.camera.unproject(*to_pixels(path, scene.look.image_size))


def measured_trust(told: JointPredictions, label: Labels, points: Array, scene: Scene) -> Trust:
    """Of a reading of N pasts of P frames: their classes (N,), and where the balls were, (N, P, 3) m."""
    sigma = measured_sigma(in_metres(told.path, scene), points, scene.camera)
    return Trust(sigma["px"], sigma["depth_fraction"], fitted_temperature(told.logits, label))


def load_trust(folder: Path) -> Trust:
    """UserError if the model's config does not say."""
    try:
        return Trust(**{name: float(value) for name, value in read_config(folder)["trust"].items()})
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{folder}: config.json has no fitting 'trust'; run train_i3d_magvit again") from None
