"""A search over settings by Optuna's ask and tell: what may be proposed, what each trial answered, and how a killed search continues.

All that is known stands in Optuna's storage. Proposal n depends on the sampler's seed, on n and on the answers so far, so a search that
was killed and started again proposes what it would have proposed. No torch (but for the sampler gp, which is built on it).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.utils import instantiate
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from pathsynth.config import RunConfig
from pathsynth.config.search import MetricName, SearchConfig
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import Lease, acquire
from pathsynth.ledger.records import read_metrics
from pathsynth.studies.trials.stopping import raise_if_stop_requested
from pathsynth.training.pruning import FOLDER, OBJECTIVES, REASON, SearchedTrial, build_pruner, journal_of, open_storage

ARTIFACTS = "search.artifacts"
"""The folder of a study that holds the sheets of its trials, for optuna-dashboard."""
_SEED = "seed"
_PLACE = "study_folder"
"""Attribute of an Optuna trial: which study folder its trials lie in, for only who sees that folder can take it up again."""


@dataclass(frozen=True)
class Space:
    """What is searched: a distribution for each key, the overrides that stay as they are, and the seeds of each proposal."""

    fixed: tuple[str, ...]
    dimensions: Mapping[str, BaseDistribution]
    texts: Mapping[str, Mapping[Any, str]]
    """For a categorical key, each choice as it stands in an override."""
    seeds: tuple[str, ...] = ()

    def overrides(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The overrides of one proposal, without its seed."""
        return (*self.fixed, *(f"{key}={self._text(key, values[key])}" for key in self.dimensions))

    def jobs(self, values: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """The overrides of a proposal's trials, one for each seed."""
        own = self.overrides(values)
        return [(*own, f"{_SEED}={seed}") for seed in self.seeds] or [own]

    def corners(self) -> Iterator[tuple[str, ...]]:
        """A job for each choice, and for both ends of each interval, so that a wrong key or value is found before anything starts."""
        first = {key: _ends(distribution)[0] for key, distribution in self.dimensions.items()}
        for values in [first, *({**first, key: end} for key, d in self.dimensions.items() for end in _ends(d)[1:])]:
            yield from self.jobs(values)[:1]
        yield from self.jobs(first)[1:]

    def describe(self) -> str:
        """The space as a person reads it: "lora.rank (1, 4, 16), optimizer.lr (0.001 to 0.1, log)"."""
        return ", ".join(f"{key} ({_describe(distribution)})" for key, distribution in self.dimensions.items())

    def _text(self, key: str, value: Any) -> str:
        return self.texts[key][value] if key in self.texts else repr(value)


def parse_space(overrides: Sequence[Override]) -> Space:
    """The space that overrides describe; of a key given twice the last counts, as in Hydra's own sweeper.

    Raises:
        RequestError: nothing is searched, or an interval has no width.
    """
    fixed: dict[str, str] = {}
    dimensions: dict[str, BaseDistribution] = {}
    texts: dict[str, dict[Any, str]] = {}
    seeds: tuple[str, ...] = ()
    for override in overrides:
        key = override.get_key_element()
        for known in (fixed, dimensions, texts):
            known.pop(key, None)
        if not override.is_sweep_override():
            fixed[key] = f"{key}={override.get_value_element_as_str()}"
        elif key == _SEED and override.is_discrete_sweep():
            seeds = tuple(override.sweep_string_iterator())
        elif override.is_interval_sweep():
            dimensions[key] = _interval(key, override.value())
        elif override.is_range_sweep() and _whole(override.value()):
            dimensions[key] = _range(override.value())
        else:
            texts[key] = {_typed(text): text for text in override.sweep_string_iterator()}
            dimensions[key] = CategoricalDistribution(list(texts[key]))
    if not dimensions:
        remedy = "give a key several values or an interval, as in lora.rank=1,4,16 'optimizer.lr=tag(log,interval(1e-3,1e-1))'"
        raise RequestError(f"there is nothing to search; {remedy}")
    return Space(tuple(fixed.values()), dimensions, texts, seeds)


def refuse_idle_pruner(config: SearchConfig, space: Space, trial: RunConfig) -> None:
    """Refuse a pruner that never gets a score to prune by.

    Raises:
        RequestError: it compares seeds and there are fewer than two, or validations and the trial has none.
    """
    if config.prunes_seeds and len(space.seeds) < 2:
        raise RequestError("hydra.sweeper.pruner=wilcoxon compares proposals seed by seed; give seeds, as in seed=0,1,2")
    if config.pruner and not config.prunes_seeds and not trial.validation.every:
        remedy = "set callbacks.regeneration.every, or leave out the pruner"
        raise RequestError(f"hydra.sweeper.pruner prunes at validations, and there are none; {remedy}")


def _interval(key: str, sweep: Any) -> BaseDistribution:
    assert isinstance(sweep, IntervalSweep)
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if low is None or high is None or not low < high or (log and low <= 0):
        wanted = "from a smaller to a larger number" + (", both above 0" if log else "")
        raise RequestError(f"{key}: interval({low}, {high}) should go {wanted}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(sweep: Any) -> IntDistribution:
    """As Hydra's ``range``, which leaves out its end."""
    values = sweep.range()
    return IntDistribution(min(values), max(values), step=abs(values.step))


def _whole(sweep: Any) -> bool:
    return isinstance(sweep, RangeSweep) and isinstance(points := sweep.range(), range) and bool(points)


def _typed(text: str) -> int | float | str:
    """A choice as Optuna keeps it: a number where it is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def _describe(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = f", steps of {distribution.step}" if isinstance(distribution, IntDistribution) and distribution.step > 1 else ""
    return f"{distribution.low:g} to {distribution.high:g}" + (", log" if distribution.log else "") + step


@dataclass(frozen=True)
class Proposal:
    """One trial of the search: its number in Optuna's storage, and the value of each key."""

    number: int
    values: Mapping[str, Any]


class Search:
    """A search that may be shared: several processes ask and tell through the same storage.

    Args:
        config: the search's settings.
        space: what may be proposed.
        folder: the study's, which holds its trials.
        lease_seconds: how long another process may hold the right to ask before it counts as gone.

    Raises:
        RequestError: the storage cannot be used, or holds a search with other directions.
    """

    def __init__(self, config: SearchConfig, space: Space, folder: Path, lease_seconds: float) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._config, self._space, self._folder, self._lease_seconds = config, space, folder, lease_seconds
        self._place = _token(folder)
        self.storage = config.storage or journal_of(folder)
        self._study = self._opened()

    def _opened(self) -> optuna.Study:
        wanted = list(self._config.directions)
        try:
            with self._alone():
                study = optuna.create_study(
                    storage=open_storage(self.storage),
                    study_name=self._folder.name,
                    directions=wanted,
                    pruner=build_pruner(self._config.pruner),
                    load_if_exists=True,
                )
        except Exception as error:  # a database's driver raises what it likes
            raise RequestError(f"the search's storage {_without_password(self.storage)} cannot be used: {error}") from error
        kept = [direction.name.lower() for direction in study.directions]
        if kept != wanted:
            remedy = "set study.name to begin another"
            raise RequestError(f"the search {self._folder.name} has direction {', '.join(kept)}, not {', '.join(wanted)}; {remedy}")
        if study.user_attrs.get(OBJECTIVES) != list(self._config.objectives):
            study.set_user_attr(OBJECTIVES, list(self._config.objectives))
        return study

    def _alone(self) -> Lease:
        """The right to open or ask; commands that share the study's folder have it one after the other.

        Raises:
            KeyboardInterrupt: the command was asked to stop while another process had it.
        """
        lease = acquire(self._folder / ".search", self._lease_seconds, check=raise_if_stop_requested)
        assert lease
        return lease

    def searched(self, proposal: Proposal, turn: int) -> SearchedTrial:
        """What a training needs to report to this search. The training of a proposal's first seed may be pruned, no other."""
        pruner = None if turn or self._config.prunes_seeds else self._config.pruner
        return SearchedTrial(self.storage, self._study.study_name, proposal.number, pruner)

    def unfinished(self) -> list[Proposal]:
        """Proposals that were made and not answered, by this process or one that is gone: their trials continue where they stand."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [self._values(frozen.number) for frozen in running if frozen.user_attrs.get(_PLACE, self._place) == self._place]

    def ask(self, count: int) -> list[Proposal]:
        """At most ``count`` new proposals; fewer, or none, when the search has had its trials.

        Raises:
            KeyboardInterrupt: the command was asked to stop while another process was asking.
        """
        with self._alone():
            proposals: list[Proposal] = []
            while len(proposals) < count and len(self._study.get_trials(deepcopy=False)) < self._limit():
                number = len(self._study.get_trials(deepcopy=False))
                self._study.sampler = self._sampler(number)
                trial = self._study.ask()
                trial.set_user_attr(_PLACE, self._place)
                proposals.append(Proposal(trial.number, self._suggested(trial)))
        return proposals

    def prunes_after(self, proposal: Proposal, turn: int, folder: Path) -> bool:
        """Report the score of a proposal's trial with its seed number ``turn``; whether its other seeds are to be left out."""
        if not self._config.prunes_seeds:
            return False
        trial = self._trial(proposal.number)
        if turn not in self._frozen(proposal.number).intermediate_values:
            trial.report(score_of(folder, self._config.objectives[0]), turn)
        return trial.should_prune()

    def report_done(self, proposal: Proposal, folders: Sequence[Path]) -> str:
        """Answer with the mean over the seeds of each objective, as ``result.json`` in ``folders`` has them; a line for a person."""
        try:
            values = [_mean(folders, name) for name in self._config.objectives]
            self._constrain(proposal, folders)
        except RequestError as error:
            return self.report_failure(proposal, str(error))
        self._show(proposal, folders)
        self._study.tell(proposal.number, values, skip_if_finished=True)
        scores = ", ".join(f"{name} {value:.3f}" for name, value in zip(self._config.objectives, values, strict=True))
        return f"search trial {proposal.number}: {scores}"

    def report_failure(self, proposal: Proposal, reason: str) -> str:
        """Answer that there is no score, and why; a line for a person."""
        self._set(proposal, REASON, reason)
        self._study.tell(proposal.number, state=TrialState.FAIL, skip_if_finished=True)
        return f"search trial {proposal.number} failed: {reason}"

    def report_pruning(self, proposal: Proposal, reason: str) -> str:
        """Answer that the proposal was not worth its end; a line for a person."""
        self._set(proposal, REASON, reason)
        self._study.tell(proposal.number, state=TrialState.PRUNED, skip_if_finished=True)
        return f"search trial {proposal.number} {reason}"

    def note_folder(self, proposal: Proposal, folder: Path) -> None:
        """Keep where a proposal's trial lies, for who looks at the search from outside."""
        self._set(proposal, FOLDER, folder.name)

    def summary(self) -> str:
        """How many trials there are of how many, and the best so far."""
        trials = self._study.get_trials(deepcopy=False)
        counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        words = {
            TrialState.COMPLETE: "with a score",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "failed",
            TrialState.RUNNING: "under way",
        }
        parts = [f"{len(trials)} of {self._limit()} trials", *(f"{counts[state]} {word}" for state, word in words.items() if counts[state])]
        return "; ".join([", ".join(parts), *self._best()])

    def describe(self) -> str:
        """What is searched and how, in one line."""
        pruner = f", pruned by {self._config.pruner}" if isinstance(self._config.pruner, str) else ""
        seeds = f", each with seeds {', '.join(self._space.seeds)}" if self._space.seeds else ""
        return f"search over {self._space.describe()}{seeds}; sampler {_name(self._config.sampler)}{pruner}; {self.summary()}"

    def _best(self) -> list[str]:
        try:
            best = self._study.best_trials
        except (ValueError, RuntimeError):
            return []
        if not best:
            return []
        if len(self._config.objectives) > 1:
            return [f"{len(best)} that no other trial beats in every objective: {', '.join(str(trial.number) for trial in best)}"]
        (value,) = best[0].values
        return [f"best: trial {best[0].number}, {self._config.objectives[0]} {value:.3f} with {_format(best[0].params)}"]

    def _limit(self) -> int:
        """Trials of the search; a grid has no more than its points."""
        return min(self._config.n_trials, self._grid_size()) if self._config.sampler == "grid" else self._config.n_trials

    def _grid_size(self) -> int:
        return int(np.prod([len(points) for points in _grid(self._space).values()]))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of proposal ``number``: its random numbers are that proposal's own, whichever process asks."""
        seed = int(np.random.SeedSequence([self._config.seed, number]).generate_state(1)[0])
        sampler, samplers = self._config.sampler, optuna.samplers
        if isinstance(sampler, Mapping):
            return instantiate(dict(sampler))
        if sampler == "grid":
            return _GridSampler(_grid(self._space), seed=self._config.seed)
        if sampler == "qmc":
            alone = samplers.RandomSampler(seed)  # until a trial has a score it proposes, and the sampler's own would repeat itself
            return samplers.QMCSampler(seed=self._config.seed, scramble=True, independent_sampler=alone, warn_independent_sampling=False)
        if sampler == "gp":
            return samplers.GPSampler(seed=seed)
        return samplers.RandomSampler(seed) if sampler == "random" else samplers.TPESampler(seed=seed, constant_liar=True)

    def _values(self, number: int) -> Proposal:
        """A proposal that was begun; what a kill kept from being written is drawn as it would have been."""
        self._study.sampler = self._sampler(number)
        return Proposal(number, self._suggested(self._trial(number)))

    def _suggested(self, trial: Trial) -> dict[str, Any]:
        return {key: _suggest(trial, key, distribution) for key, distribution in self._space.dimensions.items()}

    def _constrain(self, proposal: Proposal, folders: Sequence[Path]) -> None:
        trial = self._trial(proposal.number)
        for name, bound in self._config.constraints.items():
            if name not in trial.constraints:
                trial.set_constraint(name, _mean(folders, name) - bound)

    def _show(self, proposal: Proposal, folders: Sequence[Path]) -> None:
        """Keep the sheets of a proposal's trials as artifacts, for optuna-dashboard; each once, though a kill may come between."""
        if self._frozen(proposal.number).state.is_finished():
            return
        trial = self._trial(proposal.number)
        known = Counter(kept.filename for kept in get_all_artifact_meta(trial))
        sheets = [sheet for folder in folders for sheet in (folder / "sheet.png", *sorted((folder / "grids").glob("*.png")))]
        place = self._folder / ARTIFACTS
        place.mkdir(exist_ok=True)
        store = FileSystemArtifactStore(str(place))
        for sheet in sheets:
            known[sheet.name] -= 1
            if known[sheet.name] < 0 and sheet.is_file():
                upload_artifact(artifact_store=store, file_path=str(sheet), study_or_trial=trial)

    def _set(self, proposal: Proposal, key: str, value: str) -> None:
        if not self._frozen(proposal.number).state.is_finished():
            self._trial(proposal.number).set_user_attr(key, value)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _trial(self, number: int) -> Trial:
        return Trial(self._study, self._frozen(number)._trial_id)


class _GridSampler(optuna.samplers.GridSampler):
    """Optuna's, which would stop Optuna's own loop after the last point; here the number of trials ends the search."""

    def after_trial(self, *_: Any) -> None:
        pass


def score_of(folder: Path, name: str) -> float:
    """A metric of a finished trial, by the scorer that ``name`` says; else by the first that has it.

    Raises:
        RequestError: ``result.json`` cannot be read, or does not have the metric.
    """
    wanted = MetricName.parse(name)
    found = read_metrics(folder / "result.json", wanted.metric, wanted.stage)
    by = {metric.scorer: metric.value for metric in found}
    for scorer in [wanted.scorer] if wanted.scorer else ["gate", "judge", *by]:
        if scorer in by:
            return by[scorer]
    raise RequestError(f"the result of {folder.name} has no {name}; choose another metric of result.json")


def _mean(folders: Sequence[Path], name: str) -> float:
    return float(np.mean([score_of(folder, name) for folder in folders]))


def _suggest(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)


def _grid(space: Space) -> dict[str, list[Any]]:
    """The points of a grid.

    Raises:
        RequestError: an interval of real numbers has no points.
    """
    points: dict[str, list[Any]] = {}
    for key, distribution in space.dimensions.items():
        if isinstance(distribution, CategoricalDistribution):
            points[key] = list(distribution.choices)
        elif isinstance(distribution, IntDistribution):
            points[key] = list(range(distribution.low, distribution.high + 1, distribution.step))
        else:
            raise RequestError(f"hydra.sweeper.sampler=grid needs points, and {key} is an interval; list its values")
    return points


def _token(folder: Path) -> str:
    """What names this study folder, wherever it is seen from."""
    path = folder / ".search.id"
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as handle:
        handle.write(uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


def _format(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items())


def _name(choice: str | Mapping[str, Any]) -> str:
    return choice if isinstance(choice, str) else str(choice["_target_"]).rpartition(".")[2]


def _without_password(url: str) -> str:
    """A database's address without its user and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url
