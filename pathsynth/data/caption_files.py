"""Captions of single training images: a text file beside each image, or one table of all (``metadata.jsonl`` or CSV). No torch."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pathsynth.config.schema import CAPTIONS_BESIDE
from pathsynth.data.class_folders import ENDINGS
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest

_FILE, _TEXT = "file_name", "text"
_SHOWN = 3


@dataclass(frozen=True)
class ImageCaptions:
    """``texts``: the caption of each training image, in the order of the images; ``notes``: lines on what was read and passed over."""

    texts: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Stands for the captions of the images, wherever they were read from."""
        return digest(list(self.texts))


def read_captions(source: str, root: Path, images: Sequence[Path]) -> ImageCaptions:
    """The captions of training images, one each.

    Args:
        source: ``txt`` (the first line of the file with the image's stem and the ending .txt, as kohya's trainers read it), or the path of
            a ``.jsonl`` or ``.csv`` file with ``file_name`` (the path below ``root``, with forward slashes) and ``text``. All in UTF-8.
        root: the folder that they lie below.
        images: the files, in the order of the captions.

    Raises:
        RequestError: a file cannot be read; an image has no caption, or an empty one.
    """
    captions, passed_over = _beside(images) if source == CAPTIONS_BESIDE else _in_table(Path(source), root, images)
    _refuse_gaps(source, root, images, captions)
    texts = tuple(captions[path] for path in images)
    count = f"{len(texts):,} images, {len(set(texts)):,} different captions"
    first = f"each image of train is learned with its own caption, not with the prompts of its class: {count}"
    return ImageCaptions(texts, (first, *passed_over))


def caption_paths(source: str, images: Iterable[Path]) -> list[Path]:
    """The files that the captions of images are read from, as far as they are there."""
    paths = dict.fromkeys(image.with_suffix(".txt") for image in images) if source == CAPTIONS_BESIDE else [Path(source)]
    return [path for path in paths if path.is_file()]


def _refuse_gaps(source: str, root: Path, images: Sequence[Path], captions: Mapping[Path, str]) -> None:
    """Refuse images without a caption, and those with an empty one, both at once."""
    in_table = f"a row with {_FILE}, the path below data.root with forward slashes, and {_TEXT}"
    row = "a .txt file of its name beside it" if source == CAPTIONS_BESIDE else in_table
    missing, empty = [path for path in images if path not in captions], [path for path in images if captions.get(path) == ""]
    gaps = (("no caption", missing, f"each needs {row}"), ("an empty caption", empty, "write one, or take the image out"))
    faults = [
        f"data.captions={source} has {gap} for {len(paths):,} of {len(images):,} images of train "
        f"({_some([path.relative_to(root).as_posix() for path in paths])}); {remedy}"
        for gap, paths, remedy in gaps
        if paths
    ]
    if faults:
        raise RequestError(*faults)


def _beside(images: Sequence[Path]) -> tuple[dict[Path, str], list[str]]:
    """The caption of each image that has a text file beside it, and notes."""
    captions, longer = {}, []
    for image in images:
        path = image.with_suffix(".txt")
        try:
            stat = path.stat()
            captions[image], further = _first_line(path, stat.st_size, stat.st_mtime_ns)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise RequestError(f"{path} cannot be read ({error}); a caption is a text file in UTF-8") from error
        if further:
            longer.append(path.name)
    notes = [f"caption files with several lines, of which the first is taken: {len(longer):,} ({_some(longer)})"] if longer else []
    return captions, notes + _stray_note([path.name for path in _without_image(images)])


@functools.lru_cache(maxsize=1 << 20)
def _first_line(path: Path, length: int, changed_ns: int) -> tuple[str, bool]:
    """The first line that is not blank, and whether another follows; the jobs of a sweep share what was read."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    return (lines[0], len(lines) > 1) if lines else ("", False)


def _without_image(images: Sequence[Path]) -> list[Path]:
    """Text files in the folders of images that lie beside no image of their stem."""
    paths: list[Path] = []
    for folder in sorted({image.parent for image in images}):
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
        stems = {path.stem for path in files if path.suffix.lower() in ENDINGS}
        paths += sorted(path for path in files if path.suffix == ".txt" and path.stem not in stems)
    return paths


def _in_table(path: Path, root: Path, images: Sequence[Path]) -> tuple[dict[Path, str], list[str]]:
    """The caption of each image that a table names, and notes."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    table = _table(path, stat.st_size, stat.st_mtime_ns)
    names = {image.relative_to(root).as_posix(): image for image in images}
    strays = [name for name in table if name not in names and not (root / name).is_file()]
    return {image: table[name] for name, image in names.items() if name in table}, _stray_note(strays)


@functools.lru_cache(maxsize=4)
def _table(path: Path, length: int, changed_ns: int) -> Mapping[str, str]:
    """Captions by file name; length and time of change are there so that a replaced file is read again."""
    rows: dict[str, str] = {}
    try:
        for number, name, text in _json_rows(path) if path.suffix.lower() == ".jsonl" else _csv_rows(path):
            plain = PurePosixPath(name).as_posix()
            if not name:
                raise RequestError(f"{path}, line {number}: {_FILE} is empty; name a file, or remove the line")
            if plain in rows:
                raise RequestError(f"{path}, line {number}: {name} has a caption before; leave one")
            rows[plain] = text.strip()
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error
    return rows


def _unreadable(path: Path, error: Exception) -> RequestError:
    return RequestError(f"data.captions={path} cannot be read ({error}); name a .jsonl or .csv file in UTF-8 with {_FILE} and {_TEXT}")


def _json_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, file name and text of each line that is not blank."""
    with path.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                remedy = f"write one object a line, with {_FILE} and {_TEXT}"
                raise RequestError(f"{path}, line {number}: no JSON ({error}); {remedy}") from error
            if not isinstance(row, dict) or not isinstance(row.get(_FILE), str) or not isinstance(row.get(_TEXT, 0), str | None):
                there = f"an object with {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
                raise RequestError(f"{path}, line {number}: {_FILE} and {_TEXT} should be words, and there is {there}; correct that line")
            yield number, row[_FILE], row[_TEXT] or ""


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, file name and text of each row."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        columns = reader.fieldnames or ()
        missing = next((column for column in (_FILE, _TEXT) if column not in columns), None)
        if missing:
            there = ", ".join(columns) or "none"
            raise RequestError(f"{path} has no column {missing}, but {there}; data.captions needs {_FILE} and {_TEXT}")
        for row in reader:
            if None in row:
                raise RequestError(f"{path}, line {reader.line_num}: more cells than columns; put a caption with commas in double quotes")
            yield reader.line_num, row[_FILE] or "", row[_TEXT] or ""


def _stray_note(names: Sequence[str]) -> list[str]:
    return [f"captions of files that are not there, passed over: {len(names):,} ({_some(names)})"] if names else []


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
