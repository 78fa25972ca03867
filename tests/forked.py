"""``pathsynth`` in a fork of a process that has its libraries loaded, where a test is about what a command does and not how it starts.

A process of its own spends many seconds of processor time on loading them; a fork none. A trial is carried out in the fork itself.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pathsynth.__main__ import CONFIG_COMMANDS, main

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pathsynth.studies.execution.trial_libraries", __name__])
_SECONDS = 280


def run_forked(folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and output of a command that is given in ``folder``."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        process = fork(folder, words, output)
        process.join(_SECONDS)
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            pytest.fail(f"{' '.join(words)} still ran after {_SECONDS} s:\n{output.read_text()}")
        return process.exitcode, output.read_text()


def forked_output(folder: Path, *words: str, status: int = 0) -> str:
    """The output of a command; unless its exit ``status`` is another, the test fails."""
    code, output = run_forked(folder, *words)
    assert code == status, output
    return output


def fork(folder: Path, words: tuple[str, ...], output: Path, first: str = "", **variables: str) -> BaseProcess:
    """A command that is given in ``folder``, in a session of its own; its output is added to a file.

    ``first``: a module that it loads before anything else. ``variables`` are added to its environment.
    """
    inline = ["study.isolation=inline"] if words[0] in CONFIG_COMMANDS else []
    environment = {**os.environ, "WANDB_MODE": "offline", **variables}
    process = _SERVER.Process(target=_carry_out, args=(folder, [*words, *inline], environment, output, first))
    process.start()
    return process


def _carry_out(folder: Path, words: list[str], environment: Mapping[str, str], output: Path, first: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
    sys.argv = ["pathsynth", *words]
    if first:
        importlib.import_module(first)
    main()
