"""Every order in which processes may get on with a stage, each of which may stand still anywhere for longer than its lease.

The real code runs, each process in a thread that waits for its turn before every step that others can see. A schedule says who has
the turn; all schedules with up to so many changes are gone through. A lease counts as silent whenever somebody looks, the worst that
pauses and clocks can do. At every step: a finished stage stays as it is, and there is one at most.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pathsynth.ledger import lease, stages
from pathsynth.ledger.contents import damage
from pathsynth.ledger.lease import acquire
from pathsynth.ledger.stages import StageStore

STAGE, IDENTITY = "adapter", "0123456789ab"
STEPS = ("link", "rename", "replace", "listdir", "unlink", "rmdir", "mkdir")


class Turns:
    """Lets one thread at a time continue; the schedule is a list of steps after which the turn goes to the next that has not ended."""

    def __init__(self, actions: list[Callable[[], None]], changes: tuple[int, ...], look: Callable[[], None]) -> None:
        self._changes, self._look = set(changes), look
        self._count, self._turn = 0, 0
        self._over = [False] * len(actions)
        self._mine = [threading.Semaphore(0) for _ in actions]
        self._threads = [threading.Thread(target=self._run, args=(n, action), daemon=True) for n, action in enumerate(actions)]
        self._numbers: dict[int, int] = {}
        self.faults: list[BaseException] = []

    def carry_out(self) -> int:
        """Run all to their end; the number of steps it took."""
        for thread in self._threads:
            thread.start()
        self._mine[0].release()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "it came to no end"
        return self._count

    def _run(self, number: int, action: Callable[[], None]) -> None:
        self._numbers[threading.get_ident()] = number
        self._mine[number].acquire()
        try:
            action()
            self._look()
        except BaseException as error:
            self.faults.append(error)
        self._over[number] = True
        self._pass_on(number)

    def step(self) -> None:
        """Before a step of a thread: another may have its turn first, for as long as the schedule says."""
        number = self._numbers.get(threading.get_ident())
        if number is None:
            return
        try:
            self._look()
        except Exception as fault:  # not raised: the code under test might take it for a failure of its own
            self.faults.append(fault)
        self._count += 1
        if self._count in self._changes and self._pass_on(number):
            self._mine[number].acquire()

    def _pass_on(self, number: int) -> bool:
        count = len(self._over)
        for other in ((number + n) % count for n in range(1, count)):
            if not self._over[other]:
                self._mine[other].release()
                return True
        return False


class World:
    """A store in which a stage is built by several; what each has to hold at each step."""

    def __init__(self, root: Path, damaged: bool = False) -> None:
        self.root, self.place = root, root / STAGE / IDENTITY
        self.accepted: tuple[int, str] | None = None
        self.built: list[str] = []
        if damaged:
            self.place.mkdir(parents=True)
            (self.place / "weights").write_text("half")

    def look(self) -> None:
        """A finished stage never goes, never changes, and no other comes in its place."""
        if self.accepted is None:
            if (self.place / "stage.json").exists():
                self.accepted = self._found()
        else:
            assert self._found() == self.accepted

    def _found(self) -> tuple[int, str]:
        assert damage(self.place) == ""
        return self.place.stat().st_ino, (self.place / "weights").read_text()

    def builder(self, name: str) -> Callable[[], None]:
        def make(folder: Path) -> None:
            os.listdir(folder)
            (folder / "weights").write_text(name)
            os.listdir(folder)

        def build() -> None:
            folder = StageStore(self.root, 60).build(STAGE, IDENTITY, {}, make)
            self.built.append((folder / "weights").read_text())

        return build


@pytest.fixture
def root() -> Iterator[Path]:
    """In memory where there is such a place: it is thousands of small worlds."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def turns_at(monkeypatch) -> Iterator[Callable[[Turns], None]]:
    """Makes every step of the file system wait for its turn; leases are silent as soon as somebody looks."""
    current: list[Turns] = []

    def waiting(real):
        def step(*arguments, **options):
            if current:
                current[0].step()
            return real(*arguments, **options)

        return step

    for name in STEPS:
        monkeypatch.setattr(os, name, waiting(getattr(os, name)))
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(stages, "_moves_once", lambda root: True)
    monkeypatch.setattr(lease._Watch, "over", lambda self, token: True)
    monkeypatch.setattr(lease.Lease, "beat", lambda self, on_lost=None: self)

    def at(turns: Turns) -> None:
        current[:] = [turns]

    yield at
    current.clear()


def go_through(root: Path, turns_at, processes: int, schedules, damaged: bool) -> int:
    """Carry every schedule out in a world of its own; how many there were."""
    count = 0
    for changes in schedules:
        world = World(root / "world", damaged)
        turns = Turns([world.builder(name) for name in "abc"[:processes]], changes, world.look)
        turns_at(turns)
        turns.carry_out()
        assert not turns.faults, (changes, turns.faults)
        assert world.accepted, changes
        assert world.built == [world.accepted[1]] * processes, changes
        shutil.rmtree(root / "world")
        count += 1
    return count


def steps_of(root: Path, turns_at, processes: int, damaged: bool) -> int:
    """Steps of processes that never disturb each other: enough numbers for every change to fall between two of them."""
    world = World(root / "alone", damaged)
    turns = Turns([world.builder(name) for name in "abc"[:processes]], (), world.look)
    turns_at(turns)
    return turns.carry_out()


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_with_two_changes_of_turn(root, turns_at, damaged):
    steps = steps_of(root, turns_at, 2, damaged)
    one = [(n,) for n in range(1, steps + 12)]
    two = list(itertools.combinations(range(1, steps + 12), 2))
    assert go_through(root, turns_at, 2, one + two, damaged) > 200


def test_two_and_three_processes_with_three_changes_of_turn(root, turns_at):
    """A sample: there are tens of thousands."""
    dice = random.Random(0)
    for processes in (2, 3):
        steps = steps_of(root, turns_at, processes, damaged=False)
        sample = {tuple(sorted(dice.sample(range(1, steps + 12), 3))) for _ in range(150)}
        assert go_through(root, turns_at, processes, sample, damaged=False) == len(sample)
        shutil.rmtree(root / "alone")


@pytest.mark.parametrize("processes", [2, 3])
def test_of_holders_that_show_themselves_one_is_inside(root, turns_at, monkeypatch, processes):
    """Nobody is taken over here: whatever the order, one holds the lease at a time, and each with a number of its own."""
    monkeypatch.setattr(lease._Watch, "over", lambda self, token: False)
    for changes in itertools.chain(((n,) for n in range(1, 40)), itertools.combinations(range(1, 40), 2)):
        inside: list[int] = []
        numbers: list[int] = []
        place = root / "x.lease"

        def take(place=place, inside=inside, numbers=numbers):
            for _ in range(2):
                taken = acquire(place, 60, wait=False)
                if taken:
                    assert inside == []
                    inside.append(taken.number)
                    numbers.append(taken.number)
                    assert taken.current
                    inside.remove(taken.number)
                    taken.release()

        turns = Turns([take] * processes, changes, lambda: None)
        turns_at(turns)
        turns.carry_out()
        assert not turns.faults, (changes, turns.faults)
        assert numbers == sorted(set(numbers)), changes
        shutil.rmtree(place)
