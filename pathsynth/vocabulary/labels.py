"""Label spaces: a dataset's classes, their names, and the symmetries its images allow."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pathsynth.vocabulary.spelling import equally_near

_ENCODED = "xn--"
"""Before a slug in Punycode, as in the names of hosts (RFC 5891)."""

_NUMBER = re.compile(r"\d+[\s_.-]+(?=\S)")

_NEGATIONS = (
    *("no", "not", "non", "without", "absent", "lacking", "lacks", "excluding", "except", "neither", "nor"),
    *("free of", "free from", "devoid of", "absence of", "negative for"),
)
_BETWEEN = r"(?: (?!(?:and|but|with|or)\b)\w+){0,3}"
"""Up to three words that leave a negation in force ("without any sign of …")."""


class UnknownLabelError(ValueError):
    """A text names no class of the label space, or more than one (``candidates``), or says that the class is not there."""

    def __init__(self, line: str, candidates: tuple[LabelClass, ...] = ()) -> None:
        super().__init__(line)
        self.candidates = candidates


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
        """The classes' slugs, in the order of the labels."""
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
            UnknownLabelError: the prompt names no class, or several (the message lists the classes), or negates the one it names.
        """
        text = f" {_normal(prompt)} "
        matches: dict[int, LabelClass] = {}
        spellings = sorted(((_normal(n), c) for c in self.classes for n in c.names), key=lambda p: -len(p[0]))
        for spelling, c in spellings:
            if f" {spelling} " in text:
                negated = _negation(text, spelling)
                if negated:
                    raise UnknownLabelError(
                        f"the prompt says '{negated}', and a model cannot draw what is not there; "
                        f"name what is to be seen, or set label= to one of: {', '.join(self.slugs)}"
                    )
                matches[c.index] = c
                text = text.replace(f" {spelling} ", " | ")
        if len(matches) == 1:
            return next(iter(matches.values()))
        if not matches:
            near = self._nearest_word(_normal(prompt))
            raise UnknownLabelError(
                f"the prompt names no class of {self.name}: '{prompt}'{near}; set label= to one of: {', '.join(self.slugs)}"
            )
        named = ", ".join(c.slug for c in matches.values())
        line = f"the prompt names several classes of {self.name} ({named}); set label= to the one meant"
        raise UnknownLabelError(line, tuple(matches.values()))

    def _nearest_word(self, text: str) -> str:
        """The class whose name is nearly a word of a normal text, as an addition to a refusal."""
        return next((near for near in map(self._nearest, text.split()) if near), "")

    def _nearest(self, wanted: str) -> str:
        """The class of the nearest spelling; of spellings that are nearly as near, as "mucus" and "mucosa" are to "mucos", all classes."""
        spelled = {_normal(n): c.slug for c in self.classes for n in c.names}
        near = dict.fromkeys(spelled[name] for name in equally_near(wanted, spelled))
        return f" (nearest: {' or '.join(near)})" if near else ""


def _normal(text: str) -> str:
    """Folded case; punctuation, underscores and ASCII symbols as single spaces. Letters, digits and signs of any script stay."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if _counts(c) else " " for c in folded).split())


def _counts(character: str) -> bool:
    """Whether a character distinguishes one name from another."""
    return character.isalnum() if character.isascii() else unicodedata.category(character)[0] in "LMNS"


def _negation(text: str, spelling: str) -> str:
    """The words of a normal text that say that ``spelling`` is not there; empty where none do."""
    name = re.escape(spelling)
    before = re.search(rf"\b(?:{'|'.join(_NEGATIONS)}){_BETWEEN} {name}(?= )", text)
    after = re.search(rf"(?<= ){name}(?: (?:is|are|was|were))?(?: (?:absent|free|negative|not (?:present|seen|visible)))(?= )", text)
    negated = before or after
    return negated[0].strip() if negated else ""


def class_slug(name: str) -> str:
    """A file-safe name in ASCII for a class of any name: "Red cells" → "red-cells", "Épithélium" → "epithelium".

    A name that has characters of another script or signs becomes Punycode ("汉字" → "xn--p8s370b"), which :func:`slug_words` reads back.
    Empty where the name has neither letters nor signs.
    """
    parts = unicodedata.normalize("NFKD", _normal(name))
    plain = "".join(c for c in parts if not unicodedata.combining(c))
    words = (plain if plain.isascii() else unicodedata.normalize("NFC", parts)).split()
    slug = "-".join(words)
    return slug if slug.isascii() else _ENCODED + slug.encode("punycode").decode("ascii")


def slug_words(slug: str) -> str:
    """A slug as people read it: "red-cells" → "red cells", "xn--p8s370b" → "汉字"."""
    if slug.startswith(_ENCODED):
        with contextlib.suppress(UnicodeError):
            slug = slug.removeprefix(_ENCODED).encode("ascii").decode("punycode")
    return slug.replace("-", " ")


def label_space_of(names: Sequence[str]) -> LabelSpace:
    """A label space of classes that are known by their names alone, in the order given, without symmetries.

    Raises:
        UnknownLabelError: there are fewer than two names, or two that have the same slug, or one without letters or signs.
    """
    slugs = [class_slug(name) for name in names]
    empty = next((name for name, slug in zip(names, slugs, strict=True) if not slug), None)
    doubled = next((name for place, name in enumerate(names) if slugs[place] in slugs[:place]), None)
    if len(names) < 2 or empty is not None:
        raise UnknownLabelError(f"classes {list(names)} are not two names or more, each with a letter or a digit; name every class")
    if doubled is not None:
        raise UnknownLabelError(f"two classes are called '{doubled}'; give each class a name of its own")
    classes = tuple(LabelClass(label, slug, name) for label, (slug, name) in enumerate(zip(slugs, names, strict=True)))
    return LabelSpace("the classes given", classes, "none")


def class_names(folders: Sequence[str]) -> list[str]:
    """How prompts name the classes of folders called so.

    A number before a name is dropped ("01_TUMOR" → "tumor"), unless two would be called alike then. Names in ASCII are put in lower case,
    their punctuation as spaces; others stay as they are but for underscores, because no rule for case holds in every language.
    """
    bare = [_NUMBER.sub("", folder, count=1) if _NUMBER.match(folder) else folder for folder in folders]
    names = [_prompt_name(folder) for folder in bare]
    return names if len(set(names)) == len(names) else [_prompt_name(folder) for folder in folders]


def _prompt_name(folder: str) -> str:
    if folder.isascii():
        return _normal(folder)
    return " ".join(unicodedata.normalize("NFC", folder).replace("_", " ").split())


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
