"""A real PostgreSQL server on this machine, for tests of what may lie in a database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_IS_THERE = bool(_PROGRAMS) and shutil.which("runuser") is not None and os.geteuid() == 0
NEEDS_POSTGRESQL = pytest.mark.skipif(not _IS_THERE, reason="needs root and PostgreSQL: apt-get install postgresql")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a database in a server of its own, which refuses to run as root and cannot look into root's folders."""
    port = free_port()

    def run(program: str, *words: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(_PROGRAMS[-1] / program), *words]
        subprocess.run(command, check=True, timeout=200, cwd="/", stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, "postgres")
        run("initdb", "-D", f"{folder}/data", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        run("pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "-t", "120", "start")
        try:
            yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
