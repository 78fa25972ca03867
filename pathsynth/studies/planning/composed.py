"""Hydra's loader of configurations for a sweep or a search: its jobs are made of the files as they were when it began."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig
from typing_extensions import override

from pathsynth.hydra_internals import read_files_once


class ComposedJobs(ConfigLoader):
    """Gives a launcher the configuration of each job as it was first composed: a file edited meanwhile changes no job that waits.

    A launcher composes a job when its turn comes, often in a worker, to which this loader is sent. The configurations are kept packed,
    as they would be sent, so that each job gets a copy of its own and a hundred jobs take less than a megabyte. A search composes most of
    its jobs late, so each file is read once, too.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        read_files_once(loader)
        self._loader = loader
        self._packed: dict[tuple[str, ...], bytes] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job; the first call composes it, and keeps it for those that follow."""
        job = tuple(sweep_overrides)
        if job not in self._packed:
            composed = self._loader.load_sweep_config(master_config, list(job))
            self._packed[job] = zlib.compress(pickle.dumps(composed))
        config: DictConfig = pickle.loads(zlib.decompress(self._packed[job]))
        return config

    @override
    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        return self._loader.load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    @override
    def get_search_path(self) -> ConfigSearchPath:
        return self._loader.get_search_path()

    @override
    def get_sources(self) -> list[ConfigSource]:
        return self._loader.get_sources()

    @override
    def list_groups(self, parent_name: str) -> list[str]:
        return self._loader.list_groups(parent_name)

    @override
    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        return self._loader.get_group_options(group_name, results_filter, config_name, overrides)

    @override
    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        return self._loader.compute_defaults_list(config_name, overrides, run_mode)
