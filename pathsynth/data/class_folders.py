"""Which files below a folder are images of which class and split, and which are passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathsynth.data.dataset import SPLITS
from pathsynth.ledger.errors import RequestError

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Of files that count as images; others are passed over and counted."""

_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NOT_OF_THE_USER = {"__macosx", "thumbs.db", "desktop.ini"}
_SHOWN = 3


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder.

    ``images``: split → class folder → its images in order; the one split "" where the folder has none of its own. ``hidden``: files that
    a system or a program left there. ``others``: endings of files that are not read, and how many. ``loose``: images in no class folder.
    ``beside``: folders beside those of the splits.
    """

    root: Path
    names: tuple[str, ...]
    images: Mapping[str, Mapping[str, tuple[Path, ...]]]
    hidden: tuple[Path, ...]
    others: Mapping[str, int]
    loose: int
    beside: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each kind of file that is passed over."""
        lines = []
        if self.hidden:
            some = ", ".join(str(path.relative_to(self.root)) for path in self.hidden[:_SHOWN])
            lines.append(f"hidden files passed over: {len(self.hidden):,} ({some}{', …' if len(self.hidden) > _SHOWN else ''})")
        if self.others:
            counted = ", ".join(f"{count:,} {ending or 'without an ending'}" for ending, count in sorted(self.others.items()))
            lines.append(f"files of other kinds passed over: {counted}; images are read from {', '.join(ENDINGS)}")
        if self.loose:
            lines.append(f"images in no class folder passed over: {self.loose:,}")
        if self.beside:
            lines.append(f"folders beside those of the splits passed over: {', '.join(self.beside)}")
        return tuple(lines)


def class_folders(root: Path | None, classes: Sequence[str] = (), beside_images: Collection[str] = ()) -> ClassFolders:
    """The images in ``root/<class>/``, or in ``root/train|val|test/<class>/`` (in any case; also ``valid``, ``validation``).

    Folders called so are splits where ``train`` is among them and either another split or nothing else lies beside it.

    Args:
        root: the folder.
        classes: the class folders that are taken (empty: all).
        beside_images: endings of files that are read, too, and not counted as passed over.

    Raises:
        RequestError: no such folder; no class folders, or one alone; two folders for one split, or none for train.
    """
    if root is None:
        raise RequestError("data=folder needs a folder of class folders; set data.root")
    if not root.is_dir():
        raise RequestError(f"no folder {root}; set data.root to a folder of class folders")
    places = _places(root)
    names = _class_names(root, places, classes)
    by_split = {split: {name: _files(place / name) for name in names} for split, place in places.items()}
    images = {split: {name: tuple(filter(_is_image, files)) for name, files in by_class.items()} for split, by_class in by_split.items()}
    every = _files(root, hidden=True)
    hidden = tuple(path for path in every if _is_hidden(path.relative_to(root)))
    others = Counter(p.suffix.lower() for by_class in by_split.values() for files in by_class.values() for p in files if not _is_image(p))
    others = Counter({ending: count for ending, count in others.items() if ending not in beside_images})
    tops = [root, *places.values()]
    loose = sum(_is_image(path) and path.parent in tops and not _is_hidden(path.relative_to(root)) for path in every)
    beside = tuple(sorted(d.name for d in _folders(root) if "" not in places and d not in places.values()))
    return ClassFolders(root, names, images, hidden, dict(others), loose, beside)


def watched_paths(root: Path) -> list[Path]:
    """Every image that :func:`class_folders` reads, and every folder on the way to one, through the same links.

    A folder's time changes when files or folders in it are added or removed.

    Raises:
        RequestError: two folders for one split, or none for train.
    """
    if not root.is_dir():
        return [root]
    places = _places(root).values()
    classes = sorted({child for place in places for child in _folders(place)})
    images = [path for folder in classes for path in _files(folder) if _is_image(path)]
    folders = {root, *places, *(top for folder in classes for top, _ in _walk(folder) if not _is_hidden(top.relative_to(folder)))}
    return [*images, *sorted(folders)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _is_hidden(inside: Path) -> bool:
    """Whether a path, as seen from the folder, was left there by a system or a program."""
    return any(part.startswith(".") or part.lower() in _NOT_OF_THE_USER for part in inside.parts)


def _files(folder: Path, hidden: bool = False) -> list[Path]:
    """Every file below a folder, in order; none where it is no folder."""
    paths = [top / name for top, names in _walk(folder) for name in names]
    return sorted(path for path in paths if (hidden or not _is_hidden(path.relative_to(folder))) and path.is_file())


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder, which may be a link, and each folder below it, with the names of its files.

    Links to folders below it are not followed: they may lead back up, or to images that are read already.
    """
    return ((Path(top), names) for top, _, names in os.walk(folder))


def _folders(root: Path) -> list[Path]:
    return [child for child in root.iterdir() if child.is_dir() and not _is_hidden(Path(child.name))]


def _places(root: Path) -> dict[str, Path]:
    """Where each split's class folders are: one place for all, or one for each split that has a folder."""
    folders = _folders(root)
    named = [(_SPLIT_NAMES[child.name.lower()], child) for child in folders if child.name.lower() in _SPLIT_NAMES]
    splits = dict(named)
    if not splits or (len(splits) == 1 and len(folders) > 1):
        return {"": root}
    doubled = next((split for split in splits if sum(slug == split for slug, _ in named) > 1), None)
    if doubled:
        both = " and ".join(sorted(child.name for slug, child in named if slug == doubled))
        raise RequestError(f"{root} has two folders for {doubled} ({both}); leave one")
    if "train" not in splits:
        there = ", ".join(splits)
        raise RequestError(f"{root} has folders for some splits ({there}) but none for train; add it, or have class folders alone")
    return {split: splits[split] for split in SPLITS if split in splits}


def _class_names(root: Path, places: Mapping[str, Path], wanted: Sequence[str]) -> tuple[str, ...]:
    existing = {child.name for place in places.values() for child in _folders(place)}
    unknown = sorted(set(wanted) - existing)
    if unknown:
        raise RequestError(f"{root} has no class folder {unknown[0]}; it has {', '.join(sorted(existing)) or 'none'}")
    names = sorted(wanted or existing)
    if len(names) < 2:
        raise RequestError(f"{root} has {len(names)} class folders, two are needed at least; set data.root to a folder of class folders")
    return tuple(names)
