"""One loader for the weights of every backbone: whole, key by key, or not at all.

A file is read as tensors only, so none can run code. Its keys and shapes must be those of the network; the one thing
that may be left out is a classification head, by building the network without it, and what a format is known to
carry besides weights; the report names each such key.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from kinetoken.backbones.architectures import recognise
from kinetoken.core.errors import UserError

State = dict[str, Tensor]

CONTAINERS = ("model_state", "state_dict", "model")  # where files keep their state dict, beside other things
SHOWN = 3  # keys of each kind that an error lists


@dataclasses.dataclass(frozen=True)
class WeightFormat:
    """What a published file of weights looks like, and where it is."""

    architecture: str  # as `recognise` calls it
    fetch: Callable[[], Path]  # downloads the published file, or finds it in the library's own cache
    head: tuple[str, ...]  # keys of the classification head
    part: str = ""  # the submodule that the file describes; all of the module
    convert: Callable[[State], tuple[State, tuple[str, ...]]] = lambda state: (state, ())  # keys, and those left out


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a backbone's weights are."""

    architecture: str
    source: str  # the file, "… (downloaded)", or "untrained"
    sha256: str  # of the file, 64 hex digits; empty if untrained
    tensors: int  # read from the file
    parameters: int  # of the network
    left_out: tuple[str, ...]  # keys of the file that the network has no place for: a head, and what is no weight

    @property
    def trained(self) -> bool:
        return self.tensors > 0


def fetch_url(url: str) -> Callable[[], Path]:
    """A function that downloads the file once, into torch's own cache; a hash in its name is checked."""

    def fetch() -> Path:
        name = url.rsplit("/", 1)[-1]
        path = Path(torch.hub.get_dir()) / "checkpoints" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            hashed = re.search(r"-([a-f0-9]{8,})\.", name)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=hashed[1] if hashed else None, progress=False)
        return path

    return fetch


def load_backbone(
    module: nn.Module, weights: WeightFormat, *, pretrained: bool = False, checkpoint: str | Path | None = None
) -> LoadReport:
    """Fill `module` from the published weights, from a file, or from neither, and say which.

    Raises UserError, before anything is changed, for a file that is missing, damaged, holds more than tensors, or
    differs from the network in any key or shape.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if not pretrained and checkpoint is None:
        return LoadReport(weights.architecture, "untrained", "", 0, parameters, ())
    path = Path(checkpoint) if checkpoint is not None else _download(weights)
    try:
        state, left_out = weights.convert(read_tensors(path))
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    part = module.get_submodule(weights.part)
    expected = part.state_dict()
    head = tuple(key for key in weights.head if key in state and key not in expected)
    state = {key: tensor for key, tensor in state.items() if key not in head}
    if difference := differences(state, expected):
        advice = _advice(state, expected, weights)
        raise UserError(f"{path}: not loaded: {_found(state, weights)}; {difference}{advice}")
    part.load_state_dict(state)
    source = str(path) if checkpoint is not None else f"{path.name} (downloaded)"
    return LoadReport(weights.architecture, source, _sha256(path), len(state), parameters, (*left_out, *head))


def read_tensors(path: Path) -> State:
    """The state dict in a file of safetensors or of torch.save, read without running any code in it.

    Raises UserError naming the file if it is missing, damaged, or holds anything else than tensors by name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if isinstance(content, Mapping):
        content = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds no state dict")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: holds no state dict: {key!r} is a {type(value).__name__}, expected a tensor")
    return dict(content)


def differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How a state dict differs from the one expected, in words, with a few keys of each kind; "" if it fits."""
    shared = [key for key in expected if key in found]
    reshaped = [
        f"{key} {tuple(found[key].shape)} for {tuple(expected[key].shape)}"
        for key in shared if found[key].shape != expected[key].shape
    ]
    retyped = [
        f"{key} {found[key].dtype} for {expected[key].dtype}"
        for key in shared if not _holds(found[key].dtype, expected[key].dtype)
    ]
    kinds = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": reshaped,
        "of another type": retyped,
    }
    return ", ".join(f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in kinds.items() if keys)


def _holds(found: torch.dtype, expected: torch.dtype) -> bool:
    """Does a tensor of the expected type hold each value of the found one? A half does in a float, and no double."""
    return found.is_floating_point == expected.is_floating_point and torch.promote_types(found, expected) == expected


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")


def _found(state: State, weights: WeightFormat) -> str:
    name = recognise(state)
    if name is None:
        return f"its keys are not those of {weights.architecture}"
    if name != weights.architecture:
        return f"it holds {name}, not {weights.architecture}"
    return f"it holds {name}, but not with all the keys and shapes of this one"


def _advice(state: State, expected: Mapping[str, Tensor], weights: WeightFormat) -> str:
    """What to do where the head alone stands in the way."""
    body, wanted = ({k: v for k, v in side.items() if k not in weights.head} for side in (state, expected))
    return "" if differences(body, wanted) else "; set head to false to leave the classification head out"


def _download(weights: WeightFormat) -> Path:
    try:
        return weights.fetch()
    except Exception as error:  # each library that downloads raises its own kinds
        raise UserError(
            f"the weights of {weights.architecture} could not be downloaded ({_first_line(error)}); "
            "a file that you have is read by checkpoint: path"
        ) from None


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: damaged or not safetensors: {_first_line(error)}") from None


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in as many ways as there are damages
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: asks for {named[1]}, which is no tensor and could run code; only weights are read, "
                "so save its state dict alone"
            ) from None
        raise UserError(f"{path}: damaged or not a file of weights") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
