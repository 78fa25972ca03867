"""Continuing a study from the page: the commands of its unfinished trials, in a process of their own. No torch, no NiceGUI.

The process outlives the page. *Stop* ends it as it does any command.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.execution.trial_rerun import foreign_targets
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_INTERRUPTED
from pathsynth.studies.trials.hydra_files import started_in
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.studies.trials.state import FAILED, INTERRUPTED, WAITING
from pathsynth.ui.watching import WatchedStudy

_STOPPED = (FAILED, INTERRUPTED, WAITING)
_SHOWN_BYTES, _SHOWN_LINES = 8192, 12


@dataclass(frozen=True)
class Job:
    """The words of a command, and the folder to run it in."""

    words: tuple[str, ...]
    folder: Path


def stopped_jobs(study: WatchedStudy) -> tuple[Job, ...]:
    """The commands of the trials that failed, were stopped or are waiting.

    Raises:
        RequestError: one was started elsewhere, or runs a class that does not come with the program.
    """
    stopped = [trial for trial, row in zip(study.trials, study.rows, strict=True) if row.state in _STOPPED]
    return tuple(dict.fromkeys(map(_job, stopped)))


def _job(trial: Path) -> Job:
    manifest = manifest_of(trial)
    foreign = foreign_targets(trial)
    if foreign:
        raise RequestError(f"{trial.name} runs {foreign[0]}, which is not part of pathsynth; continue in a terminal")
    folder = started_in(trial)
    if Path(manifest.config.multirun).resolve() != trial.resolve().parents[1] or folder is None or not folder.is_dir():
        raise RequestError(f"{trial.name} was started in another folder; continue in a terminal there")
    return Job((manifest.config.command, *manifest.overrides), folder)


@dataclass(frozen=True)
class _Process:
    """``output``: the open file that the process writes to."""

    process: subprocess.Popen[bytes]
    output: int


class Continuations:
    """The processes that the page has started, one for each study, and their output."""

    def __init__(self) -> None:
        self._begun: dict[Path, _Process] = {}

    def begin(self, study: WatchedStudy) -> int:
        """Start the commands of the unfinished trials, one after another; return how many there are.

        Raises:
            RequestError: the study is already being continued, there is nothing to do, or as :func:`stopped_jobs`.
        """
        if self.running(study.folder):
            raise RequestError(f"{study.name} is already being continued")
        jobs = stopped_jobs(study)
        if not jobs:
            raise RequestError(f"{study.name} has no trial that failed, was stopped or is waiting")
        output, name = tempfile.mkstemp()
        os.unlink(name)  # removed once no process has it open
        program = [sys.executable, "-m", "pathsynth.ui.continuing"]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        assert process.stdin
        with process.stdin as jobs_input:
            jobs_input.write(json.dumps([[job.words, str(job.folder)] for job in jobs]).encode())
        before = self._begun.get(study.folder)
        self._begun[study.folder] = _Process(process, output)
        if before:
            os.close(before.output)
        return len(jobs)

    def running(self, folder: Path) -> bool:
        """Whether a process of this page is running the study."""
        return folder in self._begun and self._begun[folder].process.poll() is None

    def output(self, folder: Path) -> str:
        """The last lines that were printed; empty where nothing was started."""
        if folder not in self._begun:
            return ""
        file = self._begun[folder].output  # the process writes at the file's position, which stays where it is
        printed = os.pread(file, _SHOWN_BYTES, max(0, os.fstat(file).st_size - _SHOWN_BYTES))
        return "\n".join(printed.decode(errors="replace").splitlines()[-_SHOWN_LINES:])


def main() -> int:
    """Run the jobs in the input until one is interrupted."""
    status = EXIT_DONE
    for words, folder in json.load(sys.stdin):
        print(f"$ {shlex.join(['pathsynth', *words])}", flush=True)
        ended = subprocess.run([sys.executable, "-m", "pathsynth", *words], cwd=folder, stdin=subprocess.DEVNULL).returncode
        if ended == EXIT_INTERRUPTED:
            return ended
        status = max(status, ended)
    return status


if __name__ == "__main__":
    sys.exit(main())
