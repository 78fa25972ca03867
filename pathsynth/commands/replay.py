"""`pathsynth replay <image>`, or `pathsynth replay <trial folder> <candidate>`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.study.closing import EXIT_DONE, EXIT_FAILED

_MANIFEST = "manifest.json"


def replay_candidate(place: Path, candidate: str | None, save: Path | None) -> int:
    """Draw a candidate again, say whether its pixels are the same, and return the exit status: 0 if they are, else 1.

    ``place`` is an image below a trial's folder, or with ``candidate`` (class, slot and attempt, as in mucus-00003-1) the folder.

    Raises:
        RequestError: as :func:`pathsynth.study.replay.replay`; or the image lies in no trial's folder; or ``save`` is there.
    """
    folder, name = (place, candidate) if candidate else (_trial_of(place), place.stem)
    if save and save.exists():
        raise RequestError(f"{save} is there already and is not overwritten; name another file")
    from pathsynth.study.replay import replay  # loads torch

    replayed = replay(folder, name)
    row = replayed.row
    asked = "accepted" if row.accepted else f"rejected: {row.reason}"
    print(f"{name}: {row.prompt!r}, seed {row.seed}, {row.steps} steps, guidance {row.guidance:g}, {asked}")
    if save and replayed.image is not None:
        Image.fromarray(replayed.image).save(save)
    if replayed.same:
        print("the same pixels" if row.sha256 else "not finite, as before")
        return EXIT_DONE
    if replayed.image is None or row.sha256 is None:
        print(f"not the same: {'not finite now' if row.sha256 else 'finite now, and not before'}")
    elif replayed.differing is None:
        print("not the same pixels; the first image was not kept, so the difference is not known")
    else:
        print(f"not the same pixels: {replayed.differing} of {replayed.image.size} values differ, by {replayed.most} of 255 at most")
    return EXIT_FAILED


def _trial_of(image: Path) -> Path:
    """The folder of the trial that an image lies in."""
    if not image.is_file():
        raise RequestError(f"no image at {image}; name one of a trial, or a trial's folder and a candidate, as in mucus-00003-1")
    found = next((parent for parent in image.absolute().parents if (parent / _MANIFEST).is_file()), None)
    if found is None:
        raise RequestError(f"{image} lies in no trial's folder; name the folder and the candidate, as in mucus-00003-1")
    return found
