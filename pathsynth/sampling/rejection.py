"""The rejection sampler: draw, judge, and draw again what was rejected, within a budget, with full batches.

The open attempts of all slots wait in one queue. Each round takes up to ``batch_size`` of them, whatever their class;
the next attempt at a rejected slot goes to the front of the queue. So while enough slots are open every batch is full,
and a class with a hard time never runs alone while others wait. Which attempt a slot ends with depends on its own
seeds and the rule only, never on batches or order.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.slots import Attempt, Slot, attempt_at
from pathsynth.sampling.verdict import Verdict, superseded


@dataclass(frozen=True)
class Judged:
    """An attempt, its image (uint8 (H, W, 3); None if it was not finite) and the verdict on it."""

    attempt: Attempt
    image: np.ndarray | None
    verdict: Verdict


Draw = Callable[[Sequence[Attempt]], list[np.ndarray | None]]
Judge = Callable[[Sequence[Attempt], list[np.ndarray | None]], list[Verdict]]


@dataclass(frozen=True)
class Allowance:
    """What a whole run may spend, beside the budget of each slot; None: as much as it takes.

    ``calls`` of the denoiser in total, of which an attempt costs ``calls_an_attempt``; ``seconds`` since ``started`` (of ``clock``).
    A run that has spent it ends in order, and its open slots are ``not_attempted``. The seconds of a run that goes on after a kill
    begin anew.
    """

    calls: int | None = None
    calls_an_attempt: int = 1
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    started: float = field(default_factory=time.monotonic)

    def attempts_left(self, made: int) -> int | None:
        """How many more attempts may be started after ``made``; None: any number."""
        if self.seconds is not None and self.clock() - self.started >= self.seconds:
            return 0
        return None if self.calls is None else max(0, self.calls // self.calls_an_attempt - made)


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
    known: Mapping[Attempt, Verdict] | None = None,
    allowance: Allowance | None = None,
    speculate: bool = False,
) -> Iterator[Judged]:
    """Yield every attempt as it is judged, until each slot is accepted or has used its ``attempts``.

    ``known`` are verdicts of an earlier run that was cut off. A batch known as a whole is not drawn again, and its attempts
    are yielded without images; one known in part is drawn in full. So every batch is made of the same attempts as in an
    undisturbed run, and its arithmetic gives the same bits. ``allowance`` ends the whole run early. With ``speculate`` a batch that
    the open slots do not fill takes their next attempts, too. The lowest accepted one wins, so the same are accepted; a verdict on
    one beyond it is :func:`superseded`.

    Raises:
        RequestError: the budget or the batch size is below one.
    """
    if attempts < 1:
        raise RequestError(f"sampling.attempts is {attempts}; a slot needs a budget of at least 1 attempt")
    if batch_size < 1:
        raise RequestError(f"sampling.batch_size is {batch_size}; it must be at least 1")
    queue = deque(attempt_at(slot, 0, sampling_seed) for slot in slots)
    rounds = _Rounds(draw, judge, attempts, batch_size, sampling_seed, known or {}, allowance or Allowance(), speculate)
    return rounds.carry_out(queue)


@dataclass(frozen=True)
class _Rounds:
    draw: Draw
    judge: Judge
    attempts: int
    batch_size: int
    sampling_seed: int
    known: Mapping[Attempt, Verdict]
    allowance: Allowance
    speculate: bool

    def carry_out(self, queue: deque[Attempt]) -> Iterator[Judged]:
        made = 0
        while queue:
            left = self.allowance.attempts_left(made)
            if left == 0:
                return
            room = self.batch_size if left is None else min(self.batch_size, left)
            batch = [queue.popleft() for _ in range(min(room, len(queue)))]
            if self.speculate:
                batch += self._ahead(batch, room - len(batch))
            made += len(batch)
            judged = self._judged(batch)
            yield from judged
            open_ = _still_open(judged)
            again = [attempt_at(a.slot, a.number + 1, self.sampling_seed) for a in open_ if a.number + 1 < self.attempts]
            queue.extendleft(reversed(again))

    def _ahead(self, batch: Sequence[Attempt], room: int) -> list[Attempt]:
        """Next attempts at the slots of a batch, all second ones before any third, as many as there is room and budget for."""
        further = (
            attempt_at(a.slot, a.number + steps, self.sampling_seed)
            for steps in range(1, self.attempts)
            for a in batch
            if a.number + steps < self.attempts
        )
        return list(itertools.islice(further, room))

    def _judged(self, batch: list[Attempt]) -> list[Judged]:
        if all(a in self.known for a in batch):
            return [Judged(a, None, self.known[a]) for a in batch]
        images = self.draw(batch)
        settled: set[Slot] = set()
        judged = []
        for attempt, image, verdict in zip(batch, images, self.judge(batch, images), strict=True):
            judged.append(Judged(attempt, image, superseded(verdict) if attempt.slot in settled else verdict))
            if verdict.accepted:
                settled.add(attempt.slot)
        return judged


def _still_open(judged: Sequence[Judged]) -> list[Attempt]:
    """The last attempt at each slot that none of a batch has filled, in the order of the batch."""
    filled = {item.attempt.slot for item in judged if item.verdict.accepted}
    last = {item.attempt.slot: item.attempt for item in judged}
    return [attempt for slot, attempt in last.items() if slot not in filled]


def account(slots: Sequence[Slot], judged: Iterable[tuple[Attempt, Verdict]], attempts: int) -> list[SlotOutcome]:
    """How each slot ended. Every slot has exactly one outcome, and outcomes and attempts add up (asserted).

    Args:
        slots: all slots that were asked for.
        judged: every attempt that was judged, in any order.
        attempts: the budget of a slot.
    """
    tries: dict[Slot, list[tuple[Attempt, Verdict]]] = {slot: [] for slot in slots}
    for attempt, verdict in judged:
        tries[attempt.slot].append((attempt, verdict))
    outcomes = [_outcome(slot, tries[slot], attempts) for slot in slots]
    assert len(outcomes) == len(set(slots)), "a slot was asked for twice"
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
