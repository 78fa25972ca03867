"""What is in a data set: every image decoded once, counted by kind, and compared with the others. No torch."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from pathsynth.config import DataConfig
from pathsynth.data.catalogue import captions_of, medmnist_source, open_data, read_class, splits_of
from pathsynth.data.class_folders import class_folders
from pathsynth.data.dataset import SPLITS, DataSet
from pathsynth.data.decode import INVERTED, PLAIN_CMYK, PLAIN_PROFILE, PROFILE, SCALED, UPRIGHT, WHITE, Header
from pathsynth.data.decoded import Count, Inspection, decode_images, inspect_image, pixel_digest, write_labels
from pathsynth.data.folder import ImageFile, copies_of, group_numbers
from pathsynth.data.medmnist import medmnist_file
from pathsynth.ledger.errors import RequestError

_SHOWN = 3
_DONE = {
    UPRIGHT: "turned upright as EXIF says",
    INVERTED: "16-bit grey whose zero is white, inverted",
    SCALED: "16-bit grey, divided by 257 (0…65535 becomes 0…255)",
    WHITE: "with transparency, laid over white",
    PROFILE: "converted to sRGB by their colour profile",
    PLAIN_PROFILE: "with a colour profile that cannot be applied, converted plainly",
    PLAIN_CMYK: "CMYK without a profile that can be applied, converted plainly",
}


@dataclass(frozen=True)
class Surveyed:
    """One image: its name, class and split, and what decoding found."""

    name: str
    label: str
    split: str
    seen: Inspection

    @property
    def header(self) -> Header:
        """What the file's header says."""
        return self.seen.header

    @property
    def fault(self) -> str:
        """Why the image cannot be read; empty if it can."""
        return self.seen.fault


@dataclass(frozen=True)
class Copies:
    """Images that are equal, in their ``by`` ("bytes" or "pixels"), and what they lie ``across``: classes, splits, or neither ("")."""

    by: str
    across: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """Of a whole data set. ``faults`` are what a run would be refused for, ``notes`` what it would do that may surprise."""

    images: tuple[Surveyed, ...]
    copies: tuple[Copies, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def counted(self, what: Callable[[Header], Any]) -> Mapping[Any, int]:
        """How many readable images have each value in their headers, the most frequent first."""
        return dict(Counter(what(image.header) for image in self.images if not image.fault).most_common())

    @property
    def by_class(self) -> dict[str, dict[str, int]]:
        """Class → split → images."""
        counts = Counter((image.label, image.split) for image in self.images)
        labels = dict.fromkeys(image.label for image in self.images)
        return {label: {split: counts[label, split] for split in self.splits} for label in labels}

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that have images, in the order train, val, test; ``""`` for images without a split comes last."""
        present = {image.split for image in self.images}
        return tuple(split for split in (*SPLITS, "") if split in present)

    def to_json(self) -> dict[str, Any]:
        """What ``pathsynth check --json`` prints."""
        unreadable = [{"file": image.name, "reason": image.fault} for image in self.images if image.fault]
        return {
            "classes": self.by_class,
            "sizes": {"×".join(map(str, size)): count for size, count in self.counted(lambda h: (h.width, h.height)).items()},
            "modes": self.counted(lambda h: h.mode),
            "bits": self.counted(lambda h: h.bits),
            "orientations": self.counted(lambda h: h.orientation),
            "pages": self.counted(lambda h: h.pages),
            "steps": {step: sum(step in i.header.steps for i in self.images) for step in _DONE},
            "copies": [{"by": c.by, "across": c.across, "files": list(c.names)} for c in self.copies],
            "unreadable": unreadable,
            "notes": list(self.notes),
            "faults": list(self.faults),
        }


def survey(config: DataConfig, workers: int, count: Count = lambda done, total: None) -> Survey:
    """Decode every image that a configuration takes, with ``workers`` threads (Pillow decodes outside the interpreter's lock).

    Raises:
        RequestError: there is nothing to look at: no such folder or file, or data that holds no files of images.
    """
    if config.name == "folder":
        return _folder_survey(config, workers, count)
    if config.name in ("medmnist", "pathmnist"):
        return _medmnist_survey(config, count)
    if config.name == "own":
        return _custom_survey(config, count)
    raise RequestError(f"data={config.name} has no files of images to look at; choose data=folder, medmnist or pathmnist")


def _folder_survey(config: DataConfig, workers: int, count: Count) -> Survey:
    root = Path(config.root) if config.root else None
    folders = class_folders(root, config.classes)
    notes: tuple[str, ...] = folders.notes
    faults: list[str] = []
    try:
        open_data(config)
        splits = splits_of(config)
        files = [(file, split) for split, members in splits.files.items() for file in members]
        names, notes = [c.slug for c in splits.space.classes], splits.notes
    except RequestError as error:
        faults.append(str(error))
        names = list(folders.names)
        files = [(ImageFile(p, i), s) for s, members in folders.images.items() for i, name in enumerate(names) for p in members[name]]
    else:
        try:
            captions = captions_of(config, splits)
            notes = (*notes, *(captions.notes if captions else ()))
        except RequestError as error:
            faults += error.faults
    with ThreadPoolExecutor(workers) as pool:
        inspections: list[Inspection] = []
        for inspection in pool.map(lambda pair: inspect_image(pair[0].path), files):
            inspections.append(inspection)
            count(len(inspections), len(files))
    return _surveyed(files, inspections, names, folders.root, notes, faults)


def decode_folder(
    config: DataConfig, identity: str, folder: Path, work: Path, workers: int, count: Count = lambda done, total: None
) -> Survey:
    """Decode the images of ``data=folder`` into ``folder`` (:func:`pathsynth.data.decoded.decode_images`), and survey them on the way.

    Args:
        config: of the data.
        identity: of the data when the trial was planned.
        folder: where the decoded images go.
        work: where they are on the way; a killed attempt continues from there.
        workers: processes.
        count: called with the images done and those in all.

    Raises:
        RequestError: a run refuses the images (nothing is left in ``work``), they are others than those that were planned, or the disk
            has no room.
        StageError: a process that decodes was killed.
    """
    if open_data(config).identity != identity:
        raise RequestError(f"images in {config.root} have changed since the trial was planned; run the same command again")
    splits = splits_of(config)
    paths = {split: [file.path for file in members] for split, members in splits.files.items()}
    inspections = decode_images(paths, config.size, folder, work, workers, count)
    groups = group_numbers(splits.files) if config.group else {}
    for split, members in splits.files.items():
        write_labels(folder, split, np.array([f.label for f in members], dtype=np.int64), groups.get(split))
    files = [(file, split) for split, members in splits.files.items() for file in members]
    flat = [inspection for split in splits.files for inspection in inspections[split]]
    survey = _surveyed(files, flat, [c.slug for c in splits.space.classes], splits.root, splits.notes, [])
    if survey.faults:
        shutil.rmtree(work, ignore_errors=True)
        raise RequestError(survey.faults[0])
    return survey


def _surveyed(
    files: Sequence[tuple[ImageFile, str]],
    inspections: Sequence[Inspection],
    names: Sequence[str],
    root: Path,
    notes: Sequence[str],
    faults: list[str],
) -> Survey:
    """The survey of the files of a folder, each with its split and what decoding found of it.

    Images whose checksums are the same are decoded once more, and compared by a hash.
    """
    alike = Counter(inspection.pixels for inspection in inspections)
    inspections = [
        replace(inspection, pixels=pixel_digest(file.path)) if inspection.pixels and alike[inspection.pixels] > 1 else inspection
        for (file, _), inspection in zip(files, inspections, strict=True)
    ]
    images = [
        Surveyed(file.path.relative_to(root).as_posix(), names[file.label], split, inspection)
        for (file, split), inspection in zip(files, inspections, strict=True)
    ]
    place = {file.path: image for (file, _), image in zip(files, images, strict=True)}
    by_bytes = [_copies("bytes", [place[file.path] for file in alike]) for alike in copies_of([file for file, _ in files])]
    return _survey(images, by_bytes, notes, faults)


def _medmnist_survey(config: DataConfig, count: Count) -> Survey:
    source, root = medmnist_source(config), Path(config.root) if config.root else None
    path = medmnist_file(source, root, config.size)
    if not path.is_file():
        raise RequestError(f"no {path.name} in {path.parent}; put the MedMNIST file there, set data.root, or set data.download=true")
    faults = []
    try:
        open_data(config)
    except RequestError as error:
        faults.append(str(error))
    images: list[Surveyed] = []
    try:
        for image in _stored(path, [c.slug for c in source.space.classes]):
            images.append(image)
            count(len(images), 0)
    except (KeyError, IndexError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        faults.append(f"{path} is truncated or not in MedMNIST layout ({' '.join(str(error).split())}); fetch it again")
    return _survey(images, [], (), list(dict.fromkeys(faults)), refuse_copies=False)


def _custom_survey(config: DataConfig, count: Count) -> Survey:
    """Of what a class of the user's gives; one that cannot be read at all is refused as a run refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        return survey_data(read_class(config, Path(folder)), count)


def survey_data(data: DataSet, count: Count = lambda done, total: None) -> Survey:
    """Of images that are decoded already: which are copies of others. None is refused for that."""
    images: list[Surveyed] = []
    for split in SPLITS:
        labelled = data.split(split)
        for row, (pixels, label) in enumerate(zip(labelled.images[0 : len(labelled)], labelled.labels, strict=True)):
            content = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
            header = Header(data.size, data.size, "RGB", 8, 1, 1, ())
            images.append(Surveyed(f"{split}[{row}]", data.space.classes[int(label)].slug, split, Inspection(header, content)))
            count(len(images), 0)
    return _survey(images, [], (), [], refuse_copies=False)


def _stored(path: Path, names: Sequence[str]) -> Iterator[Surveyed]:
    """The images of a MedMNIST file, one after the other, so that a file larger than the memory is read, too."""
    with zipfile.ZipFile(path) as archive:
        for split in SPLITS:
            with archive.open(f"{split}_labels.npy") as member:
                labels = npy.read_array(member, allow_pickle=False).reshape(-1)
            with archive.open(f"{split}_images.npy") as member:
                version = npy.read_magic(member)
                shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(member)
                length = int(np.prod(shape[1:])) * dtype.itemsize
                for row, label in enumerate(labels[: shape[0]]):
                    pixels = member.read(length)
                    if len(pixels) < length:
                        raise EOFError(f"{split}_images ends at image {row}")
                    content = hashlib.blake2b(pixels, digest_size=16).hexdigest()
                    header = Header(shape[2], shape[1], "RGB" if len(shape) == 4 else "L", 8, 1, 1, ())
                    yield Surveyed(f"{split}[{row}]", names[int(label)], split, Inspection(header, content))


def _survey(
    images: Sequence[Surveyed], by_bytes: Sequence[Copies], notes: Sequence[str], faults: list[str], refuse_copies: bool = True
) -> Survey:
    by_content: dict[str, list[Surveyed]] = {}
    for image in images:
        if image.seen.pixels:
            by_content.setdefault(image.seen.pixels, []).append(image)
    known = {c.names for c in by_bytes}
    by_pixels = [c for c in (_copies("pixels", alike) for alike in by_content.values() if len(alike) > 1) if c.names not in known]
    copies = (*by_bytes, *by_pixels)
    unreadable = [image.fault for image in images if image.fault]
    if unreadable:
        faults.append(unreadable[0] if len(unreadable) == 1 else f"{unreadable[0]}; {len(unreadable) - 1} more like it (pathsynth check)")
    shared = [c for c in copies if c.across]
    pairs = [f"{c.names[0]} and {c.names[1]} show the same pixels in two {c.across}" for c in shared]
    if shared and refuse_copies and not any("are the same file in two" in fault for fault in faults):
        more = f"; {len(shared) - 1} more like it" if len(shared) > 1 else ""
        faults.append(f"{pairs[0]}; remove one{more} (pathsynth check lists all)")
    elif shared and not refuse_copies:
        notes = [*notes, f"images that lie in two classes or splits: {len(shared):,} (first: {pairs[0]})"]
    return Survey(tuple(images), copies, (*notes, *_notes(images, copies)), tuple(faults))


def _copies(by: str, alike: Sequence[Surveyed]) -> Copies:
    """The first two names are of images that lie apart, where any do."""
    first = alike[0]
    for across, key in (("classes", "label"), ("splits", "split")):
        other = next((i for i in alike if getattr(i, key) != getattr(first, key)), None)
        if other:
            names = (first.name, other.name, *(i.name for i in alike if i not in (first, other)))
            return Copies(by, across, names)
    return Copies(by, "", tuple(i.name for i in alike))


def _notes(images: Sequence[Surveyed], copies: Sequence[Copies]) -> list[str]:
    """What is done with each kind of image, and with how many."""
    lines = []
    for step, words in _DONE.items():
        affected = [image for image in images if step in image.header.steps]
        if affected:
            lines.append(f"images {words}: {len(affected):,}{_some(affected)}")
    deep = [image.seen.brightest for image in images if image.seen.brightest is not None]
    if deep:
        lines.append(f"the brightest value of the 16-bit images is {max(deep):,} of 65,535; if they look dark, scale them before")
    paged = [image for image in images if image.header.pages > 1]
    if paged:
        lines.append(f"images with several pages or frames, of which the first is taken: {len(paged):,}{_some(paged)}")
    within = sum(len(c.names) - 1 for c in copies if not c.across)
    if within:
        lines.append(f"images that repeat another of the same class and split: {within:,}")
    return lines


def _some(images: Sequence[Surveyed]) -> str:
    return f" ({', '.join(image.name for image in images[:_SHOWN])}{', …' if len(images) > _SHOWN else ''})"
