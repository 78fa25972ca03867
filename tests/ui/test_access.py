"""Who may reach the page: names of the host, origins, tokens; for pages and websockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pathsynth.ui.access import Access, Guard, is_loopback

TOKEN = "s3cret-token"


def ask(access: Access, kind: str = "http", path: str = "/", query: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    """The status and headers of the answer; 200 where the application behind was reached, 101 for a websocket that was."""
    sent: list[Any] = []

    async def reached(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": pairs}
    asyncio.run(Guard(reached, access)(scope, None, send))
    first = sent[0]
    if first["type"] == "websocket.accept":
        return 101, {}
    if first["type"] == "websocket.close":
        return 403, {}
    return first["status"], {name.decode(): value.decode() for name, value in first["headers"]}


@pytest.mark.parametrize("kind, reached", [("http", 200), ("websocket", 101)])
@pytest.mark.parametrize(
    "host, allowed",
    [
        *(("localhost:8080", True), ("127.0.0.1:8080", True), ("[::1]:8080", True), ("LOCALHOST", True)),
        *(("evil.example:8080", False), ("127.0.0.1.evil.example", False), ("", False), ("[::1", False)),
    ],
)
def test_on_loopback_it_answers_to_the_names_of_this_machine_only(kind: str, reached: int, host: str, allowed: bool):
    assert ask(Access("127.0.0.1"), kind, host=host)[0] == (reached if allowed else 403)


@pytest.mark.parametrize("kind, reached", [("http", 200), ("websocket", 101)])
def test_pages_of_other_sites_may_not_ask(kind: str, reached: int):
    here = {"host": "localhost:8080"}
    assert ask(Access("127.0.0.1"), kind, **here, origin="http://localhost:8080")[0] == reached
    for origin in ("http://evil.example", "http://localhost:9090", "null", ""):
        assert ask(Access("127.0.0.1"), kind, **here, origin=origin)[0] == 403


def test_where_others_can_reach_it_nothing_is_given_without_the_token():
    access, host = Access("0.0.0.0", TOKEN), {"host": "box.example:8080"}
    for kind in ("http", "websocket"):
        for given in ({}, {"query": "token=wrong"}, {"query": "token="}, {"cookie": "pathsynth-8080=wrong"}, {"cookie": "a=b; ;=; é"}):
            for path in ("/", "/watch", "/set/x", "/_nicegui_ws/socket.io/"):
                assert ask(access, kind, path, **host, **given)[0] == 403
        assert ask(access, kind, **host, cookie=f"pathsynth-9090={TOKEN}")[0] == 403, "another server's cookie"
    status, headers = ask(access, path="/watch", query=f"token={TOKEN}&a=b", **host)
    assert status == 303 and headers["location"] == "/watch?a=b", "the token leaves the address"
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert ask(access, **host, cookie=cookie)[0] == 200 and ask(access, "websocket", **host, cookie=cookie)[0] == 101


def test_the_token_does_not_lead_to_another_host():
    status, headers = ask(Access("0.0.0.0", TOKEN), path="//evil.example/x", query=f"token={TOKEN}", host="box:80")
    assert status == 303 and headers["location"] == "/evil.example/x"


def test_every_answer_forbids_a_browser_to_ask_another_host():
    for headers in (ask(Access("127.0.0.1"), host="localhost")[1], ask(Access("127.0.0.1"), host="evil.example")[1]):
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy
        assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "no-referrer"


def test_loopback_is_distinct_from_what_others_reach():
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
