"""Kinetoken: a laboratory for discrete video codes.

Did the codes keep the motion, and if not, where was it lost and what brings it back?

    diagnose                                        judge codes made anywhere
    examine, VideoTokenizer, MotionCard             judge a whole tokenizer on rendered motion
    load_tokenizer, load_classifier, …              a trained model from its folder alone
    open_clips                                      videos, arrays or tracks of your own, for the models
    classify, locate, describe, detect              what trained models read of them, as tables
    tokenize, reconstruct, predict, generate        their codes, and clips that trained models paint
    read_codes, write_codes, CodesTable, CodesMeta  tables of codes
    ClipStore                                       videos as the pipeline stores them
    OnlineDetector                                  decisions while a clip is still running
    UserError                                       what all of them raise for bad input

The names below are resolved on first use, so that importing the package costs nothing. `__init__.pyi` repeats them
for type checkers.
"""

from importlib import import_module
from typing import Any

_LOADERS = {
    "ClipStore": "kinetoken.scenes.clips",
    "CodesMeta": "kinetoken.codes",
    "CodesTable": "kinetoken.codes",
    "DiagnosisResult": "kinetoken.diagnosis.api",
    "MotionCard": "kinetoken.examination.card",
    "OnlineDetector": "kinetoken.persistence.online",
    "UserError": "kinetoken.core.errors",
    "VideoTokenizer": "kinetoken.examination.adapter",
    "__version__": "kinetoken.core.version",
    "classify": "kinetoken.inference.reading",
    "describe": "kinetoken.inference.reading",
    "detect": "kinetoken.inference.detecting",
    "diagnose": "kinetoken.diagnosis.api",
    "examine": "kinetoken.examination.api",
    "generate": "kinetoken.inference.painting",
    "load_classifier": "kinetoken.saved",
    "load_gasm_cast": "kinetoken.saved",
    "load_generator": "kinetoken.saved",
    "load_i3d_magvit": "kinetoken.saved",
    "load_position_head": "kinetoken.saved",
    "load_predictor": "kinetoken.saved",
    "load_tokenizer": "kinetoken.saved",
    "load_video_classifier": "kinetoken.saved",
    "locate": "kinetoken.inference.reading",
    "open_clips": "kinetoken.inference.opening",
    "predict": "kinetoken.inference.painting",
    "read_codes": "kinetoken.saved",
    "reconstruct": "kinetoken.inference.painting",
    "tokenize": "kinetoken.inference.painting",
    "write_codes": "kinetoken.saved",
}

__all__ = sorted(_LOADERS)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the loaders share no narrower type
    if name in _LOADERS:
        return getattr(import_module(_LOADERS[name]), name)
    raise AttributeError(f"module 'kinetoken' has no attribute {name!r}")
