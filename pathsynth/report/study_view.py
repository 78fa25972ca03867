"""What the dashboard of a study shows: a few sentences for everybody, and the record set its script draws from."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Metric
from pathsynth.report.answer import EFFECT_HEADS, details, effect_row, headline
from pathsynth.report.bounds import ImagePlan, image_plan, weakest
from pathsynth.report.collect import TrialSummary, damaged
from pathsynth.report.comparison import (
    StudyVerdict,
    accepted_images,
    configuration_label,
    hardest,
    main_score,
    score_of,
    seconds_per_accepted,
    setting_effects,
    study_verdict,
)
from pathsynth.report.images import trial_images
from pathsynth.report.scores import BEFORE, Scores
from pathsynth.report.sprites import Sprite, image_sprite
from pathsynth.report.trial_view import class_name
from pathsynth.study.state import read_state

IMAGES = "report_images"
"""The folder beside the page that holds the images which would make it too large."""
_INLINE_BYTES = 5_500_000
_FEW_TRIALS = 24
_MOST_IMAGES, _MOST_OF_A_TRIAL = 24_000, 1000
_MOST_RECORDS = 60_000
"""Scores of classes in the page; of more, the least needed are left out."""


@dataclass(frozen=True)
class StudyView:
    """A study as its page shows it. ``payload`` is JSON without ``<``, ``>`` and ``&``; ``beside`` are files to lie beside the page."""

    title: str
    question: str
    answer: str
    details: tuple[str, ...]
    effect_heads: tuple[str, ...]
    effects: tuple[tuple[str, ...], ...]
    weakness: str
    data: str
    trials: int
    finished: int
    failed: int
    seeds: str
    versions: str
    date: str
    absent_images: tuple[str, ...]
    payload: str
    beside: tuple[tuple[str, bytes], ...]


def study_view(trials: Sequence[TrialSummary], home: Path, real: bool = False) -> StudyView:
    """The view of a study with at least one finished trial. Of one that is damaged it has the reason.

    Args:
        home: the folder that the page will lie in.
        real: whether real reference images are shown.

    Raises:
        RequestError: every finished trial is damaged.
    """
    plan = _image_plan(trials, real)
    records = _class_records(trials)
    largest = 64 if sum(t.finished for t in trials) <= _FEW_TRIALS else 32
    shown = [_with_sprite(t, home, plan, largest, real) for t in trials]
    trials, sprites = [s.trial for s in shown], [s.sprite for s in shown]
    finished = [t for t in trials if t.finished]
    if not finished:
        raise RequestError("; ".join(f"{t.folder} is damaged ({t.problem})" for t in trials if t.problem) + "; run it again")
    slugs = list(dict.fromkeys(slug for t in finished for slug in _slugs(t)))
    urls, beside = _placed(trials, sprites)
    verdict = study_verdict(trials)
    effects = setting_effects(verdict) if verdict else ()
    payload = {
        "scorer": main_score(trials),
        "classes": {slug: class_name(slug) for slug in slugs},
        "scored": [slug for slug in slugs if slug in records.slugs],
        "pictured": plan.slugs,
        "configurations": _configurations(verdict) if verdict else [],
        "effects": [[*effect_row(e)[:2], e.difference.value, e.difference.low, e.difference.high] for e in effects],
        "trials": [_record(t, home, records, sprite, url) for t, sprite, url in zip(trials, sprites, urls, strict=True)],
    }
    return StudyView(
        title=finished[0].study,
        question=next((t.question for t in trials if t.question), ""),
        answer=headline(verdict),
        details=details(verdict) if verdict else (),
        effect_heads=EFFECT_HEADS,
        effects=tuple(effect_row(e) for e in effects),
        weakness=_weakness(trials, verdict) if verdict else "",
        data=", ".join(dict.fromkeys(m.data for t in finished if t.result for m in t.result.metrics)),
        trials=len(trials),
        finished=len(finished),
        failed=sum(t.state in ("failed", "unreadable") for t in trials),
        seeds=", ".join(sorted({t.settings["seed"] for t in finished if "seed" in t.settings})),
        versions=", ".join(dict.fromkeys(f"{k} {v}" for t in finished if t.result for k, v in t.result.versions.items() if k in _NAMED)),
        date=max((read_state(t.folder).ended or "" for t in finished), default="")[:10],
        absent_images=_absent_images(shown, plan, len(slugs)),
        payload=_inert(payload),
        beside=beside,
    )


@dataclass(frozen=True)
class _Shown:
    """A trial with its pictures, and why it lacks some."""

    trial: TrialSummary
    sprite: Sprite | None
    absent: tuple[str, ...]


def _with_sprite(trial: TrialSummary, home: Path, plan: ImagePlan, largest: int, real: bool) -> _Shown:
    """A trial and its pictures; one that cannot be shown as it is, is damaged."""
    try:
        hardest(trial)
        _record(trial, home, ClassRecords(frozenset(), False), None, "")
        if not trial.finished:
            return _Shown(trial, None, ())
        images = trial_images(trial.folder, _slugs(trial), plan.slugs, plan.slots, real)
        return _Shown(trial, image_sprite(images.files, largest), images.absent)
    except Exception as error:  # a damaged file leads its library to raise whatever it may
        return _Shown(damaged(trial, error), None, ())


def _image_plan(trials: Sequence[TrialSummary], real: bool) -> ImagePlan:
    results = [Scores(t.result.metrics) for t in trials if t.result]
    slugs = list(dict.fromkeys(slug for scores in results for slug in scores.slugs))
    most = min(_MOST_OF_A_TRIAL, _MOST_IMAGES // max(1, len(results)))
    return image_plan(slugs, results, 3 if real else 2, most, 10 if len(results) <= _FEW_TRIALS else 4)


def _absent_images(shown: Sequence[_Shown], plan: ImagePlan, classes: int) -> tuple[str, ...]:
    """What is not shown, each reason once, with the number of trials where it is not all of them."""
    finished = [s for s in shown if s.trial.finished]
    reasons = list(dict.fromkeys(said for s in finished for said in s.absent))
    counts = [sum(said in s.absent for s in finished) for said in reasons]
    told = [said if n == len(finished) else f"{n} of {len(finished)} trials: {said}" for said, n in zip(reasons, counts, strict=True)]
    return tuple(said for said in (plan.sentence(classes), *told) if said)


_NAMED = ("pathsynth", "torch", "diffusers")


def _slugs(trial: TrialSummary) -> tuple[str, ...]:
    return Scores(trial.result.metrics).slugs if trial.result else ()


def _configurations(verdict: StudyVerdict) -> list[dict[str, Any]]:
    """Best first: fitted mean, its standard error and by how many of them a difference is plain (null: not known)."""
    compared = verdict.comparison
    numbers = {c.label: i for i, c in enumerate(verdict.configurations)}
    found = []
    for c in verdict.ranking:
        i = numbers[c.label]
        mean, error = (compared.means[i], compared.errors and compared.errors[i]) if i in compared.order else (c.mean, None)
        found.append({"label": c.label, "mean": mean, "error": error, "student": compared.student})
    return found


def _weakness(trials: Sequence[TrialSummary], verdict: StudyVerdict) -> str:
    best = [t for t in trials if configuration_label(t) == verdict.leader.label and score_of(t, verdict.scorer)]
    found = hardest(best[0]) if best else None
    if found is None:
        return ""
    slug, other, rate = found
    taken = f", most often taken for {class_name(other)}" if other else ""
    where = f"In the leading configuration (seed {best[0].settings.get('seed', 'unknown')})"
    return (
        f"{where}, the weakest class is {class_name(slug)}: {round(rate.value * rate.n)} of {rate.n} first attempts were accepted{taken}."
    )


def _placed(trials: Sequence[TrialSummary], sprites: Sequence[Sprite | None]) -> tuple[list[str], tuple[tuple[str, bytes], ...]]:
    """Where each sprite is found: inside the page while there is room, else in a folder beside it."""
    urls: list[str] = []
    beside: list[tuple[str, bytes]] = []
    used = 0
    for trial, sprite in zip(trials, sprites, strict=True):
        used += len(sprite.webp) if sprite else 0
        if sprite is None:
            urls.append("")
        elif used <= _INLINE_BYTES:
            urls.append("data:image/webp;base64," + base64.b64encode(sprite.webp).decode("ascii"))
        else:
            name = f"{len(beside):05d}.webp" if not trial.result else f"{trial.result.identity}.webp"
            beside.append((f"{IMAGES}/{name}", sprite.webp))
            urls.append(f"{IMAGES}/{quote(name)}")
    return urls, tuple(beside)


_OF_A_CLASS = ("acceptance", "f1", "precision", "recall")
"""What the page shows of each class; the rest is on the trials' own pages."""
_NEEDED = ("acceptance", "f1")


@dataclass(frozen=True)
class ClassRecords:
    """Which scores of classes the page carries: of which classes, and whether more than F1 and acceptance before filtering."""

    slugs: frozenset[str]
    whole: bool

    def hold(self, m: Metric) -> bool:
        if m.class_ is None:
            return True
        kind = m.metric in _OF_A_CLASS if self.whole else m.metric in _NEEDED and m.stage == BEFORE
        return kind and m.class_ in self.slugs


def _class_records(trials: Sequence[TrialSummary]) -> ClassRecords:
    """All while they are few enough for a page, else the needed ones, else those of the weakest classes."""
    results = [Scores(t.result.metrics) for t in trials if t.result]
    slugs = list(dict.fromkeys(slug for scores in results for slug in scores.slugs))
    for records in (ClassRecords(frozenset(slugs), True), ClassRecords(frozenset(slugs), False)):
        count = sum(m.class_ is not None and records.hold(m) for scores in results for m in scores.metrics)
        if count <= _MOST_RECORDS:
            return records
    fit = max(1, len(slugs) * _MOST_RECORDS // count)
    return ClassRecords(frozenset(weakest(slugs, results)[:fit]), False)


def _record(trial: TrialSummary, home: Path, records: ClassRecords, sprite: Sprite | None, url: str) -> dict[str, Any]:
    result = trial.result
    generated = [m for m in (result.metrics if result else ()) if m.split == "generated"]
    kept = [m for m in generated if records.hold(m)]
    return {
        "name": trial.name,
        "link": quote(os.path.relpath(trial.folder / "report.html", home)) if (trial.folder / "report.html").is_file() else "",
        "address": trial.address,
        "config": configuration_label(trial),
        "params": dict(d.split("=", 1) for d in trial.differing),
        "seed": trial.settings.get("seed", ""),
        "state": trial.state,
        "problem": trial.problem,
        "seconds": sum(result.timings.values()) if result else None,
        "cost": seconds_per_accepted(trial),
        "accepted": accepted_images(trial),
        "metrics": [[m.metric, m.stage, m.scorer, m.class_, m.value, m.low, m.high, m.n] for m in kept],
        "history": _history(trial.folder / "history.csv"),
        "sprite": _drawn(sprite, url) if sprite else None,
    }


def _drawn(sprite: Sprite, url: str) -> dict[str, Any]:
    return {"url": url, "size": sprite.size, "columns": sprite.columns, "tiles": [asdict(t) for t in sprite.tiles]}


def _history(path: Path) -> list[list[float]]:
    """(step, before-filter macro-F1 on validation) pairs."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        pairs = [(row.get("step"), row.get("val_macro_f1")) for row in csv.DictReader(handle)]
    numbers = [[float(s), float(v)] for s, v in pairs if s and v]
    return [pair for pair in numbers if pair[1] == pair[1]]


def _inert(payload: dict[str, Any]) -> str:
    """JSON that can close no element, whatever names and prompts hold."""
    text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
