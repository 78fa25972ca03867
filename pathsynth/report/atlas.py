"""A static site for trainees, made of a generated set: tissue by tissue, and a self-test. Reads files only; no torch.

The site is ``index.html`` with the data in it, ``atlas.css``, ``atlas.js`` and ``images/``, the set's PNG files as they are under
names that do not tell their class. It needs no network.
"""

from __future__ import annotations

import functools
import importlib.resources
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.identity import digest
from pathsynth.report.tissue_texts import TissueText
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.pictures import picture_fault
from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace, slug_words

PAGE = "index.html"
_SCRIPTS = ("atlas.css", "atlas.js")
_LEAST_PROBABILITY = 1e-6
_MICROMETRES = 112
"""Side of the tissue that an image of PathMNIST shows: 224 px of 0.5 µm (Kather et al. 2019)."""


@dataclass(frozen=True)
class GeneratedImages:
    """A generated set: its accepted images by class and slot, and how often the gate named first attempts of one class as another.

    ``gate_counts``: int (C, C), rows are the requested classes.
    """

    folder: Path
    space: LabelSpace
    accepted: tuple[AttemptRow, ...]
    gate_counts: np.ndarray

    @property
    def paths(self) -> list[Path]:
        """Files of the accepted images, in the order of ``accepted``."""
        return [self.folder / str(row.image) for row in self.accepted]


def read_generated(folder: Path, space: LabelSpace | None = None) -> GeneratedImages:
    """The set in a folder with ``attempts.parquet`` and the images that it names.

    ``space``: the classes, where they are known; else they have the names that their slugs stand for.

    Raises:
        RequestError: there is no such set, nothing in it was accepted, or its log or an image is missing, damaged or changed.
    """
    try:
        rows = sorted(read_attempts(folder), key=lambda r: (r.label, r.slot, r.attempt))
        space = _space(rows, space)
        counts = np.zeros((len(space), len(space)), dtype=int)
        for row in rows:
            if row.attempt == 0 and row.predicted >= 0:
                counts[row.label, row.predicted] += 1
    except (StageError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RequestError(f"the attempt log of {folder} is damaged ({reason}); generate the set again") from error
    accepted = tuple(row for row in rows if row.accepted and row.image)
    if not accepted:
        raise RequestError(f"{folder} has no accepted image, so there is nothing to show; generate with more attempts or a lower threshold")
    _refuse_damaged(folder, accepted)
    return GeneratedImages(folder, space, accepted, counts)


def _space(rows: Sequence[AttemptRow], known: LabelSpace | None) -> LabelSpace:
    """The classes of a log: those that are known if they fit, else ours, else what the slugs say."""
    slugs = {row.label: row.class_slug for row in rows}
    sizes = {len(row.probabilities) for row in rows}
    if len(sizes) != 1 or min(slugs) < 0 or max(slugs) >= min(sizes):
        raise ValueError("its rows do not agree on the number of classes" if rows else "it has no rows")
    (size,) = sizes
    for space in (known, COLORECTAL):
        if space and len(space) == size and all(space.slugs[label] == slug for label, slug in slugs.items()):
            return space
    named = [slugs.get(label, f"class-{label + 1}") for label in range(size)]
    return LabelSpace("the classes of the set", tuple(LabelClass(i, slug, slug_words(slug)) for i, slug in enumerate(named)), "none")


def _refuse_damaged(folder: Path, rows: Sequence[AttemptRow]) -> None:
    for row in rows:
        path = folder / str(row.image)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise RequestError(f"{path} lies outside the set; generate the set again")
        fault = picture_fault(path, row.sha256)
        if fault:
            raise RequestError(f"{path} {fault}; generate again with study.force=true, which copies it from the store")
    sizes = {_size(folder / str(row.image)) for row in rows}
    if len(sizes) > 1:
        raise RequestError(f"the images of {folder} are of several sizes; an atlas is made of one generation")


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def write_atlas(
    folder: Path, images: GeneratedImages, judge: np.ndarray | None, texts: Mapping[int, TissueText], most: int, title: str
) -> None:
    """Write the site.

    Args:
        folder: an empty one.
        images: what it shows.
        judge: probabilities, float (N, C), of all accepted images in their order; None: there is no judge.
        texts: by label.
        most: images of each class.
        title: of the site.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    chosen = _chosen(images.accepted, most)
    (folder / "images").mkdir()
    for i in chosen:
        shutil.copyfile(images.paths[i], folder / _file(images.accepted[i]))
    for name in _SCRIPTS:
        source = importlib.resources.files("pathsynth.report") / "templates" / name
        (folder / name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    page = _templates().get_template("atlas.html").render(title=title, atlas=atlas_record(images, judge, texts, chosen, title))
    (folder / PAGE).write_text(page, encoding="utf-8")


def _chosen(rows: Sequence[AttemptRow], most: int) -> list[int]:
    """Places of the first ``most`` images of each class."""
    count: dict[int, int] = {}
    chosen = []
    for i, row in enumerate(rows):
        count[row.label] = count.get(row.label, 0) + 1
        chosen += [i] if count[row.label] <= most else []
    return chosen


def _file(row: AttemptRow) -> str:
    return f"images/{digest([row.name, row.sha256])}.png"


def atlas_record(
    images: GeneratedImages, judge: np.ndarray | None, texts: Mapping[int, TissueText], chosen: Sequence[int], title: str
) -> dict[str, Any]:
    """What the page's script reads; labels stand for classes, places in ``images`` for images. Its form is described in ``atlas.js``."""
    labels = np.array([row.label for row in images.accepted])
    gate = np.array([row.probabilities for row in images.accepted])
    judged = None if judge is None else _counts(labels, judge.argmax(axis=1), len(images.space))
    near = lookalikes(labels[chosen], (gate if judge is None else judge)[chosen])
    pairs = confused_classes(images.gate_counts, judged, _mean_probabilities(labels, gate if judge is None else judge))
    return {
        "title": title,
        "key": digest([_file(images.accepted[i]) for i in chosen]),
        "size": list(_size(images.paths[0])),
        "scale": size_words(_size(images.paths[0]), images.space.slugs == COLORECTAL.slugs),
        "classes": [_class(c, texts.get(c.index)) for c in images.space.classes],
        "images": [
            {
                "file": _file(images.accepted[i]),
                "label": int(labels[i]),
                "gate": [round(float(p), 3) for p in gate[i]],
                "judge": None if judge is None else [round(float(p), 3) for p in judge[i]],
                "near": near[place],
            }
            for place, i in enumerate(chosen)
        ],
        "gateCounts": images.gate_counts.tolist(),
        "judgeCounts": None if judged is None else judged.tolist(),
        "lookalike": pairs,
        "accepted": len(images.accepted),
    }


def _class(c: LabelClass, text: TissueText | None) -> dict[str, Any]:
    words = text or TissueText((), ())
    texts = {"lookFor": list(words.look_for), "sources": list(words.sources), "byUser": words.by_user}
    return {"slug": c.slug, "name": c.name, "aliases": list(c.aliases), **texts}


def _counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int (C, C): how often images of a class (row) were taken for each class."""
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def _mean_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean probabilities, float (C, C), of the images of each class; zeros for a class without images."""
    sums = np.zeros((probabilities.shape[1],) * 2)
    np.add.at(sums, labels, probabilities)
    return sums / np.maximum(np.bincount(labels, minlength=len(sums)), 1)[:, None]


def confused_classes(gate: np.ndarray, judge: np.ndarray | None, probability: np.ndarray) -> list[int]:
    """Of each class the other one that it is most often confused with, either way round.

    The judge's counts decide; where they are equal, the gate's; then the mean probability. Each is (C, C), a row a requested class.
    """
    both = [m + m.T for m in (np.zeros_like(gate) if judge is None else judge, gate, probability)]
    others = range(len(gate))
    return [max((b for b in others if b != a), key=lambda b: tuple(float(m[a, b]) for m in both)) for a in others]


def lookalikes(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, int]]:
    """Of each image the nearest one of every other class, by place, under that class's label as text.

    Images are near whose log-probabilities are. Images that their classifier takes for another class are not counted as look-alikes,
    unless their class has no others.
    """
    logs = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
    right = probabilities.argmax(axis=1) == labels
    near: list[dict[str, int]] = [{} for _ in labels]
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        own = own[right[own]] if right[own].any() else own
        for i in np.flatnonzero(labels != label):
            near[i][str(label)] = int(own[np.square(logs[own] - logs[i]).sum(axis=1).argmin()])
    return near


def size_words(size: tuple[int, int], colorectal: bool) -> list[str]:
    """What images of a size in pixels can and cannot teach, a sentence each."""
    width, height = size
    least = min(size)
    if least <= 64:
        can = "They can teach colours, coarse texture, and how light and dark parts are arranged."
        cannot = "They cannot teach fine detail: nuclei, their chromatin and nucleoli, cell borders and mitoses are not to be seen."
    elif least < 192:
        can = "They can teach colours, texture and the arrangement of structures."
        cannot = "They cannot teach fine detail: chromatin, nucleoli and mitoses are not to be judged."
    else:
        can = "They can teach colours, texture and arrangement."
        cannot = "What looks like fine detail was drawn by a model: do not learn chromatin, nucleoli or mitoses from it."
    sentences = [f"These images have {width} × {height} pixels.", can, cannot]
    if colorectal and width == height and least <= 64:
        side = _MICROMETRES / width
        nucleus = f"so the nucleus of a lymphocyte (about 7 µm) is about {7 / side:.0f} pixels wide"
        sentences.append(f"One pixel stands for about {side:.0f} µm, {nucleus}.")
    return sentences


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pathsynth.report"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
