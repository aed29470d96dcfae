"""Requests to a running server, many at once: how long answers take, what fails, and how its memory grows.

    kinetoken serve --port 8000 &
    python -m benchmarks.serving --port 8000 --requests 1000 --at-once 16

Every tenth request is a file that is no clip, which must be refused. The server's memory is that of its process and of
its workers (Linux).
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

ENDPOINTS = ("tokenize", "classify", "locate", "predict")
MIB = 1 << 20


class Answered(NamedTuple):
    """One request: endpoint or `no clip`, status (0: no answer), seconds, and whether the answer was the right one."""

    name: str
    status: int
    seconds: float
    right: bool


class Load:
    """Sends requests; the first right answer of each endpoint is what later ones must equal."""

    def __init__(self, port: int, token: str, clip: bytes) -> None:
        self.port, self.clip = port, clip
        self.headers = {"content-type": "multipart/form-data; boundary=b"}
        self.headers |= {"authorization": f"Bearer {token}"} if token else {}
        self.first: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def send(self, number: int) -> Answered:
        sound = number % 10 != 9
        name = ENDPOINTS[number % len(ENDPOINTS)] if sound else "no clip"
        start = time.perf_counter()
        try:
            status, content = self._post(name if sound else "classify", self.clip if sound else b"\x1aEno clip" * 99)
        except (OSError, HTTPException):
            return Answered(name, 0, time.perf_counter() - start, False)
        seconds = time.perf_counter() - start
        if not sound:
            return Answered(name, status, seconds, status == 415 and "detail" in json.loads(content))
        with self.lock:
            first = self.first.setdefault(name, content) if status == 200 else b""
        return Answered(name, status, seconds, status == 200 and content == first)

    def _post(self, endpoint: str, content: bytes) -> tuple[int, bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="clip"; filename="clip"\r\n\r\n'
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", f"/{endpoint}", head + content + b"\r\n--b--\r\n", self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def server_process(port: int) -> psutil.Process | None:
    """Who listens on the port, if that can be seen."""
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
            return psutil.Process(each.pid)
    return None


def memory(server: psutil.Process | None) -> tuple[float, float]:
    """Resident MiB of the server; of the processes that it started, with what they share counted once."""
    if server is None:
        return float("nan"), float("nan")
    others = sum(each.memory_full_info().pss for each in server.children(recursive=True))
    return server.memory_info().rss / MIB, others / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--clip", type=Path, help="file to upload; default: 16 grey frames of 64×64 pixels as NPY")
    options = parser.parse_args()
    load = Load(options.port, os.environ.get("KINETOKEN_TOKEN", ""), content_of(options.clip))
    server = server_process(options.port)
    for number in range(len(ENDPOINTS) * 4):  # every worker has answered once
        load.send(number)
    before = memory(server)
    start = time.perf_counter()
    with ThreadPoolExecutor(options.at_once) as threads:
        found = list(threads.map(load.send, range(options.requests)))
    seconds = time.perf_counter() - start
    report(found, options.at_once, seconds)
    for who, one, other in zip(("server", "workers"), before, memory(server), strict=True):
        print(f"memory of the {who}: {one:.0f} MiB before, {other:.0f} MiB after")
    sys.exit(0 if all(each.right for each in found) else 1)


def content_of(clip: Path | None) -> bytes:
    if clip is not None:
        return clip.read_bytes()
    import io

    sink = io.BytesIO()
    np.save(sink, np.full((16, 64, 64, 3), 90, np.uint8))
    return sink.getvalue()


def report(found: list[Answered], at_once: int, seconds: float) -> None:
    wrong = Counter(each.status for each in found if not each.right)
    print(f"{len(found)} requests, {at_once} at once: {len(found) / seconds:.1f} a second")
    for name in sorted({each.name for each in found}):
        took = sorted(1e3 * each.seconds for each in found if each.name == name)
        last = took[min(int(0.99 * len(took)), len(took) - 1)]
        print(f"{name:9s} {len(took):5d} requests, median {statistics.median(took):6.0f} ms, p99 {last:6.0f} ms")
    print(f"answers that were not right: {sum(wrong.values())}" + (f", by status {dict(wrong)}" if wrong else ""))


if __name__ == "__main__":
    main()
