"""A sweeper that checks every job before anything starts, skips what is done, and shares a study with other processes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.pathsynth.prepared import PreparedLauncher
from pathsynth.hydra_internals import BasicSweeper

if TYPE_CHECKING:
    from pathsynth.config import StudyConfig
    from pathsynth.stages.stage import StagePlan
    from pathsynth.studies.planning.override_cache import Known, OverrideCache

Job = Sequence[str]

_FORKING = (".BasicLauncher", ".JoblibLauncher")
"""Launchers whose workers last as long as the command, and fork their trials from a server."""


class TrialSweeper(BasicSweeper):
    """Hydra's basic sweeper with six things more.

    One job whose request is wrong stops the multirun before it begins. A job whose trial is known (from the study's cache) and
    finished is neither composed nor launched. Trials that another process is carrying out get another turn after all
    others. What several trials share can be built by jobs of its own before them. The estimated time of the study is printed
    before it starts. A job runs as it was composed then, also if files of the configuration change meanwhile.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Check every job of the sweep, then launch those that are not finished."""

        from pathsynth.config.hydra_node import hydra_node_of

        assert self.config is not None
        with hydra_node_of(self.config):  # the study's name may refer to it
            return self._swept(arguments)

    def _swept(self, arguments: list[str]) -> Any:
        from pathsynth.studies.planning.composed import ComposedJobs
        from pathsynth.studies.planning.dry_run import show_dry_run
        from pathsynth.studies.planning.request_check import check
        from pathsynth.studies.planning.sweep_plan import announce, check_jobs, sweep_plan
        from pathsynth.studies.trials.outcomes import pass_over_busy
        from pathsynth.studies.trials.stopping import raise_at_once
        from pathsynth.terminal.work_line import working_on

        assert self.config is not None and self.hydra_context is not None
        launcher_faults = self._launcher_faults()
        self.hydra_context.config_loader = ComposedJobs(self.hydra_context.config_loader)  # the launcher's, too
        jobs = self._jobs(arguments)
        study = self._study
        if study.dry_run:
            numbered = dict(enumerate(jobs))
            show_dry_run(numbered, check_jobs(numbered, lambda job: check(self._composed(job), job), launcher_faults), self._at_once())
            return []
        cache, prepare = self._override_cache(), self._prepare_launcher
        before = sweep_plan(jobs, study, cache, lambda job: check(self._composed(job), job), prepare, launcher_faults)
        with working_on("composing jobs"), raise_at_once():
            for number in before.to_do:
                self._composed(jobs[number])  # those that the cache knew are not composed yet
        announce(before, self._at_once() if before.to_do else 1)
        self._write_snapshot()
        before.write_outcomes()
        with self._on_copy(bool(before.to_do)):
            pass_over_busy(True)
            returns, left = self._launched(jobs, self._after_shared(jobs, before.unfinished))
            pass_over_busy(False)
            if left:
                held = "1 trial is" if len(left) == 1 else f"{len(left)} trials are"
                print(f"{held} running in another process; waiting for the end", flush=True)
                returns += self._launched(jobs, left)[0]
        return returns

    def _after_shared(self, jobs: Sequence[Job], trials: Mapping[int, Known]) -> list[int]:
        """First build what several of the trials share, if the study wants it so; the places of those that are left to carry out.

        A trial that failed or was pruned at that has had its turn; where a failure stops the study, so have all. Where a stage was
        not built, the trials themselves go on.
        """
        from pathsynth.studies.planning.shared_stages import describe_jobs, shared_jobs
        from pathsynth.studies.trials.outcomes import write_shared_stages
        from pathsynth.studies.trials.state import FAILED, PRUNED, read_state

        left, plans, built = list(trials), {place: known.stages for place, known in trials.items()}, True
        while self._shared_first and built and not self._stopped() and (shared := shared_jobs(plans, self._is_finished)):
            print(describe_jobs(shared), flush=True)
            write_shared_stages({job.number: job.stages for job in shared})
            self._launched(jobs, [job.number for job in shared])
            write_shared_stages({})
            over = {job.number for job in shared if read_state(trials[job.number].folder).state in (FAILED, PRUNED)}
            left = [place for place in left if place not in over]
            built = all(self._is_finished(stage) for job in shared for stage in plans[job.number] if stage.name in job.stages)
        return [] if self._shared_first and self._stopped() else left

    @property
    def _shared_first(self) -> bool:
        from pathsynth.studies.planning.workers import on_cluster

        assert self.config is not None
        wanted = self._study.shared_first
        return on_cluster(self.config.hydra.launcher) if wanted is None else wanted

    @property
    def _study(self) -> StudyConfig:
        from pathsynth.config import StudyConfig

        assert self.config is not None
        return StudyConfig.model_validate(OmegaConf.to_container(self.config.study, resolve=True))

    def _is_finished(self, stage: StagePlan) -> bool:
        from pathsynth.ledger.stages import STAGES, StageStore

        assert self.config is not None
        return StageStore(Path(self.config.multirun) / STAGES).find(stage.name, stage.identity) is not None

    def _stopped(self) -> bool:
        """Whether a failure has stopped the study; raises KeyboardInterrupt where the operator has."""
        from pathsynth.studies.trials.stopping import raise_if_stop_requested, stopped_by_failure

        raise_if_stop_requested()
        return stopped_by_failure()

    def _launcher_faults(self) -> tuple[str, ...]:
        """Why no job can be submitted; empty where one can. RequestError where a setting of the launcher is wrong."""
        assert self.config is not None
        if self._submits_to_slurm and shutil.which("srun") is None:
            remedy = "start the command on a machine where Slurm's srun works, or leave the launcher out"
            return (f"hydra/launcher submits jobs to Slurm, and there is no srun here; {remedy}",)
        if isinstance(self.launcher, PreparedLauncher):
            self.launcher.check()
        return ()

    def _write_snapshot(self) -> None:
        """Keep what the jobs are composed from, and the code that carries them out."""
        from pathsynth.ledger.atomic import write_text
        from pathsynth.studies.planning.snapshot import write_snapshot
        from pathsynth.studies.trials.hydra_files import yaml_without_secrets

        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "multirun.yaml", yaml_without_secrets(self.config))
        write_snapshot(folder)

    def _on_copy(self, needed: bool = True) -> AbstractContextManager[None]:
        """While trials run: where new processes start later, they start from the program as it is now."""
        from pathsynth.studies.execution.trial_fork import can_fork
        from pathsynth.studies.planning.code_copy import can_be_edited, copy_code, started_from

        assert self.config is not None
        forks = str(self.config.hydra.launcher.get("_target_")).endswith(_FORKING) and can_fork()
        folder = Path(self.config.hydra.sweep.dir)
        if forks or not needed or not can_be_edited(folder):
            return nullcontext()
        return started_from(copy_code(folder, Path(__file__).parent))

    def _prepare_launcher(self) -> None:
        """Raises RequestError where the launcher finds that no job could run."""
        from pathsynth.studies.execution.slurm_nodes import require_seen_by_slurm

        assert self.config is not None
        if isinstance(self.launcher, PreparedLauncher):
            self.launcher.prepare()
        elif self._submits_to_slurm:
            require_seen_by_slurm(Path(self.config.multirun).expanduser().absolute(), self.config.hydra.launcher)

    @property
    def _submits_to_slurm(self) -> bool:
        assert self.config is not None
        return str(self.config.hydra.launcher.get("_target_")).endswith(".SlurmLauncher")

    def _at_once(self) -> int:
        """How many trials the launcher runs at once."""
        from pathsynth.studies.planning.workers import trials_at_once

        assert self.config is not None
        return self.launcher.at_once() if isinstance(self.launcher, PreparedLauncher) else trials_at_once(self.config.hydra)

    def _jobs(self, arguments: list[str]) -> list[Job]:
        """The overrides of every job.

        Raises:
            RequestError: an override sweeps over nothing, or over other values than it names.
        """
        from pathsynth.studies.planning.swept_values import check_swept_values

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        check_swept_values(overrides)
        return [job for batch in self.split_arguments(overrides, None) for job in batch]

    def _parse_config(self) -> list[str]:
        """The swept values that a study names; a plus before a known key is taken as on the command line."""
        from pathsynth.commands.quoting import accept_plus

        return accept_plus(super()._parse_config())

    def _override_cache(self) -> OverrideCache:
        from pathsynth.studies.planning.override_cache import OverrideCache, tree_digest

        assert self.config is not None and self.hydra_context is not None
        elements = self.hydra_context.config_loader.get_search_path().get_path()
        folders = [Path(e.path.removeprefix("file://")) for e in elements if e.path and e.path.startswith("file://")]
        return OverrideCache(Path(self.config.multirun) / self.config.study.name, tree_digest(self.config.hydra.job.config_name, folders))

    def _launched(self, jobs: Sequence[Job], places: Sequence[int]) -> tuple[list[Any], list[int]]:
        """Launch the jobs at those places in the sweep; what the launcher returned for each batch, and the places of busy trials."""
        from pathsynth.studies.execution.trials_display import display_for
        from pathsynth.studies.trials.outcomes import number_jobs, read_outcome

        assert self.launcher is not None
        returns: list[Any] = []
        first = number_jobs(places)
        launched = [list(jobs[place]) for place in places]
        for batch in self.split_overrides_to_chunks(launched, self.max_batch_size) if launched else ():
            display = display_for(self._at_once())  # None where it is not for the command to draw
            with display.shown() if display else nullcontext():
                results = self.launcher.launch(batch, initial_job_idx=first)
            for result in results:
                _ = result.return_value  # raises what the job raised
            returns.append(results)
            first += len(batch)
        outcomes = {place: read_outcome(place) for place in places}
        return returns, [place for place, outcome in outcomes.items() if outcome and outcome.busy]

    def _composed(self, job: Job) -> DictConfig:
        assert self.hydra_context is not None and self.config is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
