"""The acceptance rules that the settings of sampling ask for."""

from __future__ import annotations

from collections.abc import Sequence

from pathsynth.config import SamplingConfig
from pathsynth.config.objects import build_object
from pathsynth.data.dataset import DataSet
from pathsynth.metrics.memorisation import copy_bound
from pathsynth.metrics.neighbours import nearest
from pathsynth.metrics.thresholds import precision_thresholds
from pathsynth.models.image_classifier import Classifier
from pathsynth.sampling.acceptance_rules import AtLeast, AtLeastByClass, Leads, MostProbable, NoCopy, Rule
from pathsynth.sampling.gate import class_features, class_probabilities
from pathsynth.vocabulary.labels import LabelSpace


def acceptance_rules(gate: Classifier, data: DataSet, sampling: SamplingConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are asked.

    The class is the most probable; it is probable enough, above its own limit, and far enough ahead; the image is no copy; and the user's
    own rules.

    The bound of a copy is the distance below which 1% of the real val images lie to their nearest training image.

    Raises:
        RequestError: a rule of the user's own cannot be made.
    """
    rules: list[Rule] = [MostProbable()]
    if sampling.threshold:
        rules.append(AtLeast(sampling.threshold))
    if sampling.precision_target:
        rules.append(_precise(gate, data, sampling.precision_target))
    if sampling.margin:
        rules.append(Leads(sampling.margin))
    if sampling.reject_copies:
        train, held_out = (class_features(gate, data.split(split).images) for split in ("train", "val"))
        rules.append(NoCopy(train, copy_bound(nearest(held_out, train)[0])))
    return (*rules, *custom_rules(sampling))


def _precise(gate: Classifier, data: DataSet, target: float) -> AtLeastByClass:
    """Limits set on the half of val that chose nothing, or on all of it where it is too small to be halved."""
    held_out = data.assessment("val") or data.split("val")
    limits = precision_thresholds(class_probabilities(gate, held_out.images), held_out.labels, target)
    return AtLeastByClass(tuple(float(limit) for limit in limits), target)


def format_limits(rules: Sequence[Rule], space: LabelSpace) -> list[str]:
    """A line on the limits that a wanted precision gave each class, where there are any."""
    return [
        f"gate: least probabilities for a precision of {rule.target:g} on real val images: {_limited(rule, space)}"
        for rule in rules
        if isinstance(rule, AtLeastByClass)
    ]


def _limited(rule: AtLeastByClass, space: LabelSpace) -> str:
    limited = [f"{c.slug} {rule.thresholds[c.index]:.2f}" for c in space.classes if rule.thresholds[c.index] > 0]
    return ", ".join(limited) or "none is needed"


def custom_rules(sampling: SamplingConfig) -> tuple[Rule, ...]:
    """The rules that a request names by their classes, in its order.

    Raises:
        RequestError: one cannot be made.
    """
    return tuple(build_object(f"sampling.rules.{name}", settings, members=("reason", "slack")) for name, settings in sampling.rules.items())
