"""The doctor's statement is that of kinetoken.diagnose."""

import numpy as np
from fastapi.testclient import TestClient

import kinetoken
from tests.support.hostile import npy_of, npz_of


def test_the_statement_is_that_of_diagnose(client: TestClient) -> None:
    codes = np.zeros((40, 4, 8, 8), np.int64)
    there = kinetoken.diagnose(codes, config={"codebook_size": 512}, threads=1).to_json()
    answer = client.post("/diagnose", files={"codes": npy_of(codes)}, params={"codebook_size": 512})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["verdict"]["cause"] == there["verdict"]["cause"] == "codebook collapse"
    assert found["numbers"] == there["numbers"] and found["schema"] == there["schema"]
    assert {key: found["verdict"][key] for key in there["verdict"]} == there["verdict"]
    assert found["findings"] == there["findings"]


def test_labels_and_clips_go_beside_the_codes(client: TestClient) -> None:
    codes = npy_of(np.arange(12).reshape(3, 4))
    for beside, words in (
        ({"labels": b"label\nleft\nright\n"}, "labels.csv: "),
        ({"clips": npy_of(np.zeros((2, 4, 8, 8, 3)))}, "clips.npy"),
    ):
        answer = client.post("/diagnose", files={"codes": codes, **beside})
        assert answer.status_code == 422 and words in answer.json()["detail"], answer.text


def test_what_is_no_table_of_codes_is_refused(client: TestClient) -> None:
    for content, status in (
        (b"", 422), (b"words\n1\n", 415), (b"PK\x03\x04 and no more", 422), (b"PAR1 and no more", 422),
        (npz_of("codes.npy", b"no array"), 422), (npy_of(np.zeros((1, 4), int)), 422),
        (npy_of(np.array([{}], object)), 422), (b"\x10\0\0\0\0\0\0\0{not JSON", 422), (b"\x80\x04N.", 415),
    ):
        answer = client.post("/diagnose", files={"codes": content})
        assert answer.status_code == status and answer.json()["detail"], answer.text
        assert "/tmp" not in answer.text
    answer = client.post("/diagnose", files={"codes": npy_of(np.zeros((9, 4), int))}, params={"library": "abacus"})
    assert answer.status_code == 422 and "abacus" in answer.json()["detail"]
