"""The cluster of Ray that runs a command's jobs: started or joined, looked at, and left. Ray is loaded only then.

A cluster of this command's own is bound to this machine's loopback and has its files in a folder of its own, so that no other command
takes it for its cluster and nothing stays. docs/how-to/ray.md.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pathsynth.config.ray import RayConfig
from pathsynth.config.secrets import is_secret
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.interruption import SIGNALS
from pathsynth.ledger.versions import cores
from pathsynth.studies.execution.gpus import visible_gpus
from pathsynth.studies.execution.probe import probe_file
from pathsynth.studies.execution.ray_worker import Place, see
from pathsynth.studies.trials.redaction import has_secret

_FORWARDED = ("PATHSYNTH_", "WANDB_", "MLFLOW_", "HF_", "HUGGING_FACE_")
_THREADS = "_NUM_THREADS"
_MODULES = "PYTHONPATH"
_PREFERRED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new way, of which it else warns: a trial without GPUs of Ray's sees what there is
    "RAY_worker_niceness": "0",  # 15 by default, which trials would inherit
}
_OBJECTS = 80 * 2**20
"""Bytes of shared memory for objects, about the least that Ray takes: only settings and scores cross."""
_LOOPBACK = "127.0.0.1"
_LONGEST_FOLDER = 40
"""Characters: the kernel takes 107 for the path of a socket, of which Ray needs some sixty below its folder."""
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Variables:
    """What workers get of this command's environment; ``secrets`` are handed over in memory, for Ray writes the ``plain`` ones down."""

    plain: dict[str, str]
    secrets: dict[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str], threads: int) -> Variables:
        """Choose from ``environment``; ``threads`` is OMP_NUM_THREADS unless that sets it."""
        known = {name: value for name, value in environment.items() if value and name.startswith(_FORWARDED)}
        known |= {name: value for name, value in environment.items() if value and name.endswith(_THREADS)}
        hidden = {name: value for name, value in known.items() if is_secret(name, value) or has_secret(value.encode())}
        plain = {"OMP_NUM_THREADS": str(threads), **{name: value for name, value in known.items() if name not in hidden}}
        if environment.get(_MODULES):
            plain[_MODULES] = environment[_MODULES]
        return cls(plain, hidden)


def require_ray() -> None:
    """Raises RequestError where Ray is not installed."""
    if find_spec("ray") is None:
        raise RequestError("hydra/launcher=ray needs Ray; install it: pip install 'pathsynth[ray]'")


def this_machine() -> dict[str, float]:
    """What a cluster of this machine's own offers, by Ray's names."""
    return {"CPU": float(cores()), "GPU": float(len(visible_gpus()))}


class RayCluster:
    """A cluster that is connected to until :meth:`leave`."""

    def __init__(self, config: RayConfig, verbose: bool = False) -> None:
        """Start a cluster, or join the one that ``config`` names; ``verbose``: Ray may print what it likes.

        Raises:
            RequestError: no cluster answers at the address.
        """
        os.environ.update({name: os.environ.get(name, value) for name, value in _PREFERRED.items()})
        if not config.address:  # Ray would write a token to the user's home
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        variables = Variables.of(os.environ, config.threads)
        self.place = Place.here(variables.secrets)
        self._folder = None if config.address else Path(tempfile.mkdtemp(prefix="ray-", dir=_short_folder()))
        settings: dict[str, Any] = {"address": config.address}
        if self._folder:
            settings = {"address": "local", "num_cpus": cores(), "object_store_memory": _OBJECTS, "include_dashboard": False}
            settings |= {"_temp_dir": str(self._folder), "_node_ip_address": _LOOPBACK}
        with _ray_signals():
            try:
                ray.init(
                    **settings,
                    runtime_env={"env_vars": variables.plain},
                    log_to_driver=verbose,
                    logging_level="INFO" if verbose else "ERROR",
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                self.leave()
                if self._folder:
                    raise
                raise RequestError(_not_joined(config.address, f"{error} {error.__cause__}")) from error

    @property
    def joined(self) -> bool:
        """Whether the cluster was there before this command."""
        return self._folder is None

    def nodes(self) -> list[dict[str, float]]:
        """What the nodes that are alive offer."""
        return [node["Resources"] for node in _alive()]

    def require_shared(self, folder: Path) -> None:
        """Look from each node for a file that is written to ``folder``, and for the folder of this command.

        A node that dies meanwhile is left out, which a line says.

        Raises:
            RequestError: a node cannot see one of them, has no pathsynth, or does not answer.
        """
        with probe_file(folder) as (probe, content):
            _read_probe(self.place, probe, content)

    def leave(self) -> None:
        """Disconnect; what this command started ends. Nothing happens the second time."""
        import ray

        ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _not_joined(address: str | None, reason: str) -> str:
    at = f"at hydra.launcher.address={address}"
    if "uthentication token" in reason:
        return f"the Ray cluster {at} requires its token; set RAY_AUTH_MODE and RAY_AUTH_TOKEN as where it was started"
    return f"no cluster of Ray answers {at}; start one with `ray start --head`, or leave the address out"


def _read_probe(place: Place, probe: Path, content: str) -> None:
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    looks = []
    for node in _alive():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        reading = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(see).remote(place, str(probe), content)
        looks.append((node["NodeID"], f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) of the Ray cluster", reading))
    for node_id, name, reading in looks:
        try:
            unseen = ray.get(reading, timeout=_PROBE_SECONDS)
        except GetTimeoutError as error:
            raise RequestError(f"{name} did not answer within {_PROBE_SECONDS:.0f} s; look at it with `ray status`") from error
        except RayError as error:
            if node_id not in {node["NodeID"] for node in _alive()}:  # Ray lists a node that died for some seconds more
                print(f"{name} is gone; the sweep runs on the others", flush=True)
                continue
            if "No module named" not in str(error):
                raise RequestError(f"{name} cannot run a task: {str(error).strip().splitlines()[-1]}") from error
            raise RequestError(f"{name} has no pathsynth; install the same packages there") from error
        if unseen:
            raise RequestError(f"{name} cannot see {unseen}; start the command in a folder that all nodes share, and keep multirun there")


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _short_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST_FOLDER else "/tmp"


@contextmanager
def _ray_signals() -> Iterator[None]:
    """Keep this process's handlers, of which Ray replaces one; what starts meanwhile outlives a terminal that closes.

    Ray's own processes ignore Ctrl-C, and end with this one.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
