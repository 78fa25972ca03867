"""The page on which visitors draw: a form, the attempts as they come, the tray of accepted images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Response
from nicegui import events, ui

from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.attempts import candidate_name
from pathsynth.sampling.slots import Attempt
from pathsynth.ui.archive import rows_of
from pathsynth.ui.decisions import Drawn
from pathsynth.ui.draw_request import DrawRequest, check_request, resolve
from pathsynth.ui.elements import text
from pathsynth.ui.engine import Engine, JobState, Key, Snapshot, key_of
from pathsynth.vocabulary.labels import LabelSpace, UnknownLabelError

_EVERY_SECONDS = 0.4
_SHOWN_CLASSES = 3
_BY_TEXT = ""
_SESSION = "session"


def image_answer(engine: Engine, session: str, key: Key) -> Response:
    """The PNG of an attempt, for anyone who knows the session's name; nothing once it is cancelled."""
    if not engine.has_session(session):
        return Response(status_code=404)
    png = engine.image(session, key)
    if png is None:
        return Response(status_code=204)
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


class _Slider(ui.slider):
    """The browser keeps its value: a value sent back from here could undo a later key press."""

    LOOPBACK = False


@dataclass
class _Tile:
    """An attempt on the page; ``shown`` is its current text."""

    element: ui.element
    image: ui.element
    words: ui.element
    shown: tuple[Any, ...] = ()


class DrawPage:
    """One visitor's view of the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._space = engine, engine.model.book.space
        self._session = ""
        self._snapshot = Snapshot()
        self._tiles: dict[Key, _Tile] = {}
        self._drawn_for: DrawRequest | None = None
        self._enlarged: Key | None = None
        with ui.element("section").classes("panel form").props('aria-label="What is drawn"'):
            self._form()
        with ui.element("div").classes("form"):
            self._results()
        self._dialog()

    def begin(self, storage: Any) -> None:
        """Continue the session of the browser's tab, or open one; then follow the engine."""
        name = storage.get(_SESSION, "")
        if not self._engine.has_session(name):
            try:
                name = storage[_SESSION] = self._engine.open_session()
            except RequestError as error:
                self._fault.text = str(error)
                return
        self._session = name
        self._take_up(self._engine.snapshot(name))
        ui.timer(_EVERY_SECONDS, self._refresh)
        self._refresh()

    # what is on the page

    def _form(self) -> None:
        sampling, limits = self._engine.model.sampling, self._engine.limits
        text("h2", "Describe an image")
        self._prompt = ui.input("Description", placeholder=self._engine.model.book.canonical(0), on_change=self._resolve)
        self._prompt.props(f"maxlength={limits.letters} outlined autofocus").on("keydown.enter", self._draw)
        with ui.element("div").classes("row-of").props("aria-live=polite") as self._chips:
            ui.label("Describe one image; the class that you name appears here.").classes("quiet")
        names = {_BY_TEXT: "the one that the description names", **{c.slug: c.name for c in self._space.classes}}
        self._label = ui.select(names, label="Class", value=_BY_TEXT, on_change=self._resolve).props("outlined")
        with ui.element("div").classes("pair"):
            self._n = ui.number("Images", value=min(4, limits.images), min=1, max=limits.images, precision=0).props("outlined")
            most = min(sampling.attempts, limits.attempts)
            self._attempts = ui.number("Attempts", value=most, min=1, max=limits.attempts, precision=0).props("outlined")
            self._seed = ui.number("Seed", value=sampling.seed, min=0, precision=0).props("outlined")
        self._threshold = self._limit("Threshold", "least probability of the class", sampling.threshold)
        self._margin = self._limit("Margin", "least lead over the next class", sampling.margin)
        with ui.element("div").classes("row-of"):
            self._start = ui.button("Draw", on_click=self._draw, color=None).props("no-caps").classes("act")
            self._stop = ui.button("Cancel", on_click=self._cancel).props("no-caps outline")
        self._status = ui.label("").props("role=status aria-live=polite").classes("status")
        self._fault = ui.label("").props("role=alert").classes("fault")

    def _limit(self, name: str, meaning: str, value: float) -> ui.slider:
        """A slider from 0 to 1 with its name and value beside it."""
        with ui.element("div"):
            shown = ui.label(f"{name}: {value:.2f}, the {meaning}").classes("quiet")
            slider = _Slider(min=0, max=1, step=0.01, value=value).props("label")
            slider.props["aria-label"] = f"{name}, the {meaning}"

            def show_value(event: events.ValueChangeEventArguments) -> None:
                shown.text = f"{name}: {event.value or 0:.2f}, the {meaning}"
                self._move_limits()

            slider.on_value_change(show_value)
        return slider

    def _results(self) -> None:
        with ui.element("section").classes("panel").props('aria-label="Accepted images"'):
            text("h2", "Accepted")
            self._counts = ui.label("Nothing has been drawn yet.").classes("quiet counts")
            self._tray = ui.element("div").classes("tiles tray")
            with ui.element("div").classes("row-of") as self._actions:
                self._download = ui.link("Download as a data set", "#").props("download")
                ui.button("Copy the command", on_click=self._copy_command).props("no-caps outline")
            self._command = ui.label("").classes("command")
            self._note = ui.label("").classes("quiet")
        with ui.element("section").classes("panel").props('aria-label="Attempts in progress or rejected"'):
            text("h2", "In progress, and rejected")
            self._others = ui.element("div").classes("tiles others")

    def _dialog(self) -> None:
        with ui.dialog() as self._details, ui.element("div").classes("dialog form"):
            self._details_body = ui.element("div").classes("form")
            self._replayed = ui.label("").props("role=status aria-live=polite").classes("replayed")
            with ui.element("div").classes("row-of"):
                ui.button("Draw it again", on_click=self._replay, color=None).props("no-caps").classes("act")
                ui.button("Close", on_click=self._details.close).props("no-caps outline")

    # what the visitor does

    def _resolve(self) -> None:
        """Show the class that the text names, the candidates to choose from, or why there is none."""
        resolution = resolve(str(self._prompt.value or ""), self._space)
        chosen = str(self._label.value or "")
        self._chips.clear()
        with self._chips:
            if chosen:
                ui.label(self._space.by_slug(chosen).name).classes("chip")
            elif resolution.label:
                ui.label(resolution.label.name).classes("chip")
            elif resolution.candidates:
                ui.label("Which one do you mean?").classes("quiet")
                for candidate in resolution.candidates:
                    button = text("button", candidate.name).classes("chip").props("type=button")
                    button.on("click", lambda _, slug=candidate.slug: self._label.set_value(slug))
            else:
                ui.label(resolution.line).classes("quiet")
            for note in self._engine.model.notes(str(self._prompt.value or "")):
                ui.label(note).classes("quiet note")

    def _request(self) -> DrawRequest:
        """The request in the form.

        Raises:
            RequestError, UnknownLabelError: as the command line would refuse it.
        """
        prompt, chosen = str(self._prompt.value or ""), str(self._label.value or "")
        if not prompt.strip() and chosen:
            prompt = self._engine.model.book.canonical(self._space.by_slug(chosen).index)
            self._prompt.set_value(prompt)
        if not prompt.strip():
            raise RequestError("the description is empty; describe what to draw")
        label = chosen or self._space.resolve_prompt(prompt).slug
        numbers = {"n": self._n.value, "attempts": self._attempts.value, "seed": self._seed.value}
        limits = {"threshold": self._threshold.value, "margin": self._margin.value}
        return check_request(DrawRequest(prompt, label, **numbers, **limits), self._space, self._engine.limits)

    def _draw(self) -> None:
        self._attempt(lambda: self._engine.submit(self._session, self._request()))

    def _cancel(self) -> None:
        self._attempt(lambda: self._engine.cancel(self._session))

    def _move_limits(self) -> None:
        if self._session and self._snapshot.request:
            threshold, margin = float(self._threshold.value or 0), float(self._margin.value or 0)
            self._attempt(lambda: self._engine.move_limits(self._session, threshold, margin))

    def _replay(self) -> None:
        if self._enlarged:
            key = self._enlarged
            self._attempt(lambda: self._engine.replay(self._session, key))

    def _attempt(self, step: Any) -> None:
        """Do something, and say in a line why it was refused."""
        try:
            step()
            self._fault.text = ""
        except (RequestError, UnknownLabelError) as error:
            self._fault.text = str(error)
        self._refresh()

    def _copy_command(self) -> None:
        ui.clipboard.write(self._command.text)
        ui.notify("copied")

    # what the engine says

    def _take_up(self, snapshot: Snapshot) -> None:
        """Fill the form as it was, after the tab was loaded again."""
        request = snapshot.request
        if request:
            self._prompt.value, self._label.value = request.prompt, request.label
            self._n.value, self._attempts.value, self._seed.value = request.n, request.attempts, request.seed
            self._threshold.value, self._margin.value = snapshot.threshold, snapshot.margin

    def _refresh(self) -> None:
        try:
            snapshot = self._snapshot = self._engine.snapshot(self._session)
        except RequestError as error:
            self._fault.text = str(error)
            return
        self._status.text = status_line(snapshot)
        busy = JobState.WAITING in _states(snapshot) or JobState.DRAWING in _states(snapshot)
        self._start.set_enabled(not busy)
        self._stop.set_enabled(busy)
        self._show_result(snapshot)
        if snapshot.request is not self._drawn_for:
            self._drawn_for = snapshot.request
            self._tiles.clear()
            self._tray.clear()
            self._others.clear()
        for drawn, verdict in zip(snapshot.drawn, snapshot.verdicts, strict=True):
            self._show(drawn.attempt, drawn, verdict)
        for attempt in snapshot.progress.attempts if snapshot.progress else ():
            if key_of(attempt) not in {key_of(d.attempt) for d in snapshot.drawn}:
                self._show(attempt, None, None)
        self._forget_unfinished(snapshot)
        self._replayed.text = replay_line(snapshot) if self._details.value else ""

    def _show_result(self, snapshot: Snapshot) -> None:
        request, tally = snapshot.request, snapshot.tally
        over = bool(snapshot.state and snapshot.state.over)
        self._actions.set_visibility(request is not None)
        self._download.set_visibility(over and tally.accepted > 0)
        self._download.props["href"] = f"/set/{self._session}"
        if not request:
            return
        open_slots = f", {tally.open} open" if tally.open else ""
        self._counts.text = f"{tally.accepted} of {request.n} accepted, {tally.exhausted} exhausted{open_slots}"
        moved = replace(request, threshold=snapshot.threshold, margin=snapshot.margin)
        self._command.text = moved.command(self._engine.overrides)
        self._note.text = (
            f"Judged again with new limits; drawn at threshold {request.threshold:g} and margin {request.margin:g}. The command uses "
            "the same seeds in other batches: pixels may differ by rounding."
            if snapshot.redecided
            else ""
        )

    def _show(self, attempt: Attempt, drawn: Drawn | None, verdict: Verdict | None) -> None:
        key, progress = key_of(attempt), self._snapshot.progress
        tile = self._tiles.get(key) or self._new_tile(attempt)
        stage = None if drawn else (progress.evaluations, bool(progress.previews)) if progress else None
        if tile.shown == (verdict, stage, drawn is not None and drawn.png is not None):
            return
        tile.shown = (verdict, stage, drawn is not None and drawn.png is not None)
        kind = "waiting" if verdict is None else "accepted" if verdict.accepted else "rejected"
        tile.element.classes(remove="waiting accepted rejected", add=kind)
        line = f"step {progress.evaluations} of {progress.total}" if verdict is None and progress else verdict_line(verdict)
        if (drawn and drawn.png) or (progress and progress.previews):
            step = "" if drawn else f"?step={progress.evaluations if progress else 0}"
            tile.image.props["src"] = f"/image/{self._session}/{key[0]}/{key[1]}{step}"
        tile.words.clear()
        with tile.words:
            ui.label(line).classes("verdict")
            for share in shares(verdict, self._space)[:_SHOWN_CLASSES] if verdict else ():
                _bar(*share)
        target = self._tray if kind == "accepted" else self._others
        if tile.element.parent_slot is not target.default_slot:
            tile.element.move(target)

    def _new_tile(self, attempt: Attempt) -> _Tile:
        key = key_of(attempt)
        with self._others:
            element = ui.element("button").classes("tile").props("type=button")
            with element:
                image, words = ui.element("img"), ui.element("div")
        image.props["alt"] = candidate_name(self._space.classes[attempt.slot.label].slug, *key)
        element.on("click", lambda: self._enlarge(key))
        self._tiles[key] = _Tile(element, image, words)
        return self._tiles[key]

    def _forget_unfinished(self, snapshot: Snapshot) -> None:
        """Take the tiles of attempts away that a cancelled request never finished."""
        known = {key_of(d.attempt) for d in snapshot.drawn}
        known |= {key_of(a) for a in snapshot.progress.attempts} if snapshot.progress else set()
        for key in [key for key in self._tiles if key not in known]:
            self._tiles.pop(key).element.delete()

    def _enlarge(self, key: Key) -> None:
        """Show an attempt with its row in the ledger."""
        matches = [(d, v) for d, v in zip(self._snapshot.drawn, self._snapshot.verdicts, strict=True) if key_of(d.attempt) == key]
        if not matches or not self._snapshot.request:
            return
        drawn, verdict = matches[0]
        self._enlarged = key
        sampling = self._snapshot.request.sampling(self._engine.model.sampling)
        judged = replace(drawn, judged=replace(drawn.judged, verdict=verdict))
        (row,) = rows_of([judged], sampling, self._engine.model.scheduler, self._space)
        self._details_body.clear()
        with self._details_body:
            text("h2", row.name)
            if drawn.png:
                ui.element("img").props(f'src="/image/{self._session}/{key[0]}/{key[1]}" alt="the image, enlarged"')
            facts = {
                "verdict": verdict_line(verdict),
                "prompt": row.prompt,
                "seed": str(row.seed),
                "steps": f"{row.steps}, guidance {row.guidance:g}, {row.scheduler}",
                "denoiser calls": str(row.denoiser_calls),
                "strategy": str(row.strategy),
                "SHA-256 of the pixels": row.sha256 or "none, the image is not finite",
            }
            with ui.element("dl").classes("facts"):
                for name, value in facts.items():
                    text("dt", name)
                    text("dd", value)
            for share in shares(verdict, self._space):
                _bar(*share)
        self._replayed.text = ""
        self._details.open()


def _states(snapshot: Snapshot) -> tuple[JobState | None, JobState | None]:
    return snapshot.state, snapshot.replay_state


def _bar(name: str, share: float) -> None:
    """A class with its probability, in [0, 1], as a number and a bar."""
    with ui.element("div").classes("share"):
        text("span", name)
        text("span", f"{share:.2f}")
        with ui.element("div").classes("bar-of"):
            ui.element("div").style(f"width: {100 * share:.1f}%")


def shares(verdict: Verdict, space: LabelSpace) -> list[tuple[str, float]]:
    """The classes with their probabilities, the most probable first; none of an image that is broken."""
    if verdict.failed:
        return []
    order: Sequence[int] = sorted(range(len(space)), key=lambda i: -verdict.probabilities[i])
    return [(space.classes[i].name, verdict.probabilities[i]) for i in order]


def verdict_line(verdict: Verdict | None) -> str:
    """The verdict on an attempt in a few words."""
    if verdict is None:
        return "waiting"
    near = ", close to the limit" if verdict.near_margin else ""
    return f"accepted{near}" if verdict.accepted else f"rejected: {verdict.reason}{near}"


def status_line(snapshot: Snapshot) -> str:
    """The state of a session: its place in the queue, the step of its batch, or its end."""
    if snapshot.place:
        ahead = "next" if snapshot.place == 1 else f"number {snapshot.place} in the queue"
        return f"Another visitor's images are being drawn; yours are {ahead}."
    if snapshot.replay_state is JobState.DRAWING:
        return "Drawing an attempt again."
    progress = snapshot.progress
    match snapshot.state:
        case JobState.DRAWING:
            step = f": step {progress.evaluations} of {progress.total}" if progress else ""
            return f"Drawing{f' {len(progress.attempts)} attempts' if progress else ''}{step}."
        case JobState.DONE:
            return "Done."
        case JobState.CANCELLED:
            return "Cancelled; attempts judged before are kept."
        case JobState.FAILED:
            return f"Failed: {snapshot.reason}"
        case _:
            return ""


def replay_line(snapshot: Snapshot) -> str:
    """The result of drawing an attempt again."""
    match snapshot.replay_state:
        case JobState.WAITING:
            return f"Waiting; number {snapshot.place} in the queue."
        case JobState.DRAWING:
            return "Drawing it again, with the batch that it was drawn with."
        case JobState.CANCELLED:
            return "Cancelled."
        case JobState.FAILED:
            return f"Failed: {snapshot.replay_reason}"
    replay = snapshot.replay
    if not replay:
        return ""
    if replay.same:
        return "The same pixels."
    differing = "" if replay.differing is None else f": {replay.differing} values differ, by {replay.most} of 255 at most"
    return f"Not the same pixels{differing}."
