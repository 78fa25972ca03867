"""A node of Slurm's looks for a file before jobs are submitted (``srun`` is a stand-in, which runs its command on this machine)."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

import hydra_plugins.pathsynth as plugins
from pathsynth.ledger.errors import RequestError
from pathsynth.studies.execution.slurm_nodes import require_seen_by_slurm

OPTIONS = 'echo "$@" > "$0.options"\nwhile [ "${1#--}" != "$1" ]; do shift; done\n'


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """Makes the stand-in of a few lines of shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(lines: str) -> Path:
        path = folder / "srun"
        path.write_text(f"#!/bin/sh\n{OPTIONS}{lines}\n")
        path.chmod(0o755)
        return path

    return make


ELSEWHERE = 'exec "$1" "$2" "$3" "$4" "$5-on-another-machine"'
"""What a machine does that has no such file."""


def test_a_folder_that_a_node_sees_is_taken_without_a_word(srun, tmp_path, capfd):
    program = srun('exec "$@"')
    require_seen_by_slurm(tmp_path / "deep" / "multirun", {"partition": "gpu", "account": None, "constraint": "a100"})
    assert capfd.readouterr() == ("", "")
    assert "--partition=gpu --constraint=a100 sh" in Path(f"{program}.options").read_text()
    assert not (tmp_path / "deep").exists()


def test_a_folder_that_a_node_does_not_see_is_refused_in_one_line(srun, tmp_path):
    srun(ELSEWHERE)
    with pytest.raises(RequestError) as refused:
        require_seen_by_slurm(tmp_path / "multirun", {})
    remedy = "start the command in a folder that all nodes share, and keep multirun there"
    assert refused.value.faults == (f"Slurm's nodes cannot see {tmp_path / 'multirun'}; {remedy}",)
    assert not (tmp_path / "multirun").exists()


def test_where_no_node_is_free_a_line_says_so_and_the_sweep_goes_on(srun, tmp_path, capfd):
    srun('echo "srun: error: Unable to allocate resources: busy" >&2; exit 1')
    require_seen_by_slurm(tmp_path, {})
    told = f"note: whether Slurm's nodes see {tmp_path} is not known (srun: error: Unable to allocate resources: busy)\n"
    assert capfd.readouterr().out == told


def test_a_job_that_meets_its_time_limit_can_be_kept_for_its_next_turn():
    """Submitit pickles the job anew then, and with it, by their content, the plugins that Hydra loaded in the job's process."""
    modules = [importlib.import_module(f"{plugins.__name__}.{module.name}") for module in pkgutil.iter_modules(plugins.__path__)]
    own = {f"{module.__name__}.{value.__name__}": value for module in modules for value in vars(module).values() if _is_of(value, module)}
    assert "hydra_plugins.pathsynth.sweeper.TrialSweeper" in own
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        for plugin in own.values():
            assert cloudpickle.dumps(plugin)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _is_of(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__
