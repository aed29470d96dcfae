"""Frames decoded from foretold tokens: how near they are to what happened, and beside what."""

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.core.progress import Progress
from kinetoken.prediction import judging
from kinetoken.prediction.judging import Codes, DrawnForecast
from kinetoken.prediction.truth import Truth
from kinetoken.tokenizer.network import Tokenizer

Pixels = NDArray[np.uint8]


def frame_metrics(
    tokenizer: Tokenizer, true_codes: Codes, told: Codes, truth: Truth, progress: Progress
) -> dict[str, float]:
    """PSNR of all pixels and of the ball's, its place, and how often it is missing, in the frames to come.

    true_codes (N, K + 1, H', W') up to the slice foretold, told (N, 1, H', W'). `_floor` shows the last frame of the
    decoded past again and again, `_ceiling` decodes the true tokens.
    """
    past = judging.past_codes(true_codes, true_codes.shape[1] - 1)
    judged: dict[str, DrawnForecast] = {}
    for name, whole in {"": np.concatenate([past, told], 1), "_ceiling": true_codes}.items():
        judged[name] = judging.judge_frames(tokenizer, whole, truth)
        progress.advance()
    judged["_floor"] = judging.judge_past(tokenizer, past, truth)[1]
    progress.advance()
    return {f"{key}{name}": value for name, each in judged.items() for key, value in _measured(each).items()}


def _measured(judged: DrawnForecast) -> dict[str, float]:
    found = judging.pixel_metrics(judged)
    return {
        "frame_psnr_db": _decibel(found["mse"]), "frame_foreground_psnr_db": _decibel(found["foreground_mse"]),
        "frame_centroid_error_px": float(judged.centroid.mean()), "frame_missed_rate": found["missed_rate"],
    }


def _decibel(mse: float) -> float:
    return -10 * float(np.log10(max(mse, 1e-12)))


def decoded(tokenizer: Tokenizer, true_codes: Codes, told: Codes, frames: int) -> Pixels:
    """The `frames` foretold: true_codes (N, K + 1, H', W'), told (N, 1, H', W') → (N, F, H, W, 3) uint8."""
    device = next(tokenizer.parameters()).device
    whole = np.concatenate([true_codes[:, :-1], told], 1).astype(np.int64)
    clips = tokenizer.decode(torch.from_numpy(whole).to(device), frames)
    return np.asarray(clips.cpu().numpy() * 255 + 0.5).astype(np.uint8)
