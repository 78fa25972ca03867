"""The model behind the page: a bundle on its base, loaded once. Torch is loaded by :func:`load_model` only."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pathsynth.config import RunConfig, SamplingConfig
from pathsynth.config.groups import require_group
from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.acceptance_rules import Rule, needs_features
from pathsynth.sampling.denoising import Watch
from pathsynth.sampling.rejection import Draw, Judge
from pathsynth.sampling.scheduler import Scheduler
from pathsynth.studies.planning.prompt_check import TextReader, reading_notes, text_reader
from pathsynth.vocabulary.prompts import PromptBook

if TYPE_CHECKING:
    from pathsynth.data.ready import ReadySet
    from pathsynth.models.base import Base
    from pathsynth.models.image_classifier import Classifier

UNSUPPORTED = ("early_rejection.after_step", "calls", "seconds")
"""Settings of sampling that the page does not offer."""


class Model(Protocol):
    """What the engine needs: classes with their prompts, and functions that draw and judge by settings of sampling."""

    @property
    def book(self) -> PromptBook:
        """The classes and their prompts."""
        ...

    @property
    def sampling(self) -> SamplingConfig:
        """The settings that visitors do not choose."""
        ...

    @property
    def scheduler(self) -> Scheduler:
        """The base's noise scheduler."""
        ...

    def drawer(self, sampling: SamplingConfig, watch: Watch) -> Draw:
        """A function that draws attempts and shows ``watch`` its progress."""
        ...

    def judge(self, sampling: SamplingConfig) -> Judge:
        """A function that gives images their verdicts."""
        ...

    def rules(self, sampling: SamplingConfig) -> Sequence[Rule]:
        """The acceptance rules that ``sampling`` sets."""
        ...

    def notes(self, prompt: str) -> Sequence[str]:
        """Notes on words of a text that the text encoder cuts off or splits."""
        ...


class LoadedModel:
    """A base with an adapter, and the gate that was trained beside it."""

    def __init__(self, config: RunConfig, ready: ReadySet, base: Base, classifier: Classifier, reader: TextReader | None) -> None:
        from pathsynth.sampling.draw import base_scheduler

        self.book, self.sampling = ready.prompts, require_group(config.sampling, "sampling")
        self.scheduler = base_scheduler(base, self.sampling.scheduler)
        self._data, self._base, self._classifier, self._size = ready.as_data(), base, classifier, ready.size
        self._reader = reader

    def drawer(self, sampling: SamplingConfig, watch: Watch) -> Draw:
        """As :meth:`Model.drawer`."""

        from pathsynth.sampling.draw import drawer

        return drawer(self._base, self._size, sampling, watch)

    def judge(self, sampling: SamplingConfig) -> Judge:
        """As :meth:`Model.judge`; the gate."""

        from pathsynth.sampling.gate import Gate

        return Gate(self._classifier, self.rules(sampling), sampling.deterministic)

    def rules(self, sampling: SamplingConfig) -> Sequence[Rule]:
        """As :meth:`Model.rules`."""

        from pathsynth.studies.execution.trial_rules import acceptance_rules

        return acceptance_rules(self._classifier, self._data, sampling)

    def notes(self, prompt: str) -> Sequence[str]:
        """As :meth:`Model.notes`; empty without a text encoder to ask."""
        return reading_notes(self._reader, [prompt]) if self._reader else ()


def check_sampling(sampling: SamplingConfig) -> None:
    """Refuse settings that the page cannot draw with.

    Raises:
        RequestError: one of them is set.
    """
    for key in UNSUPPORTED:
        if attrgetter(key)(sampling) is not None:
            raise RequestError(f"sampling.{key} is for a generation on the command line; leave it out")


def load_model(config: RunConfig) -> LoadedModel:
    """Load what `pathsynth generate` would draw with.

    Args:
        config: of that command, with ``data=ready``.

    Raises:
        RequestError: the bundle or its base is missing or damaged, they do not belong together, or a rule needs more than probabilities.
    """
    import torch

    from pathsynth.data.catalogue import ready_set
    from pathsynth.evaluation.classifier_scores import named_class, placed
    from pathsynth.models.base import load_base
    from pathsynth.models.image_classifier import load_classifier
    from pathsynth.models.lora import load_adapter
    from pathsynth.stages.fingerprints import base_source
    from pathsynth.studies.execution.supervise import trial_environment

    data, base_config = require_group(config.data, "data"), require_group(config.base, "base")
    sampling = require_group(config.sampling, "sampling")
    check_sampling(sampling)
    # bits depend on both, and a trial sets them so
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(int(trial_environment(config.training.threads, 1)["OMP_NUM_THREADS"]))
    ready, source = ready_set(data), base_source(base_config)
    base = load_base(source.path_or_hub, source.revision, source.identity, base_config.canvas, ready.size)
    load_adapter(ready.adapter, base)
    classifier = placed(load_classifier(ready.gate, ready.prompts.space, named_class(config.gate)))
    model = LoadedModel(config, ready, base, classifier, text_reader(Path(source.path_or_hub)))
    for name in needs_features(model.rules(sampling)):
        raise RequestError(f"the rule {name} needs features, which the page does not keep; leave it out")
    return model


def is_bundle(place: Path) -> bool:
    """Whether `pathsynth export --ready` wrote the folder."""
    return (place / "ready.json").is_file()
