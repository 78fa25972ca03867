"""Times as people read them, on pages and in the terminal."""

from __future__ import annotations


def format_duration(seconds: float) -> str:
    """Seconds in at most two units: "0.3 s", "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if round(seconds) < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
