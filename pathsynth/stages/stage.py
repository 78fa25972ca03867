"""What a stage is: its settings and parents, how it is built, and what the trial's folder shows of it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pathsynth.config import AnyClassifier, RunConfig
from pathsynth.config.groups import require_group
from pathsynth.ledger.identity import stage_identity
from pathsynth.stages.fingerprints import BaseSource, DataSource

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger

    from pathsynth.data.dataset import DataSet
    from pathsynth.models.base import Base
    from pathsynth.sampling.gate import Gate
    from pathsynth.training.latent_cache import LatentCache
    from pathsynth.training.progress import Advance, SamplingProgress

_FIRST_NAMES = {"early_rejection": "look"}


@dataclass(frozen=True)
class StagePlan:
    """A stage to build or find: ``parents`` are the identities of what it is made from, by name."""

    name: str
    identity: str
    settings: dict[str, Any]
    parents: dict[str, str]


@dataclass(frozen=True)
class PlanContext:
    """What a stage is planned from: the request, its data and base, and the identities of the stages before it, by name.

    Where the trial draws from a pretrained bundle, ``identities`` has the bundle's adapter and gate under ``finetune`` and ``gate``.
    """

    config: RunConfig
    data_source: DataSource | None
    base_source: BaseSource | None
    identities: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> DataSource:
        """The data; RequestError where the request has none."""
        return require_group(self.data_source, "data")

    @property
    def base(self) -> BaseSource:
        """The base; RequestError where the request has none."""
        return require_group(self.base_source, "base")


class BuildContext(Protocol):
    """The running trial, as far as a stage uses it: what is loaded once is shared by all of its stages."""

    @property
    def config(self) -> RunConfig:
        """Settings of the trial."""
        ...

    @property
    def identity(self) -> str:
        """The trial's own."""

    @property
    def built(self) -> Mapping[str, Path]:
        """The folders of the stages that are finished, by name."""

    @property
    def data(self) -> DataSet:
        """Images and labels; opened at first use."""
        ...

    @property
    def base(self) -> Base:
        """The base, without an adapter; loaded at first use."""
        ...

    @property
    def gate(self) -> Gate:
        """The trained gate with its acceptance rules; loaded at first use."""
        ...

    @property
    def judge(self) -> Path | None:
        """The folder of the classifier that confirms what the gate accepted, where there is one."""

    @property
    def loggers(self) -> list[Logger]:
        """The trial's own run, in each tracker."""

    def stage(self, name: str) -> StagePlan:
        """The plan of one of the trial's stages."""

    def work(self, name: str) -> Path:
        """Where an unfinished stage keeps what it continues from."""

    def folder_of(self, stage: str) -> Path:
        """The folder of a finished stage, or of what a pretrained bundle has in its place."""

    def cache(self) -> LatentCache:
        """The finished cache; one that was damaged since is built again."""

    def classifier_runs(self, role: str, config: AnyClassifier) -> list[Logger]:
        """Open the run that a classifier has of its own in each tracker, or continue with it."""

    def keep_open(self, role: str, runs: list[Logger]) -> None:
        """Leave a classifier's runs open until what it trained is in its place, and can be logged as an artifact."""

    def advance(self, stage: str, detail: str) -> Advance:
        """Tells the trial's state how far a stage's count came."""

    def shown(self, stage: str, part: str = "") -> list[pl.Callback]:
        """What shows the progress of a stage's training, or of a part of it."""

    def counted(self, stage: str, total: int, unit: str) -> SamplingProgress:
        """What shows the progress of a stage that draws images, of so many units."""


def _always(config: RunConfig) -> bool:
    return True


@dataclass(frozen=True)
class Stage:
    """One step of a trial whose result is kept and shared.

    ``settings`` and ``parents`` decide its result, and with it its identity. ``build`` writes the result into an empty folder, and loads
    torch only then. ``shown``: what of that folder the trial's own folder gets a copy of. ``wanted``: whether a command that has the
    stage needs it at these settings. ``derived``: it holds nothing but what others, of the same parents, are made of or make; a trial
    is identified by those.

    ``neutral``: settings at which the stage does what it did before the setting existed; they are left out of its identity. A new key
    enters here with the value that changes nothing. What ``conf/`` proposes is no reason to be here: a proposal may change, and an
    identity must not then stand for another result.
    """

    name: str
    settings: Callable[[PlanContext], dict[str, Any]]
    parents: Callable[[PlanContext], dict[str, str]]
    build: Callable[[BuildContext, Path], None]
    neutral: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    wanted: Callable[[RunConfig], bool] = _always
    derived: bool = False

    def plan(self, context: PlanContext) -> StagePlan:
        """The stage under its identity.

        Raises:
            RequestError: a group of the configuration is missing, or two settings do not go together.
        """
        settings, parents = self.settings(context), self.parents(context)
        hashed_parents = {hashed_name(name): identity for name, identity in parents.items()}
        return StagePlan(self.name, stage_identity(hashed_name(self.name), settings, hashed_parents, self.neutral), settings, parents)


def hashed_name(stage: str) -> str:
    """The name of a stage in identities: that of its first version."""
    return _FIRST_NAMES.get(stage, stage)
