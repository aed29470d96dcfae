"""Kinetoken: a laboratory for discrete video codes.

Did the codes keep the motion, and if not, where was it lost and what brings it back?

The loaders below rebuild a trained model from its folder alone. They are resolved on first use, so
that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_LOADERS = {
    "load_tokenizer": "kinetoken.tokenizer.network",
    "load_video_classifier": "kinetoken.heads.video_classifier",
    "load_classifier": "kinetoken.heads.classifier",
    "load_position_head": "kinetoken.heads.position",
    "load_predictor": "kinetoken.prediction.network",
    "load_generator": "kinetoken.generation.generator",
    "load_gasm_cast": "kinetoken.gasm_cast.system",
    "load_i3d_magvit": "kinetoken.i3d_magvit.network",
}

__all__ = sorted(_LOADERS)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the loaders share no narrower type
    if name in _LOADERS:
        return getattr(import_module(_LOADERS[name]), name)
    raise AttributeError(f"module 'kinetoken' has no attribute {name!r}")
