"""Hydra's private parts are used in one module, which holds for one version of it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from hydra.types import RunMode

from pathsynth import hydra_internals
from pathsynth.config.shipped import conf_folder

ROOT = Path(__file__).parent.parent


def test_it_holds_for_the_installed_version():
    assert importlib.metadata.version("hydra-core").startswith(f"{hydra_internals.VERSION}.")


def test_no_other_module_imports_private_parts():
    sources = [path for folder in ("pathsynth", "hydra_plugins", "tests") for path in (ROOT / folder).rglob("*.py")]
    private = re.compile(r"^\s*(?:from|import) hydra\._internal", re.MULTILINE)
    users = [path.relative_to(ROOT).as_posix() for path in sources if private.search(path.read_text(encoding="utf-8"))]
    assert users == ["pathsynth/hydra_internals.py"]


def refusal(*overrides: str) -> str:
    """What Hydra says of overrides that it cannot compose."""
    with pytest.raises(HydraException) as caught:
        hydra_internals.compose_job(conf_folder(), "run", overrides, RunMode.RUN)
    return str(caught.value)


def test_its_messages_are_read():
    assert hydra_internals.unknown_option(refusal("data=phantm")) == ("data", "phantm")
    assert hydra_internals.unknown_key(refusal("lora.rnak=3")) == "lora.rnak"
    assert hydra_internals.added_twice(refusal("+lora.rank=3")) == "lora.rank"
    assert hydra_internals.swept_without_multirun(refusal("lora.rank=1,2")) == "lora.rank=1,2"
    assert hydra_internals.merge_fault("Error merging override lora=[1]") == "lora=[1]"


def test_an_ordinary_message_is_none_of_them():
    readers = ("unknown_option", "unknown_key", "added_twice", "swept_without_multirun", "merge_fault")
    assert [getattr(hydra_internals, reader)("out of memory") for reader in readers] == [None] * 5


def test_the_base_of_the_sweepers_is_loaded_only_by_them():
    """Hydra executes it again as it looks for plugins; a class that was made before would call the methods of another."""
    program = "import sys, pathsynth.commands.launch; print('hydra._internal.core_plugins.basic_sweeper' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_options_of_a_group_are_those_of_plugins_too():
    assert {"basic", "joblib", "ray"} <= set(hydra_internals.group_options(conf_folder(), "hydra/launcher"))


def test_a_mode_that_is_known_needs_no_composing():
    hydra = hydra_internals.Hydra
    composing = hydra.get_mode
    with hydra_internals.known_mode(RunMode.MULTIRUN):
        assert hydra.get_mode(None, config_name="run", overrides=["lora.rank=1,2"]) == RunMode.MULTIRUN
    assert hydra.get_mode is composing
