"""A tokenizer by what stands on the command line: `module:attribute`, or the folder of a model that is known here."""

import importlib
import json
import sys
from pathlib import Path

from kinetoken.core.errors import UserError

SPELLED = "module:attribute (such as my_module:tokenizer), or the folder of a model"


def load_adapter(spec: str) -> object:
    """The tokenizer of `my_module:tokenizer`, imported with the current folder first, or of a model's folder.

    The attribute is the adapter itself, or a class or function that makes it without arguments. A folder may hold a
    tokenizer of this project, a pair encoder.jit and decoder.jit (NVIDIA Cosmos), or a VQModel saved by diffusers.
    Raises UserError with one sentence for a module or attribute that is not there or fails.
    """
    if Path(spec).is_dir():
        return _of_folder(Path(spec))
    module, separator, attribute = spec.partition(":")
    if not separator or not module or not attribute:
        raise UserError(f"{spec}: no such folder, and not {SPELLED}")
    found: object = _imported(module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"{spec}: module {module} has no attribute '{attribute}'")
        found = getattr(found, part)
    return _made(found, spec)


def _imported(module: str) -> object:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(f"{module}: no such module in the current folder or among the installed packages") from None
        raise UserError(f"{module}: it imports {error.name}, which is not installed; install it too") from error
    except Exception as error:
        raise UserError(f"{module}: importing it failed: {described(error)}") from error
    finally:
        sys.path.remove(here)


def _made(found: object, spec: str) -> object:
    """The adapter itself, or what a class or a function without arguments makes."""
    is_class = isinstance(found, type)
    if not is_class and (hasattr(found, "encode") or not callable(found)):
        return found
    assert callable(found)
    try:
        return found()
    except UserError:
        raise
    except Exception as error:
        what = "class" if is_class else "function"
        raise UserError(f"{spec}: calling this {what} without arguments failed: {described(error)}") from error


def _of_folder(folder: Path) -> object:
    from kinetoken.examination.adapters import cosmos, diffusers_vq, own

    if (folder / cosmos.ENCODER).is_file():
        return cosmos.from_folder(folder)
    if _config(folder).get("_class_name") == "VQModel":
        return diffusers_vq.from_folder(folder)
    if (folder / "model.safetensors").is_file() and (folder / "config.json").is_file():
        return own.from_folder(folder)
    raise UserError(
        f"{folder}: neither a tokenizer of this project (model.safetensors, config.json), nor a pair {cosmos.ENCODER} "
        f"and {cosmos.DECODER}, nor a VQModel saved by diffusers; write an adapter and give {SPELLED.partition(',')[0]}"
    )


def _config(folder: Path) -> dict[str, object]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def described(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "…"
