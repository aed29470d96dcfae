"""A program that plays a language model, and is none: it answers over a real socket as such models are known to.

It reads the same prompt that a model would get, and nothing else. It takes the most probable law, fits it crudely,
writes few digits, and now and then makes a model's mistakes: another law, a refusal, an answer cut short, words
before the JSON, `^` for a power. What it does is drawn from a hash of the prompt, so the same question has the same
answer. Its name says what it is, and metrics made from its answers have is_llm 0.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np

from kinetoken.equations import reasons
from kinetoken.equations.facts import facts_of, render_sentence
from kinetoken.llm.language_model import STAND_IN
from kinetoken.physics.laws import CLASSES, Array

MODEL = f"{STAND_IN}-1"
DIGITS = 3  # significant ones of its constants
ROUGH = 0.05  # relative standard deviation of its constants: such models do no least squares
CHARACTERS_A_TOKEN = 4
MISTAKES = {"refusal": 0.02, "length": 0.01, "prose": 0.02, "caret": 0.01, "another law": 0.06}  # shares of answers
TURNS = np.linspace(3.0, 12.0, 181)  # rad/s: angular velocities that it tries


@contextmanager
def serving() -> Iterator[str]:
    """The address of a stand-in that listens while the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        raw = json.dumps(completion(body)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a request for a chat completion."""
    asked, question = (str(message["content"]) for message in body["messages"])
    draw = np.random.default_rng(int(hashlib.sha256(question.encode()).hexdigest()[:12], 16))
    mistake = _drawn_mistake(draw)
    if asked == reasons.INSTRUCTIONS:
        content, mistake = json.dumps({"reason": _reason(json.loads(question), draw)}), ""
    else:
        content = _description(question, mistake, draw)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if mistake == "refusal":
        message |= {"content": None, "refusal": "I cannot tell where this ball will go."}
    elif mistake == "length":
        message["content"] = content[: len(content) // 2]
    tokens = [len(text) // CHARACTERS_A_TOKEN for text in (asked + question, message["content"] or "")]
    return {
        "id": STAND_IN, "object": "chat.completion", "created": 0, "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if mistake == "length" else "stop"}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


def _drawn_mistake(draw: np.random.Generator) -> str:
    shares = [*MISTAKES.values(), 1 - sum(MISTAKES.values())]
    return str(draw.choice([*MISTAKES, ""], p=shares))


def _description(question: str, mistake: str, draw: np.random.Generator) -> str:
    probabilities, table = _read(question)
    ranked = sorted(CLASSES, key=lambda law: -probabilities[law])
    law = ranked[1 if mistake == "another law" else 0]
    equations, path = _fit(law, table[:, 0], table[:, 1:], draw)
    facts = facts_of(law, path, table[:, 0])
    speed = float(np.linalg.norm(np.diff(path, axis=0), axis=-1).sum() / np.ptp(table[:, 0]))
    if mistake == "caret":
        equations = {axis: text.replace("**", "^") + (" + 0*t^2" if "**" not in text else "")
                     for axis, text in equations.items()}
    text = json.dumps({"equation": equations, "description": render_sentence(facts, {"speed": speed})})
    return f"The answer: {text}" if mistake == "prose" else text


def _read(question: str) -> tuple[dict[str, float], Array]:
    """Class probabilities, and time and position of each frame (K, 4), out of the prompt."""
    lines = question.splitlines()
    named = dict(part.rsplit(" ", 1) for part in lines[0].partition(": ")[2].split(", "))
    rows = lines[lines.index("t x y z") + 1 :]
    return {law: float(named[law]) for law in CLASSES}, np.array([[float(n) for n in row.split()] for row in rows])


def _fit(law: str, t: Array, points: Array, draw: np.random.Generator) -> tuple[dict[str, str], Array]:
    """Equations with rough constants, and the path (K, 3) that they stood for before they became so."""
    one, turning = np.ones_like(t), law in ("circular", "helical")
    bases = [[one, t, np.cos(w * t), np.sin(w * t)] for w in TURNS] if turning else [[one, t, t**2]]
    best, path, written = np.inf, points, (np.empty((0, 3)), list[str]())
    for number, basis in enumerate(bases):
        design = np.stack(basis, -1)
        keep = np.ones((design.shape[1], 3), bool)
        keep[1] = law != "circular"
        if not turning:
            keep[2] = [False, law == "parabolic", False]
        found = np.zeros(keep.shape)
        for axis in range(3):
            used = keep[:, axis]
            found[used, axis] = np.linalg.lstsq(design[:, used], points[:, axis], rcond=None)[0]
        error = float(np.square(design @ found - points).sum())
        if error < best:
            rate = f"{TURNS[number]:.{DIGITS}g}*t" if turning else ""
            names = ["", "*t", *((f"*cos({rate})", f"*sin({rate})") if turning else ("*t**2",))]
            best, path, written = error, design @ found, (found, names)
    found, names = written
    rough = found * (1 + ROUGH * draw.standard_normal(found.shape))
    return {axis: _sum(rough[:, i], names) for i, axis in enumerate("xyz")}, path


def _sum(numbers: Array, names: list[str]) -> str:
    terms = [f"{number:+.{DIGITS}g}{name}" for number, name in zip(numbers, names, strict=True) if abs(number) > 1e-4]
    return " ".join(terms).removeprefix("+") or "0"


def _reason(record: dict[str, Any], draw: np.random.Generator) -> str:
    """Two sentences, now and then with a number that the record does not hold."""
    told = reasons.Reason(track_id=0, **record | {"posterior": tuple(record["posterior"])})
    words = reasons.template(told)
    return words if draw.random() > 0.1 else words.replace(f"after {told.frames_seen}", f"after {told.frames_seen + 1}")
