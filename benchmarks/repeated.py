"""The command lines of benchmarks that time the same thing again and again: commands on a study, or steps turn by turn."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pathsynth.ledger.atomic import write_json


def repeated(about: str | None, measure: Callable[..., dict[str, Any]], trials: int, before: str = "") -> None:
    """Call ``measure`` with a new folder and the numbers of trials and repeats that were requested; write and print what it returns.

    ``about`` is the help text, ``trials`` the default. ``before`` is the help of a file that ``measure`` may be given, too, by --before.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--trials", type=int, default=trials, help=f"trials of the study (default: {trials})")
    parser.add_argument("--repeats", type=int, default=5, help="times that each is timed (default: 5)")
    if before:
        parser.add_argument("--before", type=Path, help=before)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        others = (arguments.before,) if before else ()
        report = measure(Path(folder), arguments.trials, arguments.repeats, *others)
    _keep(report, arguments.out)


def in_turns(
    about: str | None,
    measure: Callable[[int, Sequence[str]], Mapping[str, Any]],
    turns: int,
    counted: str = "steps of each way that count",
    command: str = "finetune",
) -> None:
    """Call ``measure`` with the turns and the overrides of a command that were requested; write and print what it returns.

    ``counted`` says in the help text what a turn is.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--turns", type=int, default=turns, help=f"{counted} (default: {turns})")
    parser.add_argument("overrides", nargs="*", help=f"overrides of pathsynth {command}")
    arguments = parser.parse_args()
    _keep(measure(arguments.turns, arguments.overrides), arguments.out)


def _keep(report: Mapping[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, dict(report))
    print(json.dumps(report, indent=2))
