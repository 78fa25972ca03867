"""Config commands (run, pretrain, classify, finetune, generate, evaluate): real Hydra applications, checked before they write."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pathsynth.commands.completion import completion_request
from pathsynth.commands.disk import disk_fault, is_wrong_request
from pathsynth.commands.faults import explain, is_composition_fault
from pathsynth.commands.quoting import accept_plus, choose_custom_options, quote_free_text
from pathsynth.config import from_hydra
from pathsynth.config.hydra_node import hydra_node_of
from pathsynth.config.shipped import conf_folder, prefer_user_folder
from pathsynth.hydra_internals import compose_job, flag_parser, known_mode, lacks_assertions
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.interruption import raise_noted_ctrl_c
from pathsynth.studies.execution.job import run_trial
from pathsynth.studies.planning.dry_run import show_dry_run
from pathsynth.studies.planning.request_check import check, without_hydra
from pathsynth.studies.planning.resolution import resolution
from pathsynth.studies.trials.closing import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, close
from pathsynth.studies.trials.outcomes import FOLDER_VARIABLE, has_claimed_trial
from pathsynth.studies.trials.stopping import JOBS, ask_to_stop, stop_in_good_order, stop_requested
from pathsynth.terminal.work_line import working_on
from pathsynth.vocabulary.labels import UnknownLabelError

_FULL_ERROR = "HYDRA_FULL_ERROR"
_SWEEPERS = ("hydra_plugins.pathsynth.sweeper.TrialSweeper", "hydra_plugins.pathsynth.optuna_sweeper.OptunaSweeper")


def launch(command: str, purpose: str, arguments: Sequence[str]) -> int:
    """Run a config command to its end and return its exit status. ``purpose``: a line for its help."""
    wants_traceback = os.environ.get(_FULL_ERROR) == "1"
    os.environ[_FULL_ERROR] = "1"  # Hydra then raises what it would print, and one line can be made of it here
    try:
        return _launch(command, purpose, arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILED if end.code else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if wants_traceback:
            traceback.print_exc()
        refused, line = _refusal_of(error, command)
        hint = "" if refused or wants_traceback else f" ({type(error).__name__}; {_FULL_ERROR}=1 shows where)"
        for fault in error.faults if isinstance(error, RequestError) else (line,):
            print(f"pathsynth {command}: {' '.join(fault.split())}{hint}", file=sys.stderr)
        return EXIT_REFUSED if refused else EXIT_FAILED


def _refusal_of(error: Exception, command: str) -> tuple[bool, str]:
    """Whether the request was wrong, and what to say."""
    if is_composition_fault(error):
        return True, explain(error, command)
    if isinstance(error, OSError):
        return is_wrong_request(error) and not has_claimed_trial(), disk_fault(error)
    if sys.flags.optimize and lacks_assertions(error):
        return True, "PYTHONOPTIMIZE (or python -O) keeps Hydra from reading range(…), choice(…) and the like; unset it"
    return isinstance(error, (RequestError, UnknownLabelError)), str(error) or type(error).__name__


def _launch(command: str, purpose: str, arguments: Sequence[str]) -> int:
    asked = _parser().parse_intermixed_args(list(arguments))
    if asked.shell_completion and "COMP_LINE" in os.environ:
        return _complete(command, asked.overrides)
    flags = list(arguments)
    for override in asked.overrides:
        flags.remove(override)
    _refuse_two_modes(asked)
    asked.overrides = choose_custom_options(accept_plus(quote_free_text(asked.overrides, asked.multirun)))
    prefer_user_folder(asked.config_dir)
    # Hydra reads overrides from one place only; here they may stand before and after the flags
    sys.argv = ["pathsynth", *flags, *asked.overrides]
    application = _application(command)
    if asked.cfg:
        _refuse_wrong_settings(compose_job(conf_folder(), asked.config_name or command, asked.overrides, RunMode.RUN))
    if asked.help:
        from pathsynth.commands.command_help import help_lines

        composed = compose_job(conf_folder(), asked.config_name or command, asked.overrides, RunMode.RUN)
        print(*help_lines(command, purpose, composed), sep="\n", flush=True)
    if asked.help or asked.hydra_help or asked.cfg or asked.info or asked.shell_completion:
        return _shown(application)
    os.environ["PATHSYNTH_STARTED"] = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}"
    with working_on("composing the settings"):
        config = _composed(asked.config_name or command, asked.overrides, asked.multirun)
    outcomes = _outcomes_folder(config, asked.overrides, asked.multirun)
    if outcomes is None:
        return 0
    os.environ[FOLDER_VARIABLE] = str(outcomes)
    stop_in_good_order()
    raise_noted_ctrl_c()
    try:
        with known_mode(config.hydra.mode):
            application()
    except KeyboardInterrupt:
        ask_to_stop()
    except BrokenExecutor:  # Ctrl-C reaches joblib's workers, too, and breaks one that is just taking its job
        if not stop_requested():
            raise
    return close(outcomes, stop_requested())


def _shown(application: Callable[[], object]) -> int:
    """Let Hydra show help, settings or plugins; where there is no such thing it says so, and the request was wrong."""
    try:
        application()
    except SystemExit as end:
        return EXIT_REFUSED if end.code else 0
    return 0


def _refuse_wrong_settings(config: DictConfig) -> None:
    """Refuse to show what a run would refuse, except for values that are still to be given.

    Raises:
        RequestError: a key is unknown, or a value is wrong.
    """
    own = without_hydra(config)
    with hydra_node_of(config):
        if not OmegaConf.missing_keys(own):
            from_hydra(own)


def _complete(command: str, overrides: Sequence[str]) -> int:
    """Answer a shell's question for what may follow; silent where there is no answer."""
    asked = completion_request(os.environ["COMP_LINE"], command, _parser())
    for flag in asked.flags:
        print(flag)
    if asked.line is not None:
        prefer_user_folder(asked.config_dir)
        os.environ["COMP_LINE"] = asked.line
        sys.argv = ["pathsynth", "--shell-completion", *overrides]
        _application(command)()
    return 0


def _application(command: str) -> Callable[[], object]:
    return hydra.main(config_path=str(conf_folder()), config_name=command, version_base="1.3")(run_trial)


def _parser() -> ArgumentParser:
    """Hydra's own flags; an unknown one is refused in one line, too."""
    parser = flag_parser()

    def refuse(message: str) -> NoReturn:
        raise RequestError(f"{message}; --hydra-help lists the flags")

    parser.error = refuse  # type: ignore[method-assign]
    return parser


def _refuse_two_modes(asked: Namespace) -> None:
    given = [flag for flag in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(asked, flag)]
    if len(given) > 1:
        one, other = (f"--{flag.replace('_', '-')}" for flag in given[:2])
        raise RequestError(f"{one} and {other} do not go together; leave one out (with --cfg, give one value instead of several)")
    if asked.resolve and not (asked.cfg or asked.help):
        raise RequestError("--resolve belongs to --cfg job (or all), whose references it resolves; add that, or leave it out")
    if asked.package and not (asked.cfg or asked.info):
        raise RequestError(f"--package {asked.package} belongs to --cfg job (or all), of which it shows a part; add that, or leave it out")
    if asked.cfg == "hydra" and asked.resolve:
        raise RequestError("--cfg hydra hides the keys that Hydra's own refer to, so --resolve cannot; use --cfg all --resolve")


def _composed(config_name: str, overrides: Sequence[str], multirun: bool) -> DictConfig:
    """The request as Hydra composes it for one job; for several where the command or a study's file requests that."""
    several = partial(compose_job, conf_folder(), config_name, overrides, RunMode.MULTIRUN)
    if multirun:
        return several()
    try:
        config = compose_job(conf_folder(), config_name, overrides, RunMode.RUN)
    except HydraException as fault:  # perhaps of values that one job cannot take, and the study's several can
        try:
            config = several()
        except HydraException:
            raise fault from None
        if config.hydra.mode != RunMode.MULTIRUN:
            raise
        return config
    return several() if config.hydra.mode == RunMode.MULTIRUN else config


def _outcomes_folder(config: DictConfig, overrides: Sequence[str], multirun: bool) -> Path | None:
    """Where this command's jobs leave their records; None if nothing is to be carried out.

    A single job is checked on the way; the sweeper checks the jobs of many.
    """
    if config.hydra.launcher.get("n_jobs") == 0:
        raise RequestError("hydra.launcher.n_jobs=0 runs nothing; set the number of trials side by side, or -1 for one a core")
    if not multirun and config.hydra.mode != RunMode.MULTIRUN:
        with working_on("checking settings, data and base"):
            checked = check(config, overrides)
        for line in checked.notes:
            print(f"note: {line}", flush=True)
        print(*resolution(checked.config, checked.plan), sep="\n", flush=True)
        if checked.config.study.dry_run:
            show_dry_run({0: overrides}, {0: checked}, 1)
            return None
    elif config.study.dry_run and config.hydra.sweeper._target_ not in _SWEEPERS:
        raise RequestError("study.dry_run=true needs a sweeper of pathsynth; set hydra/sweeper=trials or optuna")
    with hydra_node_of(config):
        return Path(config.multirun).expanduser().absolute() / config.study.name / JOBS / os.environ["PATHSYNTH_STARTED"]
