"""The acceptance rules that the settings of sampling ask for."""

from __future__ import annotations

from pathsynth.config import SamplingConfig
from pathsynth.config.objects import build_object
from pathsynth.data.dataset import DataSet
from pathsynth.metrics.memorisation import copy_bound
from pathsynth.metrics.neighbours import nearest
from pathsynth.models.classifier import Classifier
from pathsynth.sampling.acceptance_rules import AtLeast, Leads, MostProbable, NoCopy, Rule
from pathsynth.sampling.gate import class_features


def acceptance_rules(gate: Classifier, data: DataSet, sampling: SamplingConfig) -> tuple[Rule, ...]:
    """In the order in which they are asked: the class is the most probable; probable enough; far enough ahead; no copy; the user's own.

    The bound of a copy is the distance below which 1% of the real val images lie to their nearest training image.

    Raises:
        RequestError: a rule of the user's own cannot be made.
    """
    rules: list[Rule] = [MostProbable()]
    if sampling.threshold:
        rules.append(AtLeast(sampling.threshold))
    if sampling.margin:
        rules.append(Leads(sampling.margin))
    if sampling.reject_copies:
        train, held_out = (class_features(gate, data.split(split).images) for split in ("train", "val"))
        rules.append(NoCopy(train, copy_bound(nearest(held_out, train)[0])))
    return (*rules, *own_rules(sampling))


def own_rules(sampling: SamplingConfig) -> tuple[Rule, ...]:
    """The rules that a request names by their classes, in its order.

    Raises:
        RequestError: one cannot be made.
    """
    return tuple(build_object(f"sampling.rules.{name}", settings, members=("reason", "slack")) for name, settings in sampling.rules.items())
