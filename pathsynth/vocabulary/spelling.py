"""The known words that a mistyped one is near to, for messages that name them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_words(wrong: str, known: Iterable[str], most: int = 1, likeness: float = 0.6) -> list[str]:
    """The known words nearest to a wrong one, the nearest first; case does not count. ``likeness``: in [0, 1], at least."""
    by_lower = {word.lower(): word for word in known}
    return [by_lower[lower] for lower in difflib.get_close_matches(wrong.lower(), by_lower, n=most, cutoff=likeness)]


def equally_near(wrong: str, known: Iterable[str]) -> list[str]:
    """The nearest known word, and others that are nearly as near: three at most, of a likeness within 0.12 of the nearest one's."""
    words = nearest_words(wrong, known, most=3)
    likeness = [difflib.SequenceMatcher(None, word.lower(), wrong.lower()).ratio() for word in words]
    return [word for word, near in zip(words, likeness, strict=True) if near >= likeness[0] - 0.12]


def nearest_word(wrong: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a wrong one; first of all one that begins with it. None where none is near."""
    words = list(known)
    beginnings = [word for word in words if wrong and word.lower().startswith(wrong.lower())]
    close = beginnings or nearest_words(wrong, words, likeness=0.5)
    return close[0] if close else None


def nearest_hint(wrong: str, known: Iterable[str]) -> str:
    """What a message adds about the nearest word, as in ``; nearest: rank``; empty where none is near."""
    close = nearest_word(wrong, known)
    return f"; nearest: {close}" if close else ""
