"""The application: endpoints that hand a request's files to a worker, and its answer back.

    uvicorn.run(build_app(Serving()))        # `kinetoken serve` does more: see server.py
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, FastAPI, File, Query, Request, Response, UploadFile, WebSocket
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from kinetoken.core.version import __version__
from kinetoken.serving.access import Guarded
from kinetoken.serving.admission import Admitting
from kinetoken.serving.answers import (
    Alive,
    ClassifiedClips,
    DoctorReport,
    LocatedClips,
    PredictedClips,
    Readiness,
    Refusal,
    SessionState,
    TokenizedClips,
)
from kinetoken.serving.kinds import CLIPS, LABELS, TABLES
from kinetoken.serving.metrics import TEXT, RequestMeter, ServerMetrics
from kinetoken.serving.sessions import OnlineSessions
from kinetoken.serving.settings import Serving
from kinetoken.serving.streams import state_of, watch
from kinetoken.serving.uploads import filed
from kinetoken.serving.workers import Workers, WorkRefused

POLICY = (  # of the page: it loads nothing, and talks to this server alone
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; media-src blob:; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SWEEP_SECONDS = 30.0
FRAMES_MOST = 4096


@dataclass(frozen=True)
class Served:
    """What the endpoints of one application share."""

    workers: Workers
    sessions: OnlineSessions
    metrics: ServerMetrics
    folder: Path  # for the files of requests


def _served(request: Request) -> Served:
    served: Served = request.app.state.served
    return served


At = Annotated[Served, Depends(_served)]
ClipFile = Annotated[UploadFile, File(description="A video (MP4, MOV, WebM, MKV, AVI, GIF) or an array (NPY, NPZ).")]
Resize = Annotated[bool, Query(description="Cut out the middle square of frames of another size and scale it.")]
Window = Annotated[
    Literal["first", "last", "all"] | None, Query(description="What is read of clips that are longer than needed.")
]
Frames = Annotated[int | None, Query(
    ge=4, le=FRAMES_MOST, multiple_of=4, description="Read only so many first frames; `tokenize`: of each window.",
    examples=[8],
)]
Side = Annotated[int | None, Query(ge=1, le=FRAMES_MOST, description="Pixels; default: the detector's.")]
Detector = Annotated[Literal["transformer", "magvit"], Query(description="Which detector watches.")]
SessionName = Annotated[str, PathParameter(description="As opening it gave it.", pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": WORDS[status]} for status in statuses}


WORDS = {
    400: "The request is damaged.", 401: "The token is missing or wrong.",
    403: "A foreign web page made the browser send this.", 404: "No such session is open.",
    408: "The body came too slowly.", 409: "No frame is expected, or another one.",
    410: "The process that knew the session's frames ended.",
    413: "Larger than a request may be.", 415: "A file of a kind that is not read.",
    422: "Input that cannot be read.", 500: "An error of the server.",
    503: "Busy, or a model is missing.", 504: "Not done in time.",
}
GUARD = (401, 403)
FOREIGN: dict[str, Any] = {  # beside a page, which is not JSON
    "description": WORDS[403], "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
WORK = _refusals(400, *GUARD, 408, 413, 415, 422, 500, 503, 504)
router = APIRouter()


@router.post("/tokenize", responses=WORK, tags=["clips"], summary="Codes of clips")
async def tokenize(
    at: At, clip: ClipFile, resize: Resize = False, window: Window = None, frames: Frames = None
) -> TokenizedClips:
    """Encodes clips as codes, like `kinetoken tokenize`."""
    return TokenizedClips(**await _clips(at, "tokenize", ("tokenizer",), clip, resize, window, frames=frames))


@router.post("/classify", responses=WORK, tags=["clips"], summary="Class of clips")
async def classify(
    at: At, clip: ClipFile, resize: Resize = False, window: Window = None, frames: Frames = None,
    model: Annotated[
        Literal["classifier", "video_classifier"], Query(description="Reads codes, or pixels of whole clips.")
    ] = "classifier",
) -> ClassifiedClips:
    """Predicts the probability of each class, like `kinetoken classify`."""
    needed = ("tokenizer", model) if model == "classifier" else (model,)
    return ClassifiedClips(**await _clips(at, "classify", needed, clip, resize, window, frames=frames, model=model))


@router.post("/locate", responses=WORK, tags=["clips"], summary="3-D positions of the ball")
async def locate(
    at: At, clip: ClipFile, resize: Resize = False, window: Window = None, frames: Frames = None
) -> LocatedClips:
    """Predicts the ball's position in metres and pixels in every frame, like `kinetoken locate`."""
    return LocatedClips(**await _clips(at, "locate", ("tokenizer", "position"), clip, resize, window, frames=frames))


@router.post("/predict", responses=WORK, tags=["clips"], summary="The next frames")
async def predict(
    at: At, clip: ClipFile, resize: Resize = False, window: Window = None,
    slices: Annotated[int | None, Query(ge=1, le=64, description="Predict only so many slices of 4 frames.")] = None,
    dynamics: Annotated[
        str | None, Query(max_length=40, description="One of the predictor's networks.", examples=["lstm"])
    ] = None,
    with_past: Annotated[bool, Query(description="`pixels` begin with the frames that were read.")] = False,
) -> PredictedClips:
    """Predicts the frames that come next, like `kinetoken predict`."""
    return PredictedClips(**await _clips(
        at, "predict", ("tokenizer", "predictor"), clip, resize, window, slices=slices, dynamics=dynamics,
        with_past=with_past,
    ))


@router.post("/diagnose", responses=WORK, tags=["doctor"], summary="Examine codes of any tokenizer")
async def diagnose(
    at: At,
    codes: Annotated[UploadFile, File(description="Codes, one clip a row: Parquet, NPY, NPZ or safetensors.")],
    labels: Annotated[UploadFile | None, File(description="Labels, one a clip: CSV, or a kind as for codes.")] = None,
    clips: Annotated[UploadFile | None, File(description="The clips, N,T,H,W,C: NPY or NPZ.")] = None,
    codebook_size: Annotated[int | None, Query(ge=2, le=1 << 31, description="Entries.", examples=[512])] = None,
    layout: Annotated[str | None, Query(
        max_length=40, description="Axes of the codes in order, where they would be guessed wrongly.",
        examples=["B,T,H,W"],
    )] = None,
    library: Annotated[str, Query(max_length=40, description="Whose words the cures use.")] = "pytorch",
) -> DoctorReport:
    """The doctor's statement about a table of codes, like `kinetoken diagnose --json`."""
    at.workers.require()
    parts = {"codes": (codes, TABLES), "labels": (labels, LABELS), "clips": (clips, (".npy", ".npz"))}
    options = {"codebook_size": codebook_size, "layout": layout, "library": library}
    async with filed(at.folder, "diagnose", parts, options) as task:
        return DoctorReport(**await at.workers.ask("clips", task))


OPENED = _refusals(*GUARD, 422, 503)


@router.post("/sessions", responses=OPENED, status_code=201, tags=["online decisions"], summary="Open a session")
async def open_session(
    at: At, detector: Detector = "transformer"
) -> SessionState:
    """Begins to watch one object, whose frames follow one by one.

    `/sessions/stream` does the same over one WebSocket connection.
    """
    return state_of(await at.sessions.open(detector))


@router.post(
    "/sessions/{session}/frames", responses={**WORK, **_refusals(404, 409, 410)}, tags=["online decisions"],
    summary="Feed the next frame",
)
async def feed_frame(
    at: At, session: SessionName,
    frame: Annotated[bytes, Body(
        media_type="application/octet-stream", description="Red, green and blue of each pixel, row by row.",
    )],
    number: Annotated[int | None, Query(ge=0, description="From 0 on; a frame out of order is refused.")] = None,
    width: Side = None, height: Side = None, resize: Resize = False,
) -> SessionState:
    """The decision so far. After `decided` no further frame is read."""
    return state_of(await at.sessions.feed(
        session, frame, number=number, width=width, height=height, resize=resize
    ))


@router.get(
    "/sessions/{session}", responses=_refusals(*GUARD, 404, 410, 422), tags=["online decisions"],
    summary="See a session",
)
async def see_session(at: At, session: SessionName) -> SessionState:
    """The decision so far."""
    return state_of(at.sessions.find(session))


@router.delete(
    "/sessions/{session}", responses=_refusals(*GUARD, 404, 422, 500, 503, 504), status_code=204,
    tags=["online decisions"], summary="Close a session",
)
async def close_session(at: At, session: SessionName) -> None:
    """Drops what is known of the object."""
    await at.sessions.close(session)


@router.websocket("/sessions/stream")
async def stream_frames(
    socket: WebSocket, detector: Detector = "transformer", width: Side = None, height: Side = None,
    resize: Resize = False,
) -> None:
    """A session whose frames are the binary messages of one WebSocket connection (docs/deploy.md)."""
    served: Served = socket.app.state.served
    try:
        await watch(socket, served.sessions, detector, width, height, resize)
    except WorkRefused as refused:
        await socket.send_denial_response(await _refused(socket, refused))


@router.get("/health/live", responses=_refusals(403), tags=["server"], summary="Does the server run?")
async def live() -> Alive:
    return Alive()


@router.get(
    "/health/ready", tags=["server"], summary="Are the models loaded?",
    responses={**_refusals(403), 503: {"model": Readiness, "description": "Not yet, or a model is damaged."}},
)
async def ready(at: At, response: Response) -> Readiness:
    workers = at.workers
    good = not workers.starting and bool(workers.loaded) and not workers.damaged
    response.status_code = 200 if good else 503
    return Readiness(ready=good, loading=workers.starting, models=workers.loaded, missing=workers.lacking)


@router.get(
    "/metrics", tags=["server"], summary="Metrics for Prometheus", response_class=Response,
    responses={**_refusals(*GUARD), 200: {"content": {"text/plain": {"example": "kinetoken_models_loaded 7.0\n"}}}},
)
async def metrics(at: At) -> Response:
    return Response(at.metrics.page(), media_type=TEXT)


@router.get("/", tags=["server"], summary="A page to try it", response_class=HTMLResponse, responses={403: FOREIGN})
async def page() -> HTMLResponse:
    text = resources.files("kinetoken.serving").joinpath("templates/page.html").read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"content-security-policy": POLICY, "x-content-type-options": "nosniff"})


def build_app(serving: Serving, workers: Workers | None = None) -> FastAPI:
    """The application with its workers, which begin and end with it."""
    workers = workers or Workers(serving)
    sessions = OnlineSessions(workers)
    counted = ServerMetrics(workers, sessions)

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="kinetoken-") as folder:
            app.state.served = Served(workers, sessions, counted, Path(folder))
            workers.start()
            sweeping = asyncio.create_task(_sweep(sessions))
            yield
            sweeping.cancel()
            await workers.stop()

    app = FastAPI(
        title="Kinetoken", version=__version__, summary="Trained models of video codes, applied to uploaded clips.",
        docs_url=None, redoc_url=None, lifespan=running,
        openapi_tags=[{"name": name} for name in ("clips", "doctor", "online decisions", "server")],
    )
    app.include_router(router)
    app.add_exception_handler(WorkRefused, _refused)
    app.add_exception_handler(405, _not_allowed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _invalid_stream)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(Admitting, limits=serving.limits)
    app.add_middleware(Guarded, serving=serving)
    app.add_middleware(RequestMeter, metrics=counted)
    return app


async def _clips(
    at: Served, job: str, needed: Sequence[str], clip: UploadFile, resize: bool, window: str | None, **options: object
) -> dict[str, Any]:
    at.workers.require(*needed)
    given = {"resize": resize, "window": window, **options}
    async with filed(at.folder, job, {"clip": (clip, CLIPS)}, given) as task:
        return await at.workers.ask("clips", task)


async def _sweep(sessions: OnlineSessions) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        with contextlib.suppress(WorkRefused):
            await sessions.close_idle()


def _sentence(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status, headers)


async def _refused(_: HTTPConnection, error: Exception) -> JSONResponse:
    assert isinstance(error, WorkRefused)
    retry = {} if error.retry is None else {"retry-after": str(error.retry)}
    return _sentence(error.status, str(error), retry)


async def _not_allowed(request: Request, _: Exception) -> JSONResponse:
    """All methods of the path are named, also where several routes share it."""
    there = [route for route in router.routes if isinstance(route, APIRoute)]
    path = request.url.path
    allowed = {method for route in there if route.path_regex.match(path) for method in route.methods or ()}
    return _sentence(405, f"{request.method} is no method of this path", {"allow": ", ".join(sorted(allowed))})


async def _invalid(_: HTTPConnection, error: Exception) -> JSONResponse:
    """The first fault of a request's parameters, in one sentence."""
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return _sentence(422, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")


async def _invalid_stream(socket: WebSocket, error: Exception) -> None:
    await socket.send_denial_response(await _invalid(socket, error))


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    return _sentence(500, "an error of the server; its log has more")
