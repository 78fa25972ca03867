"""The page that watches studies: their running trials, the newest sheet; buttons to stop, continue, and validate now."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse
from nicegui import run, ui
from nicegui.elements.mixins.text_element import TextElement

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.stopping import ask_commands_to_stop
from pathsynth.studies.trials.validating import ask_for_validation
from pathsynth.ui.continuing import Continuations
from pathsynth.ui.elements import text
from pathsynth.ui.watching import (
    HEADINGS,
    PAGE,
    Sheet,
    StudyView,
    WatchedStudy,
    cells,
    is_stale,
    newest_sheet,
    report_file,
    scorer_of,
    study_named,
    trial_named,
    views,
)

_EVERY_SECONDS = 2.0


def sheet_answer(folder: Path, study: str, trial: str) -> Response:
    """The newest validation sheet of a trial."""
    try:
        sheet = newest_sheet(trial_named(study_named(folder, study), trial))
    except RequestError:
        sheet = None
    if sheet is None:
        return Response(status_code=404)
    return FileResponse(sheet.path, media_type="image/png", headers={"Cache-Control": "no-store"})


def report_answer(folder: Path, study: str, path: str) -> Response:
    """A file of a study's page; the page itself is written again if a result is newer."""
    try:
        watched_study = study_named(folder, study)
        if path == PAGE and watched_study.has_scores and is_stale(watched_study):
            from pathsynth.report.page import write_report

            write_report(watched_study.folder)
        return FileResponse(report_file(watched_study, path), headers={"Cache-Control": "no-store"})
    except RequestError as error:
        return Response(f"pathsynth: {error}\n", 404, media_type="text/plain")


class WatchPage:
    """The state of a folder of studies, read again every two seconds."""

    def __init__(self, folder: Path, continuations: Continuations) -> None:
        self._folder, self._continuations = folder, continuations
        self._chosen: tuple[str, str] | None = None
        self._structure: list[tuple[object, bool, bool]] | None = None
        self._lines: dict[str, TextElement] = {}
        self._outputs: dict[str, TextElement] = {}
        self._cells: dict[tuple[str, str], list[TextElement]] = {}
        with ui.element("div").classes("whole form"):
            self._said = ui.label("").props("role=status aria-live=polite").classes("quiet")
            self._body = ui.element("div").classes("form")
        self._show(views(folder))
        ui.timer(_EVERY_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        self._show(await run.io_bound(views, self._folder, self._chosen) or [])

    def _show(self, shown: list[StudyView]) -> None:
        structure = [(_structure(view), *self._activity(view.study)) for view in shown]
        if structure == self._structure:  # numbers alone have changed: what has the keyboard's focus stays
            for view in shown:
                self._renew(view.study)
            return
        self._structure = structure
        self._lines.clear()
        self._outputs.clear()
        self._cells.clear()
        self._body.clear()
        with self._body:
            if not shown:
                ui.label(f"No trials in {self._folder} yet; they appear here after pathsynth run.").classes("panel")
            for view in shown:
                self._study(view)

    def _activity(self, study: WatchedStudy) -> tuple[bool, bool]:
        """Whether the page is continuing the study now, and whether it ever did."""
        return self._continuations.running(study.folder), bool(self._continuations.output(study.folder))

    def _study(self, view: StudyView) -> None:
        study = view.study
        with ui.element("section").classes("panel form") as section:
            section.props["aria-label"] = f"Study {study.name}"
            text("h2", study.name)
            self._lines[study.name] = text("div", study.line)
            with ui.element("div").classes("row-of"):
                if study.running:
                    ui.button("Stop", on_click=lambda: self._stop(study)).props("no-caps outline")
                elif view.commands and not self._continuations.running(study.folder):
                    ui.button("Continue", on_click=lambda: self._go_on(study)).props("no-caps outline")
                if study.fine_tuned:
                    ui.button("Validate now", on_click=lambda: self._validate(study)).props("no-caps outline")
                if study.has_scores:
                    ui.link("Compare: the study's page", f"/report/{quote(study.name, safe='')}/{PAGE}", new_tab=True)
            self._table(study)
            printed = self._continuations.output(study.folder)
            if printed:
                text("h3", "Output of the command").classes("quiet")
                self._outputs[study.name] = text("pre", printed).classes("command printed").props("tabindex=0")
            if view.sheet:
                self._sheet(study.name, view.sheet_of, view.sheet)
            elif view.sheet_of:
                ui.label(f"{view.sheet_of} has no sheet of images yet.").classes("quiet")
            if view.commands:
                text("h3", "The same in a terminal, from the folder where the study was started:").classes("quiet")
                for command in view.commands:
                    text("div", command).classes("command")

    def _sheet(self, study: str, trial: str, sheet: Sheet) -> None:
        written = f"{sheet.written:%Y-%m-%d %H:%M:%S}"
        text("h3", f"Newest images of {trial}, {written}").classes("quiet")
        image = ui.element("img").classes("sheet")
        image.props["alt"] = f"contact sheet of {trial}, a row a class"
        image.props["src"] = f"/sheet/{quote(study, safe='')}/{quote(trial, safe='')}?of={quote(written)}"

    def _table(self, study: WatchedStudy) -> None:
        scorer = scorer_of(study)
        with ui.element("div").classes("trials").props("tabindex=0 role=region") as region, ui.element("table"):
            region.props["aria-label"] = f"Trials of {study.name}"
            with ui.element("thead"), ui.element("tr"):
                for heading in HEADINGS:
                    text("th", heading).props("scope=col")
            with ui.element("tbody"):
                for row in study.rows:
                    name, *others = cells(row, scorer)
                    with ui.element("tr"):
                        with ui.element("td"):
                            button = text("button", name).classes("chip").props("type=button")
                            button.props["aria-label"] = f"Show the newest images of {name}"
                            button.on("click", lambda _, name=name: self._choose(study.name, name))
                        self._cells[study.name, name] = [text("td", cell) for cell in others]

    def _renew(self, study: WatchedStudy) -> None:
        self._lines[study.name].text = study.line
        if study.name in self._outputs:
            self._outputs[study.name].text = self._continuations.output(study.folder)
        for row in study.rows:
            name, *others = cells(row, scorer_of(study))
            for element, cell in zip(self._cells[study.name, name], others, strict=True):
                element.text = cell

    async def _choose(self, study: str, trial: str) -> None:
        self._chosen = (study, trial)
        await self._refresh()

    async def _go_on(self, study: WatchedStudy) -> None:
        try:
            started = await run.io_bound(self._continuations.begin, study)
            self._said.text = f"{study.name}: continuing {_counted(started or 0, 'trial')}; the command continues if this page is closed"
        except RequestError as error:
            self._said.text = str(error)
        await self._refresh()

    def _validate(self, study: WatchedStudy) -> None:
        try:
            for trial in study.fine_tuned:
                ask_for_validation(trial)
        except RequestError as error:
            self._said.text = str(error)
            return
        trials = _counted(len(study.fine_tuned), "trial")
        self._said.text = f"{study.name}: asked {trials} for a validation; its sheet appears below after the next step"

    def _stop(self, study: WatchedStudy) -> None:
        commands = ask_commands_to_stop(study.folder)
        self._said.text = (
            f"{study.name}: asked {_counted(commands, 'command')} to stop; trials save their state and can continue later"
            if commands
            else f"{study.name}: no command on this machine is running one of its trials"
        )


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _structure(view: StudyView) -> object:
    """Everything that the choice of a study's elements depends on."""
    study = view.study
    trials = [(row.name, row.state) for row in study.rows]
    return study.folder, trials, study.has_scores, study.fine_tuned, view.sheet_of, view.sheet, view.commands
