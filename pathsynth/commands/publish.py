"""`pathsynth publish <study> [--into bundle.zip] [--anonymous]`: what a team shares of a study, in one archive."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pathsynth.ledger.atomic import sync
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import CONFUSION_FILE
from pathsynth.report.collect import collect_trials, is_trial
from pathsynth.report.overview import has_page
from pathsynth.report.page import write_report
from pathsynth.report.validation_sheets import BUNDLED, validation_sheets
from pathsynth.studies.trials.originals import refuse_changed
from pathsynth.studies.trials.redaction import shareable

_FILES = ("manifest.json", "state.json", "result.json", "attempts.parquet", "judged.parquet", "history.csv", "scores.json", CONFUSION_FILE)
_SHEETS = ("grids/first_attempts.png", "grids/accepted.png")
_FOLDERS = {"adapter": (".json", ".safetensors"), "images": (".png",), "rejected": (".png",)}
CONTENTS = "CONTENTS.txt"


def publish_study(folder: Path, into: Path | None = None, anonymous: bool = False) -> Path:
    """Write the archive, with a listing of all that is in it, and print the listing; the archive's path.

    Only what is named here goes in: records, ledgers, adapters, generated images, and the page made of them. Real images, logs and
    places on this disk never do. The pages name author and machine of the trials unless ``anonymous``.

    Raises:
        RequestError: there is no such study, the archive exists, a file was changed since it was made, or one holds what looks like
            a secret.
    """
    if is_trial(folder):
        raise RequestError(f"{folder} is a trial; publish takes a study's folder")
    target = into or folder.absolute().parent / f"{folder.absolute().name}.zip"
    if target.exists():
        raise RequestError(f"{target} exists; remove it, or name another with --into")
    if not target.parent.is_dir():
        raise RequestError(f"no folder {target.parent}; make it first")
    content: dict[str, bytes] = {}
    trials = collect_trials(folder)
    for trial in trials:
        names = _names(trial.folder)
        refuse_changed(trial.folder, names)
        content |= {f"{trial.folder.name}/{name}": shareable(trial.folder / name, anonymous) for name in names}
        content |= {(trial.folder.name / BUNDLED / s.path.name).as_posix(): s.path.read_bytes() for s in validation_sheets(trial.folder)}
    content |= _pages(content)
    listing = "".join(f"{hashlib.sha256(b).hexdigest()}  {len(b):>10}  {name}\n" for name, b in sorted(content.items()))
    _write(target, {**content, CONTENTS: listing.encode()})
    print(listing, end="")
    people = sorted({t.maker for t in trials if t.maker})
    if people and not anonymous:
        print(f"it names who ran the trials ({', '.join(people)}); --anonymous leaves that out")
    print(f"published: {target}")
    return target


def _names(trial: Path) -> list[str]:
    names = [name for name in (*_FILES, *_SHEETS) if (trial / name).is_file()]
    for folder, endings in _FOLDERS.items():
        files = sorted(p for p in (trial / folder).rglob("*") if p.is_file() and p.suffix in endings)
        names += [p.relative_to(trial).as_posix() for p in files]
    return names


def _pages(content: Mapping[str, bytes]) -> dict[str, bytes]:
    """The study's page and its trials' pages, made from what is shared and from nothing else; none where no trial has finished."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name, data in content.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        if any(map(has_page, collect_trials(root))):
            write_report(root)
        files = (p for p in root.rglob("*") if p.is_file())
        return {name: p.read_bytes() for p in files if (name := p.relative_to(root).as_posix()) not in content}


def _write(target: Path, content: Mapping[str, bytes]) -> None:
    """Whole or absent, and the same bytes for the same study."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in sorted(content.items()):
                archive.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
        sync(name)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
