"""The page on which studies are watched: their trials as they run, the newest validation sheet, stopping, and the way to go on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse
from nicegui import run, ui

from pathsynth.ledger.errors import RequestError
from pathsynth.study.state import DONE, RUNNING
from pathsynth.study.stopping import ask_commands_to_stop
from pathsynth.ui.elements import text
from pathsynth.ui.watching import (
    HEADINGS,
    PAGE,
    WatchedStudy,
    cells,
    command_of,
    is_stale,
    newest_sheet,
    report_file,
    scorer_of,
    study_named,
    trial_named,
    watched,
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
    """A file of a study's page; the page itself is made anew where a result is newer."""
    try:
        found = study_named(folder, study)
        if path == PAGE and found.has_scores and is_stale(found):
            from pathsynth.report.page import write_report

            write_report(found.folder)
        return FileResponse(report_file(found, path), headers={"Cache-Control": "no-store"})
    except RequestError as error:
        return Response(f"pathsynth: {error}\n", 404, media_type="text/plain")


class WatchPage:
    """What the files of a folder of studies say, read again every two seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chosen: tuple[str, str] | None = None
        self._shown: object = None
        with ui.element("div").classes("whole form"):
            self._said = ui.label("").props("role=status aria-live=polite").classes("quiet")
            self._body = ui.element("div").classes("form")
        self._show(watched(folder))
        ui.timer(_EVERY_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        self._show(await run.io_bound(watched, self._folder) or [])

    def _show(self, studies: list[WatchedStudy]) -> None:
        sheets = {study.name: self._sheet_of(study) for study in studies}
        state = (studies, sheets)
        if state == self._shown:
            return
        self._shown = state
        self._body.clear()
        with self._body:
            if not studies:
                ui.label(f"No trials in {self._folder} yet; they appear here after pathsynth run.").classes("panel")
            for study in studies:
                self._study(study, sheets[study.name])

    def _sheet_of(self, study: WatchedStudy) -> tuple[str, str] | None:
        """The trial whose sheet is shown, and when that was written: the one that was chosen, else one that runs, else any."""
        rows = study.rows
        order = sorted(range(len(rows)), key=lambda i: ((study.name, rows[i].name) != self._chosen, rows[i].state != RUNNING))
        for i in order:
            sheet = newest_sheet(study.trials[i])
            if sheet:
                return rows[i].name, f"{sheet.written:%Y-%m-%d %H:%M:%S}"
            if rows[i].state == RUNNING or (study.name, rows[i].name) == self._chosen:
                return None
        return None

    def _study(self, study: WatchedStudy, sheet: tuple[str, str] | None) -> None:
        with ui.element("section").classes("panel form") as section:
            section.props["aria-label"] = f"Study {study.name}"
            text("h2", study.name)
            ui.label(study.line).classes("quiet")
            with ui.element("div").classes("row-of"):
                if study.running:
                    ui.button("Stop", on_click=lambda: self._stop(study)).props("no-caps outline")
                if study.has_scores:
                    ui.link("Compare: the study's page", f"/report/{quote(study.name, safe='')}/{PAGE}", new_tab=True)
            self._table(study)
            if sheet:
                trial, written = sheet
                text("h3", f"Newest images of {trial}, {written}").classes("quiet")
                image = ui.element("img").classes("sheet")
                image.props["alt"] = f"contact sheet of {trial}, a row a class"
                image.props["src"] = f"/sheet/{quote(study.name, safe='')}/{quote(trial, safe='')}?of={quote(written)}"
            self._ways_on(study)

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
                        for cell in others:
                            text("td", cell)

    def _ways_on(self, study: WatchedStudy) -> None:
        """The commands that go on with what is not done and does not run."""
        stopped = [trial for trial, row in zip(study.trials, study.rows, strict=True) if row.state not in (DONE, RUNNING)]
        commands = list(dict.fromkeys(command for command in map(command_of, stopped) if command))
        if commands:
            text("h3", "To go on, run in a terminal, in the folder where the study was started:").classes("quiet")
            for command in commands[:8]:
                text("div", command).classes("command")

    async def _choose(self, study: str, trial: str) -> None:
        self._chosen = (study, trial)
        await self._refresh()

    def _stop(self, study: WatchedStudy) -> None:
        asked = ask_commands_to_stop(study.folder)
        self._said.text = (
            f"{study.name}: asked {asked} command{'s' if asked > 1 else ''} to stop; trials end in good order and can go on later"
            if asked
            else f"{study.name}: no command on this disk carries out a trial of it now"
        )
