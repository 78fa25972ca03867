"""The command line of benchmarks that make a study in a folder of their own and time commands on it again and again."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
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
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=2))
