"""New verdicts on existing attempts under other limits, by the gate's rules and without drawing. No torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pathsynth.sampling.acceptance_rules import Candidate, Rule, Verdict, judged_by, read_only, superseded
from pathsynth.sampling.rejection import Judged
from pathsynth.sampling.slots import Attempt, Slot


@dataclass(frozen=True)
class Drawn:
    """An attempt with its image as a PNG file (None: not finite, or no longer kept) and the gate's verdict.

    ``sha256``: of its pixels. ``batch``: the attempts of the same batch; the last bits of its pixels depend on them.
    """

    judged: Judged
    png: bytes | None
    sha256: str | None
    batch: tuple[Attempt, ...]

    @property
    def attempt(self) -> Attempt:
        """The slot's attempt that the image shows."""
        return self.judged.attempt

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict."""
        return self.judged.verdict


@dataclass(frozen=True)
class Tally:
    """Numbers of slots: accepted, without an image after all attempts, still open."""

    accepted: int
    exhausted: int
    open: int


def decide(drawn: Sequence[Drawn], rules: Sequence[Rule], sees_images: bool = False) -> list[Verdict]:
    """The verdicts that the sampler would give these attempts by other rules, in their order.

    Of each slot the first attempt that meets all rules is accepted; one after it would not have been drawn, and says so.
    ``sees_images``: whether a rule looks at the pixels; it does not get those of images that are no longer kept.
    """
    settled: set[Slot] = set()
    verdicts: dict[Attempt, Verdict] = {}
    for item in sorted(drawn, key=lambda item: item.attempt.number):
        slot = item.attempt.slot
        verdict = item.verdict if item.verdict.failed else judged_by(rules, _candidate(item, sees_images), slot.label)
        verdicts[item.attempt] = superseded(verdict) if slot in settled else verdict
        if verdict.accepted:
            settled.add(slot)
    return [verdicts[item.attempt] for item in drawn]


def _candidate(item: Drawn, with_image: bool) -> Candidate:
    image = read_only(pixels_of(item.png)) if with_image and item.png else None
    return Candidate(np.array(item.verdict.probabilities), image=image)


def pixels_of(png: bytes) -> np.ndarray:
    """uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def tally(slots: Sequence[Slot], drawn: Sequence[Drawn], verdicts: Sequence[Verdict], attempts: int) -> Tally:
    """The state of a request's slots; ``attempts`` is the budget of each."""
    accepted = {d.attempt.slot for d, v in zip(drawn, verdicts, strict=True) if v.accepted}
    tries = [sum(d.attempt.slot == slot for d in drawn) for slot in slots if slot not in accepted]
    spent = sum(count >= attempts for count in tries)
    return Tally(len(accepted), spent, len(tries) - spent)


def redecided(drawn: Sequence[Drawn], verdicts: Sequence[Verdict]) -> list[Drawn]:
    """The attempts with other verdicts on them."""
    return [replace(d, judged=replace(d.judged, verdict=v)) for d, v in zip(drawn, verdicts, strict=True)]
