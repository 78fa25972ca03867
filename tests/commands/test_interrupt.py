"""Ctrl-C at any moment: within the very calls that wait for it, and within a write to the terminal."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import pytest

from pathsynth.studies.execution import supervise
from pathsynth.studies.trials import stopping

_PRESSED_WHILE_WAITING = """
import os, signal, threading, time
from pathsynth.commands.interrupt import ctrl_c

for number in range(200):
    with ctrl_c() as pressed:
        threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGINT)).start()
        while not (pressed.is_set() or pressed.wait(0)):
            pass
"""


def test_it_is_noted_wherever_it_falls():
    ended = subprocess.run([sys.executable, "-c", _PRESSED_WHILE_WAITING], timeout=60)
    assert ended.returncode == 0


class Pressed(io.RawIOBase):
    """A terminal at which Ctrl-C is pressed while a line is written to it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.lines.append(bytes(data))
        if len(self.lines) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return len(data)


def write_a_line(monkeypatch) -> list[bytes]:
    """Write a line to such a terminal; what it shows then."""
    terminal = Pressed()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(terminal), line_buffering=True))
    print("checking jobs: 1 of 4", file=sys.stderr)
    return terminal.lines


@pytest.fixture
def restored_signals():
    handlers = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_signals")
def test_it_stops_a_command_that_is_just_writing_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv(stopping.FOLDER_VARIABLE, str(tmp_path / "command"))
    stopping.stop_in_good_order()
    assert write_a_line(monkeypatch)[0] == b"checking jobs: 1 of 4\n"
    assert stopping.stop_requested()


def test_it_is_counted_while_a_line_is_written(monkeypatch):
    with supervise._signals() as requests:
        write_a_line(monkeypatch)
    assert requests.times == 1
