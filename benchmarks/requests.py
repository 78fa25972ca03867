"""Requests as the program's own commands make them."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir

from pathsynth.config.shipped import conf_folder
from pathsynth.studies.planning.request_check import Checked, check


def checked_request(command: str, overrides: Sequence[str] = ()) -> Checked:
    """What ``pathsynth <command>`` would carry out with these overrides."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return check(compose(command, list(overrides)), list(overrides))
