"""Whether Slurm's nodes see the folder of a sweep: one of them looks for a file before a job is submitted. No torch.

Without a shared file system a job of submitit's finds nothing of what it is to do, and where Slurm keeps no accounts the command would
wait for it for ever.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.execution.probe import probe_file

_CHOSEN_BY = ("partition", "account", "qos", "constraint")
"""Settings of the launcher that say which nodes its jobs may get, and options of ``srun``."""
_FREE_WITHIN_SECONDS = 10
"""How long a node may take to become free for the look; on a cluster whose nodes are all busy none looks."""
_ANSWER_WITHIN_SECONDS = 60
_READ = 'cat "$1" || echo unseen'


def require_seen_by_slurm(folder: Path, launcher: Mapping[str, Any]) -> None:
    """Have a node of those that ``launcher`` (its settings) may use look for a file that is written to ``folder``.

    Where no node is free for it a line says that nothing is known.

    Raises:
        RequestError: the node cannot see it.
    """
    with probe_file(folder) as (probe, content):
        answer, reason = _read_on_a_node(probe, launcher)
    if answer == "unseen":
        remedy = "start the command in a folder that all nodes share, and keep multirun there"
        raise RequestError(f"Slurm's nodes cannot see {folder}; {remedy}")
    if answer != content:
        print(f"note: whether Slurm's nodes see {folder} is not known ({reason})", flush=True)


def _read_on_a_node(probe: Path, launcher: Mapping[str, Any]) -> tuple[str, str]:
    """What a node read in the file, ``unseen`` where it is not there; and where no node answered why."""
    chosen = [f"--{key}={launcher[key]}" for key in _CHOSEN_BY if launcher.get(key)]
    command = ["srun", "--quiet", "--ntasks=1", "--time=1", f"--immediate={_FREE_WITHIN_SECONDS}", "--chdir=/", *chosen]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name == "SLURM_CONF"}
    try:
        looked = subprocess.run(
            [*command, "sh", "-c", _READ, "sh", str(probe)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_WITHIN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_ANSWER_WITHIN_SECONDS} s"
    lines = looked.stderr.strip().splitlines()
    return looked.stdout.strip(), lines[-1] if lines else f"srun ended with status {looked.returncode}"
