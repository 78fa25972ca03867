"""A real MLflow server on this machine, which tests stop and start again; its database is SQLite or PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pathsynth.tracking.reachability import answers

_POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass
class MlflowServer:
    """Listens on the loopback while it runs, always on the same port."""

    folder: Path
    store: str
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["server", "--backend-store-uri", self.store, "--artifacts-destination", str(self.folder / "artifacts")]
        command = [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        deadline = time.monotonic() + 200
        while not answers(f"{self.address}/health", 2):
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it, with its workers, as a power cut would."""
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, store: str) -> Iterator[MlflowServer]:
    server = MlflowServer(folder, store, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def has_postgresql() -> bool:
    return bool(_POSTGRESQL) and shutil.which("runuser") is not None and os.geteuid() == 0


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a database in a server of its own, which refuses to run as root and cannot look into root's folders."""
    port = free_port()

    def run(program: str, *words: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(_POSTGRESQL[-1] / program), *words]
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
