"""``state.json``: how far a trial came. Light: a status table reads two hundred of these."""

from __future__ import annotations

import getpass
import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any

from pathsynth.ledger.atomic import read_json, sync, write_json
from pathsynth.ledger.lease import is_held

STATE = "state.json"
_LEASE = ".lease"
LOG = "log.txt"
ADDRESS = "tracked_at.txt"
"""Where the trial's run can be seen online; there is none where it is kept offline."""
RUNNING, DONE, FAILED, INTERRUPTED, WAITING, PRUNED = "running", "done", "failed", "interrupted", "waiting", "pruned"
STATES = (DONE, RUNNING, FAILED, INTERRUPTED, WAITING, PRUNED)
"""All of them, in the order in which they are counted for people."""
OPEN = (RUNNING, INTERRUPTED, WAITING)
"""States of trials that the same command continues with."""
EXIT_STOPPED = 130
"""What the process of a trial that was stopped on request exits with."""


@dataclass(frozen=True)
class TrialState:
    """``state`` is running, done, failed, interrupted, pruned (by a search; it can continue) or waiting; times are ISO 8601 in UTC.

    ``tries``: how often the trial has failed. ``stage`` is the one with ``stage_number`` of ``stages`` (None: none was begun).
    ``step`` of ``steps`` (training steps or slots; None: the stage does not count), ``rate`` in steps a second (None: not
    known yet); ``notes``: what else is shown of the stage, as in "loss 0.45". ``threads``: what the trial's process was given
    (None: not known). ``author`` and ``host``: who ran it, by the name that the process logs in with, and on which machine
    (empty: not known, or left out).
    """

    state: str
    identity: str = ""
    stage: str = ""
    detail: str = ""
    reason: str = ""
    pid: int | None = None
    started: str | None = None
    ended: str | None = None
    tries: int = 0
    step: int | None = None
    steps: int | None = None
    rate: float | None = None
    threads: int | None = None
    author: str = ""
    host: str = ""
    stage_number: int | None = None
    stages: int | None = None
    notes: str = ""

    @property
    def over(self) -> bool:
        """Whether the process has ended: done, failed, interrupted or pruned."""
        return self.state in (DONE, FAILED, INTERRUPTED, PRUNED)

    def seconds(self, now: datetime | None = None) -> float | None:
        """From start to end, or to ``now`` while it runs; None where either is not known."""
        try:
            started = datetime.fromisoformat(self.started or "")
            ended = datetime.fromisoformat(self.ended or "") if self.state != RUNNING else now or datetime.now(UTC)
            return max(0.0, (ended - started).total_seconds())
        except (ValueError, TypeError):
            return None


def write_state(folder: Path, state: TrialState) -> None:
    """Write ``state.json``; all but the progress of a running trial is on the disk afterwards, and survives a power cut."""
    write_json(folder / STATE, asdict(state))
    if state.state != RUNNING:
        sync(folder)


def read_state(folder: Path) -> TrialState:
    """The state of a trial; waiting where none is written. One recorded as running that no process holds is interrupted."""
    try:
        state = _state(read_json(folder / STATE))
    except FileNotFoundError:
        return TrialState(WAITING)
    except (OSError, ValueError) as error:
        return TrialState(FAILED, reason=f"{folder / STATE} cannot be read ({error}); run the trial again")
    if state.state == RUNNING and not is_held(lease_folder(folder)):
        return replace(state, state=INTERRUPTED, reason="its process has ended", pid=None)
    return state


def _state(record: Any) -> TrialState:
    """Raises ValueError if the record is no trial's state; fields that this version does not know are passed over."""
    if not isinstance(record, dict):
        raise ValueError("it holds no object")
    known = {field.name: record[field.name] for field in fields(TrialState) if field.name in record}
    for name, value in known.items():
        if not isinstance(value, _FIELDS[name]):
            raise ValueError(f"{name} is {str(value)[:40]!r}")
    if known.get("state") not in STATES:
        raise ValueError("it names no state")
    return TrialState(**known)


_TEXT, _COUNT = (str,), (int, NoneType)
_FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("state", "identity", "stage", "detail", "reason", "author", "host", "notes"), _TEXT),
    **dict.fromkeys(("started", "ended"), (str, NoneType)),
    **dict.fromkeys(("pid", "step", "steps", "threads", "stage_number", "stages"), _COUNT),
    "tries": (int,),
    "rate": (int, float, NoneType),
}


def lease_folder(folder: Path) -> Path:
    """Where the process that runs the trial of ``folder`` is recorded."""
    return folder / _LEASE


def login_name() -> str:
    """The name that this process logs in with; empty where the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # what versions of Python raise for a user without a name
        return ""


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def last_lines(folder: Path, count: int = 5) -> list[str]:
    """The last lines of a trial's log that say something."""
    try:
        with (folder / LOG).open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - 8192))
            lines = handle.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-count:]
