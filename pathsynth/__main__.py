"""`pathsynth <command> …`: typer knows every command, and passes the words of config commands on to Hydra. Neither loads torch."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pathsynth import __version__
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.interruption import SIGNALS, note_ctrl_c
from pathsynth.studies.execution.output import drop_unread_output
from pathsynth.terminal.work_line import working_on
from pathsynth.vocabulary.spelling import nearest_words

if TYPE_CHECKING:
    import typer
    import typer.core

CONFIG_COMMANDS = {
    "run": "The whole loop: gate, judge, fine-tune, generate, evaluate.",
    "pretrain": "Make the embedded base from natural images.",
    "classify": "Train and score one classifier.",
    "finetune": "Train an adapter, watched by the gate.",
    "generate": 'Draw images: prompt="…" n=16, or labels=all n=20.',
    "evaluate": "Score a trained adapter by gate and judge.",
}
_ALL = "multirun"
_EPILOGUE = (
    f"{', '.join(CONFIG_COMMANDS)} are Hydra applications: they take key=value, -m, --cfg job, --help and so on. "
    "Examples: pathsynth run study=demo; pathsynth run -m lora.rank=1,16 seed=0,1,2"
)


def _application(name: str) -> typer.Typer:
    """The typer application; only the wanted command has its parameters, for typer is slow to prepare them.

    It is slow to load, too: a plain status, which people repeat, is answered without it.
    """
    global typer  # the signatures below name it
    import typer
    import typer.core

    flags = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(cls=_panels(), add_completion=False, epilog=_epilogue(name), rich_markup_mode=None, context_settings=flags)

    @app.callback()
    def about() -> None:
        """Prompt → LoRA-tuned diffusion → image → gate: accept, or draw again; then a judge, numbers, a report."""

    for command, meaning in CONFIG_COMMANDS.items():
        app.command(command, help=meaning, add_help_option=False, context_settings=_PASSED_ON)(_hydra_command(command))
    for command, (meaning, function) in FILE_COMMANDS.items():
        app.command(command, help=meaning)(function if command == name else _listed_only)
    return app


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""How typer takes a config command: every word and flag, ``--help`` too, is Hydra's."""


def _hydra_command(name: str) -> Callable[..., int]:
    """The command that passes all words on to Hydra."""

    def pass_on(context: typer.Context) -> int:
        from pathsynth.commands.launch import launch

        return launch(name, CONFIG_COMMANDS[name], context.args)

    return pass_on


def _epilogue(name: str) -> str:
    """What stands below the list of commands; a command's own help has nothing there."""
    if name and not name.startswith("-"):
        return _EPILOGUE
    from pathsynth.commands.extras import missing_extras

    return "\n\n".join(filter(None, (_EPILOGUE, missing_extras())))


_PANELS = {
    "make": ("run", "generate", "finetune", "classify", "evaluate", "pretrain"),
    "look": ("status", "validate", "report", "ui", "atlas", "check", "doctor"),
    "share": ("publish", "export", "join", "workspace", "send"),
    "maintain": ("rerun", "replay", "gc", "init", "completion"),
}
"""The commands as the help lists them; one that is not here comes last."""


def _panels() -> type[typer.core.TyperGroup]:
    """The group of commands whose help has a heading for each kind of work."""

    class Panels(typer.core.TyperGroup):
        def format_commands(self, ctx: Any, formatter: Any) -> None:
            names = self.list_commands(ctx)
            others = tuple(name for name in names if not any(name in known for known in _PANELS.values()))
            for heading, known in (*_PANELS.items(), ("do more", others)):
                lines = [(name, (self.get_command(ctx, name) or self).get_short_help_str(100)) for name in known if name in names]
                if lines:
                    with formatter.section(f"Commands to {heading}"):
                        formatter.write_dl(lines)

    return Panels


_WORK = {
    "report": "making the page",
    "publish": "collecting what is shared",
    "atlas": "making the site",
    "export": "copying the adapter",
    "replay": "drawing the candidate again",
    "join": "joining the shards",
    "doctor": "looking at this machine",
    "workspace": "saving the view",
    "send": "sending what waits",
    "gc": "looking for stages that no trial needs",
}
"""Commands that show nothing before their end, and what a terminal says meanwhile."""
_NOT_AT_WORK = {"--help", "-h"}


def _listed_only() -> None:
    """Stands in the list of commands for one that this command line does not name."""


def _status(
    folder: Annotated[Path, typer.Argument(help="All studies, one study, or one trial.")] = Path(_ALL),
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from pathsynth.commands.status import show_status

    show_status(folder, watch, as_json)


def _validate(trial: Annotated[Path, typer.Argument(help="The folder of a trial that is being fine-tuned.")]) -> None:
    from pathsynth.commands.validate import validate_trial

    validate_trial(trial)


def _check(
    overrides: Annotated[list[str], typer.Argument(help="The data, as for a run: data=folder data.root=…")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    from pathsynth.commands.check import check_data

    return check_data(overrides, as_json)


def _doctor(
    multirun: Annotated[Path, typer.Argument(help="The folder of all studies.")] = Path(_ALL),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    from pathsynth.commands.doctor import examine_machine

    return examine_machine(multirun, as_json)


def _report(
    folders: Annotated[list[Path], typer.Argument(help="A trial's or a study's folder; or several studies and bundles.")],
    form: Annotated[str, typer.Option("--format", help="html (a page); md, csv, parquet, latex (tables) or svg (figures).")] = "html",
    into: Annotated[Path | None, typer.Option(help="Where the page of several studies or bundles goes.")] = None,
    real: Annotated[bool, typer.Option("--include-real", help="Show real reference images in a study's page.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Rewrite the page until no trial runs.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Leave out who ran the trials, and where.")] = False,
) -> None:
    from pathsynth.commands.report import make_report

    make_report(folders, form, into, real, watch, show, anonymous)


def _atlas(
    source: Annotated[Path, typer.Argument(help="A generated set: a trial's folder, or one that join made.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    texts: Annotated[Path | None, typer.Option(help="A YAML file of what to look for in each class.")] = None,
    images: Annotated[int, typer.Option(help="The most images of each class.")] = 40,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing atlas.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the site in the browser.")] = False,
) -> None:
    from pathsynth.commands.atlas import make_atlas

    make_atlas(source, folder, texts, images, force, show)


def _ui(
    words: Annotated[list[str] | None, typer.Argument(help="A bundle or a study's folder; settings of a bundle, as in base=sd15.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; beyond this machine the page needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any free one.")] = 8080,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> int:
    from pathsynth.commands.ui import show_page

    places = [word for word in words or () if "=" not in word or Path(word).exists()]
    if len(places) > 1:
        raise RequestError(f"{' and '.join(places)}: name one bundle or one study")
    overrides = [word for word in words or () if word not in places]
    return show_page(Path(places[0]) if places else None, overrides, host, port, show)


def _publish(
    study: Annotated[Path, typer.Argument(help="A study's folder.")],
    into: Annotated[Path | None, typer.Option(help="The archive to make; by default <study>.zip beside the study.")] = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Leave out who ran the trials, and where.")] = False,
) -> None:
    from pathsynth.commands.publish import publish_study

    publish_study(study, into, anonymous)


def _workspace(study: Annotated[Path, typer.Argument(help="A study's folder; its trials were tracked online.")]) -> None:
    from pathsynth.commands.workspace import save_workspace

    save_workspace(study)


def _send(
    folders: Annotated[list[Path] | None, typer.Argument(help="All studies, or some; or trials.")] = None,
    uri: Annotated[str | None, typer.Option(help="Another server than the one that the trials named.")] = None,
) -> int:
    from pathsynth.commands.send import send_records

    return send_records(folders or [Path(_ALL)], uri)


def _rerun(
    folder: Annotated[Path, typer.Argument(help="A trial's folder.")],
    into: Annotated[Path | None, typer.Option(help="Where the new trial goes; by default into the trial's folder.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run the classes in the manifest without a question.")] = False,
) -> int:
    from pathsynth.commands.rerun import rerun_trial

    return rerun_trial(folder, into, yes)


def _replay(
    place: Annotated[Path, typer.Argument(help="An image of a trial, or the trial's folder.")],
    candidate: Annotated[str | None, typer.Argument(help="With a folder: class, slot and attempt, as in mucus-00003-1.")] = None,
    save: Annotated[Path | None, typer.Option(help="A PNG file for the image.")] = None,
) -> int:
    from pathsynth.commands.replay import replay_candidate

    return replay_candidate(place, candidate, save)


def _join(
    study: Annotated[Path, typer.Argument(help="The study whose trials drew the shards.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
) -> None:
    from pathsynth.commands.join import join_study

    join_study(study, folder)


def _export(
    trial: Annotated[Path, typer.Argument(help="A trial's folder.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    fuse: Annotated[bool, typer.Option("--fuse", help="Write the whole pipeline with the adapter fused in.")] = False,
    ready: Annotated[bool, typer.Option("--ready", help="Add gate and judge: generate data=ready draws from them.")] = False,
    half: Annotated[bool, typer.Option("--half", help="With --ready: weights of half the size.")] = False,
) -> None:
    from pathsynth.commands.export import export_adapter

    export_adapter(trial, folder, fuse, ready, half)


def _gc(
    multirun: Annotated[Path, typer.Argument(help="The folder of all studies.")] = Path(_ALL),
    yes: Annotated[bool, typer.Option("--yes", help="Remove them without a question.")] = False,
) -> int:
    from pathsynth.commands.gc import collect_garbage

    return collect_garbage(multirun, yes)


def _init(folder: Annotated[Path, typer.Argument(help="Where to make the folder conf.")]) -> None:
    from pathsynth.commands.init import copy_configurations

    copy_configurations(folder)


def _completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    from pathsynth.commands.completion import completion_script

    print(completion_script(shell, list(CONFIG_COMMANDS), {name: _flags(name) for name in FILE_COMMANDS}), end="")


def _flags(name: str) -> list[str]:
    """The flags of a file command."""
    command = typer.main.get_group(_application(name)).commands[name]
    return [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]


FILE_COMMANDS: dict[str, tuple[str, Callable[..., int | None]]] = {
    "status": ("Show how far each trial is, and why it failed.", _status),
    "validate": ("Ask a running fine-tune for a validation now.", _validate),
    "doctor": ("Show what this machine can do and what is missing.", _doctor),
    "check": ("Decode a data set's images and say what a run would do.", _check),
    "init": ("Copy configurations and studies, so that you can change them.", _init),
    "report": ("Write the page of a trial or a study.", _report),
    "atlas": ("Make a site for trainees from a generated set.", _atlas),
    "ui": ("Draw and watch on a local web page.", _ui),
    "publish": ("Bundle a study for others, without real images.", _publish),
    "workspace": ("Save a view of a study in W&B.", _workspace),
    "send": ("Send MLflow the records that it has not received.", _send),
    "export": ("Copy an adapter with its card, or fuse it into the base.", _export),
    "join": ("Join the shards of a generation into one set of images.", _join),
    "completion": ("Print a script that completes words in a shell.", _completion),
    "gc": ("List stages that no trial needs and remove them.", _gc),
    "replay": ("Draw one candidate again and compare its pixels.", _replay),
    "rerun": ("Repeat a trial from its manifest and compare.", _rerun),
}


def main() -> None:
    """Entry point; exits with 0 done, 1 failed, 2 refused, 130 interrupted."""
    try:
        note_ctrl_c()
        drop_unread_output()
        status = dispatch(sys.argv[1:])
    except KeyboardInterrupt:  # while a command was being loaded; those that have begun answer it themselves
        status = 130
    for number in SIGNALS:  # a request that comes now has nothing left to stop, and would end Python by a signal
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def dispatch(arguments: list[str]) -> int:
    """Carry out a command line and return its exit status."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    name = arguments[0] if arguments else ""
    if name == "--version":
        print(f"pathsynth {__version__}")
        return 0
    known = [*CONFIG_COMMANDS, *FILE_COMMANDS]
    if name and not name.startswith("-") and name not in known:
        close = nearest_words(name, known, likeness=0.4)
        return _refuse(f"no command '{name}'" + (f"; nearest: {close[0]}" if close else f"; commands: {', '.join(known)}"))
    try:
        if name == "status" and not any(argument.startswith("-") for argument in arguments) and len(arguments) <= 2:
            _status(Path(arguments[1] if len(arguments) == 2 else _ALL))
            return 0
        return _by_typer(name, arguments or ["--help"])
    except RequestError as error:
        return _refuse(str(error))
    except StageError as error:
        return _refuse(str(error), status=1)
    except OSError as error:
        from pathsynth.commands.disk import disk_fault, is_wrong_request

        return _refuse(disk_fault(error), status=2 if is_wrong_request(error) else 1)
    except KeyboardInterrupt:
        return 130


def _by_typer(name: str, arguments: list[str]) -> int:
    application = _application(name)
    try:
        with working_on(_WORK[name]) if name in _WORK and not _NOT_AT_WORK & {*arguments} else nullcontext():
            ended = application(args=arguments, prog_name="pathsynth", standalone_mode=False)
    except typer.Abort as abort:
        if isinstance(abort.__cause__, EOFError):  # of a file; typer takes it for the end of what is typed
            return _refuse(f"a file that it read ends too early ({abort.__cause__}); copy or make it again", status=1)
        return 130
    except Exception as error:
        message = getattr(error, "format_message", None)  # what typer's parser refuses; it comes with or without click
        if message is None:
            raise
        return _refuse(message())
    return ended if isinstance(ended, int) else 0


def _refuse(line: str, status: int = 2) -> int:
    print(f"pathsynth: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
