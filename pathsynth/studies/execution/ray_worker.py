"""The work of a Ray worker for a command: one of its Hydra jobs, as for any launcher's worker. No torch."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, SCMode

from pathsynth.hydra_internals import Callbacks
from pathsynth.studies.planning.code_copy import variables_of_copy

OUTPUT = "output.txt"
"""What a job prints, in its folder of the command's: the command reads it there and prints it."""


class NotSharedError(Exception):
    """This machine cannot see a folder of the command's, which is named."""


@dataclass(frozen=True)
class Place:
    """Where a command was started, for its workers to be there, too: folder, module path, and variables that reach them in memory alone."""

    folder: str
    modules: tuple[str, ...]
    variables: Mapping[str, str]

    @classmethod
    def here(cls, variables: Mapping[str, str]) -> Place:
        """The place of this process."""
        return cls(os.getcwd(), tuple(sys.path), variables)

    def on_copy(self) -> Place:
        """The same, for trials that start from the copy of the program from which those of this process do, if there is one."""
        return replace(self, variables={**self.variables, **variables_of_copy()})

    def enter(self) -> None:
        """Raises NotSharedError where this machine has no such folder."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise NotSharedError(self.folder) from error
        sys.path += [path for path in self.modules if path not in sys.path]
        os.environ.update(self.variables)


@dataclass(frozen=True)
class PackedJob:
    """A composed job in plain values: nothing that needs Hydra or OmegaConf to be unpacked. References stay references.

    ``resolved`` holds what the composed configuration has already made of its references, such as ``${now:…}``.
    """

    number: int
    config: dict[str, Any]
    resolved: dict[str, Any]

    @classmethod
    def of(cls, number: int, composed: DictConfig) -> PackedJob:
        """Pack job ``number`` of a sweep; the workers see that number in ``hydra.job``."""
        plain = OmegaConf.to_container(composed, resolve=False, enum_to_str=True, structured_config_mode=SCMode.DICT)
        assert isinstance(plain, dict)
        hydra = plain["hydra"]
        hydra["job"] |= {"id": f"{hydra['job']['name']}_{number}", "num": number}
        return cls(number, cast(dict[str, Any], plain), {name: dict(values) for name, values in OmegaConf.get_cache(composed).items()})

    def unpack(self) -> DictConfig:
        """The composed job, as Hydra's launchers get it."""
        known = OmegaConf.structured(HydraConf)
        OmegaConf.set_struct(known, False)  # Hydra's own files hold keys more than its record
        hydra = OmegaConf.merge(known, self.config["hydra"])
        for key in set(hydra) - set(self.config["hydra"]):
            del hydra[key]
        config = OmegaConf.create({**self.config, "hydra": hydra})
        OmegaConf.set_struct(config, True)
        OmegaConf.set_cache(config, defaultdict(dict, self.resolved))
        return config


def see(place: Place, file: str, content: str) -> str:
    """Whether this machine is one where the command's trials can run: empty, or the folder that it cannot see."""
    try:
        place.enter()
    except NotSharedError as error:
        return str(error)
    try:
        return "" if Path(file).read_text(encoding="utf-8") == content else str(Path(file).parent)
    except OSError:
        return str(Path(file).parent)


def carry_out(function: Callable[[DictConfig], Any], job: PackedJob, place: Place, folder: str) -> tuple[bool, Any]:
    """Carry out a job; whether it came to its end, and then its value, else the exception that ended it.

    Raises:
        NotSharedError: this machine joined after the command had looked at all, and is none for its trials.
        KeyboardInterrupt: the command stops, and the job had not begun.
    """
    place.enter()
    if not Path(folder).parent.is_dir():
        raise NotSharedError(str(Path(folder).parent))
    with _output_in(Path(folder) / OUTPUT):
        setup_globals()
        config = job.unpack()
        JobRuntime.instance().set("name", config.hydra.job.name)
        ended = run_job(
            task_function=function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            # what runs one job asks for the callbacks alone
            hydra_context=HydraContext(cast(ConfigLoader, None), Callbacks(config)),
        )
    return ended.status == JobStatus.COMPLETED, ended._return_value


@contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """While active, what this process and those that it starts print goes to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = {number: os.dup(number) for number in (1, 2)}
    _flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for number in before:
            os.dup2(file, number)
        yield
    finally:
        _flush()
        for number, former in before.items():
            os.dup2(former, number)
            os.close(former)
        os.close(file)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
