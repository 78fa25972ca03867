"""Slots and attempts: the requested images, and each try at it with a seed of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pathsynth.ledger.seeds import derive_seed


class Stream(StrEnum):
    """What the images are for. Streams never share a seed, so what selects an adapter never scores it."""

    VAL = "val"
    EVAL = "eval"
    GENERATE = "generate"
    CALIBRATE = "calibrate"


class Strategy(StrEnum):
    """How an attempt differs from the first one at its slot, beside the seed.

    The first of these that holds: IMAGE_TO_IMAGE, the rejected image is noised and denoised again; GUIDANCE, another guidance; PROMPT,
    another prompt; FRESH, nothing else.
    """

    FRESH = "fresh"
    GUIDANCE = "guidance"
    IMAGE_TO_IMAGE = "image_to_image"
    PROMPT = "prompt"


@dataclass(frozen=True)
class Slot:
    """One requested image: the ``index``-th of class ``label``."""

    stream: Stream
    label: int
    index: int
    prompt: str


@dataclass(frozen=True)
class Attempt:
    """Try ``number`` (from 0) at a slot. ``seed`` alone sets its noise.

    ``starts_from`` is the rejected attempt whose image gets new noise and is denoised from the step ``start`` on; None: noise alone.
    ``guidance``: its scale; None: that of first attempts. ``wording``: a prompt in place of the slot's; None: that one.
    """

    slot: Slot
    number: int
    seed: int
    starts_from: Attempt | None = field(default=None, compare=False, repr=False)
    start: int = field(default=0, compare=False)
    guidance: float | None = field(default=None, compare=False)
    wording: str | None = field(default=None, compare=False)

    @property
    def prompt(self) -> str:
        """What it is drawn from."""
        return self.slot.prompt if self.wording is None else self.wording


def attempt_at(slot: Slot, number: int, sampling_seed: int) -> Attempt:
    """The ``number``-th attempt; its seed is a function of the slot and never of batch, order or process."""
    seed = derive_seed(sampling_seed, str(slot.stream), slot.label, slot.index, number)
    return Attempt(slot, number, seed)


def slots_of(stream: Stream, prompts: Mapping[int, str | Sequence[str]], n: int) -> list[Slot]:
    """``n`` slots for each class in ``prompts`` (label → prompt), classes taking turns so that batches are mixed.

    Several prompts of one class take turns from slot to slot.
    """
    worded = {label: (prompt,) if isinstance(prompt, str) else tuple(prompt) for label, prompt in prompts.items()}
    return [Slot(stream, label, index, prompt[index % len(prompt)]) for index in range(n) for label, prompt in worded.items()]
