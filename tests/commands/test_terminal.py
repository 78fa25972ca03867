"""What a command shows on a terminal, with a pipeline that takes no time."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pathsynth.terminal.work_line import working_on

SIDE_BY_SIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m")


@dataclass
class Terminal:
    """A command on a terminal, and what it has shown so far."""

    process: subprocess.Popen[str]
    ours: int
    raw: str = ""

    def read_until(self, is_there: Callable[[str], object]) -> str:
        """Read on until what is shown, without the codes that move the cursor and colour, is as wanted, or all has ended."""
        while not is_there(self.plain):
            try:
                self.raw += os.read(self.ours, 65536).decode(errors="replace")
            except OSError:  # the last process that writes to it has ended
                break
        return self.plain

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)


@contextmanager
def terminal(pathsynth, *arguments: str, columns: int = 80) -> Iterator[Terminal]:
    """A run on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    words = ("run", f"base.path={pathsynth.base}", "tracking=none", *arguments)
    process = pathsynth.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.poll() is None and process.kill()
        process.wait()
        os.close(ours)


def on_a_terminal(pathsynth, *arguments: str) -> str:
    """What a run shows on a terminal, without the codes that move the cursor and colour."""
    with terminal(pathsynth, *arguments) as shown:
        plain = shown.read_until(lambda _: False)
        assert shown.process.wait(30) == 0, plain
    return plain


@pytest.mark.slow
def test_each_trial_of_a_sweep_has_one_display_from_its_first_moment(pathsynth):
    shown = on_a_terminal(pathsynth, "-m", "lora.rank=1,2")
    assert shown.count("loading the libraries") >= 2
    ticks = re.findall(r"✓ \[(\d)/(\d)\] ([a-z-]+)  (?:reused|\d:\d\d)", shown)
    names = [name for _, _, name in ticks]
    assert len(names) == 2 * len(set(names)) and {"gate", "judge", "fine-tune", "generate", "evaluate"} <= set(names)
    assert [int(number) for number, *_ in ticks] == [*range(1, len(set(names)) + 1)] * 2
    assert re.search(r"rank=2-\w+: done", shown)


@pytest.mark.slow
def test_in_a_log_nothing_is_drawn_and_each_line_names_its_trial(pathsynth):
    pathsynth.told = {"1": {"finetune": "say"}}
    ended = pathsynth.run("lora.rank=1")
    assert ended.code == 0 and not re.search("[✓━⠋]|loading the libraries", ended.out + ended.err)
    assert re.search(r"^rank=1-\w+: a line of the trial$", ended.out, re.MULTILINE), ended.out


@pytest.mark.slow
def test_trials_side_by_side_share_one_display_of_the_command(pathsynth):
    pathsynth.told = {"1": {"finetune": "counted"}, "2": {"finetune": "counted"}}
    lines = [re.compile(rf"rank={rank}\S* +\[\d/\d\] fine-tune .*3/8 steps · 0:50 left · loss 0.45") for rank in (1, 2)]
    with terminal(pathsynth, *SIDE_BY_SIDE, "lora.rank=1,2", columns=120) as shown:
        frames = shown.read_until(lambda plain: any(all(line.search(two) for line in lines) for two in pairs(plain)))
        assert any(all(line.search(two) for line in lines) for two in pairs(frames)), frames
        (pathsynth.folder / "open").touch()
        shown.read_until(lambda _: False)
        assert shown.process.wait(30) == 0
    assert not re.search(r"✓|loading the libraries.*loading the libraries", shown.plain.replace("\r", "\n")), "a trial drew by itself"
    assert all(re.search(rf"rank={rank}-\w+: done\s*$", shown.plain, re.MULTILINE) for rank in (1, 2)), shown.plain[-1500:]
    assert hides_and_shows_the_cursor(shown.raw)


def pairs(plain: str) -> list[str]:
    """Each line that was drawn, with the next."""
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    return ["\n".join(two) for two in itertools.pairwise(lines)]


def hides_and_shows_the_cursor(raw: str) -> bool:
    return "\x1b[?25l" in raw and raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")


@pytest.mark.slow
def test_a_killed_trial_and_ctrl_c_leave_a_narrow_terminal_as_it_was(pathsynth):
    pathsynth.told = {"1": {"finetune": "kill"}, "2": {"finetune": "counted"}, "3": {"finetune": "counted"}}
    with terminal(pathsynth, *SIDE_BY_SIDE, "lora.rank=1,2,3", columns=40) as shown:
        shown.read_until(lambda plain: "killed by signal 9" in plain and re.search(r"rank=3\S* +\[\d/\d\] fine-tu", plain))
        os.killpg(shown.process.pid, signal.SIGINT)
        plain = shown.read_until(lambda _: False)
        assert shown.process.wait(30) == 130, plain
    assert [pathsynth.state(f"rank={rank}")["state"] for rank in (1, 2, 3)] == ["failed", "interrupted", "interrupted"]
    drawn = [line for line in re.split(r"[\r\n]+", plain) if re.search(r"\[\d/\d\]", line)]
    assert drawn and max(map(len, drawn)) <= 40, drawn
    assert hides_and_shows_the_cursor(shown.raw)


SLOW_DATA = '''
import time
from pathlib import Path

import numpy as np


class SlowData:
    """Images that come when the file ``open`` is there."""

    classes = ("disc", "ring")

    def __init__(self, size):
        self.size = size

    def images(self, split):
        end = time.monotonic() + 60
        while time.monotonic() < end and not Path("open").exists():
            time.sleep(0.05)
        labels = np.arange(8) % 2
        return np.random.default_rng(len(split)).integers(0, 255, (8, self.size, self.size, 3), dtype=np.uint8), labels
'''


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-m", "seed=1,2")])
def test_while_a_request_is_checked_a_terminal_says_so(pathsynth, flags):
    (pathsynth.folder / "slow_data.py").write_text(SLOW_DATA)
    with terminal(pathsynth, "data._target_=slow_data.SlowData", "study.dry_run=true", *flags) as shown:
        moving = re.compile(r"reading the data set that the request names  0:\d[1-9]")  # it has the time
        plain = shown.read_until(moving.search)
        assert moving.search(plain), plain
        (pathsynth.folder / "open").touch()
        rest = shown.read_until(lambda _: False).rpartition("request names")[2]
        assert shown.process.wait(30) == 0, plain
    assert rest.strip() and hides_and_shows_the_cursor(shown.raw)


def test_a_line_of_work_goes_before_anything_is_printed_and_a_log_has_none(monkeypatch, capsys):
    with working_on("reading"):
        print("a log's line")
    assert capsys.readouterr() == ("a log's line\n", "")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    with working_on("reading") as say:
        say("reading 2 of 3")
        shown = sys.stdout
        print("first", flush=True)
        assert sys.stdout is not shown, "the line has gone"
    assert capsys.readouterr().out == "first\n"
