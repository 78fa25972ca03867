"""`pathsynth <command> …`: config commands go to Hydra, file commands to typer. Torch is loaded by neither."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from pathsynth import __version__
from pathsynth.ledger.errors import RequestError

CONFIG_COMMANDS = {
    "run": "The whole loop: gate, judge, fine-tune, generate, evaluate.",
    "pretrain": "Make the embedded base from natural images.",
    "classify": "Train and score one classifier.",
    "finetune": "Train an adapter, watched by the gate.",
    "generate": 'Draw images: prompt="…" n=16, or labels=all n=20.',
    "evaluate": "Score an adapter by gate and judge.",
}
_HYDRA_PANEL = "Config commands (key=value …, -m, --cfg job, --help)"
_EPILOGUE = "Example: pathsynth run study=demo · pathsynth run -m lora.rank=1,16 seed=0,1,2"

app = typer.Typer(add_completion=False, epilog=_EPILOGUE, rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False) -> None:
    """Prompt → LoRA-tuned diffusion → image → gate: accept, or discard and ask again; then a judge, numbers, a report."""
    if version:
        print(f"pathsynth {__version__}")
        raise typer.Exit


def _listed(name: str, told: str) -> None:
    """Shows a config command in the help; :func:`main` hands it to Hydra before typer is asked."""

    def stand_in() -> None: ...

    app.command(name, help=told, rich_help_panel=_HYDRA_PANEL)(stand_in)


for _name, _told in CONFIG_COMMANDS.items():
    _listed(_name, _told)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="All studies, one study, or one trial.")] = Path("multirun")) -> None:
    """Show how far each trial is, with its first score or the reason of its failure."""
    from pathsynth.commands.status import show_status

    show_status(folder)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A trial's or a study's folder.")]) -> None:
    """Write report.html: numbers with intervals, confusion matrix, image grids, in one self-contained page."""
    from pathsynth.commands.report import make_report

    make_report(folder)


def main() -> None:
    """Entry point; exits with 0 done, 1 failed, 2 refused, 130 interrupted."""
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> int:
    """Carry out a command line and return its exit status."""
    name = arguments[0] if arguments else ""
    if name in CONFIG_COMMANDS:
        from pathsynth.commands.launch import launch

        return launch(name, arguments[1:])
    known = [*CONFIG_COMMANDS, *(c.name or c.callback.__name__ for c in app.registered_commands if c.callback and not c.rich_help_panel)]
    if name and not name.startswith("-") and name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        return _refuse(f"no command '{name}'" + (f"; nearest: {close[0]}" if close else f"; commands: {', '.join(known)}"))
    try:
        ended = app(args=arguments or ["--help"], prog_name="pathsynth", standalone_mode=False)
    except RequestError as error:
        return _refuse(str(error))
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        told = getattr(error, "format_message", None)  # what typer's parser refuses; it comes with or without click
        if told is None:
            raise
        return _refuse(told())
    return ended if isinstance(ended, int) else 0


def _refuse(line: str) -> int:
    print(f"pathsynth: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
