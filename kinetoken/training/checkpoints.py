"""A trainer's state on disk, whole or not at all: what a killed run goes on from."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kinetoken.core.progress import replace_text


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state whole, then a manifest that names it and its hash, then drop the state before.

    At any instant the manifest names a whole file, so a kill costs the current epoch and no more. Raises OSError where
    it cannot be written; the state before then stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save(dict(state), content)  # into a file that cannot hold it, PyTorch raises an error without its cause
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    current, partial = folder / f"{digest[:16]}.pt", folder / "state.partial"
    try:
        with partial.open("wb") as sink:
            sink.write(content.getbuffer())
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(partial, current)
    finally:
        partial.unlink(missing_ok=True)
    replace_text(folder / "manifest.json", json.dumps({"file": current.name, "sha256": digest}))
    for old in folder.glob("*.pt"):
        if old != current:
            old.unlink()


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The state, or None if there is none or it does not match its manifest."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        content = (folder / manifest["file"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return state
