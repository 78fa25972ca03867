"""The engine behind the page: sessions of visitors, a queue with a bound, and one thread that draws. No torch, no NiceGUI.

The model draws for one visitor at a time, by the very loop that generation uses, so that an image has the bits that the command line
gives it. Pages ask for a :class:`Snapshot` now and then; nothing is pushed.
"""

from __future__ import annotations

import io
import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from PIL import Image

from pathsynth.ledger.errors import RequestError, StageError, summarize_error
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.denoising import Denoising
from pathsynth.sampling.generation import retry_strategy, route_of
from pathsynth.sampling.pictures import pixel_hash, png_bytes
from pathsynth.sampling.rejection import sample_until_accepted
from pathsynth.sampling.slots import Attempt
from pathsynth.ui.archive import write_archive
from pathsynth.ui.decisions import Drawn, Tally, decide, pixels_of, redecided, tally
from pathsynth.ui.draw_request import DrawRequest, Limits, check_request
from pathsynth.ui.model import Model
from pathsynth.vocabulary.labels import UnknownLabelError

PREVIEW_EVERY = 3
"""Evaluations of the denoiser between two previews."""
_EXPIRY_SECONDS = 1.0

_log = logging.getLogger("pathsynth.ui")


Key = tuple[int, int]
"""An attempt of a request: the index of its slot, and its number."""


def key_of(attempt: Attempt) -> Key:
    """The index of its slot, and its number."""
    return attempt.slot.index, attempt.number


class JobState(StrEnum):
    """The state of a job. Waiting and drawing may change; the others are final."""

    WAITING = "waiting"
    DRAWING = "drawing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.WAITING, JobState.DRAWING)


class Cancelled(Exception):
    """Raised in the denoiser's loop once its visitor has cancelled."""


@dataclass(frozen=True)
class Progress:
    """The batch on its way: ``evaluations`` of ``total``, and PNG previews of its attempts, by attempt."""

    evaluations: int
    total: int
    attempts: tuple[Attempt, ...]
    previews: dict[Attempt, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """An attempt drawn again with the batch that it was drawn with: how many values differ from the first time, and by how much at most.

    Both are None where the first image is kept no longer. ``same``: whether its pixels have the hash of the first time.
    """

    attempt: Attempt
    same: bool
    differing: int | None
    most: int | None


@dataclass(eq=False)
class Job:
    """A request in the queue, in work or over. The engine's lock guards all that changes."""

    request: DrawRequest
    state: JobState = JobState.WAITING
    reason: str = ""
    drawn: list[Drawn] = field(default_factory=list)
    progress: Progress | None = None
    replay_of: Drawn | None = None
    replay: Replay | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass
class Session:
    """One visitor's page: the last request, with its attempts; a replay of one of them; the limits that it decides by now."""

    seen: float
    job: Job | None = None
    replay: Job | None = None
    threshold: float = 0.0
    margin: float = 0.0

    @property
    def jobs(self) -> list[Job]:
        """The last request and the last replay, as far as there are any."""
        return [job for job in (self.job, self.replay) if job]


@dataclass(frozen=True)
class Snapshot:
    """What a page shows of its session. ``place`` in the queue: 1 is next; 0: it is being drawn, or over.

    ``verdicts`` are those on ``drawn`` by the session's threshold and margin.
    """

    request: DrawRequest | None = None
    state: JobState | None = None
    reason: str = ""
    place: int = 0
    drawn: tuple[Drawn, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    tally: Tally = field(default_factory=lambda: Tally(0, 0, 0))
    progress: Progress | None = None
    threshold: float = 0.0
    margin: float = 0.0
    replay: Replay | None = None
    replay_state: JobState | None = None
    replay_reason: str = ""

    @property
    def redecided(self) -> bool:
        """Whether the limits are others than those that it was drawn with."""
        return self.request is not None and (self.threshold, self.margin) != (self.request.threshold, self.request.margin)


class Engine:
    """Draws for visitors, one request after the other.

    Args:
        model: draws and judges.
        limits: bounds on what visitors may use.
        overrides: words of the command line that the page was started with; every command that it gives repeats them.
        clock: seconds, for what expires.
    """

    def __init__(
        self, model: Model, limits: Limits | None = None, overrides: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.model, self.limits, self.overrides = model, limits or Limits(), tuple(overrides)
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sessions: dict[str, Session] = {}
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._closed = False
        self._looked = -math.inf
        self._worker = threading.Thread(target=self._work, name="pathsynth-draw", daemon=True)
        self._worker.start()

    # what pages call

    def open_session(self) -> str:
        """The name of a new session, which cannot be guessed.

        Raises:
            RequestError: there are too many.
        """
        with self._lock:
            self._expire()
            if len(self._sessions) >= self.limits.sessions:
                raise RequestError(f"{self.limits.sessions} visitors are here already; try again later")
            name = secrets.token_urlsafe(16)
            self._sessions[name] = Session(self._clock())
            return name

    def has_session(self, name: str) -> bool:
        """Whether the visitor ``name`` has a session that has not expired."""
        with self._lock:
            return name in self._sessions

    def submit(self, name: str, request: DrawRequest) -> int:
        """Put a request into the queue, in place of the session's last one, whose attempts are dropped; return its place (1: next).

        Raises:
            RequestError, UnknownLabelError: the request is wrong, the session has one that has not finished, or the queue is full.
        """
        checked = check_request(request, self.model.book.space, self.limits)
        with self._lock:
            session = self._session(name)
            if any(not job.state.over for job in session.jobs):
                raise RequestError("your last request has not finished; wait for it, or cancel it")
            job = Job(checked)
            place = self._enqueue(job)
            session.job, session.replay = job, None
            session.threshold, session.margin = checked.threshold, checked.margin
            return place

    def replay(self, name: str, key: Key) -> int:
        """Put the redrawing of an attempt into the queue; return its place.

        Raises:
            RequestError: there is no such attempt, the session has a request that has not finished, or the queue is full.
        """
        with self._lock:
            session = self._session(name)
            original = next((d for d in session.job.drawn if key_of(d.attempt) == key), None) if session.job else None
            if not session.job or not original:
                raise RequestError("that attempt is no longer there; draw again")
            if any(not job.state.over for job in session.jobs):
                raise RequestError("your last request has not finished; wait for it, or cancel it")
            job = Job(session.job.request, replay_of=original)
            place = self._enqueue(job)
            session.replay = job
            return place

    def cancel(self, name: str) -> None:
        """Remove the session's requests from the queue, or end its drawing within one step; do nothing where all has ended."""
        with self._lock:
            for job in self._session(name).jobs:
                self._cancel(job)

    def move_limits(self, name: str, threshold: float, margin: float) -> None:
        """From now on, judge the session's attempts by another threshold and margin, in [0, 1]; nothing is drawn."""
        if not (0 <= threshold <= 1 and 0 <= margin <= 1):
            raise RequestError(f"threshold {threshold} and margin {margin} must lie from 0 to 1")
        with self._lock:
            session = self._session(name)
            session.threshold, session.margin = round(threshold, 3), round(margin, 3)

    def snapshot(self, name: str) -> Snapshot:
        """The content of a session's page; reading it also keeps the session alive."""
        with self._lock:
            session = self._session(name)
            session.seen = self._clock()
            self._expire()
            return self._snapshot(session)

    def image(self, name: str, key: Key) -> bytes | None:
        """The PNG of an attempt, or its preview while it is drawn; None where there is none."""
        with self._lock:
            session = self._sessions.get(name)
            if not session or not session.job:
                return None
            drawn = next((d.png for d in session.job.drawn if key_of(d.attempt) == key), None)
            previews = session.job.progress.previews if session.job.progress else {}
            return drawn or next((png for attempt, png in previews.items() if key_of(attempt) == key), None)

    def archive(self, name: str) -> bytes:
        """The accepted images as a data set, a ZIP file, by the session's current limits.

        Raises:
            RequestError: nothing is accepted, or the drawing has not finished.
        """
        snapshot = self.snapshot(name)
        if not snapshot.request or not snapshot.state or not snapshot.state.over:
            raise RequestError("the drawing has not finished; wait for it, or cancel it")
        request = replace(snapshot.request, threshold=snapshot.threshold, margin=snapshot.margin)
        sampling, space = request.sampling(self.model.sampling), self.model.book.space
        drawn = redecided(snapshot.drawn, snapshot.verdicts)
        return write_archive(drawn, request, sampling, self.model.scheduler, space, request.command(self.overrides))

    def wait(self, name: str, timeout: float | None = None) -> Snapshot:
        """Wait until the session's requests have ended, at most ``timeout`` seconds; meanwhile the session does not expire."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            session = self._session(name)
            while not all(job.state.over for job in session.jobs) and time.monotonic() < end:
                session.seen = self._clock()
                self._changed.wait(min(1.0, max(0.0, end - time.monotonic())))
            return self._snapshot(session)

    def close(self) -> None:
        """Cancel everything and end the thread."""
        with self._lock:
            self._closed = True
            for job in (*self._queue, *([self._current] if self._current else [])):
                self._cancel(job)
            self._changed.notify_all()
        self._worker.join()

    # under the lock

    def _session(self, name: str) -> Session:
        try:
            return self._sessions[name]
        except KeyError:
            raise RequestError("this page was inactive for too long and has ended; load it again") from None

    def _enqueue(self, job: Job) -> int:
        if self._closed:
            raise RequestError("the page is being closed")
        if len(self._queue) >= self.limits.waiting:
            raise RequestError(f"{self.limits.waiting} requests wait already; try again in a minute")
        self._queue.append(job)
        self._changed.notify_all()
        return len(self._queue)

    def _cancel(self, job: Job) -> None:
        if job in self._queue:
            self._queue.remove(job)
            job.state = JobState.CANCELLED
        elif not job.state.over:
            job.cancel.set()
        self._changed.notify_all()

    def _expire(self) -> None:
        """Cancel requests of absent visitors, and drop idle sessions; at most once a second, because pages ask often."""
        now = self._clock()
        if now - self._looked < _EXPIRY_SECONDS:
            return
        self._looked = now
        for name, session in list(self._sessions.items()):
            absent = now - session.seen
            if absent > self.limits.absent_seconds:
                for job in session.jobs:
                    self._cancel(job)
            if absent > self.limits.idle_seconds:
                del self._sessions[name]

    def _free_memory(self) -> None:
        """Drop images beyond the bound: those of the sessions that were idle longest, and of these the rejected ones first."""
        oldest = sorted(self._sessions.values(), key=lambda session: session.seen)
        surplus = sum(_kept_bytes(session) for session in oldest) - self.limits.kept_bytes
        for accepted in (False, True):
            for session in oldest:
                for i, drawn in enumerate(session.job.drawn if session.job else ()):
                    if surplus <= 0:
                        return
                    if session.job and drawn.png and drawn.verdict.accepted is accepted:
                        surplus -= len(drawn.png)
                        session.job.drawn[i] = replace(drawn, png=None)

    def _snapshot(self, session: Session) -> Snapshot:
        job, replay = session.job, session.replay
        if not job:
            return Snapshot()
        drawn = tuple(job.drawn)
        verdicts = self._verdicts(job, session)
        slots = job.request.slots(self.model.book.space)
        waiting = next((j for j in session.jobs if j in self._queue), None)
        return Snapshot(
            request=job.request,
            state=job.state,
            reason=job.reason,
            place=self._queue.index(waiting) + 1 if waiting else 0,
            drawn=drawn,
            verdicts=tuple(verdicts),
            tally=tally(slots, drawn, verdicts, job.request.attempts),
            progress=job.progress,
            threshold=session.threshold,
            margin=session.margin,
            replay=replay.replay if replay else None,
            replay_state=replay.state if replay else None,
            replay_reason=replay.reason if replay else "",
        )

    def _verdicts(self, job: Job, session: Session) -> list[Verdict]:
        limits = (session.threshold, session.margin)
        if limits == (job.request.threshold, job.request.margin):
            return [d.verdict for d in job.drawn]
        moved = replace(job.request, threshold=session.threshold, margin=session.margin).sampling(self.model.sampling)
        return decide(job.drawn, self.model.rules(moved), sees_images=bool(moved.rules))

    # the thread that draws

    def _work(self) -> None:
        while job := self._next_job():
            state, reason = JobState.DONE, ""
            try:
                self._replay(job, job.replay_of) if job.replay_of else self._draw(job)
            except Cancelled:
                state = JobState.CANCELLED
            except (RequestError, StageError, UnknownLabelError) as error:
                state, reason = JobState.FAILED, str(error)
            except Exception as error:  # a library may raise anything: this request fails, the next is drawn
                _log.exception("drawing failed")
                state, reason = JobState.FAILED, summarize_error(error)
            with self._lock:
                job.state, job.reason, job.progress, self._current = state, reason, None, None
                self._changed.notify_all()

    def _next_job(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            job = self._current = self._queue.popleft()
            job.state = JobState.DRAWING
            return job

    def _draw(self, job: Job) -> None:
        for drawn in self._attempts(job):
            with self._lock:
                job.drawn.append(drawn)
                self._expire()
                self._free_memory()
                self._changed.notify_all()

    def _attempts(self, job: Job) -> Iterator[Drawn]:
        """Every attempt as soon as it is judged, by the loop of generation."""
        request, space = job.request, self.model.book.space
        sampling = request.sampling(self.model.sampling)
        draw, judge = self.model.drawer(sampling, lambda way: self._watch(job, way)), self.model.judge(sampling)
        batch: tuple[Attempt, ...] = ()

        def draw_batch(attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
            nonlocal batch
            self._leave_if_cancelled(job)
            batch = tuple(attempts)
            return draw(attempts)

        stream = sample_until_accepted(
            request.slots(space),
            draw_batch,
            judge,
            sampling.attempts,
            sampling.batch_size,
            sampling.seed,
            speculate=sampling.speculate,
            route=route_of(sampling, self.model.scheduler),
            retry=retry_strategy(sampling),
        )
        for item in stream:
            name = space.classes[item.attempt.slot.label].name
            png = None if item.image is None else png_bytes(item.image, item.attempt, name)
            yield Drawn(replace(item, image=None), png, None if item.image is None else pixel_hash(item.image), batch)

    def _replay(self, job: Job, drawn: Drawn) -> None:
        sampling = job.request.sampling(self.model.sampling)
        images = self.model.drawer(sampling, lambda _: self._leave_if_cancelled(job))(drawn.batch)
        image = images[drawn.batch.index(drawn.attempt)]
        same = drawn.sha256 == (None if image is None else pixel_hash(image))
        differing = most = None
        if image is not None and drawn.png:
            distance = np.abs(pixels_of(drawn.png).astype(np.int16) - image)
            differing, most = int((distance > 0).sum()), int(distance.max())
        with self._lock:
            job.replay = Replay(drawn.attempt, same, differing, most)

    def _watch(self, job: Job, way: Denoising) -> None:
        """Called in the denoiser's loop: stop if the visitor has cancelled, else record the progress of the batch."""
        self._leave_if_cancelled(job)
        attempts = tuple(dict.fromkeys(way.attempts))
        previews = dict(job.progress.previews) if job.progress and job.progress.attempts == attempts else {}
        if way.evaluations % PREVIEW_EVERY == 0 and way.evaluations < way.total:
            images = zip(way.attempts, way.images(), strict=True)
            previews = {attempt: _plain_png(image) for attempt, image in images if image is not None}
        with self._lock:
            job.progress = Progress(way.evaluations, way.total, attempts, previews)

    def _leave_if_cancelled(self, job: Job) -> None:
        if job.cancel.is_set():
            raise Cancelled


def _kept_bytes(session: Session) -> int:
    return sum(len(d.png) for d in session.job.drawn if d.png) if session.job else 0


def _plain_png(image: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="png", compress_level=1)
    return data.getvalue()
