"""What the study page shows of a search by Optuna: how it went, what it pruned, and which settings mattered. Reads the study's journal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.training.pruning import FOLDER, OBJECTIVES, REASON, journal_of, open_storage

if TYPE_CHECKING:
    import optuna

_WORDS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
_LEAST_SCORES = 4
"""Trials with a score of which importances are computed; of fewer they would be chance."""


@dataclass(frozen=True)
class SearchedPoint:
    """A proposal.

    ``values``: one of each objective, of a pruned one the last that it reported; empty: none. ``folder``: of its last trial.
    """

    number: int
    state: str
    values: tuple[float, ...]
    reason: str
    settings: str
    folder: str


@dataclass(frozen=True)
class SearchView:
    """A search.

    ``objectives`` are names as in ``hydra.sweeper.objectives`` (empty: not known), ``importance`` shares of the first one's variation;
    ``absent`` says why there is no importance, ``note`` why there is nothing at all.
    """

    objectives: tuple[str, ...] = ()
    maximized: tuple[bool, ...] = ()
    points: tuple[SearchedPoint, ...] = ()
    importance: tuple[tuple[str, float], ...] = ()
    absent: str = ""
    note: str = ""


def search_view(folder: Path) -> SearchView | None:
    """The search whose journal lies in a study's folder; None where there is none, as of a study on a grid."""
    journal = Path(journal_of(folder))
    if not journal.is_file():
        return None
    if find_spec("optuna") is None:
        return SearchView(note="This study is a search. Its history is shown where Optuna is installed: pip install 'pathsynth[optuna]'")
    try:
        return _read(journal)
    except Exception as error:  # a damaged journal makes Optuna raise any exception
        return SearchView(note=f"The search's journal cannot be read: {' '.join(str(error).split())[:200] or type(error).__name__}")


def _read(journal: Path) -> SearchView:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(str(journal))
    study = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)
    trials = study.get_trials(deepcopy=False)
    importance, absent = _importance(study, trials)
    return SearchView(
        tuple(study.user_attrs.get(OBJECTIVES, ())),
        tuple(direction.name == "MAXIMIZE" for direction in study.directions),
        tuple(map(_point, trials)),
        importance,
        absent,
    )


def _point(trial: optuna.trial.FrozenTrial) -> SearchedPoint:
    reported = trial.intermediate_values
    values = trial.values or ([reported[max(reported)]] if reported else [])
    settings = ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    attributes = trial.user_attrs
    return SearchedPoint(
        trial.number, _WORDS[trial.state.name], tuple(values), attributes.get(REASON, ""), settings, attributes.get(FOLDER, "")
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _importance(study: optuna.Study, trials: Sequence[optuna.trial.FrozenTrial]) -> tuple[tuple[tuple[str, float], ...], str]:
    """The share of each setting, the largest first; or why there is none."""
    import optuna

    scored = [trial for trial in trials if trial.state.name == "COMPLETE" and trial.values]
    if len(scored) < _LEAST_SCORES:
        return (), f"It needs {_LEAST_SCORES} trials with a score; there are {len(scored)}."
    if len(scored[0].params) < 2:
        return (), "A single setting was searched."
    if len({trial.values[0] for trial in scored}) == 1:
        return (), "All trials have the same score."
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)  # the same page of the same search
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=lambda trial: trial.values[0])
    return tuple(found.items()), ""
