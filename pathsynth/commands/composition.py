"""A configuration for commands that are no Hydra applications: composed as Hydra would, without its own node."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from pathsynth.commands.faults import explain, is_composition_fault
from pathsynth.commands.quoting import accept_plus, choose_custom_options, quote_free_text
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError


def composed(command: str, overrides: Sequence[str]) -> DictConfig:
    """What a config command would be given, by overrides as people type them.

    Raises:
        RequestError: they cannot be composed.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose(command, choose_custom_options(accept_plus(quote_free_text(overrides, multirun=False))))
    except Exception as error:
        if is_composition_fault(error):
            raise RequestError(" ".join(explain(error, command).split())) from error
        raise
    finally:
        GlobalHydra.instance().clear()
