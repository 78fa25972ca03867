"""A GPU of its own for each of the trials that run side by side on one machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pathsynth.ledger.lease import acquire

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; asks the driver's files, not torch."""
    visible = os.environ.get(VARIABLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(_DRIVER.iterdir())))] if _DRIVER.is_dir() else []


@contextmanager
def assigned_gpu(multirun: Path, workers: int, seconds: float, devices: int = 1) -> Iterator[str | None]:
    """The GPU for a trial's process while it runs; None: what the process sees is left as it is.

    Where several trials run at once and there are several GPUs, each trial leases one, below ``multirun``, so that workers of
    other commands on this machine keep off it. With more workers than GPUs the rest share. A trial on several ``devices`` sees
    them all.
    """
    gpus = visible_gpus()
    if workers < 2 or len(gpus) < 2 or devices > 1:
        yield None
        return
    for gpu in gpus:
        lease = acquire(multirun / ".gpus" / f"{socket.gethostname()}-{gpu}.lease", seconds, wait=False)
        if lease:
            with lease.beat():
                yield gpu
            return
    yield gpus[os.getpid() % len(gpus)]
