"""The rejection sampler for a drawing function and a classifier of anybody's: prompts and seeds to images, images to probabilities.

An adapter around :func:`sample_until_accepted`, which the program's own validation and generation call, too. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.acceptance_rules import (
    Candidate,
    MostProbable,
    Rule,
    Verdict,
    broken,
    image_fault,
    judged_by,
    needs_features,
    read_only,
)
from pathsynth.sampling.rejection import Judged, SlotOutcome, SlotStatus, account, sample_until_accepted
from pathsynth.sampling.slots import Attempt, Slot, Stream, slots_of
from pathsynth.vocabulary.labels import label_space_of

if TYPE_CHECKING:
    import pandas as pd

DrawFunction = Callable[[list[str], list[int]], Sequence[ArrayLike | None] | np.ndarray]
"""``draw(prompts, seeds)``: an image for each prompt from the seed beside it, uint8 (H, W, 3) or PIL; None for one that failed."""
ClassifyFunction = Callable[[np.ndarray], ArrayLike]
"""``classify(images)``: of images, uint8 (N, H, W, 3), the probabilities of the classes, (N, C), each row with the sum 1."""
_ROUNDING = 1e-3
"""How far the sum of a row of probabilities may lie from 1: half precision is enough."""


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt and the verdict on it; the fields are columns of ``attempts.parquet``, too.

    ``label`` is the number of the requested class and ``predicted`` that of the most probable one (−1: a broken image), ``probability``
    that of the requested class. ``reason``: why it was rejected (None: accepted). ``near_margin``: so near to a limit that rounding
    may turn the verdict.
    """

    label: int
    class_slug: str
    slot: int
    attempt: int
    prompt: str
    seed: int
    predicted: int
    probability: float
    probabilities: tuple[float, ...]
    accepted: bool
    reason: str | None
    near_margin: bool


@dataclass(frozen=True)
class SampledImages:
    """What came of the slots.

    ``images``: those that were accepted, uint8 (H, W, 3) each, in the order of their slots, and ``labels``, int64 (N,), what they were
    asked to be. ``outcomes``: how each slot ended. ``attempts``: every attempt, in the order in which it was judged.
    """

    images: tuple[np.ndarray, ...]
    labels: np.ndarray
    outcomes: tuple[SlotOutcome, ...]
    attempts: tuple[AttemptRecord, ...]

    def count(self, status: SlotStatus | str) -> int:
        """How many slots ended so: "accepted", "exhausted" or "failed"."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def table(self) -> pd.DataFrame:
        """A row an attempt, a column a field of :class:`AttemptRecord`."""
        import pandas as pd

        return pd.DataFrame([asdict(record) for record in self.attempts])


class RejectionSampler:
    """Draw, classify, and draw again what was rejected, from a new seed, until it is accepted or its budget is spent.

    The attempts that are open share full batches, of any class. Which image a slot ends with depends on its own seeds and the
    rules, never on the size of a batch, as far as ``draw`` and ``classify`` treat each image of a batch by itself.

    Args:
        draw: ``draw(prompts, seeds) -> images``. An image should depend on its prompt and its seed (63 bits) alone: with torch, a
            generator for each seed.
        classify: ``classify(images) -> probabilities``, (N, C).
        classes: the names of the C classes, in the order of the columns of ``classify``.
        rules: what an image must meet, all of it: :class:`MostProbable`, :class:`AtLeast`, :class:`Leads`, or any object with ``reason``
            and ``slack(candidate, label)``, as ``pathsynth.sampling.acceptance_rules.Rule`` says.
        attempts: the budget of a slot.
        batch_size: images that are drawn at once, at most.
        seed: what the seeds of all attempts derive from.

    Raises:
        RequestError: a number is below its least, or there is no rule, or one that needs more than probabilities.
        UnknownLabelError: the names of the classes cannot be distinguished.

    >>> import numpy as np
    >>> def draw(prompts, seeds):  # images of one grey, dark or bright
    ...     return [np.full((8, 8, 3), np.random.default_rng(seed).integers(1, 256), np.uint8) for seed in seeds]
    >>> def classify(images):
    ...     bright = images.mean(axis=(1, 2, 3)) / 255
    ...     return np.stack([1 - bright, bright], axis=1)
    >>> sampler = RejectionSampler(draw, classify, classes=["dark", "bright"], attempts=10)
    >>> sampled = sampler.sample({"dark": "a dark square", "bright": "a bright square"}, n=3)
    >>> sampled.count("accepted"), [int(image.mean()) > 127 for image in sampled.images]
    (6, [False, True, False, True, False, True])
    """

    def __init__(
        self,
        draw: DrawFunction,
        classify: ClassifyFunction,
        classes: Sequence[str],
        rules: Sequence[Rule] = (MostProbable(),),
        *,
        attempts: int = 10,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("attempts", attempts, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
            if value < least:
                raise RequestError(f"{name} is {value}; it must be at least {least}")
        if not rules:
            raise RequestError("there is no rule of acceptance; give MostProbable(), AtLeast(…) or Leads(…)")
        for name in needs_features(rules):
            raise RequestError(f"the rule {name} needs features, and classify gives probabilities alone; leave it out")
        self._draw, self._classify, self._rules = draw, classify, tuple(rules)
        self.space = label_space_of(classes)
        self.attempts, self.batch_size, self.seed = attempts, batch_size, seed

    def slots(self, prompts: Mapping[str, str | Sequence[str]], n: int, stream: Stream = Stream.GENERATE) -> list[Slot]:
        """``n`` slots for each class in ``prompts`` (its name → a prompt, or several that take turns), classes taking turns.

        Streams share no seeds.

        Raises:
            RequestError: ``n`` is below one, there is no prompt, or a class is named twice.
            UnknownLabelError: a name is none of the classes.
        """
        if n < 1:
            raise RequestError(f"n is {n}; ask for at least 1 image of each class")
        named = [(self.space.by_slug(name).index, worded) for name, worded in prompts.items()]
        if not named or any(not worded and not isinstance(worded, str) for _, worded in named):
            raise RequestError("there is a class without a prompt, or no class at all; give prompts={<class>: <prompt>}")
        if len(dict(named)) < len(named):
            raise RequestError(f"prompts name a class twice ({', '.join(prompts)}); put its prompts into one list")
        return slots_of(stream, dict(named), n)

    def sample(self, prompts: Mapping[str, str | Sequence[str]], n: int = 1) -> SampledImages:
        """Fill ``n`` slots for each class in ``prompts``; memory holds the accepted images and one batch.

        Raises:
            RequestError, UnknownLabelError: as :meth:`slots` and :meth:`stream`.
        """
        slots = self.slots(prompts, n)
        accepted: dict[Slot, np.ndarray] = {}
        judged: list[tuple[Attempt, Verdict]] = []
        for item in self.stream(slots):
            judged.append((item.attempt, item.verdict))
            if item.verdict.accepted and item.image is not None:
                accepted[item.attempt.slot] = item.image
        filled = [slot for slot in slots if slot in accepted]
        return SampledImages(
            images=tuple(accepted[slot] for slot in filled),
            labels=np.array([slot.label for slot in filled], dtype=np.int64),
            outcomes=tuple(account(slots, judged, self.attempts)),
            attempts=tuple(self._record(attempt, verdict) for attempt, verdict in judged),
        )

    def stream(self, slots: Sequence[Slot]) -> Iterator[Judged]:
        """Every attempt with its image and its verdict, as soon as it is judged.

        Raises:
            RequestError: what ``draw`` or ``classify`` gives has the wrong number, type or shape.
        """
        return sample_until_accepted(slots, self.draw_attempts, self.judge_attempts, self.attempts, self.batch_size, self.seed)

    def draw_attempts(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        """Images, uint8 (H, W, 3) or None, by the drawing function, as the sampler's loop asks for them."""
        images = list(self._draw([a.slot.prompt for a in attempts], [a.seed for a in attempts]))
        if len(images) != len(attempts):
            raise RequestError(f"draw gave {len(images)} images for {len(attempts)} prompts; return one for each, in their order")
        return [None if image is None else _checked_image(image) for image in images]

    def judge_attempts(self, attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
        """The verdicts by the classifier and the rules, as the sampler's loop asks for them.

        Raises:
            StageError: a rule fails, or gives no number.
        """
        faults = [image_fault(image) for image in images]
        sound = [image for image, fault in zip(images, faults, strict=True) if image is not None and fault is None]
        candidates = iter([Candidate(row, image=read_only(image)) for row, image in zip(self._probabilities(sound), sound, strict=True)])
        return [
            broken(fault, len(self.space)) if fault else judged_by(self._rules, next(candidates), attempt.slot.label)
            for attempt, fault in zip(attempts, faults, strict=True)
        ]

    def _probabilities(self, images: list[np.ndarray]) -> np.ndarray:
        """float64 (N, C)."""
        shape = (len(images), len(self.space))
        if not images:
            return np.empty(shape)
        sizes = sorted({image.shape for image in images})
        if len(sizes) > 1:
            raise RequestError(f"draw gave images of several shapes, {sizes[0]} and {sizes[-1]}; return all of one size")
        rows = np.asarray(self._classify(np.stack(images)), dtype=np.float64)
        if rows.shape != shape:
            raise RequestError(f"classify gave {rows.shape} for {shape[0]} images and {shape[1]} classes; return {shape}")
        if not (rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() <= _ROUNDING):
            raise RequestError("classify gave rows that are no probabilities (0 or more, with the sum 1); return them after a softmax")
        return rows

    def _record(self, attempt: Attempt, verdict: Verdict) -> AttemptRecord:
        slot = attempt.slot
        return AttemptRecord(
            label=slot.label,
            class_slug=self.space.classes[slot.label].slug,
            slot=slot.index,
            attempt=attempt.number,
            prompt=slot.prompt,
            seed=attempt.seed,
            predicted=verdict.predicted,
            probability=verdict.probability,
            probabilities=verdict.probabilities,
            accepted=verdict.accepted,
            reason=verdict.reason,
            near_margin=verdict.near_margin,
        )


def _checked_image(image: ArrayLike) -> np.ndarray:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise RequestError(f"draw gave an image of {pixels.dtype} {pixels.shape}; return uint8 (H, W, 3), or None for one that failed")
    return pixels
