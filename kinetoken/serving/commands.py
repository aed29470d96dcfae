"""The sub-command `serve`. Nothing heavy is imported before it runs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from kinetoken.serving.settings import MIB, Limits, Serving

commands = typer.Typer(rich_markup_mode=None)
DEFAULT = Limits()


@commands.command()
def serve(
    models: Annotated[Path, typer.Option(help="Folder with the trained models.")] = Path("models"),
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    token: Annotated[str, typer.Option(
        envvar="KINETOKEN_TOKEN", help="What requests must bear. Better set in the environment, where others cannot "
        "see it.", show_default=False,
    )] = "",
    max_bytes: Annotated[int, typer.Option(min=1, help="Of one request's body.")] = DEFAULT.max_bytes,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Of work on one request.")] = DEFAULT.max_seconds,
    max_clips: Annotated[int, typer.Option(min=1, help="Clips or windows of one request.")] = DEFAULT.max_clips,
    max_frames: Annotated[int, typer.Option(min=1, help="Of one uploaded clip.")] = DEFAULT.max_frames,
    max_side: Annotated[int, typer.Option(min=16, help="Pixels of a frame's longer side.")] = DEFAULT.max_side,
    max_memory: Annotated[int, typer.Option(
        min=256, help="MiB that one worker process may map beside its models (Linux, without a GPU)."
    )] = DEFAULT.max_memory // MIB,
    concurrency: Annotated[int, typer.Option(
        min=1, help="Requests worked on at once, by one process each."
    )] = DEFAULT.concurrency,
    waiting: Annotated[int, typer.Option(min=0, help="Further requests that may upload or wait.")] = DEFAULT.waiting,
    sessions: Annotated[int, typer.Option(min=1, help="Online sessions open at once.")] = DEFAULT.sessions,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="auto: a GPU where there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each worker process.")] = 1,
) -> None:
    """Serve the trained models over HTTP.

    Endpoints for codes, class, positions, next frames, the doctor and online decisions, a page to try them, health
    checks and metrics (docs/deploy.md). SIGTERM or Ctrl-C ends it after the requests under way.

    \b
    Example:
      kinetoken serve --models models --port 8000
    """
    import fastapi  # noqa: F401 - the absence of one of these is told before anything begins
    import prometheus_client  # noqa: F401
    import pydantic  # noqa: F401
    import python_multipart  # noqa: F401 - FastAPI reads uploads with it
    import uvicorn  # noqa: F401
    import websockets  # noqa: F401 - uvicorn speaks WebSocket with it

    from kinetoken.serving.server import run_server

    limits = dataclasses.replace(
        DEFAULT, max_bytes=max_bytes, max_seconds=max_seconds, max_clips=max_clips, max_frames=max_frames,
        max_side=max_side, max_memory=max_memory * MIB, concurrency=concurrency, waiting=waiting, sessions=sessions,
    )
    run_server(Serving(models, host, port, token, device, threads, limits))
