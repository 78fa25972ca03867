"""The application: its pages, and the addresses of images and downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from nicegui import app, ui

from pathsynth.ledger.errors import RequestError
from pathsynth.ui.access import Application
from pathsynth.ui.continuing import Continuations
from pathsynth.ui.draw_page import DrawPage, image_answer
from pathsynth.ui.elements import text
from pathsynth.ui.watch_page import WatchPage, report_answer, sheet_answer

if TYPE_CHECKING:
    from pathsynth.ui.server import Site

WARNING = "Synthetic, not for diagnosis"
_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_ICON = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><circle cx='4' cy='4' r='3' fill='%23a3407f'/></svg>"


def application(site: Site) -> Application:
    """The ASGI application of a site; one in a process, because NiceGUI keeps its pages there."""
    _pages(site)
    _downloads(site)
    if site.engine:
        app.storage.max_tab_storage_age = site.engine.limits.idle_seconds
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(outer, title="pathsynth", dark=None, favicon=_ICON, tailwind=False, language="en-US", show_welcome_message=False)
    return outer


def _pages(site: Site) -> None:
    engine, continuations = site.engine, Continuations()
    if engine:

        @ui.page("/")
        async def draw() -> None:
            with _frame(site, "Draw"):
                page = DrawPage(engine)
            await ui.context.client.connected()
            page.begin(app.storage.tab)

    @ui.page("/watch" if engine else "/")
    def watch() -> None:
        with _frame(site, "Watch"):
            WatchPage(site.folder, continuations)


def _downloads(site: Site) -> None:
    engine = site.engine
    if engine:

        @app.get("/image/{session}/{slot}/{number}")
        def image(session: str, slot: int, number: int) -> Response:
            return image_answer(engine, session, (slot, number))

        @app.get("/set/{session}")
        def archive(session: str) -> Response:
            try:
                data = engine.archive(session)
            except RequestError as error:
                return Response(f"pathsynth: {error}\n", 409, media_type="text/plain")
            headers = {"Content-Disposition": 'attachment; filename="pathsynth-images.zip"', "Cache-Control": "no-store"}
            return Response(data, media_type="application/zip", headers=headers)

    @app.get("/sheet/{study}/{trial}")
    def sheet(study: str, trial: str) -> Response:
        return sheet_answer(site.folder, study, trial)

    @app.get("/report/{study}/{path:path}")
    def report(study: str, path: str) -> Response:
        return report_answer(site.folder, study, path)


@contextmanager
def _frame(site: Site, title: str) -> Iterator[None]:
    """What every view has: links to the others, and the warning."""
    ui.page_title(f"{title} · pathsynth")
    ui.add_css(_STYLE)
    with ui.element("header").classes("bar"):
        ui.label("pathsynth").classes("brand")
        if site.engine:
            with ui.element("nav") as nav:
                nav.props["aria-label"] = "Pages"
                for name, place in (("Draw", "/"), ("Watch", "/watch")):
                    link = ui.link(name, place)
                    if name == title:
                        link.props["aria-current"] = "page"
        ui.label(WARNING).classes("warning").props("role=note")
    with ui.element("main").classes("page"):
        text("h1", title).classes("sr-only")
        yield
