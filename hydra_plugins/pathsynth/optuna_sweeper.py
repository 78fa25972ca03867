"""A sweeper that searches: Optuna proposes, trials answer. ``hydra/sweeper=optuna``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.pathsynth.sweeper import Job, TrialSweeper

if TYPE_CHECKING:
    from pathsynth.studies.planning.override_cache import Known
    from pathsynth.studies.planning.search import Proposal, Search, Space


class OptunaSweeper(TrialSweeper):
    """The grid's sweeper with Optuna in the place of the grid.

    Both ends of every interval and each choice are composed and checked before anything starts. A proposal is tried with each
    seed. Trials that another process carries out are waited for at the end. What was asked and not answered continues first.
    """

    def __init__(self, params: dict[str, str] | None = None, **settings: Any) -> None:
        super().__init__(max_batch_size=None, params=params)
        self._settings = settings
        self._made: list[Job] = []

    def _swept(self, arguments: list[str]) -> Any:
        _require_optuna()
        from pathsynth.config.search import search_config
        from pathsynth.studies.planning.composed import ComposedJobs
        from pathsynth.studies.planning.request_check import check
        from pathsynth.studies.planning.search import Search, parse_space, refuse_idle_pruner
        from pathsynth.studies.planning.sweep_plan import check_jobs
        from pathsynth.studies.planning.swept_values import check_swept_values
        from pathsynth.studies.trials.outcomes import pass_over_busy
        from pathsynth.terminal.work_line import working_on

        assert self.config is not None and self.hydra_context is not None
        launcher_faults = self._launcher_faults()
        config = search_config(self._settings)
        self.hydra_context.config_loader = ComposedJobs(self.hydra_context.config_loader)  # the launcher's, too
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        check_swept_values(overrides)
        with working_on("loading Optuna"):
            space = parse_space(overrides)
        corners = check_jobs(dict(enumerate(space.corners())), lambda job: check(self._composed(job), job), launcher_faults)
        refuse_idle_pruner(config, space, corners[0].config)
        study = self._study
        if study.dry_run:
            print(f"{study.name}: search over {space.describe()}; {config.n_trials} trials at most; nothing was started")
            return None
        with working_on("preparing the launcher and the search"):
            self._prepare_launcher()
            self._write_snapshot()
            search = Search(config, space, Path(self.config.multirun) / study.name, study.lease_seconds)
        print(f"{study.name}: {search.describe()}", flush=True)
        with self._on_copy():
            pass_over_busy(True)
            self._searched(search, space, config.n_jobs or self._at_once())
            pass_over_busy(False)
            left = search.unfinished()
            if left and not self._stopped():
                print(f"{len(left)} of the search's trials are running in another process; waiting for the end", flush=True)
                self._tried(left, search, space)
        print(f"{study.name}: {search.summary()}", flush=True)
        return None

    def _searched(self, search: Search, space: Space, at_once: int) -> None:
        """Answer proposals until the search has had its trials, those first that were left unanswered."""
        waiting = search.unfinished()
        while not self._stopped():
            batch, waiting = waiting[:at_once], waiting[at_once:]
            batch = batch or search.ask(at_once)
            if not batch:
                return
            self._tried(batch, search, space)

    def _tried(self, batch: Sequence[Proposal], search: Search, space: Space) -> None:
        """Carry out the trials of some proposals side by side, seed after seed, and answer each as soon as it is settled."""
        folders: dict[int, list[Path]] = {proposal.number: [] for proposal in batch}
        active = list(batch)
        for turn in range(max(1, len(space.seeds))):
            if not active or self._stopped():
                return
            last = turn == max(1, len(space.seeds)) - 1
            jobs = [space.jobs(proposal.values)[turn] for proposal in active]
            outcomes = self._carried_out(active, jobs, search, turn)
            active = [p for p, outcome in zip(active, outcomes, strict=True) if self._goes_on(p, outcome, folders, search, turn, last)]

    def _carried_out(self, proposals: Sequence[Proposal], jobs: Sequence[Job], search: Search, turn: int) -> list[Any]:
        """What became of each job; None for one that another process carries out, or that was not begun."""
        from pathsynth.studies.trials.outcomes import read_outcome, write_searched

        places = range(len(self._made), len(self._made) + len(jobs))
        self._made += jobs
        for job in jobs:
            self._composed(job)  # here, where the files are as they were read first; a worker may be sent what was composed only
        for place, proposal in zip(places, proposals, strict=True):
            write_searched(place, search.searched(proposal, turn))
        trials = self._known(dict(zip(places, jobs, strict=True))) if self._shared_first else {}
        over = trials.keys() - self._after_shared(self._made, trials)
        self._launched(self._made, [place for place in places if place not in over])
        return [read_outcome(place) for place in places]

    def _known(self, jobs: Mapping[int, Job]) -> dict[int, Known]:
        """The trials of those jobs whose request is right; the others are refused when their turn comes, and the search goes on."""
        from pathsynth.ledger.errors import RequestError
        from pathsynth.studies.planning.request_check import check
        from pathsynth.studies.planning.sweep_plan import known_trial
        from pathsynth.vocabulary.labels import UnknownLabelError

        known = {}
        for place, job in jobs.items():
            with suppress(RequestError, UnknownLabelError):
                known[place] = known_trial(job, check(self._composed(job), job))
        return known

    def _goes_on(self, proposal: Proposal, outcome: Any, folders: dict[int, list[Path]], search: Search, turn: int, last: bool) -> bool:
        """Whether to try the proposal's next seed; where not, and its end is known, the search gets its score."""
        from pathsynth.studies.trials.state import DONE, FAILED, PRUNED, read_state

        if outcome is None or outcome.busy:
            return False
        if outcome.refused or outcome.folder is None:
            print(search.report_failure(proposal, outcome.refused), flush=True)
            return False
        search.note_folder(proposal, outcome.folder)
        state = read_state(outcome.folder)
        if state.state == PRUNED:
            print(search.report_pruning(proposal, state.reason), flush=True)
        elif state.state == FAILED:
            print(search.report_failure(proposal, state.reason), flush=True)
        elif state.state == DONE:
            return self._scored(proposal, outcome.folder, folders, search, turn, last)
        return False

    def _scored(self, proposal: Proposal, folder: Path, folders: dict[int, list[Path]], search: Search, turn: int, last: bool) -> bool:
        own = folders[proposal.number]
        own.append(folder)
        if last:
            print(search.report_done(proposal, own), flush=True)
            return False
        if search.prunes_after(proposal, turn, folder):
            print(search.report_pruning(proposal, f"pruned after {turn + 1} seeds" if turn else "pruned after its first seed"), flush=True)
            return False
        return True


def _require_optuna() -> None:
    from pathsynth.ledger.errors import RequestError

    if find_spec("optuna") is None:
        raise RequestError("hydra/sweeper=optuna needs Optuna; install it: pip install 'pathsynth[optuna]'")
