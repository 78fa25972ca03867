"""What a multirun has before it: which trials are settled already, which are to be carried out, and what that may take."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathsynth.config import StudyConfig
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import STAGES
from pathsynth.ledger.versions import commit, versions
from pathsynth.studies.planning.estimate import estimate
from pathsynth.studies.planning.override_cache import Known, OverrideCache
from pathsynth.studies.planning.request_check import Checked, bytes_needed, standing
from pathsynth.studies.planning.resolution import resolution, shared_lines
from pathsynth.studies.trials.manifest import computed_by, trial_folder
from pathsynth.studies.trials.outcomes import Outcome, announce_outcomes
from pathsynth.studies.trials.state import read_state
from pathsynth.studies.trials.stopping import raise_at_once
from pathsynth.terminal.work_line import working_on
from pathsynth.vocabulary.labels import UnknownLabelError

_SHOWN = 20
_MOMENT_SECONDS, _PAUSE_SECONDS = 1.0, 5.0


@dataclass(frozen=True)
class Entry:
    """A job's trial, and why it is not carried out (empty: it is)."""

    known: Known
    settled: str


@dataclass(frozen=True)
class SweepPlan:
    """The trials of a multirun in the order of its jobs."""

    study: str
    entries: tuple[Entry, ...]

    @property
    def store(self) -> Path:
        """Where the stages of all studies are."""
        return self.entries[0].known.folder.parent.parent / STAGES

    @property
    def to_do(self) -> list[int]:
        """The numbers of the jobs that are to be launched."""
        return [number for number, entry in enumerate(self.entries) if not entry.settled]

    @property
    def unfinished(self) -> dict[int, Known]:
        """The trials of these jobs, by number."""
        return {number: self.entries[number].known for number in self.to_do}

    def write_outcomes(self) -> None:
        """Leave a record of every job, so that the closing table has them all and in order."""
        announce_outcomes([Outcome(entry.known.folder.name, entry.known.folder, "") for entry in self.entries])


def sweep_plan(
    jobs: Sequence[Sequence[str]],
    study: StudyConfig,
    cache: OverrideCache,
    checked: Callable[[Sequence[str]], Checked],
    prepare: Callable[[], None] = lambda: None,
    launcher_faults: Sequence[str] = (),
) -> SweepPlan:
    """Look every job up in the cache; compose and check (``checked``) those that it does not know.

    Where jobs are to be carried out, ``prepare`` is called before anything is written.

    Raises:
        RequestError: a job's request is wrong, or ``prepare`` raised it.
    """
    with working_on("looking for trials that are done"):
        found = [cache.find(job) for job in jobs]
    unknown = {number: job for number, (job, known) in enumerate(zip(jobs, found, strict=True)) if known is None}
    composed = check_jobs(unknown, checked, launcher_faults)
    learnt = {number: known_trial(jobs[number], one) for number, one in composed.items()}
    trials = [known or learnt[number] for number, known in enumerate(found)]
    plan = SweepPlan(study.name, tuple(Entry(known, standing(read_state(known.folder), known.identity, study)) for known in trials))
    if plan.to_do:
        with working_on("preparing the launcher"):
            prepare()
    for number, known in learnt.items():  # not before every request has been found right
        cache.note(jobs[number], known, composed[number].config)
    return plan


def check_jobs(
    jobs: Mapping[int, Sequence[str]], check: Callable[[Sequence[str]], Checked], launcher_faults: Sequence[str] = ()
) -> dict[int, Checked]:
    """Compose and check every job, and print the notes of all, each once.

    Raises:
        RequestError: jobs are wrong, or the launcher cannot be used; each fault once, for all jobs.
        KeyboardInterrupt: the operator asked the running command to stop.
    """
    composed: dict[int, Checked] = {}
    faults: dict[str, None] = dict.fromkeys(launcher_faults)
    count = _Count(len(jobs))
    with working_on("checking jobs") as say, raise_at_once():
        for number, job in jobs.items():
            say(f"checking jobs: {len(composed)} of {len(jobs)}")
            try:
                composed[number] = check(job)
            except RequestError as error:
                faults |= dict.fromkeys(error.faults)
            except UnknownLabelError as error:
                faults[str(error)] = None
            count.advance()
    if faults:
        more = [f"and {len(faults) - _SHOWN} more faults of other jobs"] if len(faults) > _SHOWN else []
        raise RequestError(*list(faults)[:_SHOWN], *more)
    for line in dict.fromkeys(line for one in composed.values() for line in one.notes):
        print(f"note: {line}", flush=True)
    if composed:
        print(*shared_lines([resolution(one.config, one.plan) for one in composed.values()]), sep="\n", flush=True)
    return composed


class _Count:
    """Tells in a log how many jobs have been checked where that takes longer than a moment; silent where it does not."""

    def __init__(self, jobs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._done, self._clock = jobs, 0, clock
        self._next = clock() + _MOMENT_SECONDS

    def advance(self) -> None:
        self._done += 1
        if self._done < self._jobs and not sys.stderr.isatty() and self._clock() >= self._next:
            self._next = self._clock() + _PAUSE_SECONDS
            print(f"checking jobs: {self._done} of {self._jobs}", file=sys.stderr, flush=True)


def known_trial(job: Sequence[str], checked: Checked) -> Known:
    """The trial that a checked job stands for."""
    folder = trial_folder(checked.config, checked.plan, job)
    return Known(folder, checked.plan.identity, bytes_needed(checked.config, checked.plan), checked.plan.stages)


def announce(sweep_plan: SweepPlan, workers: int) -> None:
    """Say what the multirun will do and take, and which finished trials another version computed."""
    to_do = [sweep_plan.entries[number] for number in sweep_plan.to_do]
    left = Counter(entry.settled for entry in sweep_plan.entries if entry.settled)
    parts = [_trials(len(sweep_plan.entries)), *(f"{count} {why}" for why, count in left.items()), f"{len(to_do)} to do"]
    if to_do:
        stages = [stage for entry in to_do for stage in entry.known.stages]
        images = sum(entry.known.bytes for entry in to_do) / 1e9
        time_left = estimate(sweep_plan.store, stages).shared_among(workers, len(to_do))
        parts += [str(time_left), f"up to {images:.1f} GB of images"]
    print(f"{sweep_plan.study}: {'; '.join(parts)}", flush=True)
    for line in _other_versions(sweep_plan):
        print(line, flush=True)


def _other_versions(sweep_plan: SweepPlan) -> list[str]:
    """A line for each library, and one for the commit, that differs from what computed finished trials."""
    done = [entry.known.folder for entry in sweep_plan.entries if entry.settled]
    now = {**versions(), "commit": commit()} if done else {}
    then: Counter[tuple[str, str]] = Counter()
    for folder in done:
        with suppress(RequestError):  # one that cannot be read names no version
            then.update((name, value) for name, value in computed_by(folder).items() if value != now.get(name))
    return [f"note: {_trials(count)} finished with {name} {value}, now {now.get(name)}" for (name, value), count in sorted(then.items())]


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
