"""The trial process: ``python -m pathsynth.study.trial <folder>`` carries out a frozen manifest. Torch is loaded here only."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

from pathsynth.ledger.errors import RequestError, StageError, StoppedElsewhere
from pathsynth.ledger.lease import Lease, StaleLease, adopt
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.study.claim import Manifest, claim, read_manifest
from pathsynth.study.state import DONE, FAILED, INTERRUPTED, LOG, RUNNING, TrialState, lease_folder, now, read_state, write_state
from pathsynth.study.supervise import LEASE_VARIABLE
from pathsynth.vocabulary.labels import UnknownLabelError

_log = logging.getLogger("pathsynth.trial")


class Interrupted(BaseException):
    """The trial was asked to stop. No ``Exception``, so that nothing on the way takes it for a failure."""


def main(arguments: list[str]) -> int:
    """Carry out the trial in the folder named; 0 done, 1 failed, 2 refused, 130 interrupted."""
    folder = Path(arguments[0])
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    _stop_without_parent(os.getppid())
    try:
        manifest = read_manifest(folder)
        if os.environ.get("LOCAL_RANK", "0") != "0":
            return _help(folder, manifest)
        lease = _lease(folder, manifest.config.study.lease_seconds)
        return _carry_out(folder, manifest, lease)
    except StaleLease as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted:
        return 130


def _help(folder: Path, manifest: Manifest) -> int:
    """Take part in the fine-tune of the trial that the parent process carries out, which alone holds the lease and keeps the state."""
    from pathsynth.study.pipeline import help_to_train

    _log_to(folder / LOG)
    try:
        help_to_train(manifest.config, manifest.plan, _store(manifest), folder)
    except StoppedElsewhere:
        return 0
    except Exception as error:
        _log.error("failure in rank %s of the fine-tune", os.environ["LOCAL_RANK"], exc_info=error)
        return 1
    return 0


def _store(manifest: Manifest) -> StageStore:
    return StageStore(Path(manifest.config.multirun) / STAGES, manifest.config.study.lease_seconds)


def _lease(folder: Path, seconds: float) -> Lease:
    """The lease that the supervisor handed over; one of its own for a trial that nobody supervises.

    Raises:
        StaleLease: another process carries out the trial.
    """
    number = os.environ.pop(LEASE_VARIABLE, None)
    lease = adopt(lease_folder(folder), int(number), seconds) if number else claim(folder, seconds, wait=False)
    if lease is None:
        raise StaleLease(f"{folder.name} is being carried out by another process")
    return lease.beat(_die)


def _die() -> None:
    """Another process has taken the trial over: end at once, with every helper, and write nothing more."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _carry_out(folder: Path, manifest: Manifest, lease: Lease) -> int:
    before = read_state(folder)
    if before.state == DONE and before.identity == manifest.plan.identity:
        return 0
    _log_to(folder / LOG)
    started = TrialState(RUNNING, manifest.plan.identity, pid=os.getpid(), started=now(), tries=before.tries)
    report = _Reporter(folder, lease, started)
    report.tell()
    try:
        _build(manifest, folder, report)
    except (Interrupted, KeyboardInterrupt, StoppedElsewhere):
        _log.info("stopped on request in stage %s", report.state.stage)
        return report.end(INTERRUPTED, "stopped on request", 130)
    except BrokenPipeError:  # progress that nobody reads any more: the supervisor is gone, and what watches for that is a moment late
        _log.info("the command that started the trial is gone, in stage %s", report.state.stage)
        return report.end(INTERRUPTED, "the command that started it is gone", 130)
    except (RequestError, UnknownLabelError) as error:
        _log.error("%s", error)
        return report.end(FAILED, str(error), 2)
    except StageError as error:
        _log.error("%s", error, exc_info=error)
        return report.end(FAILED, str(error), 1)
    except Exception as error:  # a trial's failure, whatever it is, must become a reason
        _log.error("unexpected failure", exc_info=error)
        return report.end(FAILED, _one_line(error), 1)
    _log.info("done")
    return report.end(DONE, "", 0)


def _build(manifest: Manifest, folder: Path, report: _Reporter) -> None:
    from pathsynth.study.pipeline import run  # loads torch; a failure to load is the trial's failure

    run(manifest.config, manifest.plan, _store(manifest), folder, report.progress)


class _Reporter:
    """Keeps ``state.json`` up to date, as long as the trial is this process's."""

    def __init__(self, folder: Path, lease: Lease, state: TrialState) -> None:
        self._folder, self._lease, self.state = folder, lease, replace(state, threads=_threads())

    def tell(self) -> None:
        if not self._lease.current:
            _die()
        write_state(self._folder, self.state)

    def progress(self, stage: str, detail: str, step: int | None = None, steps: int | None = None, rate: float | None = None) -> None:
        """Called by the pipeline with a stage's name and what it is doing, and again with how far its count came."""
        self.state = replace(self.state, stage=stage, detail=detail, step=step, steps=steps, rate=rate)
        if step is None:
            _log.info("%s: %s", stage, detail)
            self.tell()
        else:
            with contextlib.suppress(OSError):  # a count that cannot be told is no reason to fail; the next one may be
                self.tell()

    def end(self, state: str, reason: str, code: int) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        tries = self.state.tries + (state == FAILED)
        self.state = replace(self.state, state=state, reason=reason, ended=now(), tries=tries)
        if state == DONE:
            self.state = replace(self.state, step=None, steps=None, rate=None)
        try:
            self.tell()
        except OSError as error:
            print(f"{self._folder / 'state.json'} cannot be written: {_one_line(error)}", file=sys.stderr)
            return 1
        return code


def _threads() -> int | None:
    """Threads of this process, where its supervisor has set them."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Raise once: what unwinds then, and writes what it must, is not interrupted again."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


def _stop_without_parent(parent: int) -> None:
    """A trial whose supervisor is gone (killed, so that it could ask for nothing) stops by itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _log_to(path: Path) -> None:
    stream = path.open("a", encoding="utf-8")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    faulthandler.enable(stream)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{where}; free some space and run the same command again"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
