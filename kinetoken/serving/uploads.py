"""Files of a request, in a folder of their own under names of our own."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import UploadFile

from kinetoken.serving.kinds import HEAD, kind_of_upload, listed
from kinetoken.serving.tasks import Task
from kinetoken.serving.workers import WorkRefused

PIECE = 1 << 20  # bytes copied at once


@asynccontextmanager
async def filed(
    root: Path, job: str, parts: Mapping[str, tuple[UploadFile | None, Sequence[str]]], options: Mapping[str, object]
) -> AsyncIterator[Task]:
    """A task with the uploads as files, which are gone afterwards; of each part the kinds that it may be.

    WorkRefused for an empty part (422) and one of another kind (415).
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, "", "request-", root))
    try:
        files = {}
        for part, (upload, allowed) in parts.items():
            if upload is not None:
                files[part] = await asyncio.to_thread(_file, folder, part, upload, allowed)
        yield Task(job, str(folder), files, options)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)


def _file(folder: Path, part: str, upload: UploadFile, allowed: Sequence[str]) -> str:
    source = upload.file
    source.seek(0)
    head = source.read(HEAD)
    if not head:
        raise WorkRefused(422, f"{part}: the file is empty")
    suffix = kind_of_upload(head, allowed)
    if suffix is None:
        raise WorkRefused(415, f"{part}: by its content no file of {listed(allowed)}, the kinds that are read")
    name = f"{part}{suffix}"
    with (folder / name).open("wb") as sink:
        sink.write(head)
        shutil.copyfileobj(source, sink, PIECE)
    return name
