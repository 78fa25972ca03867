"""What the program uses of Hydra's private parts: modules below ``hydra._internal``, and the wording of its messages.

They hold for Hydra :data:`VERSION`; the tests of this module fail with another one.
"""

from __future__ import annotations

import copy
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import Overrides
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig

__all__ = ["Callbacks", "ConfigLoaderImpl"]

VERSION = "1.3"


def __getattr__(name: str) -> Any:
    """``BasicSweeper``, at its use: Hydra executes the modules of its plugins once more when it looks for plugins."""
    if name != "BasicSweeper":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return BasicSweeper


def flag_parser() -> ArgumentParser:
    """The parser of Hydra's own flags."""
    return get_args_parser()


def compose_job(folder: Path, config_name: str, overrides: Sequence[str], mode: RunMode) -> DictConfig:
    """What Hydra composes for a job, its own node included."""
    try:
        loader = config_loader(folder)
        return loader.load_configuration(config_name, list(overrides), run_mode=mode, validate_sweep_overrides=mode == RunMode.RUN)
    finally:
        GlobalHydra.instance().clear()


@contextmanager
def known_mode(mode: RunMode | None) -> Iterator[None]:
    """While active, Hydra takes ``mode`` for the command's (one job, several, or None: by its flags) and composes nothing to learn it."""
    composing = Hydra.get_mode
    Hydra.get_mode = lambda self, config_name, overrides: mode  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = composing  # type: ignore[method-assign]


def group_options(folder: Path, group: str) -> list[str]:
    """The options of a group, those of Hydra's plugins among them."""
    try:
        return sorted(config_loader(folder).get_group_options(group))
    finally:
        GlobalHydra.instance().clear()


def config_loader(folder: Path) -> ConfigLoader:
    """Hydra's loader of the configuration in ``folder``, with what plugins add to it."""
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("pathsynth", create_config_search_path(str(folder))).config_loader


def read_files_once(loader: ConfigLoader) -> None:
    """Have a loader keep each file of the configuration as it is when it is first read; one of another kind stays as it is."""
    if isinstance(loader, ConfigLoaderImpl):
        loader.repository = _FilesReadOnce(loader.config_search_path)


class _FilesReadOnce(ConfigRepository):
    """The files of a configuration as they were when they were first read; a copy of it shares them, for Hydra copies it for each job."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._files: dict[str, ConfigResult] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _FilesReadOnce:
        copied = copy.copy(self)
        copied.sources = copy.deepcopy(self.sources, memo)
        return copied

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of the file's content, which Hydra changes as it composes; None: there is no such file."""
        if config_path not in self._files:
            read = super().load_config(config_path)
            if read is None:
                return None
            self._files[config_path] = read
        return copy.deepcopy(self._files[config_path])

    def config_exists(self, config_path: str) -> bool:
        return config_path in self._files or super().config_exists(config_path)


@dataclass(frozen=True)
class JobOverrides:
    """The overrides of a job: those that choose files of the configuration, and those that set values in what these make."""

    all: tuple[Override, ...]
    values: tuple[Override, ...]

    @property
    def choices(self) -> list[str]:
        return [str(override.input_line) for override in self.all if not any(override is value for value in self.values)]

    def apply(self, config: DictConfig) -> None:
        """Make of what Hydra composes of the choices alone what it composes of all.

        Raises:
            HydraException: a value cannot be set.
        """
        ConfigLoaderImpl._apply_overrides_to_config(list(self.values), config)
        config.hydra.overrides.task = [override.input_line for override in self.all]
        form = config.hydra.job.config.override_dirname
        name = get_overrides_dirname(list(self.all), exclude_keys=form.exclude_keys, item_sep=form.item_sep, kv_sep=form.kv_sep)
        config.hydra.job.override_dirname = name


def job_overrides(loader: ConfigLoader, lines: Sequence[str]) -> JobOverrides | None:
    """The overrides of a job; None where it has to be composed as a whole: by another kind of loader, or as Hydra's own node is set.

    Raises:
        HydraException, ValueError: one of them is wrong.
    """
    if not isinstance(loader, ConfigLoaderImpl):
        return None
    parsed = OverridesParser.create().parse_overrides(list(lines))
    if any(override.is_sweep_override() or override.key_or_group.startswith("hydra") for override in parsed):
        return None
    return JobOverrides(tuple(parsed), tuple(Overrides(repo=loader.repository, overrides_list=parsed).config_overrides))


def unknown_option(message: str) -> tuple[str, str] | None:
    """The group and the option that it lacks, of a message that says so."""
    match = re.search(r"Could not find '([^']+)/([^'/]+)'", message)
    return (match[1], match[2]) if match else None


def unknown_key(message: str) -> str | None:
    """The key that the configuration lacks, of a message that says so."""
    match = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", message)
    if not match:
        return None
    full = re.search(r"full_key: (\S+)", message)
    return full[1] if full else match[1] or match[2]


def added_twice(message: str) -> str | None:
    """The key that ``+`` cannot add, of a message that says so."""
    match = re.search(r"Could not append to config. An item is already at '([^']+)'", message)
    return match[1] if match else None


def swept_without_multirun(message: str) -> str | None:
    """The override with several values, of a message that says so."""
    match = re.search(r"Ambiguous value for argument '(.+?)'\n", message, re.DOTALL)
    return match[1] if match else None


def merge_fault(line: str) -> str | None:
    """The override that cannot be merged, of a message's first line that says so."""
    prefix = "Error merging override "
    return line.removeprefix(prefix) if line.startswith(prefix) else None


def lacks_assertions(error: BaseException) -> bool:
    """Whether Hydra's grammar failed because Python left out assertions, in which it matches (Hydra's issue 2570)."""
    return isinstance(error, AttributeError) and "TerminalNodeImpl" in str(error)
