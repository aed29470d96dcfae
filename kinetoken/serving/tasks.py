"""What server and workers say to one another. Nothing here needs PyTorch, so that the server does not load it."""

import dataclasses
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from kinetoken.serving.settings import Limits

Role = Literal["clips", "frames"]  # of a worker: whole clips and tables, or frames of sessions
ROLES: dict[Role, tuple[str, ...]] = {  # the models that each loads, by their folders
    "clips": ("tokenizer", "classifier", "video_classifier", "position", "predictor"),
    "frames": ("persistence/transformer", "persistence/magvit"),
}


@dataclasses.dataclass(frozen=True)
class WorkPlan:
    """What a worker is started with."""

    role: Role
    models: Path
    device: str
    threads: int
    limits: Limits


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to do: files lie in `folder`, where `files` says what each part of the request is called there."""

    job: str
    folder: str = ""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def path(self, part: str) -> Path | None:
        return Path(self.folder, self.files[part]) if part in self.files else None


def begin(connection: Connection, plan: WorkPlan) -> None:
    """A worker process, from its beginning to its end."""
    from kinetoken.serving.work import work

    work(connection, plan)
