"""Model folders: which kind of model one holds, and that model, ready to be applied.

Every fault of a folder is a UserError that names it: no folder, another kind of model, or one whose files do not fit
this version's networks.
"""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kinetoken import saved
from kinetoken.core.artifacts import read_config
from kinetoken.core.errors import UserError

Device = Literal["auto", "cpu", "cuda"]
Saved = str | Path | nn.Module  # a model's folder, or the model that a loader made of it


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """One of the kinds of folders under `models/`."""

    words: str  # what it is, with its article
    keys: frozenset[str]  # of its config.json
    lacking: frozenset[str] = frozenset()  # keys by which other kinds are told from it


def _kind(words: str, keys: str, lacking: str = "") -> ModelKind:
    return ModelKind(words, frozenset(keys.split()), frozenset(lacking.split()))


KINDS = {
    "tokenizer": _kind("a tokenizer", "network quantizer image_size"),
    "classifier": _kind("a classifier of codes", "classes grid pooling network"),
    "position": _kind("a position head", "grid frames camera sigma"),
    "video_classifier": _kind("a video classifier", "classes shape network", "pooling"),
    "i3d_magvit": _kind("an I3D + MAGVIT network", "params shape trust tokenizer"),
    "predictor": _kind("a predictor", "shape models best tokenizer"),
    "generator": _kind("a generator", "shape priors sampling tokenizer"),
    "persistence": _kind("a persistence detector", "name temperatures num_frames params"),
    "gasm_cast": _kind("a GASM-CAST network", "backbones classes params"),
}


def kind_of(folder: Path) -> str:
    """A key of KINDS. UserError for what is no model folder of Kinetoken."""
    if not folder.is_dir():
        what = "a file, not a model folder" if folder.exists() else "no such folder"
        raise UserError(
            f"{folder}: {what}; a model folder holds config.json and model.safetensors (make repro trains those of the "
            "pipeline, in models/)"
        )
    keys = set(read_config(folder))
    for name, kind in KINDS.items():
        if kind.keys <= keys and not kind.lacking & keys:
            return name
    raise UserError(f"{folder}: config.json is of no kind of model that this version of Kinetoken knows")


def load_model(given: Saved, *kinds: str, device: Device = "auto", tokenizer: nn.Module | None = None) -> Any:  # noqa: ANN401
    """The model of one of the kinds, in eval mode and on the device.

    `tokenizer` is for a persistence detector on codes. UserError for a folder that is missing, holds another kind of
    model, or was saved by another version.
    """
    if isinstance(given, nn.Module):
        return given.eval().to(chosen_device(device))
    folder = Path(given)
    kind = kind_of(folder)
    if kind not in kinds:
        raise UserError(f"{folder}: {KINDS[kind].words}; needed is {_listed(kinds)}")
    model = LOADERS[kind](folder) if kind != "persistence" else _detector(folder, tokenizer)
    (model.network if kind == "persistence" else model).to(chosen_device(device))
    return model


def name_of(given: Saved, kind: str) -> str:
    """What a message calls it: its folder, or its kind."""
    return f"the {kind.replace('_', ' ')}" if isinstance(given, nn.Module) else str(given)


def chosen_device(device: Device) -> torch.device:
    """`auto` is a GPU where there is one. UserError for another name, or `cuda` where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: choose auto, cpu or cuda")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("--device cuda: PyTorch finds no GPU here; choose auto or cpu")
    return torch.device("cuda" if there and device != "cpu" else "cpu")


def _listed(kinds: Collection[str]) -> str:
    words = [KINDS[kind].words for kind in kinds]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _detector(folder: Path, tokenizer: Any) -> Any:  # noqa: ANN401 - a tokenizer in, a Detector out, imported on use
    from kinetoken.persistence.network import load_detector

    return load_detector(folder, tokenizer)


LOADERS: dict[str, Callable[[Path], nn.Module]] = {
    "tokenizer": saved.load_tokenizer, "classifier": saved.load_classifier, "position": saved.load_position_head,
    "video_classifier": saved.load_video_classifier, "i3d_magvit": saved.load_i3d_magvit,
    "predictor": saved.load_predictor, "generator": saved.load_generator,
}
