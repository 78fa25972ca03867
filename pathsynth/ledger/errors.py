"""The two kinds of error a user meets: the request was wrong, or a stage failed for a reason that can be named; and a quiet end."""

from __future__ import annotations

import reprlib


class RequestError(Exception):
    """The request is wrong (exit status 2), and nothing was written: a line for each fault, that names the thing and the remedy."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The lines, one for each fault."""
        return tuple(str(fault) for fault in self.args)

    def __str__(self) -> str:
        """All in one line, for records that have room for one; a command prints them one below the other."""
        return "; also: ".join(self.faults)


class StageError(Exception):
    """A stage failed for a reason that can be named (exit status 1)."""


class StoppedElsewhere(BaseException):
    """Another process of the same fine-tune was asked to stop, and the resume point is written. No ``Exception``: it is no failure."""


def summarize_error(error: BaseException) -> str:
    """An exception of the user's code in one line: its type and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def summarize_value(value: object) -> str:
    """A value that the user's code returned, in one short line."""
    return " ".join(reprlib.repr(value).split())
