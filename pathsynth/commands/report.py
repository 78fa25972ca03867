"""`pathsynth report <trial, study folder or bundle> … [flags]`.

Flags: ``--format html|md|csv|parquet|latex|svg``, ``--into folder``, ``--include-real``, ``--watch``,
``--open``, ``--anonymous``.
"""

from __future__ import annotations

import errno
import tempfile
import webbrowser
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pathsynth.commands.interrupt import ctrl_c
from pathsynth.ledger.errors import RequestError
from pathsynth.report.answer import headline
from pathsynth.report.collect import TrialSummary, collect_trials, is_trial, merge_trials, without_people
from pathsynth.report.overview import has_page
from pathsynth.report.page import is_image_set, write_collection, write_merged, write_report, write_trial_page
from pathsynth.report.study_verdict import study_verdict
from pathsynth.report.table import demo_table, overview_table
from pathsynth.studies.trials.state import RUNNING, WAITING
from pathsynth.studies.trials.trial_table import MANIFEST
from pathsynth.terminal.tables import print_table
from pathsynth.terminal.work_line import working_on

_WATCH_SECONDS = 10
_WATCHING = "keeping the page up to date; Ctrl-C ends that"


def make_report(
    folders: Sequence[Path],
    form: str = "html",
    into: Path | None = None,
    real: bool = False,
    watch: bool = False,
    show: bool = False,
    anonymous: bool = False,
) -> None:
    """Write the page (or the tables in another form), print the main scores as a table, and last where the file is.

    Several studies, or bundles made by ``publish``, become one page in ``into``; the same trial is in it once. ``show`` opens the
    page in the browser. ``anonymous`` leaves out who ran the trials, and on which machine.

    Raises:
        RequestError: there is no such folder or form, no finished trial in it, or flags that do not go together.
    """
    if show and form != "html":
        raise RequestError("--open opens a page; leave out --format")
    if anonymous and (form != "html" or watch):
        raise RequestError("--anonymous makes a page to pass on; leave out --format and --watch")
    if len(folders) > 1 or folders[0].suffix == ".zip" or into:
        page = _merged(folders, form, into, real, watch, anonymous)
        print(f"report: {page}")
        _open(page, show)
        return
    folder = folders[0]
    if watch and form != "html":
        raise RequestError("--watch keeps a page up to date; leave out --format")
    paths = [_watch(folder, real) if watch else write_report(folder, real, anonymous)] if form == "html" else _write_forms(folder, form)
    if not is_image_set(folder):
        _print_summary(collect_trials(folder))
    for path in paths:
        print(f"report: {path}")
    _open(paths[-1], show)


def _print_summary(trials: Sequence[TrialSummary]) -> None:
    """The main scores, and what was made by trials that are not scored."""
    if not any(t.finished for t in trials):
        print_table(overview_table(trials))
        return
    print_table(demo_table(trials))
    unscored = [t for t in trials if has_page(t) and not t.finished]
    if unscored:
        print_table(overview_table(unscored))
    if len(trials) > 1:
        print(headline(study_verdict(trials)))


def _open(page: Path, show: bool) -> None:
    """Open the page in the browser, if that is wanted; where there is none, say which file to open."""
    if show and not webbrowser.open(page.absolute().as_uri()):
        print(f"no browser was found; open {page.absolute()} in one")


def _watch(folder: Path, real: bool) -> Path:
    """Rewrite the page of a study while a trial runs, and once more at the end or after Ctrl-C; its path. Of a trial, only at the end.

    Raises:
        RequestError: as for a page, and where Ctrl-C comes before there is one.
    """
    if is_trial(folder):
        _wait(folder)
        return write_report(folder, real)
    written: set[Path] = set()
    with ctrl_c() as pressed, working_on(_WATCHING):
        while True:
            trials = collect_trials(folder)
            for trial in (t for t in trials if has_page(t) and t.folder not in written):
                with suppress(RequestError):  # a damaged one has a line in the study's page that says so
                    write_trial_page(trial, real, in_study=True)  # takes longer to make than the study's line about it
                written.add(trial.folder)
            if pressed.is_set() or not _running(trials):
                return write_merged(trials, folder, real)
            with suppress(RequestError):  # nothing is there to show yet
                write_merged(trials, folder, real, refresh=_WATCH_SECONDS)
            pressed.wait(_WATCH_SECONDS)


def _wait(trial: Path) -> None:
    with ctrl_c() as pressed, working_on(_WATCHING):
        while _running(collect_trials(trial)) and not pressed.wait(_WATCH_SECONDS):
            pass


def _running(trials: Sequence[TrialSummary]) -> bool:
    return any(t.state in (RUNNING, WAITING) for t in trials)


def _merged(folders: Sequence[Path], form: str, into: Path | None, real: bool, watch: bool, anonymous: bool) -> Path:
    if form != "html" or watch:
        raise RequestError("several studies or bundles make a page; leave out --format and --watch")
    if into is not None and not into.is_dir():
        raise RequestError(f"--into {into}: there is no such folder; make it first")
    if into is None:
        raise RequestError("several studies or a bundle need a folder for their page; make one and name it with --into")
    with tempfile.TemporaryDirectory() as scratch:
        opened = [_opened(f, Path(scratch) / str(i)) if f.suffix == ".zip" else f for i, f in enumerate(folders)]
        trials = merge_trials(dict(zip(_source_names(folders), opened, strict=True)))
        return write_collection([without_people(t) if anonymous else t for t in trials], into, real)


def _source_names(folders: Sequence[Path]) -> list[str]:
    """What each bundle or study is called on the page: its name, and of those with one name the whole path as it was given."""
    names = [folder.name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _opened(bundle: Path, scratch: Path) -> Path:
    try:
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(scratch)
        for page in scratch.rglob("report.html"):
            page.unlink()  # goes with the scratch folder: the page that is made must not link to it
    except Exception as error:  # zipfile raises nearly anything for an archive that is cut, damaged or encrypted
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the place where it is opened
            raise
        raise RequestError(f"{bundle} is no bundle ({error}); pathsynth publish makes one") from error
    if not any(scratch.rglob(MANIFEST)):
        raise RequestError(f"{bundle} holds no trial; pathsynth publish makes a bundle of a study")
    return scratch


def _write_forms(folder: Path, form: str) -> list[Path]:
    from pathsynth.report.formats import FORMS, write_form  # loads pandas

    if form not in FORMS:
        raise RequestError(f"--format {form} is not known; choose html, {', '.join(FORMS)}")
    return write_form(folder, form)
