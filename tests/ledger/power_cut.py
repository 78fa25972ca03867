"""What a power cut may leave on a disk, worked out from what the real code does to the file system.

While a :class:`Disk` records, every call by which names come, go or are synced is followed by a look at the whole tree, so that it does
not matter who wrote a file, and how. The rules are the weakest that a journaling file system may keep:

- a file's content is on the disk when the file was synced; before that it may be the last synced one, nothing, zeros, a half or all;
- a name is on the disk when its folder was synced; of the changes of names since then each may have reached the disk or not, in any
  order. A renaming is one change: it happened or it did not.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMING = ("open", "link", "mkdir", "unlink", "remove", "rmdir")
MOST_CHANGES = 5
"""Of more changes than these not every choice is gone through: single ones, all but single ones, and a sample."""
SAMPLE = 24


@dataclass(frozen=True)
class Version:
    content: bytes
    changed_ns: int


@dataclass
class File:
    synced: Version | None = None
    unsynced: list[Version] = field(default_factory=list)

    @property
    def newest(self) -> Version:
        return self.unsynced[-1] if self.unsynced else self.synced or Version(b"", 0)

    def after_a_cut(self) -> list[Version]:
        """What it may hold, with the times of whole ones: a reader that trusts times is given the worst."""
        if not self.unsynced:
            return [self.newest]
        new = self.newest
        torn = [bytes(len(new.content)), new.content[: len(new.content) // 2], b""]
        former = [self.synced] if self.synced else []
        return [*(Version(content, new.changed_ns) for content in torn), *former, *self.unsynced]


Change = dict[str, int | None]
"""Names of one folder, and what each stands for after the change (None: nothing)."""


@dataclass
class Folder:
    names: dict[str, int] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def after(self, changes: list[Change]) -> dict[str, int]:
        names = dict(self.names)
        for change in changes:
            for name, node in change.items():
                if node is None:
                    names.pop(name, None)
                else:
                    names[name] = node
        return names


State = dict[str, Version | None]
"""A tree after a cut: path → content; None: a folder."""


class Disk:
    """Records below ``root``, whose present content is on the disk; gives the states that a cut may have left at each moment."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, seed: int = 0) -> None:
        self._root, self._dice = root, random.Random(seed)
        self._nodes: dict[int, File | Folder] = {0: Folder()}
        self._numbers = {os.stat(root).st_ino: 0}
        self.marks: list[str] = []
        self.states: dict[frozenset[tuple[str, Version | None]], tuple[State, tuple[str, ...]]] = {}
        self._look()
        for node in self._nodes.values():
            self._sync(node)
        for name in NAMING:
            patch.setattr(os, name, self._followed(getattr(os, name)))
        for name in ("rename", "replace"):
            patch.setattr(os, name, self._renaming(getattr(os, name)))
        patch.setattr(os, "fsync", self._fsync)

    def mark(self, what: str) -> None:
        """Something is promised from here on: each state that is left later comes with the mark."""
        self._look()
        self.marks.append(what)
        self._cut()

    def _followed(self, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            made = real(*arguments, **options)
            self._look()
            return made

        return call

    def _renaming(self, real: Any) -> Any:
        def call(source: Any, target: Any) -> None:
            self._look()
            node = self._number(source)
            real(source, target)
            if node is not None:
                place = Path(os.path.abspath(target))
                parent = self._nodes[self._numbers[os.stat(place.parent).st_ino]]
                assert Path(os.path.abspath(source)).parent == place.parent and isinstance(parent, Folder)
                parent.pending.append({Path(source).name: None, place.name: node})
            self._look()

        return call

    def _number(self, path: Any) -> int | None:
        if not Path(os.path.abspath(path)).is_relative_to(self._root) or not os.path.lexists(path):
            return None
        return self._numbers[os.stat(path).st_ino]

    def _fsync(self, descriptor: int) -> None:
        self._look()
        self._cut()  # all that is pending now has had its time to reach the disk, or not
        number = self._numbers.get(os.fstat(descriptor).st_ino)
        if number is not None:
            self._sync(self._nodes[number])

    def _sync(self, node: File | Folder) -> None:
        if isinstance(node, Folder):
            node.names, node.pending = node.after(node.pending), []
        elif node.unsynced:
            node.synced, node.unsynced = node.newest, []

    def _look(self) -> None:
        """Bring the record up to what is there now."""
        seen: set[int] = set()
        self._look_into(self._root, self._nodes[0], seen)
        for inode in self._numbers.keys() - seen - {os.stat(self._root).st_ino}:
            del self._numbers[inode]  # the system may give it to another file

    def _look_into(self, place: Path, folder: File | Folder, seen: set[int]) -> None:
        assert isinstance(folder, Folder)
        entries = {entry.name: entry for entry in os.scandir(place)}
        known = folder.after(folder.pending)
        folder.pending += [{name: None} for name in known if name not in entries]
        for name, entry in entries.items():
            told = entry.stat(follow_symlinks=False)
            seen.add(told.st_ino)
            if told.st_ino not in self._numbers:
                self._numbers[told.st_ino] = len(self._nodes)
                self._nodes[len(self._nodes)] = Folder() if entry.is_dir() else File()
            number = self._numbers[told.st_ino]
            if known.get(name) != number:
                folder.pending.append({name: number})
            node = self._nodes[number]
            if isinstance(node, Folder):
                self._look_into(place / name, node, seen)
            else:
                version = Version((place / name).read_bytes(), told.st_mtime_ns)
                if version != node.newest:
                    node.unsynced.append(version)

    def _cut(self) -> None:
        changes = [(folder, n) for folder in self._nodes.values() if isinstance(folder, Folder) for n in range(len(folder.pending))]
        for kept in self._choices(len(changes)):
            reached = {(id(folder), n) for (folder, n), there in zip(changes, kept, strict=True) if there}
            for worst in (True, False):
                state: State = {}
                self._grow(state, "", 0, reached, worst)
                self.states[frozenset(state.items())] = (state, tuple(self.marks))

    def _choices(self, count: int) -> Iterator[tuple[bool, ...]]:
        if count <= MOST_CHANGES:
            yield from itertools.product((False, True), repeat=count)
            return
        for base in (False, True):
            yield (base,) * count
            for n in range(count):
                yield tuple(base ^ (i == n) for i in range(count))
        for _ in range(SAMPLE):
            yield tuple(self._dice.random() < 0.5 for _ in range(count))

    def _grow(self, state: State, path: str, number: int, reached: set[tuple[int, int]], worst: bool) -> None:
        node = self._nodes[number]
        if isinstance(node, File):
            left = node.after_a_cut()
            state[path] = left[0] if worst else self._dice.choice(left)
            return
        if path:
            state[path] = None
        changes = [change for n, change in enumerate(node.pending) if (id(node), n) in reached]
        for name, child in node.after(changes).items():
            self._grow(state, f"{path}/{name}" if path else name, child, reached, worst)


def lay_out(state: State, root: Path) -> None:
    """Make the tree of a state in an empty folder."""
    for path, version in sorted(state.items(), key=lambda item: item[0].count("/")):
        if version is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(version.content)
            os.utime(root / path, ns=(version.changed_ns, version.changed_ns))
