"""What to look for in each class of an atlas: our texts for the nine colorectal tissues, or those of a user's YAML file.

::

    mucus:                                     # a class: its slug or any name it has
      look_for: [pale, almost empty pools]     # one point each
      sources: ["A textbook, chapter 3"]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from yaml import YAMLError

from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import COLORECTAL, LabelSpace, UnknownLabelError

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@dataclass(frozen=True)
class TissueText:
    """Points to look for, where to check them, and who wrote them: the program's authors, or the user whose file was given."""

    look_for: tuple[str, ...]
    sources: tuple[str, ...]
    by_user: bool = False


class _Entry(BaseModel):
    """What the file says of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    look_for: tuple[_Words, ...]
    sources: tuple[_Words, ...] = ()


def shipped_texts(space: LabelSpace) -> dict[int, TissueText]:
    """Our texts by label, where the classes are those of PathMNIST in their order; none for any other label space."""
    if space.slugs != COLORECTAL.slugs:
        return {}
    return {c.index: _COLORECTAL[c.slug] for c in COLORECTAL.classes}


def read_texts(path: Path, space: LabelSpace) -> dict[int, TissueText]:
    """The texts of a YAML file, by label.

    Raises:
        RequestError: the file cannot be read, or names a class that is not in the space, twice, or with other keys.
    """
    try:
        record = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RequestError(f"--texts {path} cannot be read ({reason}); name a YAML file of classes and what to look for") from error
    if not isinstance(record, dict) or not record:
        raise RequestError(f"--texts {path} names no class; write <class>: and below it look_for: [what is to be seen]")
    texts: dict[int, TissueText] = {}
    for name, words in ((str(key), words) for key, words in record.items()):
        label = _label(path, space, name)
        if label in texts:
            raise RequestError(f"--texts {path} names the class {name} twice; leave one")
        texts[label] = _text(path, name, words)
    return texts


def _label(path: Path, space: LabelSpace, name: str) -> int:
    try:
        return space.by_slug(name).index
    except UnknownLabelError as error:
        raise RequestError(f"--texts {path}: {error}") from error


def _text(path: Path, name: str, words: Any) -> TissueText:
    try:
        entry = _Entry.model_validate(words)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, (name, *fault["loc"])))
        raise RequestError(f"--texts {path}: {key}: {fault['msg'].lower()}; write look_for: [points] and sources: [names]") from error
    return TissueText(entry.look_for, entry.sources, by_user=True)


_HISTOLOGY = "A. L. Mescher, Junqueira's Basic Histology, chapter on {}"
_TUMOURS = "WHO Classification of Tumours: Digestive System Tumours, 5th edition (2019), chapter on colorectal adenocarcinoma"
_DATA = "J. N. Kather et al., PLoS Medicine 16 (2019) e1002730: the data set whose nine classes these are"

_COLORECTAL: dict[str, TissueText] = {
    "adipose": TissueText(
        (
            "Large, pale, rounded spaces: the fat was washed out when the slide was prepared.",
            "Thin pink lines between the spaces, like a net; they are cell membranes and a little connective tissue.",
            "Not background: background has no net of lines.",
        ),
        (_HISTOLOGY.format("adipose tissue"), _DATA),
    ),
    "background": TissueText(
        (
            "An even field without any structure: glass without tissue.",
            "Its colour tells little: glass is light, but this data set’s colours are normalised, and empty tiles may be dark violet.",
            "Not adipose: there a light field is divided by thin lines. Not mucus: mucus has streaks.",
        ),
        (_DATA,),
    ),
    "debris": TissueText(
        (
            "Granular pink to purple material without order: dead cells that have fallen apart.",
            "Dark specks of broken nuclei of uneven size; no glands, no parallel fibres.",
            "Not mucus: mucus is paler and smoother. In glands of colorectal cancer such debris is often seen (“dirty necrosis”).",
        ),
        (_TUMOURS, _DATA),
    ),
    "lymphocytes": TissueText(
        (
            "Many small, round, dark blue dots, close together: nuclei with very little cytoplasm around them.",
            "The dots are alike in size and fill the field evenly.",
            "Not adenocarcinoma: tumour nuclei are larger, paler, uneven, and lie in bands or glands.",
        ),
        (_HISTOLOGY.format("the immune system and lymphoid organs"), _DATA),
    ),
    "mucus": TissueText(
        (
            "Pale, bluish or greyish pools, smooth or with faint streaks.",
            "Few cells, scattered or in small groups.",
            "Not background: mucus has a tint and streaks. Not debris: debris is granular and darker.",
        ),
        (_TUMOURS, _DATA),
    ),
    "smooth-muscle": TissueText(
        (
            "Pink bundles of fibres that run side by side in one direction.",
            "Long, thin nuclei that lie along the fibres, evenly spread.",
            "Not cancer-associated stroma: stroma is wavier and looser, and its cells lie less in line.",
        ),
        (_HISTOLOGY.format("muscle tissue"), _DATA),
    ),
    "normal-mucosa": TissueText(
        (
            "Round or tube-shaped glands (crypts) of like size, in regular order.",
            "Pale goblet cells around a small central opening; nuclei at the outer edge of each gland.",
            "Not adenocarcinoma: there glands differ in size and shape, crowd each other, and nuclei are darker and out of line.",
        ),
        (_HISTOLOGY.format("the digestive tract"), _DATA),
    ),
    "cancer-stroma": TissueText(
        (
            "Pink, wavy strands of collagen with spindle-shaped cells between them.",
            "Looser and less orderly than muscle; some dark dots may be inflammatory cells.",
            "Not smooth muscle: muscle fibres are straighter, denser and parallel.",
        ),
        (_TUMOURS, _DATA),
    ),
    "adenocarcinoma": TissueText(
        (
            "Crowded purple cells in irregular glands or sheets.",
            "Glands of uneven size and shape, often merged; little pale cytoplasm is left.",
            "Not normal mucosa: its glands are regular and pale. Not lymphocytes: these are small single dots.",
        ),
        (_TUMOURS, _DATA),
    ),
}
