"""A process of its own that loads the classes a request names and makes or binds them, for loading them loads torch.

It reads a :class:`ClassRequest` as JSON from its input, and prints the faults as a JSON list in the last line of its output.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from typing import Any

import hydra.utils
from pytorch_lightning.loggers import Logger

from pathsynth.ledger.errors import RequestError
from pathsynth.study.classes import ClassRequest
from pathsynth.training.callbacks import callback_faults
from pathsynth.training.optimizer import check_optimizer


def class_faults(request: ClassRequest) -> list[str]:
    """What is wrong with the classes of a request: callbacks and optimizer are made, for that has no effect; a logger is not."""
    faults = callback_faults(request.callbacks, request.monitored)
    if request.optimizer:
        try:
            check_optimizer(request.optimizer, magnitudes=request.magnitudes, text_encoder=request.text_encoder)
        except RequestError as error:
            faults += error.faults
    return faults + (_logger_faults(request.logger) if request.logger else [])


def _logger_faults(arguments: dict[str, Any]) -> list[str]:
    name = arguments["_target_"]
    try:
        kind = hydra.utils.get_class(name)
        if not issubclass(kind, Logger):
            return [f"tracking._target_={name} is no Lightning logger; choose tracking=wandb, csv or none"]
        signature = inspect.signature(kind)
        own = {"save_dir": "."} if "save_dir" in signature.parameters else {}
        signature.bind(**{**own, **{key: value for key, value in arguments.items() if not (key.startswith("_") and key.endswith("_"))}})
    except Exception as error:  # whatever a module of someone else's raises, the setting was wrong
        return [f"tracking._target_={name} cannot be used ({' '.join(str(error).split())}); choose tracking=wandb, csv or none"]
    return []


def main() -> None:
    request = ClassRequest(**json.load(sys.stdin))
    with contextlib.redirect_stdout(sys.stderr):  # whatever a module prints as it is loaded
        faults = class_faults(request)
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
