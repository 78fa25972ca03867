"""The rejection sampler: draw, judge, and draw again what was rejected, within a budget, with full batches.

Open attempts wait in queues, one for each :class:`Segment`: the part of the denoising steps that is next for them. Each round takes up
to ``batch_size`` attempts from the queue that fills a batch best, of any class; the next attempt at a rejected slot goes to
the front of its queue. So while enough slots are open every batch is full, and a class with a hard time never runs alone while
others wait. Which attempt a slot ends with depends on its own seeds and the rules only, never on batches or order.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.sampling.acceptance_rules import Verdict, read_only, superseded
from pathsynth.sampling.retry import Rejection, RetryStrategy, StandardRetry, retry_of
from pathsynth.sampling.slots import Attempt, Slot, Stream, attempt_at


@dataclass(frozen=True)
class Judged:
    """An attempt, its image (uint8 (H, W, 3); None if it was not finite or is known from before) and the verdict on it.

    ``calls`` of the denoiser were spent on it. ``stopped_at``: the step after which it was given up as hopeless; its image is then
    the predicted one. None: it went all the way.
    """

    attempt: Attempt
    image: np.ndarray | None
    verdict: Verdict
    calls: int = 0
    stopped_at: int | None = None


Draw = Callable[[Sequence[Attempt]], list[np.ndarray | None]]
"""Draws attempts to the last step, from whichever step they are at."""
Judge = Callable[[Sequence[Attempt], list[np.ndarray | None]], list[Verdict]]
Hopeless = tuple[np.ndarray | None, Verdict]
"""The predicted image of a candidate that is rejected early, and its verdict."""
RejectEarly = Callable[[Sequence[Attempt]], list[Hopeless | None]]
"""Takes attempts to the step of early rejection; None for those that continue."""


@dataclass(frozen=True)
class Segment:
    """Denoising steps that a batch goes through together: from ``start`` (0: pure noise) to ``stop``.

    ``begun``: those who take it come from the segment before it, so that its calls are already committed. ``again``: for attempts that
    are not the first at their slots, where these are drawn apart.
    """

    start: int
    stop: int
    begun: bool = False
    again: bool = False


@dataclass(frozen=True)
class Route:
    """The route of candidates through the steps; ``calls`` are those of the denoiser in each step.

    ``preview_step``: the step after which hopeless candidates are rejected; None: none are. An image-to-image attempt is not previewed,
    nor is a first one outside ``generate``: what the adapter draws before any filtering is measured by it. ``apart``: no batch mixes first
    attempts with later ones, so that the last bits of a first one do not depend on what was rejected before it. ``guidance``: the scale
    of first attempts. ``from_the_start``: the scheduler's, where it cannot start in the middle of the steps; else empty.
    """

    calls: tuple[int, ...] = (1,)
    preview_step: int | None = None
    apart: bool = False
    guidance: float = 1.0
    from_the_start: str = ""

    @property
    def steps(self) -> int:
        """Number of denoising steps."""
        return len(self.calls)

    def first_segment(self, attempt: Attempt) -> Segment:
        """The first segment of an attempt."""
        if attempt.starts_from:
            return Segment(attempt.start, self.steps, again=self.apart)
        again = self.apart and attempt.number > 0
        if self.preview_step is None or (attempt.number == 0 and attempt.slot.stream is not Stream.GENERATE):
            return Segment(0, self.steps, again=again)
        return Segment(0, self.preview_step, again=again)

    @property
    def last_segment(self) -> Segment:
        """The rest of the steps, for those that early rejection lets continue."""
        assert self.preview_step is not None
        return Segment(self.preview_step, self.steps, begun=True)

    def calls_of(self, attempt: Attempt, stop: int | None = None) -> int:
        """Calls of the denoiser for an attempt up to the step ``stop`` (None: the last)."""
        return sum(self.calls[self.first_segment(attempt).start : stop])

    def further_attempt(
        self, slot: Slot, number: int, sampling_seed: int, retry: RetryStrategy, last: Judged | None, rejection: Rejection | None
    ) -> Attempt:
        """Attempt ``number`` as a strategy has it; from the ``last`` one where that is wanted and there is an image to start from.

        Raises:
            StageError: the strategy fails, or gives what cannot be drawn.
        """
        wanted = retry_of(retry, slot, number, rejection, self.guidance)
        source = last.attempt if last and wanted.again and last.stopped_at is None and not last.verdict.failed else None
        if source and self.from_the_start:
            line = f"the retry strategy {type(retry).__qualname__} starts in the middle of the steps, where {self.from_the_start} cannot"
            raise StageError(f"{line}; set sampling.scheduler=DDIMScheduler, or have it give again=0")
        return replace(
            attempt_at(slot, number, sampling_seed),
            starts_from=source,
            start=self.start_of(wanted.again) if source else 0,
            guidance=self.guidance + wanted.more_guidance if wanted.more_guidance else None,
            wording=None if wanted.prompt == slot.prompt else wanted.prompt,
        )

    def start_of(self, again: float) -> int:
        """The start step of an attempt that repeats a share of the steps, one at least."""
        return self.steps - max(1, round(again * self.steps))


@dataclass(frozen=True)
class RunBudget:
    """The budget of a whole run, beside that of each slot; None: no limit.

    ``calls`` of the denoiser in total; ``seconds`` since ``started`` (of ``clock``). A run that has spent it starts nothing more,
    ends what it has begun, and its open slots are ``not_attempted``. The seconds of a run that continues after a kill begin again.
    """

    calls: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    started: float = field(default_factory=time.monotonic)

    def remaining(self, committed: int) -> float:
        """Calls that may still be spent beside those ``committed``; infinite where there is no limit."""
        if self.seconds is not None and self.clock() - self.started >= self.seconds:
            return 0
        return math.inf if self.calls is None else self.calls - committed


class SlotStatus(StrEnum):
    """How a slot ended: ``failed`` if every attempt gave a broken image, ``not_attempted`` if the run stopped before its end."""

    ACCEPTED = "accepted"
    EXHAUSTED = "exhausted"
    FAILED = "failed"
    NOT_ATTEMPTED = "not_attempted"


@dataclass(frozen=True)
class SlotOutcome:
    """A slot, how it ended, how many attempts it took, and which one was accepted (None if none)."""

    slot: Slot
    status: SlotStatus
    attempts: int
    accepted: int | None


def sample_until_accepted(
    slots: Iterable[Slot],
    draw: Draw,
    judge: Judge,
    attempts: int,
    batch_size: int,
    sampling_seed: int,
    known: Mapping[Attempt, Judged] | None = None,
    run_budget: RunBudget | None = None,
    speculate: bool = False,
    route: Route | None = None,
    reject_early: RejectEarly | None = None,
    retry: RetryStrategy | None = None,
) -> Iterator[Judged]:
    """Yield every attempt as it is judged, until each slot is accepted or has used its ``attempts``.

    ``known`` are attempts that an earlier run judged before it was cut off. A batch known as a whole is not drawn again, and its
    attempts are yielded without images; one known in part is drawn in full. So every batch is made of the same attempts as in an
    undisturbed run, and its arithmetic gives the same bits. ``run_budget`` ends the whole run early. With ``speculate`` a batch that
    the open slots do not fill takes their next attempts, too. The lowest accepted one wins, so the same are accepted; a verdict on
    one beyond it is :func:`superseded`. ``route`` (None: all steps at once) says where attempts start, and after which step
    ``reject_early`` rejects the hopeless; those that may continue wait until they fill a batch. ``retry`` says how further attempts are
    drawn (None: from a new seed alone).

    Raises:
        RequestError: the budget or the batch size is below one.
        StageError: the retry strategy or a rule of acceptance fails.
    """
    if attempts < 1:
        raise RequestError(f"sampling.attempts is {attempts}; a slot needs a budget of at least 1 attempt")
    if batch_size < 1:
        raise RequestError(f"sampling.batch_size is {batch_size}; it must be at least 1")
    route, run_budget, retry = route or Route(), run_budget or RunBudget(), retry or StandardRetry()
    assert route.preview_step is None or reject_early
    ahead = route.preview_step is None and isinstance(retry, StandardRetry) and not retry.image_to_image
    assert not speculate or ahead, "the next attempt depends on what becomes of this one"
    rounds = _Rounds(
        draw=draw,
        judge=judge,
        attempts=attempts,
        batch_size=batch_size,
        sampling_seed=sampling_seed,
        known=known or {},
        run_budget=run_budget,
        speculate=speculate,
        route=route,
        reject_early=reject_early,
        retry=retry,
    )
    return rounds.carry_out(attempt_at(slot, 0, sampling_seed) for slot in slots)


@dataclass(kw_only=True)
class _Rounds:
    draw: Draw
    judge: Judge
    attempts: int
    batch_size: int
    sampling_seed: int
    known: Mapping[Attempt, Judged]
    run_budget: RunBudget
    speculate: bool
    route: Route
    reject_early: RejectEarly | None
    retry: RetryStrategy
    queues: dict[Segment, deque[Attempt]] = field(default_factory=dict)
    committed: int = 0
    """Calls that were spent, and that those who are on their way will need at most."""

    def carry_out(self, attempts: Iterable[Attempt]) -> Iterator[Judged]:
        for attempt in attempts:
            self._queue(self.route.first_segment(attempt)).append(attempt)
        while batch := self._next_batch():
            segment, starting = batch
            judged = self._rejected_early(starting, segment) if segment.stop < self.route.steps else self._judged(starting)
            yield from judged
            again = [self._after(last) for last in _still_open(judged, self.attempts)]
            for attempt in reversed(again):
                self._queue(self.route.first_segment(attempt)).appendleft(attempt)

    def _after(self, last: Judged) -> Attempt:
        """The attempt after a rejected one."""
        rejection = Rejection(last.verdict, lambda: self._image_of(last))
        return self._further(last.attempt.slot, last.attempt.number + 1, last, rejection)

    def _further(self, slot: Slot, number: int, last: Judged | None = None, rejection: Rejection | None = None) -> Attempt:
        return self.route.further_attempt(slot, number, self.sampling_seed, self.retry, last, rejection)

    def _image_of(self, rejected: Judged) -> np.ndarray | None:
        """What a strategy sees of it; drawn again where it is known from an earlier run alone."""
        if rejected.stopped_at is not None:
            return None
        image = rejected.image if rejected.image is not None else self.draw([rejected.attempt])[0]
        return None if image is None else read_only(image)

    def _queue(self, segment: Segment) -> deque[Attempt]:
        return self.queues.setdefault(segment, deque())

    def _next_batch(self) -> tuple[Segment, list[Attempt]] | None:
        """The largest batch that may be drawn now, of equals the one nearest to its end; None where nothing is left or allowed."""
        left = self.run_budget.remaining(self.committed)
        rooms = {segment: self._room(segment, left) for segment in self.queues}
        segment = max(rooms, key=lambda segment: (min(rooms[segment], len(self.queues[segment])), segment.start), default=None)
        if segment is None or not rooms[segment] or not self.queues[segment]:
            return None
        batch = [self.queues[segment].popleft() for _ in range(min(rooms[segment], len(self.queues[segment])))]
        if self.speculate:
            batch += self._ahead(batch, rooms[segment] - len(batch))
        if not segment.begun:
            self.committed += sum(self.route.calls_of(attempt) for attempt in batch)
        return segment, batch

    def _room(self, segment: Segment, left: float) -> int:
        """How many may take a segment: a batch, unless the calls that are ``left`` do not take as many to the end."""
        if segment.begun:
            return self.batch_size
        return int(max(0, min(self.batch_size, left / sum(self.route.calls[segment.start :]))))

    def _ahead(self, batch: Sequence[Attempt], room: int) -> list[Attempt]:
        """Next attempts at the slots of a batch, all second ones before any third, as many as there is room and budget for."""
        further = (
            self._further(a.slot, a.number + steps) for steps in range(1, self.attempts) for a in batch if a.number + steps < self.attempts
        )
        return list(itertools.islice(further, room))

    def _rejected_early(self, batch: list[Attempt], segment: Segment) -> list[Judged]:
        """Those of a batch that are hopeless; the others wait for the rest of their way."""
        assert self.reject_early
        if all(a in self.known for a in batch):
            rejected = {a: self._known(a) for a in batch if self.known[a].stopped_at is not None}
        else:
            answers = zip(batch, self.reject_early(batch), strict=True)
            rejected = {a: Judged(a, *hopeless, self.route.calls_of(a, segment.stop), segment.stop) for a, hopeless in answers if hopeless}
        self.committed -= sum(self.route.calls_of(a) - rejected[a].calls for a in rejected)
        self._queue(self.route.last_segment).extend(a for a in batch if a not in rejected)
        return list(rejected.values())

    def _judged(self, batch: list[Attempt]) -> list[Judged]:
        if all(a in self.known for a in batch):
            return [self._known(a) for a in batch]
        images = self.draw(batch)
        settled: set[Slot] = set()
        judged = []
        for attempt, image, verdict in zip(batch, images, self.judge(batch, images), strict=True):
            final = superseded(verdict) if attempt.slot in settled else verdict
            judged.append(Judged(attempt, image, final, self.route.calls_of(attempt)))
            if verdict.accepted:
                settled.add(attempt.slot)
        return judged

    def _known(self, attempt: Attempt) -> Judged:
        """What is known of an attempt; a ledger does not tell which one it starts from."""
        return replace(self.known[attempt], attempt=attempt)


def _still_open(judged: Sequence[Judged], attempts: int) -> list[Judged]:
    """The last attempt at each slot that none of a batch has filled and that may be tried again, in the order of the batch."""
    filled = {item.attempt.slot for item in judged if item.verdict.accepted}
    last = {item.attempt.slot: item for item in judged if item.attempt.slot not in filled}
    return [item for item in last.values() if item.attempt.number + 1 < attempts]


def account(slots: Sequence[Slot], judged: Iterable[tuple[Attempt, Verdict]], attempts: int) -> list[SlotOutcome]:
    """How each slot ended. Every slot has exactly one outcome, and outcomes and attempts add up (asserted).

    Args:
        slots: all requested slots.
        judged: every attempt that was judged, in any order.
        attempts: the budget of a slot.
    """
    tries: dict[Slot, list[tuple[Attempt, Verdict]]] = {slot: [] for slot in slots}
    for attempt, verdict in judged:
        tries[attempt.slot].append((attempt, verdict))
    outcomes = [_outcome(slot, tries[slot], attempts) for slot in slots]
    assert len(outcomes) == len(set(slots)), "a slot was requested twice"
    assert sum(o.attempts for o in outcomes) == sum(len(t) for t in tries.values())
    return outcomes


def _outcome(slot: Slot, tries: list[tuple[Attempt, Verdict]], attempts: int) -> SlotOutcome:
    assert sorted(a.number for a, _ in tries) == list(range(len(tries))), f"attempts at {slot} are not numbered 0, 1, 2, …"
    accepted = [a.number for a, v in tries if v.accepted]
    assert len(accepted) <= 1, f"{slot} was accepted twice"
    if accepted:
        return SlotOutcome(slot, SlotStatus.ACCEPTED, len(tries), accepted[0])
    if len(tries) < attempts:
        return SlotOutcome(slot, SlotStatus.NOT_ATTEMPTED, len(tries), None)
    status = SlotStatus.FAILED if all(v.failed for _, v in tries) else SlotStatus.EXHAUSTED
    return SlotOutcome(slot, status, len(tries), None)
