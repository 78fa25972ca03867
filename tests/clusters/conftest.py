"""Real clusters on this machine, in folders of their own: a Slurm of one node (munge, controller, daemon), a Ray of two."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.commands.conftest import pathsynth  # noqa: F401 - a fixture, used by its name

CONF = """\
ClusterName=pathsynth
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={other_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
ReturnToService=2
JobRequeue=1
KillWait=15
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def words(*command: str) -> str:
    """The output of a command of Slurm's."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def wait_until(true, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _munge() -> None:
    """Start munge, where none runs; its key and folder are the package's."""
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True).returncode == 0:
        return
    shutil.os.makedirs("/run/munge", exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True, timeout=60)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Path]:
    """The folder of a running Slurm; ``SLURM_CONF`` names it to every command."""
    for program in ("slurmctld", "slurmd", "munged"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            pytest.fail(f"no {program}; install it: apt-get install slurmctld slurmd slurm-client munge")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, port=_port(), other_port=_port()))
    os.environ["SLURM_CONF"] = str(conf)
    _munge()
    daemons = [subprocess.Popen([shutil.which(name, path="/usr/sbin") or name, "-D"]) for name in ("slurmctld", "slurmd")]
    wait_until(lambda: "idle" in subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout, "no node is idle")
    yield folder
    subprocess.run(["scancel", "--user=root"], timeout=60)
    for daemon in reversed(daemons):
        daemon.terminate()
        daemon.wait(30)
    del os.environ["SLURM_CONF"]


@dataclass
class RayNodes:
    """The nodes of a Ray, of one core each, by their `ray start`; ``folder`` is short, for the paths of Ray's sockets are below it."""

    folder: Path
    port: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *before: str) -> None:
        """Start one node more, the head first, and wait until it is up; ``before``: words before its command."""
        number, log = len(self.nodes), self.folder / f"{len(self.nodes)}.txt"
        head = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false"]
        command = [*before, sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--num-cpus=1", "--object-store-memory=83886080"]
        command += [*(head if number == 0 else [f"--address={self.address}"]), "--min-worker-port=0", "--max-worker-port=0"]
        with log.open("wb") as out:
            self.nodes.append(
                subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **self.variables}, start_new_session=True)
            )
        wait_until(lambda: self._registered() > number, f"node {number} did not start: {log.read_text()}")

    def _registered(self) -> int:
        """How many nodes the head has known: `ray start` speaks a little before it does."""
        logs = self.folder.glob("session_2*/logs/gcs_server*")
        return sum(log.read_text(errors="replace").count("Registering new node") for log in logs)

    def node_of(self, pid: int) -> int:
        """The number of the node on which a process runs."""
        above = {process.pid for process in psutil.Process(pid).parents()}
        return next(number for number, node in enumerate(self.nodes) if node.pid in above)

    def kill(self, number: int) -> None:
        """What a power cut does to a node, trials on it included."""
        processes = [psutil.Process(self.nodes[number].pid), *psutil.Process(self.nodes[number].pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.nodes[number].wait(30)


@pytest.fixture(scope="session")
def ray_nodes() -> Iterator[RayNodes]:
    """Two nodes."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    nodes = RayNodes(folder, _port())
    nodes.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-test-" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        nodes.start()
        nodes.start()
        yield nodes
    finally:
        for number, node in enumerate(nodes.nodes):
            if node.poll() is None:
                nodes.kill(number)
        shutil.rmtree(folder, ignore_errors=True)
