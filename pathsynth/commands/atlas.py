"""`pathsynth atlas <image set> FOLDER [--texts FILE.yaml] [--images N] [--force] [--open]`: a site for trainees."""

from __future__ import annotations

import tempfile
import webbrowser
from contextlib import suppress
from pathlib import Path

import numpy as np

from pathsynth.ledger.atomic import sync_names, sync_tree
from pathsynth.ledger.errors import RequestError
from pathsynth.report.atlas import PAGE, GeneratedImages, read_generated, write_atlas
from pathsynth.report.collect import is_trial
from pathsynth.report.tissue_texts import read_texts, shipped_texts
from pathsynth.stages.fingerprints import data_source
from pathsynth.studies.trials.judging import judge_of
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.vocabulary.labels import LabelSpace

_LOG = "attempts.parquet"
_MARK = "atlas.js"
"""A file of every atlas: what else lies in a folder without it is never overwritten."""


def make_atlas(source: Path, folder: Path, texts: Path | None = None, most: int = 40, force: bool = False, show: bool = False) -> None:
    """Make the site of a generated set, and print where it is. ``force`` replaces an atlas that is there; ``show`` opens the site.

    Raises:
        RequestError: there is no such set, it is empty or damaged; the texts do not fit its classes; or the folder is in use.
    """
    if most < 1:
        raise RequestError(f"--images must be 1 or more, not {most}")
    _refuse_occupied(folder, force)
    place = image_set_folder(source)
    images = read_generated(place, _known_space(place))
    words = read_texts(texts, images.space) if texts else shipped_texts(images.space)
    judge = _judged(place, images)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        site = Path(partial) / folder.name
        site.mkdir()
        write_atlas(site, images, judge, words, most, _title(images.space))
        sync_tree(site)
        _put_in_place(site, folder, Path(partial) / "replaced")
    sync_names(folder)
    _summarize(images, judge)
    print(f"atlas: {folder / PAGE}")
    page = (folder / PAGE).absolute()
    if show and not webbrowser.open(page.as_uri()):
        print(f"no browser was found; open {page} in one")


def _put_in_place(site: Path, folder: Path, aside: Path) -> None:
    """Rename the new site to its place; what was there goes ``aside``, and comes back where the new one cannot be put there."""
    if not folder.exists():
        site.rename(folder)
        return
    folder.rename(aside)
    try:
        site.rename(folder)
    except OSError:
        aside.rename(folder)
        raise


def image_set_folder(source: Path) -> Path:
    """The folder of a generated set: itself, or the one trial of a study that holds a set.

    Raises:
        RequestError: there is none, or several.
    """
    if (source / _LOG).is_file():
        return source
    if not source.is_dir():
        raise RequestError(f"no folder {source}; name the folder of a generated set (pathsynth status lists trials)")
    inside = sorted(child for child in source.iterdir() if not child.name.startswith(".") and (child / _LOG).is_file())
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(child.name for child in inside[:8])
        raise RequestError(f"{source} holds {len(inside)} sets; name one of them: {names}")
    raise RequestError(f"{source} holds no generated set (no {_LOG}); pathsynth generate makes one")


def _refuse_occupied(folder: Path, force: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not force:
        raise RequestError(f"{folder} already exists and is not overwritten; name another folder, or replace an atlas with --force")
    if folder.is_symlink() or not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARK).is_file()):
        raise RequestError(f"{folder} is no atlas, so --force does not replace it; name another folder")


def _known_space(place: Path) -> LabelSpace | None:
    """The classes by the data of the set's trial; None where the data are not there (any more)."""
    if not is_trial(place):
        return None
    with suppress(RequestError):
        config = manifest_of(place).config.data
        return data_source(config).space if config else None
    return None


def _judged(place: Path, images: GeneratedImages) -> np.ndarray | None:
    judge = judge_of(place) if is_trial(place) else None
    return judge(images.paths, images.space) if judge else None


def _title(space: LabelSpace) -> str:
    return f"Atlas of {space.name}"


def _summarize(images: GeneratedImages, judge: np.ndarray | None) -> None:
    n = len(images.accepted)
    if judge is None:
        print(f"{n} accepted images; the set has no judge, so the gate alone confirms them")
    else:
        right = sum(int(p.argmax()) == row.label for p, row in zip(judge, images.accepted, strict=True))
        print(f"{n} accepted images; the judge confirms {right} of them")
    shown = {row.label for row in images.accepted}
    empty = [c.slug for c in images.space.classes if c.index not in shown]
    if empty:
        print(f"without an accepted image: {', '.join(empty)}")
