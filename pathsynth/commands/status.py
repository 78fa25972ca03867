"""`pathsynth status [folder]`."""

from __future__ import annotations

from pathlib import Path

from pathsynth.study.status import print_rows, trial_folders, trial_row


def show_status(folder: Path) -> None:
    """Print the table of the trials in ``folder``.

    Raises:
        RequestError: there is no such folder.
    """
    rows = [trial_row(trial) for trial in trial_folders(folder)]
    if rows:
        print_rows(rows)
    else:
        print(f"no trials in {folder}")
