"""Access to the page: a check of every request, of pages and websockets alike, before anything else. No NiceGUI."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "token"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HEADERS = {
    "content-security-policy": (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
"""Sent with every answer, so that the browser contacts no other host, even if a page names one."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``, a name or an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A random secret of 192 bits, safe in an address."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """On ``host``, without a ``token``, by the names of this machine only: another was made to point here (DNS rebinding)."""

    host: str
    token: str | None = None

    def names(self, host: str) -> bool:
        """Whether a Host header names this server."""
        if self.token:
            return True
        name = _name_of(host)
        return name in _LOOPBACK_NAMES or name == self.host


def _name_of(host: str) -> str:
    """A Host header without its port: "[::1]:80" → "::1"."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """The application behind the check. A token in the address becomes a cookie, and leaves the address."""

    def __init__(self, app: Application, access: Access) -> None:
        self.app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request with the reason, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        fault = self._fault(headers, query)
        if fault:
            await _refuse(scope, send, fault)
        elif scope["type"] == "http" and self._access.token and TOKEN in query:
            await _leave_token(scope, send, query, self._cookie(scope), self._access.token)
        else:
            await self.app(scope, receive, _with_headers(send))

    def _fault(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """Why a request is refused; empty if it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._access.names(host):
            return "this page answers to the names of this machine only"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "requests from the pages of other sites are refused"
        token = self._access.token
        if token and not any(_equal(given, token) for given in (query.get(TOKEN, ""), _cookies(headers).get(self._name(headers), ""))):
            return "open the address with the token that `pathsynth ui` printed"
        return ""

    def _cookie(self, scope: Scope) -> str:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return self._name(headers)

    def _name(self, headers: Mapping[str, str]) -> str:
        """Of the cookie; servers on several ports of one host share their cookies."""
        port = headers.get("host", "").rpartition(":")[2]
        return f"pathsynth-{port if port.isdigit() else 80}"


def _equal(given: str, token: str) -> bool:
    """In a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode(), token.encode())


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


async def _refuse(scope: Scope, send: Send, line: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f"pathsynth: {line}\n".encode()
    await _answer(send, 403, body, {"content-type": "text/plain; charset=utf-8"})


async def _leave_token(scope: Scope, send: Send, query: Mapping[str, str], cookie: str, token: str) -> None:
    rest = urlencode({name: value for name, value in query.items() if name != TOKEN})
    place = "/" + quote(scope["path"]).lstrip("/") + (f"?{rest}" if rest else "")
    kept = f"{cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
    await _answer(send, 303, b"", {"location": place, "set-cookie": kept})


async def _answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    every_header = {"content-length": str(len(body)), "cache-control": "no-store", **_HEADERS, **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every_header.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            ours = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in _HEADERS.items())
            message = {**message, "headers": [*message.get("headers", ()), *(pair for pair in ours if pair[0] not in there)]}
        await send(message)

    return with_headers
