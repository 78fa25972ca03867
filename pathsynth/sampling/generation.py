"""Generation: slots through the rejection sampler to PNG files and a ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathsynth.config import SamplingConfig
from pathsynth.config.objects import build_object
from pathsynth.ledger.atomic import copy_file
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.attempts import AttemptRow, AttemptsLedger, candidate_name, read_attempts
from pathsynth.sampling.image_set import describe_images
from pathsynth.sampling.pictures import picture_fault, pixel_hash, save_png
from pathsynth.sampling.rejection import Draw, Judge, Judged, RejectEarly, Route, RunBudget, SlotOutcome, account, sample_until_accepted
from pathsynth.sampling.retry import RetryStrategy, StandardRetry
from pathsynth.sampling.scheduler import Scheduler
from pathsynth.sampling.slots import Attempt, Slot, Strategy
from pathsynth.vocabulary.labels import LabelSpace


@dataclass(frozen=True)
class GeneratedSet:
    """The outcome of every slot, and the judged attempts without their images."""

    outcomes: list[SlotOutcome]
    judged: list[tuple[Attempt, Verdict]]


def generate_set(
    folder: Path,
    work: Path,
    slots: Sequence[Slot],
    draw: Draw,
    judge: Judge,
    sampling: SamplingConfig,
    scheduler: Scheduler,
    space: LabelSpace,
    keep_rejected: bool,
    on_attempt: Callable[[Judged], None],
    reject_early: RejectEarly | None = None,
) -> GeneratedSet:
    """Fill the slots; write accepted images below ``images/<class>/``, rejected ones (if kept) below ``rejected/<class>/``.

    ``attempts.parquet`` has one row for each attempt, and ``images/`` is described as a data set. Images reach the disk as they
    are judged; memory holds one batch. Everything grows in ``work``, where an interrupted run is resumed, and appears in
    ``folder`` when it is complete. ``scheduler`` is what ``draw`` samples with; ``reject_early`` rejects
    hopeless candidates where ``sampling.early_rejection.after_step`` says.
    """
    work.mkdir(parents=True, exist_ok=True)
    ledger = AttemptsLedger(work)
    # a power cut may keep a row and not its image: that one is drawn again
    whole = (row for row in ledger.known if not row.image or not picture_fault(work / row.image, row.sha256))
    by_key = {(str(slot.stream), slot.label, slot.index): slot for slot in slots}
    known = {row.as_attempt(by_key.get((row.stream, row.label, row.slot))): row.as_judged() for row in whole}
    judged: list[tuple[Attempt, Verdict]] = []
    run_budget = RunBudget(sampling.calls, sampling.seconds)
    budget = (sampling.attempts, sampling.batch_size, sampling.seed)
    way = (route_of(sampling, scheduler), reject_early, retry_strategy(sampling))
    stream = sample_until_accepted(slots, draw, judge, *budget, known, run_budget, sampling.speculate, *way)
    for item in stream:
        if item.image is not None or item.attempt not in known:
            ledger.append(_row(work, item, sampling, scheduler, space, keep_rejected))
        judged.append((item.attempt, item.verdict))
        on_attempt(item)
    for image in ledger.complete(folder, (attempt for attempt, _ in judged)):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        copy_file(work / image, folder / image)
    describe_images(folder, list(read_attempts(folder)))
    return GeneratedSet(account(slots, judged, sampling.attempts), judged)


def route_of(sampling: SamplingConfig, scheduler: Scheduler) -> Route:
    """The route of candidates through the denoising steps."""
    calls = tuple(n * sampling.calls_an_evaluation for n in scheduler.evaluations(sampling.steps))
    never = scheduler.name if scheduler.starts_at_noise else ""
    return Route(calls, sampling.early_rejection.after_step, guidance=sampling.guidance, from_the_start=never)


def retry_strategy(sampling: SamplingConfig) -> RetryStrategy:
    """How further attempts at a slot are drawn: the user's own strategy, or what ``guidance_step`` and ``image_to_image`` say.

    Raises:
        RequestError: the user's own cannot be made.
    """
    if not sampling.retry:
        return StandardRetry(sampling.guidance_step, sampling.image_to_image)
    strategy: RetryStrategy = build_object("sampling.retry", sampling.retry, members=("retry",))
    return strategy


def _strategy(attempt: Attempt) -> Strategy:
    if attempt.starts_from:
        return Strategy.IMAGE_TO_IMAGE
    if attempt.guidance is not None:
        return Strategy.GUIDANCE
    return Strategy.FRESH if attempt.wording is None else Strategy.PROMPT


def _row(
    folder: Path, item: Judged, sampling: SamplingConfig, scheduler: Scheduler, space: LabelSpace, keep_rejected: bool
) -> AttemptRow:
    path, known = None, space.classes[item.attempt.slot.label]
    if item.image is not None and (item.verdict.accepted or (keep_rejected and item.stopped_at is None)):
        path = image_path(item.attempt, item.verdict.accepted, space)
        save_png(folder / path, item.image, item.attempt, known.name)
    return attempt_row(item, path, None if item.image is None else pixel_hash(item.image), sampling, scheduler, space)


def image_path(attempt: Attempt, accepted: bool, space: LabelSpace) -> str:
    """Where the image of an attempt lies in the folder of its set."""
    slug = space.classes[attempt.slot.label].slug
    return str(Path("images" if accepted else "rejected", slug, f"{candidate_name(slug, attempt.slot.index, attempt.number)}.png"))


def attempt_row(
    item: Judged, path: str | None, sha256: str | None, sampling: SamplingConfig, scheduler: Scheduler, space: LabelSpace
) -> AttemptRow:
    """The row of an attempt in the ledger. ``path``, ``sha256``: of its image, as :class:`AttemptRow` has them."""
    attempt, verdict, slot = item.attempt, item.verdict, item.attempt.slot
    return AttemptRow(
        stream=str(slot.stream),
        label=slot.label,
        class_slug=space.classes[slot.label].slug,
        slot=slot.index,
        attempt=attempt.number,
        prompt=attempt.prompt,
        seed=attempt.seed,
        steps=sampling.steps,
        guidance=sampling.guidance if attempt.guidance is None else attempt.guidance,
        denoiser_calls=item.calls,
        predicted=verdict.predicted,
        probability=verdict.probability,
        probabilities=verdict.probabilities,
        accepted=verdict.accepted,
        reason=verdict.reason,
        near_margin=verdict.near_margin,
        image=path,
        sha256=sha256,
        strategy=_strategy(attempt),
        stopped_at=item.stopped_at,
        scheduler=scheduler.name,
        timestep_spacing=scheduler.spacing,
        start=attempt.start,
    )
