"""The evaluation protocol: from a generated set to metric records, each with its n, interval, stage and scorer.

First attempts alone are scored "before filtering": they are what the adapter draws without any help. "After
filtering" means the accepted image of each slot; only the judge scores it, for the gate's score of what it accepted is
1 by construction. Beside both stands what colour histograms alone make of the same images. Names with ``rejected_`` are of the
first attempts that were not accepted, to tell what filtering takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pathsynth.data.dataset import DataSet
from pathsynth.data.images import Images
from pathsynth.ledger.records import Metric, Missing
from pathsynth.metrics.agreement import Interval, design_effect, effective_wilson, wilson
from pathsynth.metrics.colour import ColourClassifier, fit_colour
from pathsynth.metrics.fidelity import kid
from pathsynth.metrics.image_scores import (
    AFTER,
    BEFORE,
    FEWEST,
    Evaluation,
    Scored,
    agreement_metrics,
    confusion_counts,
    distances_between,
    interval_fields,
    overall_metrics,
)
from pathsynth.metrics.memorisation import near_copies
from pathsynth.metrics.neighbours import nearest
from pathsynth.metrics.prdc import NEIGHBOURS, prdc
from pathsynth.models.image_classifier import Classifier
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.gate import class_features, class_probabilities
from pathsynth.sampling.pictures import read_png

REJECTED = "rejected_"
"""What the names of metrics of rejected first attempts start with; their stage is ``BEFORE``."""
_COLOUR = "colour"
RECONSTRUCTED = "reconstructed"
"""The split of training images that went through the base's autoencoder: the marks of a perfect denoiser."""
_judged = partial(Metric, unit="image", scorer="judge")
_MOST_COLOURS = 10_000
"""Training images that the colour classifier sees at most: more change its 24 numbers a class no further."""


@dataclass(frozen=True)
class _Set:
    """Features, float (N, F), and labels, int64 (N,), of one set of images."""

    features: np.ndarray
    labels: np.ndarray

    def of_class(self, label: int) -> np.ndarray:
        return self.features[self.labels == label]


@dataclass(frozen=True)
class _Drawn:
    """Generated images: the requested labels, int64 (N,), which of them have a picture, and those pictures, uint8 (K, H, W, 3)."""

    labels: np.ndarray
    whole: np.ndarray
    images: np.ndarray

    @classmethod
    def read(cls, rows: Sequence[AttemptRow], folder: Path) -> _Drawn:
        pictures = [read_png(folder / r.image) for r in rows if r.image]
        labels = np.array([r.label for r in rows], dtype=np.int64)
        whole = np.array([bool(r.image) for r in rows], dtype=bool)
        return cls(labels, whole, np.stack(pictures) if pictures else np.empty((0, 1, 1, 3), np.uint8))

    def predictions(self, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """int64 (N,), −1 where there is no picture."""
        return self.spread(predict(self.images)) if len(self.images) else np.full(len(self.labels), -1, dtype=np.int64)

    def spread(self, predicted: np.ndarray) -> np.ndarray:
        """Labels of the pictures, int64 (K,), at the places of the images that have one: int64 (N,), −1 elsewhere."""
        predictions = np.full(len(self.labels), -1, dtype=np.int64)
        predictions[self.whole] = predicted
        return predictions


Reconstruct = Callable[[Images], np.ndarray]


@dataclass(frozen=True)
class Reference:
    """What generated sets are compared with.

    ``features``: of the real images, float64 (N, F), with their ``labels``, int64 (N,); ``train``: features of the training images,
    float32 (M, F); ``distances``: of the real images to the nearest of them, float64 (N,). ``colour``: what was fitted on the colours of
    training images. ``metrics``: what as many real training images as a set has first attempts reach, and what colour alone shows of
    the real images.
    """

    features: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    distances: np.ndarray
    colour: ColourClassifier
    metrics: tuple[Metric, ...]


def real_reference(judge: Classifier, data: DataSet, split: str, n: int, seed: int, reconstruct: Reconstruct | None = None) -> Reference:
    """The reference for sets of ``n`` images.

    Args:
        judge: the independent classifier; distances are taken in its features.
        data: the real data; its ``split`` ("val" or "test") is the reference of KID and coverage.
        split: see ``data``.
        n: training images whose coverage is measured, and of each class its share of them.
        seed: which training images are drawn; recorded with the metric.
        reconstruct: the base's autoencoder there and back, uint8 (N, H, W, 3) each; the same training images are measured after it, too.
    """
    scored, trained = data.split(split), data.split("train")
    real, train = _Set(class_features(judge, scored.images), scored.labels), _Set(class_features(judge, trained.images), trained.labels)
    every = -(-len(trained) // _MOST_COLOURS)
    spread = trained.take(np.arange(0, len(trained), every))
    colour = fit_colour(spread.images, spread.labels, len(data.space))
    by_colour = Scored(None, _COLOUR, scored.labels, colour.predict(scored.images))
    reached = [*_reached_by_real(real, train, data, n, seed), *overall_metrics(by_colour, data, seed, None, split)]
    if reconstruct:
        copies = class_features(judge, reconstruct(trained.take(_some_rows(len(trained), n, np.random.default_rng(seed))).images))
        reached += _reached(real.features, copies, data, seed, RECONSTRUCTED)
    distances = nearest(real.features, train.features)[0]
    return Reference(real.features, real.labels, train.features.astype(np.float32), distances, colour, tuple(reached))


def evaluate_set(
    rows: Sequence[AttemptRow],
    folder: Path,
    judge: Classifier,
    data: DataSet,
    reference: Reference,
    seed: int,
    prompts: str = "canonical",
) -> Evaluation:
    """Score a generated set.

    Args:
        rows: every attempt of the set, in any order.
        folder: where the rows' image paths start.
        judge: the independent classifier.
        data: the real data.
        reference: of as many images as the set has first attempts.
        seed: of the bootstrap, and recorded with every metric.
        prompts: the kind of prompts that the images have; recorded with every metric of generated images.
    """
    first, accepted = [r for r in rows if r.attempt == 0], [r for r in rows if r.accepted]
    drawn = {BEFORE: _Drawn.read(first, folder), AFTER: _Drawn.read(accepted, folder)}
    scored = [Scored(BEFORE, "gate", drawn[BEFORE].labels, np.array([r.predicted for r in first]))]
    coloured = []
    judged: dict[tuple[str, int, int], np.ndarray] = {}
    for (stage, images), attempts in zip(drawn.items(), (first, accepted), strict=True):
        if len(images.labels):
            answers = class_probabilities(judge, images.images) if len(images.images) else np.empty((0, len(data.space)))
            kept = (row for row in attempts if row.image)
            judged |= {(row.class_slug, row.slot, row.attempt): answer for row, answer in zip(kept, answers, strict=True)}
            scored.append(Scored(stage, "judge", images.labels, images.spread(answers.argmax(axis=1))))
            coloured.append(Scored(stage, _COLOUR, images.labels, images.predictions(reference.colour.predict)))
    metrics = [m for s in scored for m in agreement_metrics(s, data, seed, prompts)]
    metrics += [m for s in coloured for m in overall_metrics(s, data, seed, prompts)]
    metrics += _acceptance_metrics(rows, data, seed, prompts)
    missing = [] if accepted else [Missing("judge after filtering", "the gate accepted no image")]
    rejected = _Drawn.read([r for r in first if not r.accepted], folder)
    metrics += _audit(rejected, judge, data, reference, prompts, seed)
    if len(rejected.images) < FEWEST:
        few = f"{len(rejected.images)} rejected images are too few to compare with a distribution ({FEWEST} at least)"
        missing.append(Missing("distances of rejected first attempts", few))
    for stage, images in drawn.items():
        closeness, absent = _closeness(images, judge, data, reference, prompts, seed, stage)
        metrics += closeness
        missing += absent
    metrics += reference.metrics
    confusions = {f"{s.stage}/{s.scorer}": confusion_counts(s, data.space) for s in scored}
    return Evaluation(tuple(metrics), tuple(missing), confusions, judged)


def _audit(rejected: _Drawn, judge: Classifier, data: DataSet, reference: Reference, prompts: str, seed: int) -> list[Metric]:
    """What filtering takes away: the share of rejected first attempts that the judge takes for what was asked, and how they lie.

    They are few, and of other classes than the rest: over all classes only means over images are given, the kernel distance by class
    alone, and nothing that depends on how many images there are. A broken image is not confirmed.
    """
    hits = rejected.labels == rejected.predictions(lambda pictures: class_probabilities(judge, pictures).argmax(axis=1))
    groups = [(None, hits), *((c.slug, hits[rejected.labels == c.index]) for c in data.space.classes)]
    rows: list[tuple[str | None, int, str, Interval]] = [
        (slug, len(confirmed), "confirmed", wilson(int(confirmed.sum()), len(confirmed))) for slug, confirmed in groups if len(confirmed)
    ]
    if len(rejected.images) >= FEWEST:
        fake = _Set(class_features(judge, rejected.images), rejected.labels[rejected.whole])
        rows += [(None, len(fake.features), *named) for named in _copies(fake.features, reference, seed).items()]
        if len(reference.features) > NEIGHBOURS:
            scores = prdc(reference.features, fake.features, seed)
            measured = {"feature_precision": scores.precision, "density": scores.density}
            rows += [(None, len(fake.features), *named) for named in measured.items()]
        for c in data.space.classes:
            confirmed, real = fake.of_class(c.index), _Set(reference.features, reference.labels).of_class(c.index)
            if len(confirmed) >= FEWEST and len(real) > NEIGHBOURS:
                rows.append((c.slug, len(confirmed), "kid", kid(real, confirmed, seed)))
    record = partial(_judged, split="generated", stage=BEFORE, prompts=prompts, data=data.name, seed=seed)
    return [
        record(metric=REJECTED + name, **interval_fields(i), n=n, class_=slug)
        for slug, n, name, i in rows
    ]


def _acceptance_metrics(rows: Sequence[AttemptRow], data: DataSet, seed: int, prompts: str) -> list[Metric]:
    """Acceptance is the share of first attempts that the rule accepts: later attempts exist only where the first failed."""
    groups: list[tuple[str | None, list[AttemptRow]]] = [(None, list(rows))]
    groups += [(c.slug, [r for r in rows if r.label == c.index]) for c in data.space.classes]
    records = []
    for slug, group in groups:
        first = [r for r in group if r.attempt == 0]
        if not first:
            continue
        slots, accepted = len(first), sum(r.accepted for r in group)

        context = partial(Metric, split="generated", stage=BEFORE, scorer="gate", class_=slug, prompts=prompts, data=data.name, seed=seed)
        of_slots = partial(context, n=slots, unit="slot")
        for metric, hits in (("acceptance", sum(r.accepted for r in first)), ("slots_accepted", accepted)):
            records.append(of_slots(metric=metric, **interval_fields(wilson(hits, slots))))
        records.append(of_slots(metric="exhausted_slots", value=float(slots - accepted)))
        if accepted:
            records.append(context(metric="attempts_per_accepted", value=len(group) / accepted, n=accepted, unit="image"))
        records.append(of_slots(metric="accepted_per_1000_calls", **interval_fields(accepted_per_thousand_calls(group))))
    return records


def accepted_per_thousand_calls(rows: Sequence[AttemptRow]) -> Interval:
    """Accepted images for a thousand calls of the denoiser, with an interval over slots.

    The rate is the share of the best one, at which every call belongs to an accepted image, and has the interval of such a share: Wilson's
    of as many slots as the variance of the ratio is worth. So it is not empty either where all slots went alike.

    ``rows``: every attempt at one slot or more.
    """
    table = pd.DataFrame([(r.label, r.slot, r.accepted, r.denoiser_calls) for r in rows], columns=["label", "slot", "accepted", "calls"])
    slots = table.groupby(["label", "slot"]).sum()
    accepted, calls = (slots[name].to_numpy(dtype=float) for name in ("accepted", "calls"))
    spent = table.calls[table.accepted] if table.accepted.any() else table.calls
    n, best, share = len(slots), 1000 / spent.min(), accepted.sum() * spent.min() / calls.sum()
    residuals = accepted * spent.min() - share * calls
    variance = n / max(n - 1, 1) * np.square(residuals).sum() / calls.sum() ** 2
    interval = effective_wilson(float(share), n / design_effect(variance, share * (1 - share) / n, 0.5 / n**2))
    return Interval(float(best * interval.value), float(best * interval.low), float(best * interval.high))


def _closeness(
    drawn: _Drawn, judge: Classifier, data: DataSet, reference: Reference, prompts: str, seed: int, stage: str
) -> tuple[list[Metric], list[Missing]]:
    """How close a set is to the real images, how much of them it covers, and how near training images it comes; in the judge's features.

    Over all classes, and for each class beside the real images of that class.
    """
    if len(drawn.images) < FEWEST:
        reason = f"{len(drawn.images)} images are too few to compare with a distribution ({FEWEST} at least)"
        return [], [Missing(f"{metric} {stage}", reason) for metric in ("kid", "coverage")]
    fake = _Set(class_features(judge, drawn.images), drawn.labels[drawn.whole])
    real = _Set(reference.features, reference.labels)
    rows: list[tuple[str | None, int, dict[str, Interval]]] = [
        (None, len(fake.features), {**distances_between(real.features, fake.features, seed), **_copies(fake.features, reference, seed)})
    ]
    for c in data.space.classes:
        members = fake.of_class(c.index)
        distances = _class_distances(real.of_class(c.index), members, seed)
        rows += [(c.slug, len(members), {**distances, **_copies(members, reference, seed)})] if distances else []
    record = partial(_judged, split="generated", stage=stage, prompts=prompts, data=data.name, seed=seed)
    return [
        record(metric=name, **interval_fields(i), n=n, class_=slug)
        for slug, n, intervals in rows
        for name, i in intervals.items()
    ], []


def _copies(fake: np.ndarray, reference: Reference, seed: int) -> dict[str, Interval]:
    return {"near_copies": near_copies(fake, reference.train, reference.distances, seed)}


def _class_distances(real: np.ndarray, fake: np.ndarray, seed: int) -> dict[str, Interval]:
    """Of one class; nothing where it has too few images. Without the Fréchet distance, which needs more images than features."""
    if len(fake) < FEWEST or len(real) <= NEIGHBOURS:
        return {}
    scores = prdc(real, fake, seed)
    return {
        "kid": kid(real, fake, seed),
        "coverage": scores.coverage,
        "feature_precision": scores.precision,
        "feature_recall": scores.recall,
    }


def _reached_by_real(real: _Set, train: _Set, data: DataSet, n: int, seed: int) -> list[Metric]:
    """What as many real training images as there are first attempts reach, in all and by class: the marks of a perfect generator."""
    rng = np.random.default_rng(seed)
    overall = _reached(real.features, _some(train.features, n, rng), data, seed, "train")
    if not overall:
        return []
    rows = []
    for c in data.space.classes:
        members = _some(train.of_class(c.index), n // len(data.space), rng)
        rows.append((c.slug, len(members), _class_distances(real.of_class(c.index), members, seed)))
    return overall + [
        _judged(metric=name, **interval_fields(i), n=size, class_=slug, split="train", data=data.name, seed=seed)
        for slug, size, intervals in rows
        for name, i in intervals.items()
    ]


def _reached(real: np.ndarray, others: np.ndarray, data: DataSet, seed: int, split: str) -> list[Metric]:
    """How close other real images come to the real ones, in features; nothing where there are too few."""
    if len(real) <= NEIGHBOURS or len(others) < FEWEST:
        return []
    return [
        _judged(metric=name, **interval_fields(i), n=len(others), split=split, data=data.name, seed=seed)
        for name, i in distances_between(real, others, seed).items()
    ]


def _some(features: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` rows at random, or all if there are fewer, in their order."""
    return features[_some_rows(len(features), n, rng)]


def _some_rows(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """int64: the numbers of ``n`` of ``count`` rows at random, or of all if there are fewer, in their order."""
    return np.sort(rng.permutation(count)[:n])
