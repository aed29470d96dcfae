"""Trained models applied to clips of any origin: no splits, no labels, no pipeline.

    from kinetoken.inference import classify, open_clips

    clips = open_clips("my_videos", resize=True, window="all")
    table = classify(clips, "models/classifier", tokenizer="models/tokenizer")

The names below are resolved on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_LOADERS = {
    "open_clips": "kinetoken.inference.opening",
    "open_any": "kinetoken.inference.coding",
    "write_named_codes": "kinetoken.inference.coding",
    "classify": "kinetoken.inference.reading",
    "locate": "kinetoken.inference.reading",
    "describe": "kinetoken.inference.reading",
    "tokenize": "kinetoken.inference.painting",
    "reconstruct": "kinetoken.inference.painting",
    "predict": "kinetoken.inference.painting",
    "generate": "kinetoken.inference.painting",
    "detect": "kinetoken.inference.detecting",
    "write_clips": "kinetoken.inference.outputs",
    "write_result": "kinetoken.inference.outputs",
}

__all__ = sorted(_LOADERS)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the functions share no narrower type
    if name in _LOADERS:
        return getattr(import_module(_LOADERS[name]), name)
    raise AttributeError(f"module 'kinetoken.inference' has no attribute {name!r}")
