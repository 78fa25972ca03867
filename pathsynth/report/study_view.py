"""Content of the page of a study: its verdict in words, and the records for its script."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

import numpy as np

from pathsynth.config.search import MetricName
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Metric
from pathsynth.metrics.comparison import FittedMeans, fitted_means
from pathsynth.report.absent import MissingTrial, missing_trials
from pathsynth.report.answer import details, headline
from pathsynth.report.bounds import ImagePlan, image_plan, weakest
from pathsynth.report.classifier_study import compares_classifiers, with_scores
from pathsynth.report.collect import TrialSummary, damaged
from pathsynth.report.leaderboard import mean_score
from pathsynth.report.measures import (
    CLASS_MEASURES,
    CLASSIFIER_CLASS_MEASURES,
    NEEDED_CLASS_MEASURES,
    ClassMeasure,
    Measure,
    Reading,
    measures,
)
from pathsynth.report.scores import AFTER, BEFORE, CLASSIFIER, GATE, JUDGE, OF_TEST, OF_VAL, Scores
from pathsynth.report.search_view import search_view
from pathsynth.report.sprites import Sprite, image_sprite
from pathsynth.report.study_verdict import (
    SEED,
    StudyVerdict,
    configuration_label,
    hardest,
    main_score,
    score_of,
    setting_effects,
    study_verdict,
)
from pathsynth.report.trial_images import Attempt, absent_images, real_images, slot_attempts
from pathsynth.report.trial_view import class_name
from pathsynth.report.validation_sheets import Reel, reel, spread, validation_sheets
from pathsynth.studies.trials.state import RUNNING, WAITING, TrialState, read_state
from pathsynth.studies.trials.trial_table import progress_words

IMAGES = "report_images"
"""The folder beside the page for images that would make it too large."""
_INLINE_BYTES = 260_000
_FEW_TRIALS = 24
_MOST_IMAGES, _MOST_OF_A_TRIAL, _LEAST_OF_A_TRIAL = 14_000, 700, 36
_MOST_RECORDS = 12_000
"""The most scores of classes in a page; beyond, the least needed are left out."""
_MOST_COUNTS = 60_000
"""The most non-zero cells of confusion matrices in a page; beyond, it has no matrix."""
_MOST_WHOLE_READINGS = 4_000
"""The most scores of single trials with interval and n in a page; beyond, only the main ones have both."""
_MOST_POINTS = 12_000
"""The most points of training curves in a page; beyond, evenly spaced ones."""
_MOST_SHEETS, _MOST_SHEETS_OF_A_TRIAL = 1_200, 12
"""The most validation sheets beside a page; beyond, evenly spaced ones and the last of each trial."""
_FEW_SEEDS = 8
"""A command lists up to so many seeds one by one."""
_SEEDS_FOR_NOISE = 2
"""How many more seeds show the scatter of trials, where there is one."""
MISSING = "missing"
_MATRICES = (f"{BEFORE}/{GATE}", f"{BEFORE}/{JUDGE}", f"{AFTER}/{JUDGE}")
_CLASSIFIER_MATRICES = (f"{OF_TEST}/{CLASSIFIER}", f"{OF_VAL}/{CLASSIFIER}")
_CURVES = (
    ("train_loss", "Loss on training images"),
    ("held_out_loss", "Loss on held-out images"),
    ("val_macro_f1", "Macro-F1 of first attempts, by the gate"),
)
_NAMED = ("pathsynth", "torch", "diffusers")
_WITHOUT_MEANING = ("command",)


@dataclass(frozen=True)
class StudyView:
    """A study as its page shows it. ``payload`` is JSON without ``<``, ``>`` and ``&``; ``beside`` are files to lie beside the page."""

    title: str
    question: str
    answer: str
    details: tuple[str, ...]
    payload: str
    beside: tuple[tuple[str, bytes], ...]


def study_view(trials: Sequence[TrialSummary], home: Path, real: bool = False) -> StudyView:
    """The view of a study with at least one trial that is finished, runs or waits. Of one that is damaged it has the reason.

    Args:
        trials: of the study, the damaged and the unfinished ones, too.
        home: the folder that the page will lie in.
        real: whether real reference images are shown.

    Raises:
        RequestError: every finished trial is damaged, and none runs.
    """
    classifiers = compares_classifiers(trials)
    trials = with_scores(trials) if classifiers else trials
    plan = _image_plan(trials, real)
    largest = 64 if sum(t.finished for t in trials) <= _FEW_TRIALS else 32
    sheets = max(2, min(_MOST_SHEETS_OF_A_TRIAL, _MOST_SHEETS // max(1, len(trials))))
    shown = [_with_pictures(t, plan, largest, real, sheets) for t in trials]
    trials = [s.trial for s in shown]
    finished = [t for t in trials if t.finished]
    if not finished and not any(t.state in (RUNNING, WAITING) for t in trials):
        raise RequestError("; ".join(f"{t.folder} is damaged ({t.problem})" for t in trials if t.problem) + "; run it again")
    places, beside = _placed(shown)
    verdict = study_verdict(trials)
    if verdict and classifiers:
        verdict = replace(verdict, scorer=CLASSIFIER)
    payload = _Payload(shown, places, home, plan, verdict).record()
    return StudyView(
        title=trials[0].study,
        question=next((t.question for t in trials if t.question), ""),
        answer=headline(verdict),
        details=details(verdict) if verdict else (),
        payload=_inert(payload),
        beside=beside,
    )


@dataclass(frozen=True)
class _Shown:
    """A trial with its attempts, the slots of its real images, one picture of all of them, why it lacks some, and its validation sheets.

    ``curves``: of each kind of curve its points (step, value).
    """

    trial: TrialSummary
    attempts: tuple[Attempt, ...]
    real: tuple[tuple[str, int], ...]
    sprite: Sprite | None
    absent: tuple[str, ...]
    reel: Reel | None
    curves: tuple[list[tuple[float, float]], ...] = ()


def _with_pictures(trial: TrialSummary, plan: ImagePlan, largest: int, real: bool, sheets: int) -> _Shown:
    """A trial and its pictures; one that cannot be shown is marked as damaged."""
    try:
        hardest(trial)
        for measure in measures([trial]):
            measure.read(trial)
        _matrices_fit(trial)
        _words(trial, trial.command_overrides)
        curves = _curves(trial.folder / "history.csv")
        validated = reel(spread(validation_sheets(trial.folder), sheets))
        if not trial.finished:
            return _Shown(trial, (), (), None, (), validated, curves)
        attempts = slot_attempts(trial.folder, plan.slugs, plan.slots)
        beside = real_images(trial.folder, plan.slugs, plan.slots) if real else ()
        paths = [a.path for a in attempts if a.path] + [image.path for image in beside]
        places = tuple((image.slug, image.slot) for image in beside)
        sprite, absent = image_sprite(paths, largest), absent_images(trial.folder, attempts, real)
        return _Shown(trial, attempts, places, sprite, absent, validated, curves)
    except Exception as error:  # a library may raise anything for a damaged file
        return _Shown(damaged(trial, error), (), (), None, (), None)


def _matrices_fit(trial: TrialSummary) -> None:
    """Raises ValueError where a confusion matrix is not one of the trial's classes."""
    classes = len(_slugs([trial]))
    for name in (*_MATRICES, *_CLASSIFIER_MATRICES):
        matrix = trial.result.extras.get(name) if trial.result else None
        if matrix and (len(matrix) != classes or any(len(row) != classes for row in matrix)):
            raise ValueError(f"the confusion matrix {name} is not one of {classes} classes")


def _image_plan(trials: Sequence[TrialSummary], real: bool) -> ImagePlan:
    results = [Scores(t.result.metrics) for t in trials if t.result]
    most = max(_LEAST_OF_A_TRIAL, min(_MOST_OF_A_TRIAL, _MOST_IMAGES // max(1, len(results))))
    return image_plan(_slugs(trials), results, 3 if real else 2, most, 10 if len(results) <= _FEW_TRIALS else 4)


def _slugs(trials: Iterable[TrialSummary]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(slug for t in trials if t.result for slug in Scores(t.result.metrics).slugs))


@dataclass(frozen=True)
class _Places:
    """Addresses of a trial's pictures: a file beside the page or a data URI; empty: none."""

    sprite: str
    reel: str


def _placed(shown: Sequence[_Shown]) -> tuple[list[_Places], tuple[tuple[str, bytes], ...]]:
    """The address of each sprite and each reel: inside the page if all of its kind fit, else each in a folder beside it."""
    names = [one.trial.result.identity if one.trial.result else f"{i:05d}" for i, one in enumerate(shown)]
    sprites = [one.sprite.webp if one.sprite else b"" for one in shown]
    reels = [one.reel.webp if one.reel else b"" for one in shown]
    size, beside = sum(map(len, sprites)), list[tuple[str, bytes]]()
    sprite_urls = _urls(sprites, names, size <= _INLINE_BYTES, beside)
    reel_urls = _urls(reels, [f"{name}-validation" for name in names], size + sum(map(len, reels)) <= _INLINE_BYTES, beside)
    return [_Places(*urls) for urls in zip(sprite_urls, reel_urls, strict=True)], tuple(beside)


def _urls(pictures: Sequence[bytes], names: Sequence[str], inside: bool, beside: list[tuple[str, bytes]]) -> list[str]:
    """An address for each picture, empty for one without bytes; those that are not ``inside`` the page are added to ``beside``."""
    if inside:
        return [f"data:image/webp;base64,{base64.b64encode(one).decode('ascii')}" if one else "" for one in pictures]
    beside += [(f"{IMAGES}/{name}.webp", one) for name, one in zip(names, pictures, strict=True) if one]
    return [f"{IMAGES}/{quote(name)}.webp" if one else "" for name, one in zip(names, pictures, strict=True)]


class _Texts:
    """Repeated sentences and names, each stored once; records hold the number of their text."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        return self.all.setdefault(text, len(self.all))


class _Draws:
    """Class, slot, attempt and the numbers of the texts of seed and prompt: the same in most trials, so each is stored once."""

    def __init__(self) -> None:
        self.all: dict[tuple[int, int, int, int, int], int] = {}

    def number(self, draw: tuple[int, int, int, int, int]) -> int:
        return self.all.setdefault(draw, len(self.all))


class _Payload:
    """The record set of a page, as ``frontend/src/data.ts`` reads it."""

    def __init__(
        self, shown: Sequence[_Shown], pictures: Sequence[_Places], home: Path, plan: ImagePlan, verdict: StudyVerdict | None
    ) -> None:
        self.shown, self.pictures, self.home, self.plan, self.verdict = shown, pictures, home, plan, verdict
        self.trials = [s.trial for s in shown]
        self.finished = [t for t in self.trials if t.finished]
        self.missing = missing_trials(self.trials)
        self.slugs = _slugs(self.finished)
        self.places = {slug: i for i, slug in enumerate(self.slugs)}
        self.texts, self.draws = _Texts(), _Draws()
        self.measures = [m for m in measures(self.trials) if any(m.read(t) for t in self.finished)]
        self.configurations = self._configurations()
        self.fits = [self._fit(m) for m in self.measures]
        is_drawn = not (verdict and verdict.scorer == CLASSIFIER)
        self.kinds = _MATRICES if is_drawn else _CLASSIFIER_MATRICES
        self.class_measures, self.scored = self._scored_classes(CLASS_MEASURES if is_drawn else CLASSIFIER_CLASS_MEASURES)

    def record(self) -> dict[str, Any]:
        states = [read_state(t.folder) for t in self.trials]
        effects = setting_effects(self.verdict) if self.verdict else ()
        labels = list(self.configurations)
        trials = [
            self._trial(s, places, state, labels.index(configuration_label(s.trial)))
            for s, places, state in zip(self.shown, self.pictures, states, strict=True)
        ]
        absent = [self._missing(m, labels.index(m.configuration)) for m in self.missing]
        return {
            "title": self.trials[0].study,
            "facts": self._facts(states),
            "main": self._main(),
            "measures": [_measure_record(m) for m in self.measures],
            "verdict": self._verdict(),
            "effects": [asdict(e) | {"plain": e.plain} for e in effects],
            "classes": [[slug, class_name(slug)] for slug in self.slugs],
            "classMeasures": [m.name for m in self.class_measures],
            "scored": [self.places[slug] for slug in self.scored],
            "pictured": [self.places[slug] for slug in self.plan.slugs],
            "slots": self.plan.slots,
            "notes": list(self._notes()),
            "curves": [words for _, words in _CURVES],
            "matrices": [list(name.split("/")) for name in self.kinds],
            "common": self._common(),
            "corrected": [fit.corrected for fit in self.fits],
            "configurations": self._configuration_records(),
            "trials": [*trials, *absent],
            "search": self._search(),
            "draws": [x for draw in self.draws.all for x in draw],
            "texts": list(self.texts.all),
        }

    def _main(self) -> str:
        """The measure that configurations are ranked by."""
        if self.kinds == _MATRICES:
            return f"macro_f1/{BEFORE}/{main_score(self.trials)}"
        return next(m.key for m in self.measures if m.key.startswith("macro_f1/"))

    def _configurations(self) -> dict[str, list[TrialSummary]]:
        """The trials of each, in the order of the verdict; those without a score are last."""
        groups: dict[str, list[TrialSummary]] = {c.label: [] for c in self.verdict.ranking} if self.verdict else {}
        for trial in self.trials:
            groups.setdefault(configuration_label(trial), []).append(trial)
        for missing in self.missing:
            groups.setdefault(missing.configuration, [])
        return groups

    def _facts(self, states: Sequence[TrialState]) -> list[str]:
        results = [t.result for t in self.finished if t.result]
        versions = dict.fromkeys(f"{k} {v}" for r in results for k, v in r.versions.items() if k in _NAMED)
        data = ", ".join(dict.fromkeys(m.data for r in results for m in r.metrics))
        date = max((s.ended or "" for s, t in zip(states, self.trials, strict=True) if t.finished), default="")[:10]
        return [text for text in (f"data: {data}" if data else "", *versions, date) if text]

    def _verdict(self) -> dict[str, Any]:
        verdict = self.verdict
        compared = verdict.comparison if verdict else None
        sure = None if compared is None or compared.noise is None else compared.separable
        return {
            "headline": headline(verdict),
            "details": list(details(verdict)) if verdict else [],
            "sure": sure,
            "settle": self._settle(verdict) if verdict else [],
            "weakness": _weakness(self.trials, verdict) if verdict else "",
            "contenders": [c.label for c in verdict.contenders] if verdict and sure is not None else [],
        }

    def _settle(self, verdict: StudyVerdict) -> list[str]:
        """Commands for as many more seeds of the leader and of the runner-up as would detect their difference, or the noise."""
        compared, seeds = verdict.comparison, [t.settings.get(SEED, "") for t in self.trials]
        more = _SEEDS_FOR_NOISE if compared.noise is None and len(compared.order) > 1 else compared.more_seeds
        numbers = [int(s) for s in seeds if s.isdigit()]
        if not more or not numbers:
            return []
        first = max(numbers) + 1
        new = f"range({first},{first + more})" if more > _FEW_SEEDS else ",".join(str(first + i) for i in range(more))
        firsts = [next((t for t in self.configurations[c.label] if t.finished), None) for c in verdict.ranking[:2]]
        kept = [(t, [o for o in t.command_overrides if not o.startswith(f"{SEED}=")]) for t in firsts if t]
        return [" ".join(_words(t, [*overrides, f"{SEED}={new}"], many=True)) for t, overrides in kept]

    def _search(self) -> dict[str, Any] | None:
        """The search that this study is, if it is one; of several studies none is shown."""
        folders = {t.folder.absolute().parent for t in self.trials}
        search = search_view(folders.pop()) if len(folders) == 1 else None
        if search is None:
            return None
        of_trial = {t.folder.name: list(self.configurations).index(configuration_label(t)) for t in self.trials}
        names = [self._objective(name) for name in search.objectives] or ["score"] * len(search.maximized)
        return {
            "note": search.note,
            "objectives": [[name, 1 if up else -1] for name, up in zip(names, search.maximized, strict=True)],
            "points": [
                [p.number, p.state, [_number(v) for v in p.values], p.reason, p.settings, of_trial.get(p.folder, -1)] for p in search.points
            ],
            "importance": [[key, _number(share)] for key, share in search.importance],
            "absent": search.absent,
        }

    def _objective(self, name: str) -> str:
        """What the page calls a metric of a search; one that it does not show keeps its name."""
        wanted = MetricName.parse(name)
        scorers = [wanted.scorer] if wanted.scorer else [GATE, JUDGE]
        keys = [f"{wanted.metric}/{wanted.stage}/{scorer}" for scorer in scorers]
        return next((m.name for key in keys for m in self.measures if m.key == key), name)

    def _common(self) -> dict[str, str]:
        """The settings that all trials share, without paths."""
        settings = next((t.settings for t in self.finished if t.settings), {})
        unlike = {d.split("=", 1)[0] for t in self.trials for d in t.differing} | {SEED}
        dropped = ("name", "multirun", "study.", "tracking.", "data.root", *_WITHOUT_MEANING)
        return {key: value for key, value in settings.items() if key not in unlike and not key.startswith(dropped)}

    def _notes(self) -> list[str]:
        """What is not shown, each reason once, with the number of trials unless it is all."""
        finished = [s for s in self.shown if s.trial.finished] if self.kinds == _MATRICES else []
        reasons = list(dict.fromkeys(reason for s in finished for reason in s.absent))
        counts = [sum(reason in s.absent for s in finished) for reason in reasons]
        pairs = zip(reasons, counts, strict=True)
        notes = [reason if n == len(finished) else f"{n} of {len(finished)} trials: {reason}" for reason, n in pairs]
        return [note for note in (self.plan.sentence(len(self.slugs)), *notes) if note]

    def _scored_classes(self, all_measures: tuple[ClassMeasure, ...]) -> tuple[tuple[ClassMeasure, ...], list[str]]:
        """All scores if they fit into a page, else the needed measures, else those of the weakest classes."""
        count = len(self.configurations)
        for shown in (all_measures, all_measures[:NEEDED_CLASS_MEASURES]):
            if count * len(self.slugs) * len(shown) <= _MOST_RECORDS:
                return shown, list(self.slugs)
        fit = max(1, _MOST_RECORDS // (count * NEEDED_CLASS_MEASURES))
        few = weakest(self.slugs, [Scores(t.result.metrics) for t in self.finished if t.result])[:fit]
        return all_measures[:NEEDED_CLASS_MEASURES], [slug for slug in self.slugs if slug in few]

    def _fit(self, measure: Measure) -> FittedMeans:
        diverged = {(c.label, seed) for c, seed in self.verdict.diverged} if self.verdict else set()
        seeds = sorted({t.settings.get(SEED, "") for t in self.finished})
        table = np.full((len(self.configurations), max(1, len(seeds))), np.nan)
        for row, (label, trials) in enumerate(self.configurations.items()):
            for trial in trials:
                seed = trial.settings.get(SEED, "")
                found = measure.read(trial)
                if found and (label, seed) not in diverged:
                    table[row, seeds.index(seed)] = found.value
        return fitted_means(table)

    def _configuration_records(self) -> list[dict[str, Any]]:
        matrices = self._matrices()
        ranked = {c.label for c in self.verdict.ranking} if self.verdict else set()
        return [
            {
                "id": hashlib.sha256(label.encode()).hexdigest()[:6],
                "label": label,
                "ranked": label in ranked,
                "settings": next((_settings(t) for t in trials), {}),
                "scores": [_mean_record(m, trials) for m in self.measures],
                "fits": [[_number(f.means[i], 6), _number(f.errors[i] if f.errors else math.nan)] for f in self.fits],
                "classes": [self._class_scores(m, trials) for m in self.class_measures],
                "matrices": matrices[i] if matrices else [],
            }
            for i, (label, trials) in enumerate(self.configurations.items())
        ]

    def _class_scores(self, measure: ClassMeasure, trials: Sequence[TrialSummary]) -> list[float | int | None]:
        """Of each scored class the mean over the seeds, their range (of one seed its interval), and n, one after the other."""
        flat: list[float | int | None] = []
        results = [Scores(t.result.metrics) for t in trials if t.result]
        for slug in self.scored:
            found = [m for r in results if (m := r.generated(measure.metric, measure.stage, measure.scorer, slug))]
            values = [m.value for m in found]
            if not found:
                flat += [None, None, None, 0]
            elif len(found) == 1:
                flat += [_number(values[0]), _number(found[0].low), _number(found[0].high), found[0].n]
            else:
                flat += [_number(fmean(values)), _number(min(values)), _number(max(values)), sum(m.n for m in found)]
        return flat

    def _matrices(self) -> list[list[list[int]]]:
        """Of each configuration, summed over its seeds, and each of the kinds of matrices: place and count of what is not 0, flat."""
        found: list[list[list[int]]] = []
        for trials in self.configurations.values():
            found.append([])
            for name in self.kinds:
                matrices = [t.result.extras[name] for t in trials if t.result and t.result.extras.get(name) and _slugs([t]) == self.slugs]
                total = np.sum(matrices, axis=0).ravel() if matrices else np.zeros(0, dtype=int)
                found[-1].append([int(x) for place in np.flatnonzero(total) for x in (place, total[place])])
        return found if sum(len(flat) for kinds in found for flat in kinds) <= 2 * _MOST_COUNTS else []

    def _trial(self, shown: _Shown, places: _Places, state: TrialState, configuration: int) -> dict[str, Any]:
        trial = shown.trial
        page = trial.page or trial.folder / "report.html"
        most = max(2, _MOST_POINTS // max(1, len(self.finished)) // len(_CURVES))
        return {
            "name": trial.name,
            "source": trial.source,
            "maker": trial.maker,
            "link": quote(os.path.relpath(page, self.home)) if page.is_file() else "",
            "address": trial.address,
            "configuration": configuration,
            "seed": trial.settings.get(SEED, ""),
            "state": trial.state,
            "problem": trial.problem or (progress_words(state) if state.state == RUNNING else ""),
            "command": [self.texts.number(word) for word in _words(trial, trial.command_overrides)],
            "readings": [self._reading(m, m.read(trial)) for m in self.measures] if trial.finished else [],
            "curves": [_thinned(points, most) for points in shown.curves],
            "attempts": self._attempts(shown),
            "real": [x for slug, slot in shown.real for x in (self.places[slug], slot)],
            "sprite": [places.sprite, shown.sprite.size, shown.sprite.columns, shown.sprite.images] if shown.sprite else None,
            "reel": [places.reel, shown.reel.width, shown.reel.height, *shown.reel.steps] if shown.reel else None,
        }

    def _reading(self, measure: Measure, reading: Reading | None) -> list[float | int | None] | int:
        if reading is None:
            return 0
        whole = len(self.finished) * len(self.measures) <= _MOST_WHOLE_READINGS or measure.key.startswith("macro_f1")
        return [_number(reading.value), *([_number(reading.low), _number(reading.high), reading.n] if whole else [])]

    def _missing(self, missing: MissingTrial, configuration: int) -> dict[str, Any]:
        empty = {**dict.fromkeys(("command", "readings", "curves", "attempts", "real"), ()), **dict.fromkeys(("sprite", "reel"), None)}
        known = {"name": missing.name, "seed": missing.seed, "problem": missing.reason, "state": MISSING}
        return {**empty, **known, "link": "", "address": "", "source": "", "maker": "", "configuration": configuration}

    def _attempts(self, shown: _Shown) -> list[int]:
        """Five numbers for each attempt.

        They are its draw, the class named by the gate, the probability of that class in thousandths, 1 for accepted plus 2 for an image
        plus 4 times the number of the reason's text, and the class named by the judge (−1: not known).
        """
        flat: list[int] = []
        for a in shown.attempts:
            draw = self.draws.number((self.places[a.slug], a.slot, a.attempt, self.texts.number(a.seed), self.texts.number(a.prompt)))
            probability = -1 if a.probability is None else round(1000 * a.probability)
            marks = int(a.accepted) + 2 * (a.path is not None) + 4 * self.texts.number(a.reason)
            flat += [draw, -1 if a.predicted is None else a.predicted, probability, marks, -1 if a.judged is None else a.judged]
        return flat


def _measure_record(measure: Measure) -> dict[str, Any]:
    names = ("key", "alias", "short", "name", "help", "better", "digits")
    return {name: getattr(measure, name) for name in names} | {"unit": measure.most == 1}


def _settings(trial: TrialSummary) -> dict[str, str]:
    return {key: value for key, _, value in (d.partition("=") for d in trial.differing) if key not in (SEED, *_WITHOUT_MEANING)}


def _mean_record(measure: Measure, trials: Sequence[TrialSummary]) -> list[float | int | None] | int:
    """Mean over the seeds, its interval, and n; 0 where nothing was measured."""
    readings = [r for t in trials if (r := measure.read(t))]
    if not readings:
        return 0
    metrics = [Metric(metric="", value=r.value, low=r.low, high=r.high, n=r.n, unit="", split="", data="", seed=0) for r in readings]
    score = mean_score(metrics, measure.least, measure.most)
    return [_number(score.value), _number(score.low), _number(score.high), score.n]


def _number(value: float | None, digits: int = 4) -> float | None:
    """Rounded to so many digits, to keep the page small; None for NaN."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def _words(trial: TrialSummary, overrides: Sequence[str], many: bool = False) -> list[str]:
    command = trial.settings.get("command", "run")
    return [shlex.quote(word) for word in ("pathsynth", command, *(["-m"] if many else []), *overrides)]


def _weakness(trials: Sequence[TrialSummary], verdict: StudyVerdict) -> str:
    best = [t for t in trials if configuration_label(t) == verdict.leader.label and score_of(t, verdict.scorer)]
    found = hardest(best[0]) if best else None
    if found is None:
        return ""
    slug, other, rate = found
    mistake = f", most often taken for {class_name(other)}" if other else ""
    where = f"In the leading configuration (seed {best[0].settings.get('seed', 'unknown')})"
    return (
        f"{where}, the weakest class is {class_name(slug)}: {round(rate.value * rate.n)} of {rate.n} first attempts were accepted{mistake}."
    )


def _curves(path: Path) -> tuple[list[tuple[float, float]], ...]:
    """Of each kind of curve its finite points (step, value); none without a file."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    read = [[(_parsed(row.get("step")), _parsed(row.get(name))) for row in rows] for name, _ in _CURVES]
    return tuple([point for point in points if all(map(math.isfinite, point))] for points in read)


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[float | None]:
    """Steps and values, one after the other; of more than ``most`` points, evenly spaced ones and the last."""
    stride = -(-len(points) // most)
    kept = [*points[:: stride or 1], *(points[-1:] if stride > 1 and (len(points) - 1) % stride else [])]
    return [_number(x) for point in kept for x in point]


def _parsed(text: str | None) -> float:
    """The number in a cell of a table; NaN where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _inert(payload: Mapping[str, Any]) -> str:
    """JSON that cannot close an HTML element, with any names and prompts in it."""
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
