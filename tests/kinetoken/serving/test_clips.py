"""What the endpoints say of clips is what kinetoken.inference says of them, to the last digit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from kinetoken.inference import classify, locate, open_clips, predict, tokenize
from kinetoken.scenes.clips import Pixels
from tests.kinetoken.serving.conftest import array_of
from tests.support.applied import write_mp4
from tests.support.hostile import npy_of


@pytest.fixture(scope="module")
def video(pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames of 192×128 pixels."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    return write_mp4(path, np.concatenate(list(pixels)).repeat(2, 1).repeat(3, 2))


def post(client: TestClient, endpoint: str, content: bytes, **options: object) -> dict:
    answer = client.post(endpoint, files={"clip": content}, params=options)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_codes_are_those_of_tokenize(client: TestClient, applied: Path, pixels: Pixels) -> None:
    there = next(iter(tokenize(pixels, applied / "models" / "tokenizer")))
    found = post(client, "/tokenize", npy_of(pixels))
    assert [each["clip"] for each in found["clips"]] == ["0", "1", "2"]
    np.testing.assert_array_equal([each["codes"] for each in found["clips"]], there.codes)
    assert found["grid"] == [4, 8, 8] and found["codebook_size"] == 1000 and found["levels"] == [8, 5, 5, 5]
    assert found["tokenizer"] == there.meta.tokenizer and found["fps"] == 16 and found["notes"] == []
    short = post(client, "/tokenize", npy_of(pixels[0]), frames=8, window="first")
    assert short["grid"] == [2, 8, 8] and short["clips"][0]["clip"] == "clip:0"


@pytest.mark.parametrize("model", ["classifier", "video_classifier"])
def test_classes_are_those_of_classify(client: TestClient, applied: Path, pixels: Pixels, model: str) -> None:
    there = classify(pixels, applied / "models" / model, tokenizer=applied / "models" / "tokenizer")
    found = post(client, "/classify", npy_of(pixels), model=model)["clips"]
    assert [each["predicted"] for each in found] == there["predicted"].tolist()
    assert [each["probability"] for each in found] == there["probability"].tolist()
    for name in found[0]["probabilities"]:
        assert [each["probabilities"][name] for each in found] == there[f"p_{name}"].tolist()


def test_positions_in_video_files_are_those_of_locate(client: TestClient, applied: Path, video: Path) -> None:
    clips = open_clips(video, resize=True, window="all")
    there = locate(clips, applied / "models" / "position", tokenizer=applied / "models" / "tokenizer")
    found = post(client, "/locate", video.read_bytes(), resize=True, window="all")
    rows = [{"clip": each["clip"], **place} for each in found["clips"] for place in each["positions"]]
    pd.testing.assert_frame_equal(pd.DataFrame(rows)[list(there.columns)], there, check_dtype=False, check_exact=True)
    assert found["notes"] == ["clip.mp4: frames of 192×128, the middle 128×128 averaged down to 64×64"]


def test_next_frames_are_those_of_predict(client: TestClient, applied: Path, pixels: Pixels) -> None:
    models = applied / "models"
    there = next(iter(predict(pixels, models / "predictor", models / "tokenizer")))
    found = post(client, "/predict", npy_of(pixels))
    assert found["given"] == there.given == 12 and found["grid"] == [4, 8, 8]
    np.testing.assert_array_equal([each["codes"] for each in found["clips"]], there.codes.codes)
    np.testing.assert_array_equal([array_of(each["pixels"]) for each in found["clips"]], there.pixels)
    whole = post(client, "/predict", npy_of(pixels[0]), with_past=True, dynamics="lstm", slices=1)
    assert whole["clips"][0]["pixels"]["shape"] == [16, 64, 64, 3]


def test_the_kind_of_a_file_is_seen_in_it(client: TestClient, pixels: Pixels, video: Path) -> None:
    """Whatever a client calls it."""
    named = client.post("/classify", files={"clip": ("../../etc/x.npy", video.read_bytes(), "text/plain")},
                        params={"resize": True, "window": "last"})
    assert named.json()["clips"][0]["clip"] == "clip:32"


def test_messages_name_parameters_and_no_place(client: TestClient, pixels: Pixels) -> None:
    for options, content, words in (
        ({}, npy_of(pixels[:, :12]), "clip.npy: 12 frames, the classifier reads 16"),
        ({"frames": 8, "model": "video_classifier"}, npy_of(pixels), "'frames' 8: the video classifier reads whole"),
        ({}, npy_of(np.zeros((9, 16, 64, 64, 3), np.uint8)), "more than 8 clips or windows"),
        ({"frames": 7}, npy_of(pixels), "query frames: input should be a multiple of 4"),
        ({"window": "middle"}, npy_of(pixels), "query window: input should be 'first', 'last' or 'all'"),
        ({}, npy_of(pixels[:, :, :32, :32]), "'resize' cuts out the middle square"),
    ):
        answer = client.post("/classify", files={"clip": content}, params=options)
        assert answer.status_code in (413, 422) and words in answer.json()["detail"], answer.text
        assert "/" not in answer.json()["detail"].replace("/s", "")
    assert client.post("/classify", json={}).json() == {"detail": "body clip: field required"}
    answer = client.post("/predict", files={"clip": npy_of(pixels)}, params={"dynamics": "crystal"})
    assert answer.status_code == 422 and "'dynamics' crystal: the predictor has" in answer.json()["detail"]
