"""A tray as a data set to download: the folder that `pathsynth generate` leaves, in a ZIP file."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pathsynth.config import SamplingConfig
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.attempts import AttemptRow, write_attempts
from pathsynth.sampling.generation import attempt_row, image_path
from pathsynth.sampling.image_set import describe_images
from pathsynth.sampling.scheduler import Scheduler
from pathsynth.ui.decisions import Drawn
from pathsynth.ui.draw_request import DrawRequest
from pathsynth.vocabulary.labels import LabelSpace


def rows_of(drawn: Sequence[Drawn], sampling: SamplingConfig, scheduler: Scheduler, space: LabelSpace) -> list[AttemptRow]:
    """The ledger's rows of attempts; accepted ones name the file of their image."""
    return [
        attempt_row(d.judged, image_path(d.attempt, True, space) if d.verdict.accepted else None, d.sha256, sampling, scheduler, space)
        for d in drawn
    ]


def write_archive(
    drawn: Sequence[Drawn], request: DrawRequest, sampling: SamplingConfig, scheduler: Scheduler, space: LabelSpace, command: str
) -> bytes:
    """A ZIP file of the accepted images, with their description, the ledger of all attempts, and the request with its command line.

    Raises:
        RequestError: nothing was accepted.
    """
    rows = rows_of(drawn, sampling, scheduler, space)
    if not any(row.accepted for row in rows):
        raise RequestError("no image is accepted, so there is nothing to download; lower the threshold, or draw again")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for item, row in zip(drawn, rows, strict=True):
            if row.image and item.png:
                (folder / row.image).parent.mkdir(parents=True, exist_ok=True)
                (folder / row.image).write_bytes(item.png)
        write_attempts(folder, rows)
        describe_images(folder, rows)
        write_json(folder / "request.json", {**asdict(request), "command": command})
        return _zipped(folder)


def _zipped(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return data.getvalue()
