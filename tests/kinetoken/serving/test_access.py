"""Who is answered: bearers of the token, and without one nobody that a foreign page sends."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kinetoken.core.errors import UserError
from kinetoken.serving.settings import Serving, is_loopback
from tests.kinetoken.serving.conftest import TOKEN


def test_all_that_does_something_needs_the_token(
    made_up: Callable[..., TestClient], clip_file: dict[str, bytes]
) -> None:
    client = made_up(token=TOKEN)
    for given in (None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \xff"):
        headers = {} if given is None else {"authorization": given.encode("latin-1")}
        answer = client.post("/classify", files=clip_file, headers=headers)
        assert answer.status_code == 401 and "Bearer" in answer.json()["detail"], given
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics", headers=headers).status_code == 401
        assert client.post("/sessions", headers=headers).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert client.post("/classify", files=clip_file, headers=right).status_code == 200
    assert client.get("/metrics", headers=right).status_code == 200
    for path in ("/", "/health/live", "/health/ready", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_foreign_pages_are_refused_where_no_token_is_asked_for(
    made_up: Callable[..., TestClient], clip_file: dict[str, bytes]
) -> None:
    client = made_up()
    for headers, status in (
        ({}, 200), ({"origin": "http://127.0.0.1:8000"}, 200), ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200), ({"origin": "https://example.com"}, 403), ({"host": "example.com"}, 403),
        ({"origin": "null"}, 403), ({"host": "127.0.0.1.example.com"}, 403), ({"host": "[::1"}, 403),
    ):
        assert client.post("/classify", files=clip_file, headers=headers).status_code == status, headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "kinetoken.example.com"])
def test_a_server_that_others_reach_needs_a_token(host: str) -> None:
    for token, words in (("", "a token is needed"), ("short", "at least 16 characters"), ("ä" * 20, "ASCII")):
        with pytest.raises(UserError, match=words):
            Serving(Path(), host, token=token).require_safe()
    Serving(Path(), host, token=TOKEN).require_safe()


def test_this_machine_is_known() -> None:
    for host in ("127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST"):
        assert is_loopback(host)
        Serving(Path(), host).require_safe()
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "localhost.example.com", "10.0.0.1")))
