"""What a worker process does: it loads the models, then answers one task after another with kinetoken.inference.

A process of its own can be ended when a task takes too long, and may take no more memory than it was given. A file that
makes a decoder crash ends that process, not the server. Tasks and replies are JSON, so that neither side unpickles what
the other one says.
"""

import base64
import dataclasses
import itertools
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from kinetoken.core.errors import UserError
from kinetoken.footage.fitting import FrameFitter
from kinetoken.footage.windows import Cut
from kinetoken.inference.coding import NamedCodes, fitting_tokenizer
from kinetoken.inference.models import load_model
from kinetoken.inference.opening import OpenClips, open_clips
from kinetoken.inference.painting import PaintedClips, predict, tokenize
from kinetoken.inference.reading import classify, locate
from kinetoken.inference.sources import ARRAY_SUFFIXES
from kinetoken.persistence.extractors import CELL
from kinetoken.persistence.online import OnlineDetector
from kinetoken.serving.admitted import TooMuch, require_small
from kinetoken.serving.settings import Limits
from kinetoken.serving.tasks import ROLES, Task, WorkPlan

T = TypeVar("T", bound=NamedCodes | PaintedClips)


class Workbench:
    """The models of one worker; `lacking`: why each of the others is not here."""

    def __init__(self, plan: WorkPlan) -> None:
        self.plan, self.models, self.lacking = plan, dict[str, Any](), dict[str, str]()
        self.damaged = list[str]()
        tokenizer = self._load("tokenizer", plan.models / "tokenizer", self._model)
        if plan.role == "frames":
            self.models.pop("tokenizer", None)
            self.lacking, self.damaged = {}, []
        for name in ROLES[plan.role]:
            if name != "tokenizer":
                load = self._detector if plan.role == "frames" else self._model
                self._load(name, plan.models / name, lambda folder, load=load: load(folder, tokenizer))  # type: ignore[misc]

    def model(self, name: str) -> Any:  # noqa: ANN401 - modules of several kinds
        return self.models[name]

    def _load(self, name: str, folder: Path, load: Callable[[Path], Any]) -> Any:  # noqa: ANN401
        try:
            if not folder.is_dir():
                raise UserError(f"the model {name} is not in the models folder")
            self.models[name] = load(folder)
        except UserError as error:
            self.lacking[name] = str(error).replace(f"{self.plan.models}{os.sep}", "")
            self.damaged += [name] if folder.is_dir() else []
        return self.models.get(name)

    def _model(self, folder: Path, tokenizer: Any = None) -> Any:  # noqa: ANN401
        module = load_model(folder, folder.name, device=self.plan.device)  # type: ignore[arg-type]
        if tokenizer is not None and hasattr(module, "tokenizer_hash"):
            fitting_tokenizer(tokenizer, module.tokenizer_hash, folder.name)
        return module

    def _detector(self, folder: Path, tokenizer: Any) -> OnlineDetector:  # noqa: ANN401
        return OnlineDetector(load_model(folder, "persistence", device=self.plan.device, tokenizer=tokenizer))  # type: ignore[arg-type]


def do_tokenize(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    clips = _opened(bench, task)
    coder, frames = bench.model("tokenizer"), task.options.get("frames")
    parts = _counted(tokenize(clips, coder, frames=frames), bench.plan.limits)
    return {
        **_coded(parts), "notes": _notes(clips, task),
        "clips": [{"clip": str(name), "codes": codes.tolist()} for name, codes in _rows(parts)],
    }


def do_classify(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    clips, model = _opened(bench, task), bench.model(task.options.get("model", "classifier"))
    table = classify(clips, model, tokenizer=bench.models.get("tokenizer"), frames=task.options.get("frames"))
    _require_few(len(table), bench.plan.limits)
    classes = [name for name in table.columns if name.startswith("p_")]
    return {
        "notes": _notes(clips, task),
        "clips": [
            {
                "clip": row["clip"], "predicted": row["predicted"], "probability": float(row["probability"]),
                "probabilities": {name.removeprefix("p_"): float(row[name]) for name in classes},
                **_novelty(row),
            }
            for row in table.to_dict("records")
        ],
    }


def do_locate(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    clips = _opened(bench, task)
    position, judge = bench.model("position"), bench.models.get("classifier")
    if judge is None or judge.known is None or judge.grid != position.grid:
        judge = None
    table = locate(
        clips, position, tokenizer=bench.model("tokenizer"), frames=task.options.get("frames"), classifier=judge
    )
    found = []
    for name, rows in table.groupby("clip", sort=False):
        places = [{key: float(row[key]) for key in "xyzuv"} | {"frame": int(row["frame"])}
                  for row in rows.to_dict("records")]
        found.append({"clip": str(name), "positions": places, **_novelty(rows.iloc[0])})
    _require_few(len(found), bench.plan.limits)
    return {"notes": _notes(clips, task), "clips": found}


def _novelty(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a mapping, or a row of a table
    """What a row says of the clip's likeness to the training data; nothing without a novelty score."""
    if "novelty_p" not in row:
        return {}
    return {"novelty_p": float(row["novelty_p"]), "unlike_training": bool(row["unlike_training"])}


def do_predict(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    clips, asked = _opened(bench, task), task.options
    stream = predict(
        clips, bench.model("predictor"), bench.model("tokenizer"), slices=asked.get("slices"),
        dynamics=asked.get("dynamics"), with_past=bool(asked.get("with_past")),
    )
    parts = _counted(stream, bench.plan.limits)
    given = parts[0].given
    return {
        **_coded([part.codes for part in parts]), "notes": _notes(clips, task), "given": given,
        "clips": [
            {
                "clip": str(name), "codes": codes.tolist(), "pixels": {
                    "shape": list(pixels.shape), "base64": base64.b64encode(pixels.tobytes()).decode("ascii"),
                },
            }
            for part in parts
            for name, codes, pixels in zip(part.name, part.codes.codes, part.pixels, strict=True)
        ],
    }


def do_diagnose(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    from kinetoken.diagnosis.api import diagnose

    for part in task.files:
        path = task.path(part)
        assert path is not None
        require_small(path, bench.plan.limits, clip=False)
    codes, options = task.path("codes"), task.options
    assert codes is not None
    config = {key: options[key] for key in ("codebook_size",) if options.get(key)}
    found = diagnose(
        codes, labels=task.path("labels"), clips=task.path("clips"), config=config or None,
        layout=options.get("layout"), library=options.get("library", "pytorch"), threads=bench.plan.threads,
    )
    return found.to_json()


def do_feed(bench: Workbench, task: Task, payload: bytes) -> dict[str, Any]:
    """The next frame of a session's track: (height, width, 3) uint8 RGB, row by row."""
    asked, online = task.options, bench.model(task.options["detector"])
    size = online.network.extractor.side * CELL
    pixels = np.frombuffer(payload, np.uint8).reshape(asked["height"] or size, asked["width"] or size, 3)
    frame = FrameFitter(size, "the detector", asked["resize"], []).fit(pixels, f"frame {asked['number']}")
    verdict = online.feed({asked["track"]: (asked["number"], frame)})[asked["track"]]
    return dataclasses.asdict(verdict)


def do_forget(bench: Workbench, task: Task, _: bytes) -> dict[str, Any]:
    bench.model(task.options["detector"]).forget(task.options["track"])
    return {}


JOBS: dict[str, Callable[[Workbench, Task, bytes], dict[str, Any]]] = {
    "tokenize": do_tokenize, "classify": do_classify, "locate": do_locate, "predict": do_predict,
    "diagnose": do_diagnose, "feed": do_feed, "forget": do_forget,
}


def work(connection: Connection, plan: WorkPlan) -> None:
    """Load the models and say which there are; then answer tasks until the other end of the connection is closed."""
    for each in (signal.SIGINT, signal.SIGTERM):  # the server decides when its workers end
        signal.signal(each, signal.SIG_IGN)
    torch.set_num_threads(plan.threads)
    bench = Workbench(plan)
    _bound_memory(plan)
    connection.send_bytes(json.dumps(_report(bench)).encode())
    while True:
        try:
            task, payload = Task(**json.loads(connection.recv_bytes())), connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(json.dumps(answered(bench, task, payload), allow_nan=False).encode())


def answered(bench: Workbench, task: Task, payload: bytes) -> dict[str, Any]:
    """`result`, or `refused` in one sentence with the status of the response that says so."""
    try:
        return {"result": JOBS[task.job](bench, task, payload)}
    except TooMuch as error:
        return {"status": 413, "refused": in_words(error, task.folder)}
    except UserError as error:
        return {"status": 422, "refused": in_words(error, task.folder)}
    except MemoryError:
        return _too_large()
    except Exception as error:
        if "allocate memory" in str(error):  # as PyTorch says it
            return _too_large()
        traceback.print_exc(file=sys.stderr)
        return {"status": 500, "refused": f"an error of the server ({type(error).__name__}); its log has more"}


def in_words(error: UserError, folder: str) -> str:
    """The message for someone at the other end: no path of this machine, and parameters in place of flags."""
    said = str(error).replace(f"{folder}{os.sep}", "") if folder else str(error)
    return re.sub(r"--([a-z]+)\b", r"'\1'", said.splitlines()[0])


def _too_large() -> dict[str, Any]:
    return {"status": 413, "refused": "the input needs more memory than one request may use"}


def _report(bench: Workbench) -> dict[str, Any]:
    shapes = {
        name: {"frames": online.detector.num_frames, "size": online.network.extractor.side * CELL}
        for name, online in bench.models.items() if isinstance(online, OnlineDetector)
    }
    return {"loaded": list(bench.models), "lacking": bench.lacking, "damaged": bench.damaged, "detectors": shapes}


def _bound_memory(plan: WorkPlan) -> None:
    """Bound what this process may map from now on; not beside a GPU, whose driver maps far more than it uses."""
    statm = Path("/proc/self/statm")
    if plan.device == "cuda" or (plan.device == "auto" and torch.cuda.is_available()) or not statm.exists():
        return
    import resource

    mapped = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + plan.limits.max_memory,) * 2)


def _opened(bench: Workbench, task: Task) -> OpenClips:
    path = task.path("clip")
    assert path is not None
    limits, window = bench.plan.limits, task.options.get("window")
    require_small(path, limits)
    cut: Cut | None = window
    clips = open_clips(path, resize=bool(task.options.get("resize")), window=cut, limit=limits.max_clips + 1)
    if path.suffix in ARRAY_SUFFIXES and window != "all":
        _require_few(clips.count or 0, limits)
    return clips


def _counted(parts: Iterable[T], limits: Limits) -> list[T]:
    """The blocks, while they hold few enough clips."""
    found, count = [], 0
    for part in parts:
        count += len(part.name)
        _require_few(count, limits)
        found.append(part)
    return found


def _require_few(count: int, limits: Limits) -> None:
    if count > limits.max_clips:
        raise TooMuch(f"more than {limits.max_clips} clips or windows, the most that one request may hold")


def _rows(parts: Iterable[NamedCodes]) -> Iterator[tuple[np.str_, np.ndarray]]:
    return itertools.chain.from_iterable(zip(part.name, part.codes, strict=True) for part in parts)


def _coded(parts: list[NamedCodes]) -> dict[str, Any]:
    meta = parts[0].meta
    return {
        "grid": list(meta.grid), "codebook_size": meta.codebook_size, "quantizer": meta.quantizer,
        "levels": list(meta.levels), "tokenizer": meta.tokenizer, "fps": float(parts[0].fps),
    }


def _notes(clips: OpenClips, task: Task) -> list[str]:
    return [note.replace(f"{task.folder}{os.sep}", "") for note in clips.notes]
