"""Label spaces: a dataset's classes, their names, and the symmetries its images allow."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass


class UnknownLabelError(ValueError):
    """A text names no class of the label space, or more than one."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its index in the label file, a file-safe slug, its name and other names for it."""

    index: int
    slug: str
    name: str
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every text that stands for this class."""
        return (self.name, self.slug, *self.aliases)


@dataclass(frozen=True)
class LabelSpace:
    """An ordered set of classes and the symmetry group under which a label keeps its meaning.

    ``symmetry`` is ``"d4"`` (the eight flips and quarter turns of a square) or ``"none"``.
    """

    name: str
    classes: tuple[LabelClass, ...]
    symmetry: str = "d4"

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(c.slug for c in self.classes)

    def by_slug(self, text: str) -> LabelClass:
        """The class whose name, slug or alias is exactly ``text`` (case and punctuation aside).

        Raises:
            UnknownLabelError: no class is called so; the message names the nearest one.
        """
        wanted = _normal(text)
        for c in self.classes:
            if wanted in {_normal(n) for n in c.names}:
                return c
        raise UnknownLabelError(f"no class called '{text}' in {self.name}{self._nearest(wanted)}; classes: {', '.join(self.slugs)}")

    def resolve_prompt(self, prompt: str) -> LabelClass:
        """The one class that a prompt names.

        Longer names win over names inside them ("cancer-associated stroma" is not also "stroma").

        Raises:
            UnknownLabelError: the prompt names no class, or several; the message lists the classes.
        """
        text = f" {_normal(prompt)} "
        found: dict[int, LabelClass] = {}
        spellings = sorted(((_normal(n), c) for c in self.classes for n in c.names), key=lambda p: -len(p[0]))
        for spelling, c in spellings:
            if f" {spelling} " in text:
                found[c.index] = c
                text = text.replace(f" {spelling} ", " | ")
        if len(found) == 1:
            return next(iter(found.values()))
        if not found:
            raise UnknownLabelError(f"the prompt names no class of {self.name}: '{prompt}'; set label= to one of: {', '.join(self.slugs)}")
        named = ", ".join(c.slug for c in found.values())
        raise UnknownLabelError(f"the prompt names several classes of {self.name} ({named}); set label= to the one meant")

    def _nearest(self, wanted: str) -> str:
        spelled = {_normal(n): c.slug for c in self.classes for n in c.names}
        close = difflib.get_close_matches(wanted, spelled, n=1)
        return f" (nearest: {spelled[close[0]]})" if close else ""


def _normal(text: str) -> str:
    """Lower case, punctuation and underscores as single spaces."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


COLORECTAL = LabelSpace(
    name="colorectal tissue",
    classes=(
        LabelClass(0, "adipose", "adipose", ("adipose tissue", "fat", "fat tissue", "fatty tissue", "adipocytes", "ADI")),
        LabelClass(1, "background", "background", ("empty background", "glass", "empty glass", "bare slide", "BACK")),
        LabelClass(2, "debris", "debris", ("necrosis", "necrotic debris", "cell debris", "DEB")),
        LabelClass(3, "lymphocytes", "lymphocytes", ("lymphocyte", "lymphoid cells", "lymphoid tissue", "immune cells", "LYM")),
        LabelClass(4, "mucus", "mucus", ("mucin", "mucus pool", "MUC")),
        LabelClass(5, "smooth-muscle", "smooth muscle", ("muscle", "muscularis", "muscle fibres", "muscle fibers", "MUS")),
        LabelClass(
            6,
            "normal-mucosa",
            "normal colon mucosa",
            ("normal mucosa", "healthy mucosa", "healthy colon mucosa", "mucosa", "crypts", "colonic crypts", "NORM"),
        ),
        LabelClass(
            7,
            "cancer-stroma",
            "cancer-associated stroma",
            ("stroma", "tumor stroma", "tumour stroma", "desmoplastic stroma", "STR"),
        ),
        LabelClass(
            8,
            "adenocarcinoma",
            "colorectal adenocarcinoma epithelium",
            (
                "adenocarcinoma epithelium",
                "tumor epithelium",
                "tumour epithelium",
                "tumor",
                "tumour",
                "cancer epithelium",
                "carcinoma",
                "TUM",
            ),
        ),
    ),
)
"""The nine tissue types of PathMNIST, in the order of its label file (MedMNIST, NCT-CRC-HE-100K)."""
