"""How much a page shows at once of data with many classes: the weakest first, the rest folded or named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pathsynth.report.scores import BEFORE, GATE, Scores

FEW_CLASSES = 30
"""Tables and matrices of up to so many classes are shown whole."""
WEAKEST = 10
"""Rows of a table of more classes that are shown before the whole of it is unfolded."""
_LEAST_SLOTS = 2


@dataclass(frozen=True)
class ImagePlan:
    """Of which classes images are shown, in the order of labels, and of how many slots of each."""

    slugs: tuple[str, ...]
    slots: int

    def sentence(self, classes: int) -> str:
        """What is left out; empty where nothing is."""
        if len(self.slugs) == classes:
            return ""
        return (
            f"Shown are the {len(self.slugs)} of {classes} classes of which the gate accepts least; the others lie in the trials' folders."
        )


def image_plan(slugs: Sequence[str], scores: Sequence[Scores], kinds: int, most: int, slots: int) -> ImagePlan:
    """Up to ``most`` images of a trial, ``kinds`` a slot and ``slots`` of each class at most.

    Rather than one image of every class, it shows several of fewer classes.
    """
    fit = max(1, most // (kinds * _LEAST_SLOTS))
    chosen = set(weakest(slugs, scores)[:fit])
    each = most // (kinds * max(1, len(chosen)))
    return ImagePlan(tuple(slug for slug in slugs if slug in chosen), max(1, min(slots, each)))


def weakest(slugs: Sequence[str], scores: Sequence[Scores]) -> list[str]:
    """The classes by the share of first attempts that the gate accepts over all results, the least first, unmeasured ones last."""
    return sorted(slugs, key=lambda slug: _acceptance(slug, scores))


def _acceptance(slug: str, scores: Sequence[Scores]) -> float:
    measured = [m.value for s in scores if (m := s.generated("acceptance", BEFORE, GATE, slug))]
    return sum(measured) / len(measured) if measured else 2.0
