"""The trial process: ``python -m pathsynth.studies.execution.trial <folder>`` runs a frozen manifest. Torch is loaded here only."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pathsynth.ledger import interruption
from pathsynth.ledger.errors import RequestError, StageError, StoppedElsewhere
from pathsynth.ledger.interruption import Interrupted
from pathsynth.ledger.lease import Lease, StaleLease, adopt
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.stages.plan import Plan
from pathsynth.studies.execution.output import LINES_VARIABLE, drop_unread_output, is_drawn_above, name_lines
from pathsynth.studies.execution.supervise import LEASE_VARIABLE, SUPERVISOR_VARIABLE, write_failure
from pathsynth.studies.trials.manifest import Manifest, claim, read_manifest
from pathsynth.studies.trials.outcomes import SHARED_STAGES_VARIABLE
from pathsynth.studies.trials.state import (
    DONE,
    EXIT_STOPPED,
    FAILED,
    INTERRUPTED,
    LOG,
    PRUNED,
    RUNNING,
    WAITING,
    TrialState,
    lease_folder,
    login_name,
    now,
    read_state,
    write_state,
)
from pathsynth.terminal.stage_display import StageDisplay, hidden
from pathsynth.vocabulary.labels import UnknownLabelError

_log = logging.getLogger("pathsynth.trial")

_WATCH_SECONDS = 0.25
_STOPPED = "stopped on request"
_SHARED_BUILT = "what it shares with other trials is built"
_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def main(arguments: list[str], is_alone: Callable[[], bool] | None = None) -> int:
    """Carry out the trial in the folder named; 0 done, 1 failed, 2 refused, 130 interrupted.

    ``is_alone`` tells whether the supervisor is gone, where that is not the parent process.
    """
    folder = Path(arguments[0])
    drop_unread_output()
    name = os.environ.pop(LINES_VARIABLE, "")
    if name:
        name_lines(name)
    try:
        interruption.listen()
        return _begin(folder, is_alone or _parent_has_ended())
    except StaleLease as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted:
        return EXIT_STOPPED


def _parent_has_ended() -> Callable[[], bool]:
    parent = int(os.environ.pop(SUPERVISOR_VARIABLE, os.getppid()))
    return lambda: os.getppid() != parent


def _begin(folder: Path, is_alone: Callable[[], bool]) -> int:
    manifest = read_manifest(folder)
    study = manifest.config.study
    if os.environ.get("LOCAL_RANK", "0") != "0":
        _watch(is_alone, study.stop_seconds, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return _help(folder, manifest)
    lease = _lease(folder, study.lease_seconds)
    display = StageDisplay(len(manifest.plan.stages), Console(), elsewhere=is_drawn_above())
    reporter = _Reporter(folder, lease, read_state(folder), display)
    _watch(is_alone, study.stop_seconds, reporter.give_up)
    return _carry_out(folder, manifest, reporter)


def carry_out_here(folder: Path, lease: Lease, environment: Mapping[str, str]) -> TrialState:
    """Carry out the trial of ``folder`` in this process, whose standard input, signals and debugger are the trial's; its state at the end.

    A crash ends this process, too. One trial after the other can be carried out so, in the main thread.

    Raises:
        KeyboardInterrupt: the trial was asked to stop; its state is written by then.
    """
    manifest, over = read_manifest(folder), threading.Event()
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        reporter = _Reporter(folder, lease.beat(_die), read_state(folder))
        with interruption.listening(), _separate_log(), modules_of_this_folder():
            _watch(_never, manifest.config.study.stop_seconds, reporter.give_up, over)
            try:
                _carry_out(folder, manifest, reporter)
            except Interrupted:  # after the state was settled
                interruption.serve()
            finally:
                over.set()
            stopped = interruption.requested() and not interruption.cause()
    finally:
        os.environ.clear()
        os.environ.update(before)
    state = read_state(folder)
    if state.state == FAILED:
        write_failure(folder, state)
    if stopped:
        raise KeyboardInterrupt
    return state


@contextlib.contextmanager
def _separate_log() -> Iterator[None]:
    """What a trial does to the log of its process is undone afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        faulthandler.disable()
        logging.captureWarnings(False)
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
            handler.close()
            if isinstance(handler, logging.StreamHandler):
                handler.stream.close()
        root.setLevel(level)


@contextlib.contextmanager
def modules_of_this_folder() -> Iterator[None]:
    """The folder where the command started is where classes of the user's own are looked for first, as a trial's own process does."""
    before, here = list(sys.path), os.getcwd()
    sys.path[:] = [here, *(place for place in before if place != here)]
    try:
        yield
    finally:
        sys.path[:] = before


def _help(folder: Path, manifest: Manifest) -> int:
    """Take part in the fine-tune of the trial that the parent process carries out, which alone holds the lease and keeps the state."""
    from pathsynth.studies.execution.pipeline import help_to_train

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
    """The lease that the supervisor handed over; one of its own for a trial without a supervisor.

    Raises:
        StaleLease: another process runs the trial.
    """
    number = os.environ.pop(LEASE_VARIABLE, None)
    lease = adopt(lease_folder(folder), int(number), seconds) if number else claim(folder, seconds, wait=False)
    if lease is None:
        raise StaleLease(f"{folder.name} is running in another process")
    return lease.beat(_die)


def _die() -> None:
    """End at once, with every helper, and write nothing more: another process has taken the trial over, or nothing else stops this one."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _carry_out(folder: Path, manifest: Manifest, report: _Reporter) -> int:
    before = report.state
    if before.state == DONE and before.identity == manifest.plan.identity:
        return 0
    _log_to(folder / LOG)
    shared = [name for name in os.environ.get(SHARED_STAGES_VARIABLE, "").split(",") if name]
    plan = manifest.plan.only(shared) if shared else manifest.plan
    report.state = TrialState(
        RUNNING,
        manifest.plan.identity,
        pid=os.getpid(),
        started=now(),
        tries=before.tries,
        threads=_threads(),
        author=login_name(),
        host=socket.gethostname(),
        stages=len(plan.stages),
    )
    report.tell()
    try:
        interruption.check()
        _build(manifest, plan, folder, report)
    except (Interrupted, KeyboardInterrupt, StoppedElsewhere):
        interruption.serve()
        pruned = interruption.cause()
        _log.info("%s in stage %s", pruned or _STOPPED, report.state.stage)
        return report.end(PRUNED, pruned, 0) if pruned else report.end(INTERRUPTED, _STOPPED, EXIT_STOPPED)
    except (RequestError, UnknownLabelError) as error:
        _log.error("%s", error)
        return report.end(FAILED, str(error), 2)
    except StageError as error:
        _log.error("%s", error, exc_info=error)
        return report.end(FAILED, str(error), 1, counts=not _disk_refuses(error))
    except Exception as error:  # every failure of a trial must become a reason
        _log.error("unexpected failure", exc_info=error)
        if interruption.requested():  # a library made something else of the interruption that went through it
            return report.end(INTERRUPTED, _STOPPED, EXIT_STOPPED)
        return report.end(FAILED, _one_line(error), 1, counts=not _disk_refuses(error))
    _log.info(_SHARED_BUILT if shared else "done")
    return report.end(WAITING, _SHARED_BUILT, 0) if shared else report.end(DONE, "", 0)


def _build(manifest: Manifest, plan: Plan, folder: Path, report: _Reporter) -> None:
    """Build the stages of ``plan``; with all of the trial's, its folder shows the results."""
    with report.display.shown():
        from pathsynth.studies.execution.pipeline import build_stages, run  # loads torch; a failure to load is the trial's failure

        carry_out = run if plan == manifest.plan else build_stages
        carry_out(manifest.config, plan, _store(manifest), folder, report.progress, report.display)


class _Reporter:
    """Keeps ``state.json`` up to date, as long as the trial is this process's, and the display, which a debugger's terminal has not."""

    def __init__(self, folder: Path, lease: Lease, state: TrialState, display: StageDisplay | None = None) -> None:
        self._folder, self._lease, self.state = folder, lease, replace(state, threads=_threads())
        self.display = display or hidden()

    def tell(self) -> None:
        if not self._lease.current:
            _die()
        write_state(self._folder, self.state)

    def progress(self, stage: str, detail: str, step: int | None = None, steps: int | None = None, rate: float | None = None) -> None:
        """Called by the pipeline with a stage's name and what it is doing, and again with how far its count came.

        Raises:
            Interrupted: the trial was asked to stop.
        """
        interruption.check()
        notes = "" if step is None else self.display.notes
        self.state = replace(self.state, stage=stage, detail=detail, step=step, steps=steps, rate=rate, notes=notes)
        if step is None:
            self.state = replace(self.state, stage_number=(self.state.stage_number or 0) + 1)
            self.display.begin(stage, detail)
            _log.info("%s: %s", stage, detail)
            self.tell()
        else:
            with contextlib.suppress(OSError):  # a count that cannot be written is no reason to fail; the next one may be
                self.tell()

    def give_up(self) -> None:
        """End the process, which was asked to stop and does not come to it."""
        with contextlib.suppress(OSError):
            _log.warning("%s; it did not end by itself in stage %s, and is killed", _STOPPED, self.state.stage)
            self.state = replace(self.state, state=INTERRUPTED, reason=_STOPPED, pid=os.getpid(), ended=now())
            self.tell()
        _die()

    def end(self, state: str, reason: str, code: int, counts: bool = True) -> int:
        """Write how the trial ended; ``counts``: whether a failure is one of those after which a trial is not tried again."""
        interruption.serve()
        tries = self.state.tries + (state == FAILED and counts)
        self.state = replace(self.state, state=state, reason=reason, ended=now(), tries=tries)
        if state == DONE:
            self.state = replace(self.state, step=None, steps=None, rate=None, notes="")
        try:
            self.tell()
        except OSError as error:
            print(f"{self._folder / 'state.json'} cannot be written: {_one_line(error)}", file=sys.stderr)
            return 1
        return code


def _threads() -> int | None:
    """Threads of this process, where its supervisor has set them."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdigit() else None


def _never() -> bool:
    """Of a trial without a supervisor, which cannot lose one."""
    return False


def _watch(is_alone: Callable[[], bool], stop_seconds: float, give_up: Callable[[], None], over: threading.Event | None = None) -> None:
    """Start the thread that sees to it that the trial stops.

    It ends when the trial is ``over``. ``is_alone``: whether the supervisor is gone.

    A supervisor that is gone (killed, so that it could ask for nothing) counts as a request to stop. A request that Python
    dropped is raised again; so is one that has waited for half of ``stop_seconds``, and after all of them the process gives up.
    A native call that keeps Python from running stops this thread, too; the supervisor, which waits as long, ends that.
    """

    ended = over or threading.Event()

    def watch() -> None:
        again = False
        while not ended.wait(_WATCH_SECONDS):
            if is_alone() and not interruption.requested():
                os.kill(os.getpid(), signal.SIGTERM)
            waited = interruption.unserved_seconds()
            if waited > stop_seconds:
                give_up()
            if interruption.was_dropped() or (waited > stop_seconds / 2 and not again):
                again = again or waited > stop_seconds / 2
                interruption.raise_again()

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


def _disk_refuses(error: BaseException | None) -> bool:
    """Whether a failure, or what caused it, is a disk that is full or cannot be written: no fault of the trial."""
    while error is not None:
        # safetensors' errors are no OSErrors, but end with the number of one
        number = error.errno if isinstance(error, OSError) else next(map(int, _OS_ERROR.findall(str(error))), None)
        if number in _DISK_REFUSES:
            return True
        error = error.__cause__
    return False


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{where}; free some space and run the same command again"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
