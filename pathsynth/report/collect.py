"""Finding trials in a folder, and what of each a table or a page shows first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.earlier import current_form
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.nesting import flat
from pathsynth.ledger.records import Metric, Result, read_metrics, read_result
from pathsynth.report.scores import AFTER, BEFORE, GATE, JUDGE, MAIN_SCORES, Scores
from pathsynth.studies.trials.state import ADDRESS, read_state

_WEB = re.compile(r"https?://[^\s<>\"']+")
_WITHOUT_EFFECT = ("name", "multirun", "study.", "tracking.", "training.threads", "data.root", "data.download")
"""Settings (or groups of them) that change no result."""


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """One trial: where it is, how far it came, and its main scores (None: not measured).

    ``differing`` are the settings, as ``key=value``, in which it differs from the other trials that were collected with it;
    ``address`` is where its run can be seen online, empty if it is not. ``state`` is one of waiting, running, done, failed, interrupted,
    unreadable; ``problem`` says why where something is wrong. ``author`` and ``host``: who ran it, and
    where, if that is known. Of several studies, ``source`` is the bundle or folder that it came with, and ``page`` where its page lies if
    that is not in its folder.
    """

    folder: Path
    name: str
    study: str
    question: str = ""
    state: str = ""
    problem: str = ""
    overrides: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    differing: tuple[str, ...] = ()
    result: Result | None = None
    f1_gate: Metric | None = None
    f1_judge: Metric | None = None
    acceptance: Metric | None = None
    accepted_judge: Metric | None = None
    address: str = ""
    source: str = ""
    page: Path | None = None
    author: str = ""
    host: str = ""

    @property
    def command_overrides(self) -> tuple[str, ...]:
        """The overrides of the command line without the folder of results."""
        return tuple(override for override in self.overrides if not override.startswith("multirun="))

    @property
    def maker(self) -> str:
        """Who ran it on which machine: "ada on box"; empty where neither is known."""
        return " on ".join(part for part in (self.author, self.host) if part)

    @property
    def finished(self) -> bool:
        """Whether the trial has a result."""
        return self.result is not None

    @property
    def label(self) -> str:
        """What distinguishes this trial from the others."""
        return ", ".join(self.differing) or self.name


def collect_trials(folder: Path) -> list[TrialSummary]:
    """The trials of a study folder in natural order of what differs ("rank=4" before "rank=16"), or a trial folder's one.

    A trial that is not finished, or whose files cannot be read, is in the list with its state and without scores.

    Raises:
        RequestError: there is no such folder, or it holds no trial.
    """
    if not folder.is_dir():
        raise RequestError(f"no folder {folder}; name a trial's or a study's folder (pathsynth status lists them)")
    if is_trial(folder):
        return [_readable(folder)]
    folders = [child for child in folder.iterdir() if not child.name.startswith(".") and is_trial(child)]
    if not folders:
        raise RequestError(f"{folder} holds no trial; name a trial's or a study's folder (pathsynth status lists them)")
    return _in_order(_with_differences([_readable(child) for child in folders]))


def collect_scores(known: Mapping[Path, Sequence[Metric]]) -> list[TrialSummary]:
    """The trials in these folders as :func:`collect_trials` gives them, but with no more of a result than macro-F1, which is ``known``.

    So a table of many trials reads each result once, and checks none against its schema. Of a trial of which nothing is known
    the result is read, for what is wrong with it.
    """
    return _in_order(_with_differences([_readable(folder, known=scores) for folder, scores in known.items()]))


def merge_trials(sources: Mapping[str, Path]) -> list[TrialSummary]:
    """The trials of several studies, each under the name of its source, as one.

    Of trials of the same identity the first that finished counts; where another has other scores, its problem says so.

    Raises:
        RequestError: as :func:`collect_trials`.
    """
    by_identity: dict[str, list[TrialSummary]] = {}
    for trial in (replace(t, source=name) for name, folder in sources.items() for t in collect_trials(folder)):
        identity = trial.result.identity if trial.result else _object(trial.folder / "manifest.json", []).get("identity")
        by_identity.setdefault(str(identity or trial.folder.absolute()), []).append(trial)
    return _in_order(_with_differences([_merged(same) for same in by_identity.values()]))


def _merged(same: Sequence[TrialSummary]) -> TrialSummary:
    """The one of several trials of one identity that counts."""
    chosen = next((t for t in same if t.finished), same[0])
    others = [t for t in same if t.finished and t is not chosen]
    conflicts = [f"{t.source} has another result of the same identity: {conflict}" for t in others if (conflict := _conflict(chosen, t))]
    return replace(chosen, problem="; ".join([chosen.problem, *conflicts] if chosen.problem else conflicts))


def _conflict(one: TrialSummary, other: TrialSummary) -> str:
    """The first main score in which they differ as it is shown; empty where they do not."""
    for name, words in MAIN_SCORES.items():
        ours, theirs = (f"{m.value:.3f}" if (m := getattr(t, name)) else "not measured" for t in (one, other))
        if ours != theirs:
            return f"{words} {theirs} instead of {ours}"
    return ""


def without_people(trial: TrialSummary) -> TrialSummary:
    """The trial without the names of author and machine."""
    return replace(trial, author="", host="")


def is_trial(folder: Path) -> bool:
    """Whether the folder is a trial's: it has a manifest."""
    return (folder / "manifest.json").is_file()


def damaged(trial: TrialSummary, error: Exception) -> TrialSummary:
    """The trial without its damaged parts, and the reason."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return replace(
        trial, state="unreadable", problem=reason, result=None, f1_gate=None, f1_judge=None, acceptance=None, accepted_judge=None
    )


def _readable(folder: Path, known: Sequence[Metric] | None = None) -> TrialSummary:
    """The trial's summary, also of a damaged one, so that it does not hide the others; with ``known`` macro-F1 no result is read."""
    try:
        return _summary(folder, known)
    except Exception as error:
        bare = TrialSummary(folder=folder, name=folder.name, study=folder.absolute().parent.name)
        return damaged(bare, error)


def _summary(folder: Path, known: Sequence[Metric] | None) -> TrialSummary:
    problems: list[str] = []
    manifest = _object(folder / "manifest.json", problems)
    state = read_state(folder)
    result = _result(folder, problems) if known is None else None
    scores = Scores(result.metrics if result else () if known is None else tuple(known) or _macro_f1(folder, problems))
    config = _all_settings(_mapping(manifest.get("config")) or (result.settings if result else {}))
    study = _mapping(manifest.get("study")) or _mapping(config.get("study")) or {"name": manifest.get("study")}
    return TrialSummary(
        folder=folder,
        name=str(manifest.get("name") or folder.name),
        study=str(study.get("name") or folder.absolute().parent.name),
        question=str(study.get("question") or manifest.get("question") or ""),
        state="unreadable" if problems else "done" if result else state.state,
        problem="; ".join(problems) or ("" if result else state.reason),
        overrides=tuple(str(o) for o in manifest.get("overrides") or ()),
        settings=flat_settings(config) | _scheduler_settings(manifest),
        differing=(),
        result=result,
        f1_gate=scores.generated("macro_f1", BEFORE, GATE),
        f1_judge=scores.generated("macro_f1", BEFORE, JUDGE),
        acceptance=scores.generated("acceptance", BEFORE, GATE),
        accepted_judge=scores.generated("accuracy", AFTER, JUDGE),
        address=_address(folder / ADDRESS),
        author=state.author,
        host=state.host,
    )


def _all_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a trial in this version's keys; one that its version did not have yet has its default.

    So a study that goes on in a later version is still one, and its earlier trials differ in nothing that they could not choose.
    Settings that this version cannot take stay as they are.
    """
    from pathsynth.config.parse import parse_config  # loads pydantic

    try:
        return parse_config(config).model_dump(mode="json", exclude_none=True)
    except RequestError:
        return current_form(config)


def _scheduler_settings(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The settings in which the scheduler differs from the base's own, from the plan."""
    stages = _mapping(manifest.get("plan")).get("stages")
    stages = [stage for stage in map(_mapping, stages if isinstance(stages, list) else ()) if stage.get("name") == "generate"]
    changes = {key: value for stage in stages for key, value in _mapping(_mapping(stage.get("settings")).get("scheduler_settings")).items()}
    return flat_settings({"sampling": {"scheduler_settings": changes}})


def _address(path: Path) -> str:
    """The web address in a file; other content becomes no link."""
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return text if _WEB.fullmatch(text) else ""


def _result(folder: Path, problems: list[str]) -> Result | None:
    path = folder / "result.json"
    if not path.is_file():
        return None
    try:
        return read_result(path)
    except RequestError as error:
        problems.append(str(error))
        return None


def _macro_f1(folder: Path, problems: list[str]) -> tuple[Metric, ...]:
    if not (folder / "result.json").is_file():
        return ()
    try:
        return read_metrics(folder / "result.json", "macro_f1", BEFORE)
    except RequestError as error:
        problems.append(str(error))
        return ()


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The JSON object in a file; empty where there is no file, or none that can be read (the problem is noted)."""
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read ({error})")
        return {}
    return _mapping(found)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def flat_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as dotted keys with values as on a command line."""
    return {key: _typed(value) for key, value in flat(settings).items()}


def _typed(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return ",".join(_typed(v) for v in value)
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)


def _with_differences(trials: Sequence[TrialSummary]) -> list[TrialSummary]:
    """Each trial with the settings in which the trials differ."""
    readable = [t.settings for t in trials if t.settings]
    keys = sorted({key for settings in readable for key in settings if not key.startswith(_WITHOUT_EFFECT)})
    unlike = [key for key in keys if len({settings.get(key, "null") for settings in readable}) > 1]
    return [replace(t, differing=tuple(f"{key}={t.settings.get(key, 'null')}" for key in unlike if t.settings)) for t in trials]


def _in_order(trials: Sequence[TrialSummary]) -> list[TrialSummary]:
    return sorted(trials, key=lambda t: (_natural(t.label), t.folder.name))


def _natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """A sort key under which numbers inside a text count as numbers."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((0, float(p), "") if i % 2 else (1, 0.0, p.lower()) for i, p in enumerate(parts))
