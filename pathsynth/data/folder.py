"""Images of your own: a folder a class, with or without folders for the splits above them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pathsynth.data.class_folders import ENDINGS, ClassFolders, class_folders
from pathsynth.data.dataset import ALL, SPLITS, Counts, DataSet, LabelledImages, first_of_each_class
from pathsynth.data.decode import decode, middle_square, read_header
from pathsynth.data.decoded import read_split
from pathsynth.data.splits import cut_by_group, file_groups, group_half, numbered
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest
from pathsynth.ledger.seeds import derive_seed
from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace, UnknownLabelError, class_names, class_slug
from pathsynth.vocabulary.prompts import PromptBook, colorectal_prompts, generic_prompts

_LONGEST_SLUG = 200
"""Characters: the names of a class's images begin with its slug, and file systems take 255 bytes."""


@dataclass(frozen=True)
class Shares:
    """The share of each class that becomes val and test where the folder has none of its own, and the seed of the choice."""

    val: float = 0.1
    test: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class ImageFile:
    """A file of a class; ``group`` is the patient or slide that it shows, where groups are kept together."""

    path: Path
    label: int
    group: str = ""


@dataclass(frozen=True)
class FolderSplits:
    """The images of a folder by split, the words of its classes, and what there is to say of it."""

    root: Path
    space: LabelSpace
    prompts: PromptBook
    files: Mapping[str, tuple[ImageFile, ...]]
    notes: tuple[str, ...]


def folder_data(
    root: Path | None,
    size: int,
    symmetry: str = "none",
    shares: Shares | None = None,
    counts: Counts = ALL,
    classes: Sequence[str] = (),
    group: str | None = None,
) -> DataSet:
    """The images of :func:`folder_splits`, read at first use.

    Each is made RGB (:func:`pathsynth.data.decode.decode`), cut to its middle square and resized to ``size`` pixels where it has another
    size.

    Raises:
        RequestError: as :func:`folder_splits`; when a split is read: an image that cannot be.
    """
    splits = folder_splits(root, symmetry, shares, counts, classes, group)
    groups = group_numbers(splits.files) if group else {}
    identity = _identity(size, splits.space, splits.files, groups)
    if groups:
        labels = np.array([f.label for f in splits.files["train"]])
        group_half(labels, groups["train"], "part", identity)  # fails now where there is no way

    @functools.cache
    def read(split: str) -> LabelledImages:
        files = splits.files[split]
        pixels = np.stack([middle_square(decode(f.path).image, size) for f in files])
        return LabelledImages(pixels, np.array([f.label for f in files], dtype=np.int64), groups.get(split))

    name = _name(splits.root, size, [len(splits.files[split]) for split in SPLITS], bool(group))
    return DataSet(name, identity, size, splits.space, splits.prompts, read)


def decoded_folder_data(
    root: Path | None, size: int, symmetry: str, classes: Sequence[str], by_group: bool, decoded: Path, identity: str
) -> DataSet:
    """The data set that :func:`folder_data` gives, from its images as they were decoded before; no file of the folder is read.

    Args:
        root: as for :func:`folder_data`; the folder's names say what classes are called.
        size: pixels, those of the decoded images.
        symmetry: as for :func:`folder_data`.
        classes: likewise.
        by_group: whether groups are kept together.
        decoded: where the splits are, as :func:`pathsynth.data.decoded.read_split` reads them.
        identity: of the data that was decoded.

    Raises:
        RequestError: as :func:`pathsynth.data.class_folders.class_folders`.
        StageError: the decoded images cannot be read.
    """
    folders = class_folders(root, classes)
    space, prompts = _vocabulary(folders, symmetry)
    splits = {split: read_split(decoded, split) for split in SPLITS}
    name = _name(folders.root, size, [len(splits[split]) for split in SPLITS], by_group)
    return DataSet(name, identity, size, space, prompts, splits.__getitem__)


def _name(root: Path, size: int, counts: Sequence[int], by_group: bool) -> str:
    shown = "/".join(f"{count:,}" for count in counts)
    return f"{root.resolve().name} {size} px ({shown}{', split by group' if by_group else ''})"


def folder_splits(
    root: Path | None,
    symmetry: str = "none",
    shares: Shares | None = None,
    counts: Counts = ALL,
    classes: Sequence[str] = (),
    group: str | None = None,
    beside_images: Collection[str] = (),
) -> FolderSplits:
    """Which image is in which split; none is decoded.

    Folders called as the nine colorectal tissues (ADI, "smooth muscle", …) have their prompts; others are prompted by their names.
    Splits that the folder lacks are cut from its images, or from those of ``train``; of files that are equal byte by byte one alone is
    taken then.

    Args:
        root: the folder, laid out as :func:`pathsynth.data.class_folders.class_folders` describes.
        symmetry: "d4" where flips and quarter turns keep a label's meaning, else "none".
        shares: of the splits that the folder lacks.
        counts: how many images of each split, classes in turn; 0 means all.
        classes: the folders that are taken (empty: all).
        group: which images belong together, as in :func:`pathsynth.data.splits.file_groups`.
        beside_images: as for :func:`pathsynth.data.class_folders.class_folders`.

    Raises:
        RequestError: no such folder; no classes or one alone; a class with too few images, or with a name that is too long or another's;
            a file in two classes or two splits; groups that cannot be kept apart.
    """
    folders, shares = class_folders(root, classes, beside_images), shares or Shares()
    space, prompts = _vocabulary(folders, symmetry)
    labels = {name: space.by_slug(name).index for name in folders.names}
    available = {
        split: [ImageFile(path, labels[name]) for name in folders.names for path in by_class[name]]
        for split, by_class in folders.images.items()
    }
    available = {split: _grouped(files, group, folders.root) for split, files in available.items()}
    _refuse_empty(folders)
    _refuse_shared(available, folders.root)
    source = next(iter(available))  # train, or all images
    cut = {split: getattr(shares, split) for split in ("test", "val") if split not in available}
    notes = [*folders.notes, *_names_note(space)]
    if cut:
        unique = _without_copies(available[source])
        parts = _cut_by_group(unique, cut, shares.seed, space) if group else _cut(unique, cut, shares.seed, folders, labels)
        notes += _cut_notes(source, cut, len(available[source]) - len(unique))
        available = {**available, **parts}
    for split in SPLITS:
        if not available[split]:
            raise RequestError(f"{folders.root} has no {split} image ({', '.join(ENDINGS)})")
    counts = counts.limited({split: len(files) for split, files in available.items()}, folders.root, len(space))
    selected = {split: _first(available[split], getattr(counts, split)) for split in SPLITS}
    _refuse_straddling(selected)
    return FolderSplits(folders.root, space, prompts, {split: tuple(files) for split, files in selected.items()}, tuple(notes))


def _vocabulary(folders: ClassFolders, symmetry: str) -> tuple[LabelSpace, PromptBook]:
    names, root = folders.names, folders.root
    try:
        if sorted(COLORECTAL.by_slug(name).index for name in names) == list(range(len(COLORECTAL))):
            return COLORECTAL, colorectal_prompts()
    except UnknownLabelError:
        pass
    slugs = [class_slug(name) for name in names]
    _refuse_names(names, slugs, root)
    words = zip(slugs, class_names(names), names, strict=True)
    classes = tuple(LabelClass(i, slug, name, (folder,)) for i, (slug, name, folder) in enumerate(words))
    # by its classes, not by its place: a gate that was trained before the folder was moved still knows it
    space = LabelSpace(f"class folders {digest(slugs)}", classes, symmetry)
    return space, generic_prompts(space)


def _refuse_names(names: Sequence[str], slugs: Sequence[str], root: Path) -> None:
    """Refuse class folders without a letter in their name, with equal letters, or with too long a name for a file."""
    for place, (name, slug) in enumerate(zip(names, slugs, strict=True)):
        if not slug:
            raise RequestError(f"the class folder {name} in {root} has no letter or digit in its name; rename it")
        if slug in slugs[:place]:
            both = f"{names[slugs.index(slug)]} and {name}"
            raise RequestError(f"the class folders {both} in {root} have the same letters and digits; rename one of them")
        if len(slug) > _LONGEST_SLUG:
            raise RequestError(
                f"the class folder {name[:20]}… in {root} has a name of {len(name)} characters, too long for the names of its images "
                f"({_LONGEST_SLUG} at most); rename it"
            )


def _names_note(space: LabelSpace) -> list[str]:
    """Where the prompt of a class leaves out the number that its folder's name begins with."""
    bare = [c for c in space.classes if space is not COLORECTAL and c.aliases[0][:1].isdigit() and not c.name[:1].isdigit()]
    renamed = ", ".join(f"{c.aliases[0]} is requested as “{c.name}”" for c in bare)
    return [f"numbers before the names of classes are left out, unless data.prompts names them: {renamed}"] if bare else []


def _grouped(files: list[ImageFile], group: str | None, root: Path) -> list[ImageFile]:
    if not group:
        return files
    groups = file_groups(group, root, [f.path for f in files])
    return [replace(f, group=groups[f.path]) for f in files]


def _refuse_empty(folders: ClassFolders) -> None:
    for split in ("train", ""):
        empty = next((name for name, files in folders.images.get(split, {}).items() if not files), None)
        if empty is not None:
            raise RequestError(
                f"{empty} in {folders.root} holds no image for train ({', '.join(ENDINGS)}); add some, or leave it out of data.classes"
            )


def _refuse_shared(by_split: Mapping[str, list[ImageFile]], root: Path) -> None:
    """Refuse files that are equal byte by byte and lie in two classes, or in two splits that the folder has."""
    split_of = {file.path: split for split, files in by_split.items() for file in files}
    for copies in copies_of([file for files in by_split.values() for file in files]):
        for what, places in (("classes", {c.label: c for c in copies}), ("splits", {split_of[c.path]: c for c in copies})):
            if len(places) > 1:
                one, other = [copy.path.relative_to(root) for copy in places.values()][:2]
                raise RequestError(f"{one} and {other} in {root} are the same file in two {what}; remove one (pathsynth check lists all)")


def copies_of(files: Iterable[ImageFile]) -> list[list[ImageFile]]:
    """Files that are equal byte by byte, as lists of two and more; only those of one length are read."""
    by_length: dict[int, list[ImageFile]] = {}
    for file in files:
        by_length.setdefault(file.path.stat().st_size, []).append(file)
    _read_ahead(file_digest, [file.path for length, alike in by_length.items() if length and len(alike) > 1 for file in alike])
    by_content: dict[str, list[ImageFile]] = {}
    for length, alike in by_length.items():
        for file in alike if length and len(alike) > 1 else ():  # empty files are no images, and reported as such
            by_content.setdefault(file_digest(file.path), []).append(file)
    return [alike for alike in by_content.values() if len(alike) > 1]


def _without_copies(files: list[ImageFile]) -> list[ImageFile]:
    """The first of files that are equal byte by byte, so that none lies in two of the splits that are cut."""
    further = {id(copy) for copies in copies_of(files) for copy in copies[1:]}
    return [f for f in files if id(f) not in further]


def _cut(
    files: list[ImageFile], cut: Mapping[str, float], seed: int, folders: ClassFolders, labels: Mapping[str, int]
) -> dict[str, list[ImageFile]]:
    """Of each class, the images whose hash comes first go to test, the next to val; every split has one at least."""
    splits: dict[str, list[ImageFile]] = {split: [] for split in SPLITS if split in cut or split == "train"}
    for name, label in labels.items():
        members = [f for f in files if f.label == label]
        fewest = len(splits)
        if len(members) < fewest:
            wanted = " and ".join(filter(None, (", ".join(list(splits)[:-1]), list(splits)[-1])))
            raise RequestError(f"{folders.root / name} holds {len(members)} images, too few for {wanted} ({fewest} at least)")
        drawn = sorted(members, key=lambda f: derive_seed("split", seed, f.path.relative_to(folders.root).as_posix()))
        for split, rows in _portions(len(members), cut).items():
            splits[split] += sorted(drawn[rows], key=lambda f: f.path)
    return splits


def _portions(n: int, cut: Mapping[str, float]) -> dict[str, slice]:
    """Which of n images in a drawn order each split gets: test the first, then val, then train."""
    test = max(1, round(cut["test"] * n)) if "test" in cut else 0
    val = max(1, min(round(cut["val"] * n), n - test - 1)) if "val" in cut else 0
    test = min(test, n - val - 1)
    portions = {"test": slice(0, test), "val": slice(test, test + val), "train": slice(test + val, None)}
    return {split: rows for split, rows in portions.items() if split in cut or split == "train"}


def _cut_by_group(files: list[ImageFile], cut: Mapping[str, float], seed: int, space: LabelSpace) -> dict[str, list[ImageFile]]:
    labels = np.array([f.label for f in files])
    cuts = cut_by_group(labels, numbered([f.group for f in files]), cut, seed, space.slugs)
    return {split: [files[row] for row in rows] for split, rows in cuts.items()}


def _cut_notes(source: str, cut: Mapping[str, float], copies: int) -> list[str]:
    lines = []
    if source:
        shares = " and ".join(f"{split} (data.{split}_share={share:g})" for split, share in cut.items())
        lines.append(f"the folder has no images for {' or '.join(cut)}; cut from those of train: {shares}")
    if copies:
        lines.append(f"files equal to another byte by byte are left out: {copies:,}")
    return lines


def _first(files: list[ImageFile], wanted: int) -> list[ImageFile]:
    """So many files, classes in turn; 0: all."""
    return [files[row] for row in first_of_each_class(np.array([f.label for f in files]), wanted)] if wanted else files


def _refuse_straddling(by_split: Mapping[str, list[ImageFile]]) -> None:
    """Refuse a group that lies in two splits."""
    split_of: dict[str, str] = {}
    for split, files in by_split.items():
        for file in files:
            if file.group and split_of.setdefault(file.group, split) != split:
                splits = f"{split_of[file.group]} and {split}"
                raise RequestError(f"group {file.group} has images in {splits}; move them into one split, or leave data.group out")


def group_numbers(files: Mapping[str, tuple[ImageFile, ...]]) -> dict[str, np.ndarray]:
    """By split, int64 (N,): the number of each file's group among those of its split."""
    return {split: numbered([f.group for f in members]) for split, members in files.items()}


def _identity(size: int, space: LabelSpace, splits: Mapping[str, tuple[ImageFile, ...]], groups: Mapping[str, np.ndarray]) -> str:
    """Hex hash of sizes, classes, splits, groups and the bytes of every file; names of files do not count beyond their order.

    What decoding does beyond reading pixels counts, too, so that data that needs none of it keeps the identity it always had.
    """
    checksum = hashlib.blake2b(f"folder:{size}:{space.symmetry}:{','.join(space.slugs)}".encode(), digest_size=8)
    paths = [file.path for files in splits.values() for file in files]
    _read_ahead(file_digest, paths)
    _read_ahead(_steps, paths)
    for split, files in splits.items():
        for row, file in enumerate(files):
            group = f":{groups[split][row]}" if groups else ""
            checksum.update(f"{split}:{file.label}:{file_digest(file.path)}{_steps(file.path)}{group}".encode())
    return checksum.hexdigest()


def _read_ahead(known: Callable[[Path], str], paths: Sequence[Path]) -> None:
    """Have what is remembered of each file read by several threads; hashing and decoding run outside the interpreter's lock."""
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(known, paths):
            pass


def file_digest(path: Path) -> str:
    """Hex hash of a file's bytes, read once for each length and time of change."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def _steps(path: Path) -> str:
    stat = path.stat()
    return _header_steps(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 22)
def _digest(path: Path, length: int, changed_ns: int) -> str:
    """Of a file's bytes; length and time of change are there so that a replaced file is read again."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "blake2b").hexdigest()


@functools.lru_cache(maxsize=1 << 22)
def _header_steps(path: Path, length: int, changed_ns: int) -> str:
    header = read_header(path)
    return "".join(f":{step}" for step in header.steps) if header else ""
