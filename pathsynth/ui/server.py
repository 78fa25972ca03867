"""The server of the live page: its address, its pages, and its shutdown. NiceGUI is loaded here and by the pages."""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import socket
import warnings
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.errors import RequestError
from pathsynth.ui.access import TOKEN, Access, Guard, is_loopback, new_token
from pathsynth.ui.engine import Engine

_GOODBYE_SECONDS = 1
"""How long open pages may take to learn of the end."""


@dataclass(frozen=True)
class Site:
    """What the server offers: an ``engine`` that draws (None: no drawing), and the ``folder`` of studies to watch."""

    engine: Engine | None
    folder: Path


def require_library() -> None:
    """Refuse where the extra is not installed.

    Raises:
        RequestError: it is not.
    """
    if importlib.util.find_spec("nicegui") is None:
        raise RequestError("the live page needs NiceGUI; install pathsynth[ui]")


def listen(host: str, port: int) -> socket.socket:
    """A socket on which the page will be served; port 0 takes a free one.

    Raises:
        RequestError: the port is taken or not allowed, or there is no such host.
    """
    if not 0 <= port <= 65535:
        raise RequestError(f"--port {port} is no port; give a number from 0 (any free one) to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
        raise RequestError(f"--host {host} is no address of this machine; leave it out for 127.0.0.1") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"port {port} is in use; choose another with --port, or any free one with --port 0") from error
        raise RequestError(f"{host}:{port} cannot be listened on ({error.strerror}); choose others with --host and --port") from error
    return listening


def access_for(host: str) -> Access:
    """How visitors get access: with a token where other machines can reach the page."""
    return Access(host, None if is_loopback(host) else new_token())


def address_of(listening: socket.socket, access: Access) -> str:
    """The address to open, with the token if there is one. Of a server on every address, this machine's name."""
    host, port = listening.getsockname()[:2]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?{TOKEN}={access.token}" if access.token else "")


def serve(site: Site, listening: socket.socket, access: Access, show: bool) -> None:
    """Serve until Ctrl-C or SIGTERM, then close the engine. ``show`` opens the page in the browser."""
    import uvicorn

    _isolate_library()
    warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")  # it visits all objects, torch's too
    from pathsynth.ui.pages import application

    address = address_of(listening, access)
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
    if access.token:
        print("other machines can reach it, unencrypted: anyone with this address can draw, and can stop or continue trials", flush=True)
    guarded = Guard(application(site), access)
    config = uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=_GOODBYE_SECONDS, server_header=False)
    server = uvicorn.Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends at these signals, and then raises them again
        signal.signal(number, lambda *_: None)
    if show and not webbrowser.open(address):
        print(f"no browser was found; open {address} in one", flush=True)
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
        if site.engine:
            site.engine.close()


def _isolate_library() -> None:
    """Keep NiceGUI and FastAPI from a database and a collector of telemetry that the environment names, and from the working folder."""
    os.environ.pop("NICEGUI_REDIS_URL", None)
    os.environ.update(FASTAPI_OTEL_AUTO_CONFIGURE="false", OTEL_SDK_DISABLED="true")
    os.environ["NICEGUI_STORAGE_PATH"] = os.devnull
