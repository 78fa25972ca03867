"""What a stage is: its settings and parents, how it is built, how much work it is, and what the trial shows of it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
    def folder(self) -> Path:
        """The trial's own folder."""

    @property
    def built(self) -> Mapping[str, Path]:
        """The folders of the stages that are finished, by name."""

    @property
    def built_here(self) -> Collection[str]:
        """Those of them that this process built, whose curves its loggers saw; the others were found."""

    @property
    def data(self) -> DataSet:
        """Images and labels; opened at first use."""
        ...

    @property
    def base_source(self) -> BaseSource | None:
        """Where the base is loaded from; None for a trial without one."""
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


@dataclass(frozen=True)
class Effort:
    """How long a stage takes, as far as its settings tell.

    ``work``: how much there is to do, in a unit that only stages of one name share; 1 if their settings do not say. ``kind``: the setting
    without which the times of two stages cannot be compared. ``long``: minutes, so that where several trials need the stage, a job of its
    own may build it first; the others take seconds, and the trial that comes first builds them.
    """

    work: Callable[[Mapping[str, Any]], float] = lambda settings: 1.0
    kind: Callable[[Mapping[str, Any]], str | None] = lambda settings: None
    long: bool = False


@dataclass(frozen=True)
class Artifact:
    """What a tracker keeps of a stage: ``files`` of its folder, under a ``name`` to which its identity is added."""

    kind: str
    name: str
    files: tuple[str, ...]


def _always(config: RunConfig) -> bool:
    return True


def _nothing_chosen(context: BuildContext, folder: Path) -> Sequence[str]:
    return ()


def _nothing_logged(context: BuildContext, folder: Path) -> None:
    return None


def no_summary(context: BuildContext, folder: Path) -> str:
    """Of a stage about which the trial's log has nothing more to say."""
    return ""


@dataclass(frozen=True)
class Stage:
    """One step of a trial whose result is kept and shared.

    ``settings`` and ``parents`` decide its result, and with it its identity. ``build`` writes the result into an empty folder, and loads
    torch only then. ``wanted``: whether a command that has the stage needs it at these settings. ``derived``: it holds nothing but what
    others, of the same parents, are made of or make; a trial is identified by those. ``loads``: stages that building it may load although
    they are no parents. ``effort``: how long that takes. ``on_gpu``: whether a GPU is used where there is one.

    ``neutral``: settings at which the stage does what it did before the setting existed; they are left out of its identity. A new key
    enters here with the value that changes nothing. What ``conf/`` proposes is no reason to be here: a proposal may change, and an
    identity must not then stand for another result.

    What the trial shows of the finished stage, whose folder the functions get: ``shown`` and ``chosen``, of which files its own folder gets
    a copy; ``artifact``, what a tracker keeps; ``log``, what the trial's run in a tracker shows besides; ``summary``, the line that ends
    the trial's log.
    """

    name: str
    settings: Callable[[PlanContext], dict[str, Any]]
    parents: Callable[[PlanContext], dict[str, str]]
    build: Callable[[BuildContext, Path], None]
    neutral: Mapping[str, Any] = field(default_factory=dict)
    wanted: Callable[[RunConfig], bool] = _always
    derived: bool = False
    loads: tuple[str, ...] = ()
    effort: Effort = Effort()
    on_gpu: Callable[[RunConfig], bool] = _always
    shown: tuple[str, ...] = ()
    chosen: Callable[[BuildContext, Path], Sequence[str]] = _nothing_chosen
    artifact: Artifact | None = None
    log: Callable[[BuildContext, Path], None] = _nothing_logged
    summary: Callable[[BuildContext, Path], str] = no_summary

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
