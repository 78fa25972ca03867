"""`pathsynth replay <image>`, or `pathsynth replay <trial folder> <candidate>`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.studies.trials.trial_table import MANIFEST

if TYPE_CHECKING:
    from pathsynth.studies.trials.attempt_replay import Replayed


def replay_candidate(place: Path, candidate: str | None, save: Path | None) -> int:
    """Draw a candidate again, say whether its pixels are the same, and return the exit status: 0 if they are, else 1.

    They are compared with what its ledger says was drawn first, and the file that was kept with the same.

    ``place`` is an image below a trial's folder, or with ``candidate`` (class, slot and attempt, as in mucus-00003-1) the folder.

    Raises:
        RequestError: as :func:`pathsynth.studies.trials.attempt_replay.replay`; the image is in no trial; or ``save`` exists.
    """
    folder, name, stored = (place, candidate, None) if candidate else (_trial_of(place), place.stem, place)
    if save and save.exists():
        raise RequestError(f"{save} already exists and is not overwritten; name another file")
    from pathsynth.studies.trials.attempt_replay import replay  # loads torch

    replayed = replay(folder, name, stored)
    row = replayed.row
    verdict = "accepted" if row.accepted else f"rejected: {row.reason}"
    print(f"{name}: {row.prompt!r}, seed {row.seed}, {row.steps} steps, guidance {row.guidance:g}, {verdict}")
    if save and replayed.image is not None:
        Image.fromarray(replayed.image).save(save)
    print(summarize_comparison(replayed))
    return EXIT_DONE if replayed.same and not replayed.fault else EXIT_FAILED


def summarize_comparison(replayed: Replayed) -> str:
    """A line on the pixels that were drawn now, those that the ledger knows by their hash, and those of the file."""
    drawn_first, image = replayed.row.sha256, replayed.image
    if image is None or drawn_first is None:
        if replayed.same:
            return "not finite, as before"
        return f"not the same: {'not finite now' if drawn_first else 'finite now, and not before'}"
    difference = f": {replayed.differing} of {image.size} values differ, by {replayed.most} of 255 at most"
    if replayed.same and replayed.fault:
        known = "" if replayed.differing is None else difference
        return f"the same pixels as when it was first drawn, but {replayed.stored} {replayed.fault}{known}"
    if replayed.same:
        return "the same pixels"
    if replayed.fault:
        return f"not the same pixels as when it was first drawn, and {replayed.stored} {replayed.fault}"
    if replayed.differing is None:
        return "not the same pixels; the first image was not kept, so the difference is not known"
    return f"not the same pixels{difference}"


def _trial_of(image: Path) -> Path:
    """The folder of the trial that an image lies in."""
    if not image.is_file():
        raise RequestError(f"no image at {image}; name one of a trial, or a trial's folder and a candidate, as in mucus-00003-1")
    trial = next((parent for parent in image.absolute().parents if (parent / MANIFEST).is_file()), None)
    if trial is None:
        raise RequestError(f"{image} lies in no trial's folder; name the folder and the candidate, as in mucus-00003-1")
    return trial
