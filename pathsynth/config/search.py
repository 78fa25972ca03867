"""Settings of a search, the keys of ``hydra.sweeper`` under ``hydra/sweeper=optuna``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pathsynth.config.plugin import plugin_settings

Direction = Literal["maximize", "minimize"]
SAMPLERS = ("tpe", "gp", "random", "qmc", "grid")
PRUNERS = ("median", "hyperband", "wilcoxon")
AFTER = "after"
_SCORERS = ("gate", "judge", "colour")


class SearchConfig(BaseModel):
    """Which proposals are made and tried, and by what they are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_trials: int = Field(ge=1)
    """Proposals of the whole search, over all its starts and processes."""
    n_jobs: int | None = Field(None, ge=1)
    """Proposals that are tried at once; null: as many as the launcher runs at once."""
    direction: Direction | tuple[Direction, ...] = "maximize"
    """maximize or minimize; a list where there are several objectives."""
    objectives: tuple[str, ...] = Field(("macro_f1",), min_length=1)
    """Metrics of result.json: name, name/scorer or name/scorer/after; by default the gate's before filtering."""
    constraints: dict[str, float] = {}
    """Upper bounds of metrics."""
    sampler: str | dict[str, Any] = "tpe"
    """tpe, gp, random, qmc or grid; or the `_target_` of an Optuna class and its arguments."""
    pruner: str | dict[str, Any] | None = None
    """median or hyperband (within a training, at each validation), wilcoxon (between seeds); or the `_target_` of an Optuna class."""
    storage: str | None = None
    """A database's URL; null: a journal in the study's folder."""
    seed: int = Field(0, ge=0)
    """Of the sampler."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """One for each objective."""
        return (self.direction,) * len(self.objectives) if isinstance(self.direction, str) else self.direction

    @property
    def prunes_seeds(self) -> bool:
        """Whether the pruner compares proposals seed by seed, and not within a training."""
        target = self.pruner.get("_target_", "") if isinstance(self.pruner, dict) else self.pruner or ""
        return "wilcoxon" in str(target).lower()

    @field_validator("sampler", "pruner")
    @classmethod
    def _known(cls, value: str | dict[str, Any] | None, info: Any) -> str | dict[str, Any] | None:
        names = SAMPLERS if info.field_name == "sampler" else PRUNERS
        if isinstance(value, dict) and "_target_" not in value:
            raise ValueError(f"hydra.sweeper.{info.field_name} has no _target_; name one, or one of {', '.join(names)}")
        if isinstance(value, str) and value not in names:
            raise ValueError(f"hydra.sweeper.{info.field_name}={value} is not known; choose from {', '.join(names)}")
        return value

    @field_validator("storage")
    @classmethod
    def _holds_no_password(cls, storage: str | None) -> str | None:
        if storage and urlsplit(storage).password:
            remedy = "leave it to the driver, as in PGPASSWORD or ~/.pgpass"
            raise ValueError(f"hydra.sweeper.storage holds a password, which would be stored with the results; {remedy}")
        return storage

    @field_validator("objectives", "constraints")
    @classmethod
    def _readable(cls, names: Any) -> Any:
        for name in names:
            MetricName.parse(name)
        return names

    @model_validator(mode="after")
    def _goes_together(self) -> SearchConfig:
        if len(self.directions) != len(self.objectives):
            raise ValueError(
                f"hydra.sweeper.direction has {len(self.directions)} entries and hydra.sweeper.objectives {len(self.objectives)}; "
                "give one direction for each objective"
            )
        if self.pruner and len(self.objectives) > 1:
            raise ValueError("hydra.sweeper.pruner needs a single objective: Optuna prunes by one score; leave out the pruner")
        return self


class MetricName(BaseModel):
    """A metric of generated images over all classes: ``macro_f1``, ``coverage/judge``, ``accuracy/judge/after``."""

    model_config = ConfigDict(frozen=True)

    metric: str
    scorer: str | None
    stage: Literal["before filtering", "after filtering"]

    @classmethod
    def parse(cls, text: str) -> MetricName:
        """Raises ValueError where the text is none."""
        metric, *rest = text.split("/")
        after = rest[-1:] == [AFTER]
        scorers = rest[:-1] if after else rest
        if not metric or len(scorers) > 1 or any(scorer not in _SCORERS for scorer in scorers):
            raise ValueError(f"{text!r} names no metric; write name, name/scorer or name/scorer/{AFTER}, with scorer {', '.join(_SCORERS)}")
        return cls(metric=metric, scorer=scorers[0] if scorers else None, stage="after filtering" if after else "before filtering")


def search_config(values: Mapping[str, Any]) -> SearchConfig:
    """The checked settings of a search.

    Raises:
        RequestError: a key is unknown, or its value wrong; the message names it.
    """
    return plugin_settings(SearchConfig, "hydra.sweeper", values)
