"""A sweeper that checks every job of a multirun before anything is written or started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig


class TrialSweeper(BasicSweeper):
    """Hydra's basic sweeper with the checks first: one job whose request is wrong stops the multirun before it begins.

    Each job is composed once for its check and once for its launch, as the basic sweeper does.
    """

    def sweep(self, arguments: list[str]) -> Any:
        from pathsynth.study.job import check

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for batch in self.split_arguments(overrides, self.max_batch_size):
            for job in batch:
                check(self._composed(job))
        return super().sweep(arguments)

    def _composed(self, job: Sequence[str]) -> DictConfig:
        assert self.hydra_context is not None and self.config is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(job))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Every batch has been checked before the first began."""
