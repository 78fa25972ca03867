"""Pruning: a training that a search watches reports each validation to Optuna, and stops where that says so. No torch.

Which trial of which search a process serves stands in its environment; where nothing stands, nothing is reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.ledger import interruption

if TYPE_CHECKING:
    import optuna

VARIABLE = "PATHSYNTH_SEARCH"
FOLDER, REASON = "folder", "reason"
"""Attributes of an Optuna trial: the last folder of its trials, and why it failed or was pruned."""
OBJECTIVES = "objectives"
"""Attribute of an Optuna study: the names of the metrics that it is about."""


@dataclass(frozen=True)
class SearchedTrial:
    """Trial ``number`` of the search ``study`` in ``storage`` (a URL, or the path of a journal); ``pruner``: its name or node."""

    storage: str
    study: str
    number: int
    pruner: str | dict[str, Any] | None

    def to_text(self) -> str:
        """Text for the environment variable; :meth:`from_environment` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> SearchedTrial | None:
        """The trial of a search that this process carries out; None outside a search."""
        text = os.environ.get(VARIABLE)
        return cls(**json.loads(text)) if text else None


class Pruning:
    """Reports scores to a search, and asks this process to stop where the search prunes its trial.

    The request is the same as a signal's: the training keeps a checkpoint at the start of the next step and ends.
    """

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    @classmethod
    def of_this_process(cls) -> Pruning | None:
        """That of the search that started this process; None where none did, or it does not prune within a training."""
        searched = SearchedTrial.from_environment()
        if searched is None or searched.pruner is None:
            return None
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(study_name=searched.study, storage=open_storage(searched.storage), pruner=build_pruner(searched.pruner))
        (frozen,) = (t for t in study.get_trials(deepcopy=False) if t.number == searched.number)
        return cls(optuna.trial.Trial(study, frozen._trial_id))

    def report(self, validation: int, step: int, last_step: int, score: float) -> None:
        """Report the score of the training's n-th ``validation`` (from 1), after ``step`` steps of ``last_step``.

        The last validation prunes nothing: the adapter is trained by then.
        """
        known = self._trial.study.get_trials(deepcopy=False)[self._trial.number].intermediate_values
        if validation not in known:
            self._trial.report(score, validation)
        if step < last_step and self._trial.should_prune():
            interruption.note(f"pruned at step {step}")


def open_storage(place: str) -> optuna.storages.BaseStorage:
    """The storage behind a URL, or the journal at a path.

    What a killed process leaves of the journal's lock is a file, which others see grow old and remove after 30 s. Optuna's other lock
    is a link to the journal, and a link to a relative path, or in a folder that was moved, leads nowhere: others would wait for ever.
    """
    from optuna import storages
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if "://" not in place:
        return storages.JournalStorage(JournalFileBackend(place, JournalFileOpenLock(place)))
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(2):
        with suppress(IntegrityError, ProgrammingError):  # two machines make the tables of a new database at once: one is refused
            return storages.RDBStorage(place)
    return storages.RDBStorage(place)


def build_pruner(pruner: str | Mapping[str, Any] | None) -> optuna.pruners.BasePruner:
    """The pruner of that name, or of a node with ``_target_``."""
    from hydra.utils import instantiate
    from optuna import pruners

    if pruner is None:
        return pruners.NopPruner()
    if isinstance(pruner, str):
        named = {"median": pruners.MedianPruner, "hyperband": pruners.HyperbandPruner, "wilcoxon": pruners.WilcoxonPruner}
        return named[pruner]()
    return instantiate(dict(pruner))


def journal_of(study_folder: Path) -> str:
    """Where a search without a database keeps what it knows."""
    return str(study_folder / "search.journal")
