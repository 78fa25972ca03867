"""``${hydra:…}`` in a configuration that is looked at before Hydra runs the job it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


@contextmanager
def hydra_node_of(config: DictConfig) -> Iterator[None]:
    """While active, ``${hydra:…}`` reads the ``hydra`` node of ``config``; without such a node, that of the running job, as before."""
    if "hydra" not in config:
        yield
        return
    holder = HydraConfig.instance()
    before = holder.cfg
    holder.set_config(config)
    OmegaConf.set_readonly(config.hydra, None)  # Hydra itself still has to write in it
    try:
        yield
    finally:
        holder.cfg = before
