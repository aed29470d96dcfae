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

    At any instant the manifest names a whole file, so a kill costs the current epoch and no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "state.partial"
    with partial.open("wb") as sink:
        torch.save(dict(state), sink)
        sink.flush()
        os.fsync(sink.fileno())
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    current = folder / f"{digest[:16]}.pt"
    os.replace(partial, current)
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
