"""Files that are no clips: each is refused in one sentence, nothing is run or written, and the next clip is read."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kinetoken.scenes.clips import Pixels
from tests.support.hostile import hostile_files

KINDS = [
    "empty", "text called a video", "playlist of other files", "list of other files", "markup", "noise", "pickle",
    "NPY of Python objects", "NPY that names a huge array", "NPY whose head is code", "NPY of NaN", "NPY of text",
    "NPY of one frame", "NPY with the colours first", "NPY of too many frames", "NPY of too large frames",
    "NPZ that expands to gigabytes", "NPZ whose member leads out of the folder", "NPZ that breaks off",
    "GIF of 65535×65535 pixels", "GIF without a frame", "MP4 cut in half", "MP4 of one frame",
    "MP4 of too wide frames", "MP4 with noise behind its head", "MP4 of sound alone", "WebM cut in half",
    "WebM of four bytes", "WebM with noise behind its head", "AVI with noise behind its head",
]
STATUS = {
    "text called a video": 415, "playlist of other files": 415, "list of other files": 415, "markup": 415, "noise": 415,
    "pickle": 415, "NPY of too many frames": 413, "NPY of too large frames": 413, "NPZ that expands to gigabytes": 413,
    "GIF of 65535×65535 pixels": 413, "MP4 of too wide frames": 413,
}


@pytest.fixture(scope="module")
def files(pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return hostile_files(tmp_path_factory.mktemp("hostile"), pixels[0])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_and_the_server_goes_on(
    kind: str, client: TestClient, files: dict[str, bytes], clip_file: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = client.post("/classify", files={"clip": ("clip.mp4", files[kind])})
    assert answer.status_code == STATUS.get(kind, 422), answer.text
    said = answer.json()["detail"]
    assert said and "\n" not in said and "/tmp" not in said and "Traceback" not in said
    assert client.post("/classify", files=clip_file).status_code == 200
    assert not list(tmp_path.iterdir())
    assert "kinetoken_workers_restarted 0.0" in client.get("/metrics").text


def test_all_kinds_are_tried(files: dict[str, bytes]) -> None:
    assert sorted(files) == sorted(KINDS) and len(KINDS) >= 20
