"""The images of a trial or a generated set on its page: slot by slot, the rejected attempt beside the accepted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pathsynth.report.strips import image_uri
from pathsynth.report.trial_images import Attempt

LARGEST = 96
"""Images are shrunk to at most so many pixels a side."""
_BROKEN = "broken"


@dataclass(frozen=True)
class AttemptView:
    """An attempt as it is shown, ``number`` from 1 on, under the ``name`` that ``pathsynth replay`` knows it by.

    ``gate`` and ``judge`` are the class that each names, ``probability`` what the gate gives the requested class; empty where it is
    not known, and ``judge_agrees`` is None then. ``image``: a data URI; None where none was kept.
    """

    name: str
    number: int
    seed: str
    prompt: str
    gate: str
    probability: str
    judge: str
    judge_agrees: bool | None
    accepted: bool
    reason: str
    image: str | None


@dataclass(frozen=True)
class SlotImages:
    """All attempts at one image that was requested, in their order."""

    slot: int
    attempts: tuple[AttemptView, ...]

    @property
    def accepted(self) -> AttemptView | None:
        """The accepted attempt; None where the slot has none."""
        return next((a for a in self.attempts if a.accepted), None)

    @property
    def rejected(self) -> AttemptView | None:
        """The rejected attempt that stands beside the accepted one: the first that has an image, else the first; None if none was."""
        rejected = [a for a in self.attempts if not a.accepted]
        return next((a for a in rejected if a.image), rejected[0] if rejected else None)


@dataclass(frozen=True)
class ClassImages:
    """The slots of one class that are shown, and of how many of them an image was ``accepted``. ``real``: data URIs of real images."""

    name: str
    slots: tuple[SlotImages, ...]
    accepted: int
    real: tuple[str, ...]


def class_images(
    attempts: Sequence[Attempt],
    slugs: Sequence[str],
    names: Mapping[int, str],
    named: Callable[[str], str],
    real: Mapping[str, Sequence[str]],
) -> tuple[ClassImages, ...]:
    """The images of the classes that have an attempt or a real image.

    Args:
        attempts: of any class, in any order of classes.
        slugs: the classes that are shown, in their order.
        names: of classes by their labels, as gate and judge name them.
        named: the name of a class by its slug.
        real: data URIs of real images by class.

    Raises:
        RequestError: a file is not an image.
    """
    classes = []
    for slug in slugs:
        slots: dict[int, list[AttemptView]] = {}
        for a in attempts:
            if a.slug == slug:
                slots.setdefault(a.slot, []).append(_attempt_view(a, names, named(slug)))
        views = tuple(SlotImages(slot, tuple(tried)) for slot, tried in sorted(slots.items()))
        classes.append(ClassImages(named(slug), views, sum(view.accepted is not None for view in views), tuple(real.get(slug, ()))))
    return tuple(images for images in classes if images.slots or images.real)


def _attempt_view(a: Attempt, names: Mapping[int, str], requested: str) -> AttemptView:
    judge = "" if a.judged is None else _name(a.judged, names)
    return AttemptView(
        name=f"{a.slug}-{a.slot:05d}-{a.attempt}",
        number=a.attempt + 1,
        seed=a.seed,
        prompt=a.prompt,
        gate="" if a.predicted is None else _name(a.predicted, names),
        probability="" if a.probability is None else f"{a.probability:.2f}",
        judge=judge,
        judge_agrees=None if a.judged is None else judge == requested,
        accepted=a.accepted,
        reason=a.reason,
        image=image_uri(a.path, LARGEST) if a.path else None,
    )


def _name(label: int, names: Mapping[int, str]) -> str:
    """The name of a class; a label that no file names keeps its number."""
    return _BROKEN if label < 0 else names.get(label, f"class {label + 1}")
