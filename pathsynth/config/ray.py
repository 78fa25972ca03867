"""Settings of trials on Ray, the keys of ``hydra.launcher`` under ``hydra/launcher=ray``, and how many trials a cluster has room for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pathsynth.config.plugin import plugin_settings
from pathsynth.ledger.errors import RequestError

_ROUNDING = 1e-9
_KEYS = {"CPU": "num_cpus", "GPU": "num_gpus"}


class RayConfig(BaseModel):
    """``address`` of a cluster to join: ``auto`` or host:port; None: a cluster of this machine, for this command.

    What a trial asks for: ``num_cpus``, ``num_gpus`` (None: 1 where the cluster has GPUs, else 0) and further ``resources`` by name.
    ``n_jobs`` trials run at once (None or -1: as many as there is room for). ``retries``: how often a job is submitted again whose
    worker or node died.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    address: str | None = None
    num_cpus: float = Field(1, gt=0)
    num_gpus: float | None = Field(None, ge=0)
    resources: dict[str, float] = {}
    n_jobs: int | None = Field(None, ge=-1)
    retries: int = Field(2, ge=0)

    @field_validator("address")
    @classmethod
    def _of_a_head(cls, address: str | None) -> str | None:
        if address and "://" in address:
            raise ValueError(
                f"hydra.launcher.address={address} is for Ray's client; "
                "start the command on a machine of the cluster, with address=auto or host:port"
            )
        return address

    @field_validator("resources")
    @classmethod
    def _further(cls, resources: dict[str, float]) -> dict[str, float]:
        for name, amount in resources.items():
            if name in ("CPU", "GPU"):
                raise ValueError(f"hydra.launcher.resources.{name} is what hydra.launcher.num_{name.lower()}s asks for; set that")
            if amount <= 0:
                raise ValueError(f"hydra.launcher.resources.{name}={amount:g} asks for nothing; leave it out, or give a number above 0")
        return resources

    @property
    def threads(self) -> int:
        """Of a trial whose environment says nothing of threads."""
        return max(1, int(self.num_cpus))

    def demand(self, nodes: Iterable[Mapping[str, float]]) -> dict[str, float]:
        """What each trial asks for on a cluster of such nodes, by Ray's names.

        A trial trains, so where there are GPUs it gets one by default: on a mixed cluster trials would else land on nodes
        without any, and take days for hours.
        """
        gpus = self.num_gpus if self.num_gpus is not None else float(any(node.get("GPU", 0) >= 1 for node in nodes))
        return {"CPU": self.num_cpus, **({"GPU": gpus} if gpus else {}), **self.resources}

    def at_once(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """How many trials run at once on nodes that have these resources; 0 where none has room for one."""
        nodes = list(nodes)
        demand = self.demand(nodes)
        room = sum(min(math.floor(node.get(name, 0) / amount + _ROUNDING) for name, amount in demand.items()) for node in nodes)
        return min(room, self.n_jobs) if self.n_jobs and self.n_jobs > 0 else room

    def require_room(self, nodes: Iterable[Mapping[str, float]]) -> None:
        """Raises RequestError where no node has what a trial asks for: it would wait for ever."""
        nodes = list(nodes)
        if self.at_once(nodes):
            return
        demand = self.demand(nodes)
        most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in demand}
        required, there = (", ".join(f"{_KEYS.get(name, name)}={amount:g}" for name, amount in of.items()) for of in (demand, most))
        raise RequestError(
            f"no node of the Ray cluster has {required} for a trial (the most that nodes have: {there}); ask for less by hydra.launcher"
        )


def ray_config(values: Mapping[str, Any]) -> RayConfig:
    """Raises RequestError if a key is unknown or its value wrong; the message names it."""
    return plugin_settings(RayConfig, "hydra.launcher", values)
