"""Files that stages leave behind: metrics, tables and models, the same bytes for the same content."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.absence import why_absent
from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import torch

METRIC_DIGITS = 6
LEAST_ROOM = 1 << 28  # bytes that any network may take while it is built
ROOM = 16  # times the size of its file of weights that a network may take
MOST_TENSORS = 100_000  # that a network may be built of


def write_json(path: Path, content: object) -> None:
    """JSON with sorted keys and a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """A DVC metrics file: nested numbers only, to six significant digits, sorted.

    Raises ValueError naming the key for NaN, infinity, None, lists or text: DVC drops those from its
    tables without a word.
    """
    write_json(path, checked_numbers(metrics))


def checked_numbers(node: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested numbers to six significant digits; whole ones as int. Raises ValueError as `write_metrics` does."""
    checked: dict[str, Any] = {}
    for key, value in node.items():
        here = f"{where}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            checked[key] = checked_numbers(value, here)
        elif isinstance(value, str) or not hasattr(value, "__float__") or getattr(value, "ndim", False):
            raise ValueError(f"metric {here} is not a number: {value!r}")
        elif not math.isfinite(float(value)):
            raise ValueError(f"metric {here} is {value}")
        else:
            number = float(value)
            checked[key] = int(number) if number.is_integer() else float(f"{number:.{METRIC_DIGITS}g}")
    return checked


def write_table(path: Path, table: "pa.Table", row_group_rows: int = 65536) -> None:
    """A Parquet file whose bytes depend on its content only: zstd, page checksums, fixed row groups."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table, path, compression="zstd", row_group_size=row_group_rows, write_page_checksum=True
    )


def require_file(path: Path) -> None:
    """UserError for what is not there, a folder, and what could be read for ever: a pipe or a device."""
    if path.is_file():
        return
    if not path.exists():
        raise UserError(f"{path}: no such file")
    raise UserError(f"{path}: is a {'folder' if path.is_dir() else 'pipe or a device'}, not a file")


def read_table(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """The Parquet file with page checksums verified; UserError naming a damaged or missing file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_dir():
        require_file(path)
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        _ = table.column_names  # damaged ones are text only when they are looked at
        return table
    except PermissionError:
        raise UserError(f"{path}: not permitted to read it; change its owner or mode") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: damaged or not a Parquet file: {_first_line(error)}") from None


def read_about(path: Path, table: "pa.Table", key: str) -> dict[str, Any]:
    """The JSON object that a table's metadata holds under `key`; UserError if there is none, or no JSON object."""
    content = (table.schema.metadata or {}).get(key.encode())
    if content is None:
        raise UserError(f"{path}: its metadata have no '{key}'")
    found = None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise UserError(f"{path}: its metadata '{key}' are no JSON object")
    return found


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """A small plot table: six significant digits, Unix line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, float_format=f"%.{METRIC_DIGITS}g", lineterminator="\n")


def save_model(folder: Path, module: "torch.nn.Module", config: Mapping[str, Any]) -> None:
    """`model.safetensors` and `config.json`, enough to rebuild the module with no other file.

    `config` is extended by the versions of the libraries that the weights depend on.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(tensors, str(folder / "model.safetensors"))
    # the build tag (+cpu, +cu132) is left out: it does not change what is computed
    write_json(folder / "config.json", {**config, "versions": {"torch": torch.__version__.split("+")[0]}})


def read_config(folder: Path) -> dict[str, Any]:
    """The model folder's config; UserError if the folder is no model, or says why there is none."""
    if reason := why_absent(folder):
        raise UserError(f"{folder}: no model was trained: {reason}")
    path = folder / "config.json"
    try:
        if path.exists():
            require_file(path)
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder}: not a model folder (config.json: {_first_line(error)})") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder}: not a model folder (config.json holds no object)")
    return config


@contextmanager
def rebuilding(folder: Path) -> Iterator[dict[str, Any]]:
    """The model folder's config, from which a network is built within.

    Raises UserError for what no network can be built from, and for one far larger than the weights beside it: before
    memory is taken for it.
    """
    from kinetoken.core.building import Building

    config = read_config(folder)
    weights = folder / "model.safetensors"
    size = weights.stat().st_size if weights.is_file() else 0
    try:
        with Building(max(LEAST_ROOM, ROOM * size), MOST_TENSORS):
            yield config
    except (
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, MemoryError, AssertionError,
    ) as error:
        raise UserError(
            f"{folder}: does not fit this version of Kinetoken ({_first_line(error)}); use the version that trained "
            "it, or train it again"
        ) from None


def load_weights(folder: Path, module: "torch.nn.Module") -> None:
    """Fill `module` from the folder's weights and put it in eval mode.

    Raises UserError listing missing and unexpected keys, and for weights that are not finite; nothing is ever loaded in
    part.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(folder / "model.safetensors")
    try:
        tensors = load_file(str(folder / "model.safetensors"))
    except (OSError, SafetensorError, ValueError, MemoryError) as error:
        raise UserError(f"{folder}/model.safetensors: {_first_line(error)}") from None
    expected, found = set(module.state_dict()), set(tensors)
    if expected != found:
        raise UserError(
            f"{folder}/model.safetensors: missing keys {sorted(expected - found)[:5]}, "
            f"unexpected keys {sorted(found - expected)[:5]}"
        )
    for name, tensor in module.state_dict().items():
        if tensor.shape != tensors[name].shape:
            raise UserError(
                f"{folder}/model.safetensors: {name} has shape {tuple(tensors[name].shape)}, "
                f"expected {tuple(tensor.shape)}"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"{folder}/model.safetensors: {name} holds NaN or infinite values; train the model again")
    module.load_state_dict(tensors)
    module.eval()


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's names and contents, as 64 hex digits."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as source:
            digest.update(hashlib.file_digest(source, "sha256").digest())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
