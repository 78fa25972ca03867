"""The real command, stopped at many moments from its first line to its last, in all the ways in which commands are stopped.

``PATHSYNTH_MOMENTS`` says at how many moments (54 unless it is set; 200 take a quarter of an hour).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pathsynth.studies.execution.supervise import STOP_SECONDS
from pathsynth.studies.trials.state import DONE, INTERRUPTED, read_state

MOMENTS = int(os.environ.get("PATHSYNTH_MOMENTS", "54"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800 + 30 * MOMENTS)]
MARK = "STOPPED_AT_A_MOMENT"
MARGIN = 5.0
STEPS = {"1": dict.fromkeys(("cache", "gate", "finetune", "generate", "evaluate"), "steps")}


@dataclass
class Command:
    """The command in ``folder``; all that it starts carries a mark in its environment."""

    pathsynth: Any
    folder: Path
    more: tuple[str, ...] = ()
    """``-m`` makes the trial a fork of a server; else its process is started afresh."""

    def start(self, *before: str, **options: Any) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [str(self.pathsynth.folder / "stand_in"), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "STAND_IN": json.dumps(STEPS), MARK: str(self.folder)}
        words = ["run", f"base.path={self.pathsynth.base}", "tracking=none", "lora.rank=1", *self.more]
        with (self.folder / "log.txt").open("ab") as log:
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options}
            return subprocess.Popen([*before, sys.executable, "-m", "pathsynth", *words], cwd=self.folder, env=environment, **streams)

    def processes(self) -> list[int]:
        """All that is left of it."""
        mark, left = f"{MARK}={self.folder}".encode(), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    left.append(int(entry.name))
        return left

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    @property
    def trial(self) -> Path | None:
        return next(iter((self.folder / "multirun" / "runs").glob("rank=1-*")), None)

    def outcome(self) -> dict[str, bytes]:
        """All that the trial and its stages hold, without seconds, times and leases."""
        assert self.trial
        stages = [path for path in (self.folder / "multirun" / ".stages").rglob("*") if path.name in ("half", "steps")]
        here = str(self.folder).encode()  # the settings name it
        files = [*stages, self.trial / "result.json"]
        found = {str(path.relative_to(self.folder)): path.read_bytes().replace(here, b"") for path in files}
        rest = {path.suffix for path in (self.folder / "multirun" / ".stages").glob("*/*")}
        assert rest == {"", ".lease"}, "something is left of a build"
        return found


def signalled(number: signal.Signals) -> Callable[[Command, float], subprocess.Popen[bytes]]:
    def stop(command: Command, moment: float) -> subprocess.Popen[bytes]:
        process = command.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        process.send_signal(number)
        return process

    return stop


def timed_out(command: Command, moment: float) -> subprocess.Popen[bytes]:
    """As `timeout` does: it signals the command alone."""
    process = command.start("timeout", f"{moment:.3f}")
    time.sleep(moment)
    return process


def terminal_closed(command: Command, moment: float) -> subprocess.Popen[bytes]:
    """The window goes, and with it the place where anything could be said."""
    ours, theirs = os.openpty()
    process = command.start("setsid", "--ctty", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    end = time.monotonic() + moment
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.read(ours, 65536)
        time.sleep(0.01)
    os.close(ours)
    return process


WAYS: dict[str, Callable[[Command, float], subprocess.Popen[bytes]]] = {
    "SIGTERM": signalled(signal.SIGTERM),
    "SIGINT": signalled(signal.SIGINT),
    "SIGHUP": signalled(signal.SIGHUP),
    "timeout": timed_out,
    "terminal closed": terminal_closed,
    "command killed": signalled(signal.SIGKILL),
}


def test_a_command_that_is_stopped_at_any_moment_goes_on_to_the_same_bits(pathsynth):
    """It is stopped again and again until it is done; then a study in a new folder is begun. ``-s`` shows how far this is."""
    folders = itertools.count()

    def new() -> Command:
        folder = pathsynth.folder / f"study-{next(folders)}"
        folder.mkdir()
        return Command(pathsynth, folder)

    undisturbed = new()
    began = time.monotonic()
    assert undisturbed.start().wait(120) == 0, undisturbed.log
    whole = time.monotonic() - began
    dice, command, slowest = random.Random(0), new(), 0.0
    ends: Counter[str] = Counter()
    before = ""
    for number in range(MOMENTS):
        way = list(WAYS)[number % len(WAYS)]
        command.more = ("-m",) if number // len(WAYS) % 2 else ()
        process = WAYS[way](command, dice.uniform(0, whole))
        asked = time.monotonic()
        code = process.wait(STOP_SECONDS + MARGIN)
        while command.processes():
            assert time.monotonic() - asked < STOP_SECONDS + MARGIN, f"{number}, {way}: processes are left"
            time.sleep(0.05)
        slowest = max(slowest, time.monotonic() - asked)
        state = read_state(command.trial).state if command.trial else "not begun"
        ends[state] += 1
        assert state in (INTERRUPTED, DONE, "waiting", "not begun"), f"{number}, {way}: {code}, {state}\n{command.log}"
        assert state != "waiting" or way == "command killed" or before == "waiting", f"{number}, {way}: {code}"
        before = state
        print(f"{number + 1} of {MOMENTS}: {way}, {state}", flush=True)
        assert "in main\n" not in command.log, f"{number}, {way}: a traceback\n{command.log}"
        if state == DONE:
            assert command.outcome() == undisturbed.outcome()
            command, before = new(), ""
    assert command.start().wait(120) == 0, command.log
    assert command.outcome() == undisturbed.outcome()
    assert ends[INTERRUPTED] and ends["not begun"]
    print(f"{MOMENTS} moments of {whole:.1f} s: {dict(ends)}; the slowest end took {slowest:.1f} s")
