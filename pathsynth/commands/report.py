"""`pathsynth report <trial or study folder>`."""

from __future__ import annotations

from pathlib import Path

from pathsynth.report.page import write_report


def make_report(folder: Path) -> None:
    """Write the page and print where it is.

    Raises:
        RequestError: there is no such folder, or no finished trial in it.
    """
    print(write_report(folder))
