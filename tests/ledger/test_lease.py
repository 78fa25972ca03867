"""Leases between real processes: one holds, a dead or stopped holder is taken over, and what woke up too late is told so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.ledger.lease import StaleLease, acquire, adopt, held, newest

HOLDER = """
import sys, time
from pathlib import Path
from pathsynth.ledger.lease import acquire
place, seconds = Path(sys.argv[1]), float(sys.argv[2])
lease = acquire(place, seconds).beat(lambda: (place.parent / "lost").touch())
(place.parent / "holds").write_text(str(lease.number))
while not (place.parent / "end").exists():
    time.sleep(0.02)
(place.parent / "was current").write_text(str(lease.current))
"""

CONTENDER = """
import sys, time
from pathlib import Path
from pathsynth.ledger.lease import acquire
place = Path(sys.argv[1])
while not (place.parent / "go").exists():
    time.sleep(0.001)
for _ in range(25):
    with acquire(place, 30) as lease:
        assert lease.current
        log = place.parent / "inside"
        was = log.read_text() if log.exists() else ""
        time.sleep(0.001)
        log.write_text(was + f"{lease.number} ")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "x.lease"


def started(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


@pytest.fixture
def holder(place):
    """A process that holds the lease with a term of one second."""
    with started(HOLDER, place, 1) as process:
        wait_for(place.parent / "holds")
        yield process
        process.send_signal(signal.SIGCONT)
        (place.parent / "end").touch()
        process.wait(30)


def test_a_lease_is_held_once_and_numbers_only_grow(place):
    assert not held(place)
    numbers = []
    for _ in range(6):
        lease = acquire(place, 5, wait=False)
        assert lease and held(place) and lease.current
        assert acquire(place, 5, wait=False) is None
        numbers.append(lease.number)
        lease.release()
        assert not held(place)
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert len(list(place.iterdir())) <= 3


def test_a_holder_that_works_is_waited_for_beyond_its_term(place, holder):
    time.sleep(1.6)
    assert acquire(place, 1, wait=False) is None
    (place.parent / "end").touch()
    taken = acquire(place, 1)
    assert taken and taken.number == 2


def test_a_killed_holder_is_taken_over_at_once(place, holder):
    holder.kill()
    holder.wait()
    started_at = time.monotonic()
    lease = acquire(place, 60, wait=False)
    assert lease and lease.number == 2
    assert time.monotonic() - started_at < 1


def test_a_stopped_holder_is_taken_over_after_its_term_and_learns_it_when_it_wakes(place, holder):
    holder.send_signal(signal.SIGSTOP)
    assert acquire(place, 1, wait=False) is None
    lease = acquire(place, 60)
    assert lease and lease.number == 2
    holder.send_signal(signal.SIGCONT)
    wait_for(place.parent / "lost")
    (place.parent / "end").touch()
    holder.wait(30)
    assert (place.parent / "was current").read_text() == "False"
    assert lease.current


def test_a_holder_on_another_machine_is_watched_for_its_term(place, holder):
    """Of another machine neither the process nor the clock is known; only whether the file changes."""
    holder.send_signal(signal.SIGSTOP)
    file = place / "00000001.held"
    file.write_text(json.dumps({**json.loads(file.read_text()), "host": "elsewhere"}))
    os.utime(file, (0, 0))  # its clock may be years behind
    started_at = time.monotonic()
    assert acquire(place, 1, wait=False) is None
    lease = acquire(place, 60)
    assert lease and lease.number == 2
    assert time.monotonic() - started_at > 1


def test_a_lease_that_was_taken_over_is_stale_for_every_use(place):
    first = acquire(place, 5)
    file = place / "00000001.held"
    file.write_text(json.dumps({**json.loads(file.read_text()), "born": 1}))  # of a process that is no more
    second = acquire(place, 5, wait=False)
    assert first and second and not first.current and second.current
    with pytest.raises(StaleLease, match="taken over"):
        first.check()
    with pytest.raises(StaleLease):
        adopt(place, first.number)
    first.release()
    assert held(place)
    assert second.current


def test_a_lease_handed_over_belongs_to_who_adopts_it(place):
    code = "import sys; from pathlib import Path; from pathsynth.ledger.lease import *; adopt(Path(sys.argv[1]), 1, 5); sys.stdin.read()"
    first = acquire(place, 5)
    assert first
    with subprocess.Popen([sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE) as heir:
        end = time.monotonic() + 30
        while (token := newest(place)) and token.holder and token.holder.pid != heir.pid:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert first.current
        heir.communicate(timeout=30)
    assert not held(place)


def test_of_many_that_want_it_one_is_inside(place):
    with started(CONTENDER, place) as one, started(CONTENDER, place) as two, started(CONTENDER, place) as three:
        (place.parent / "go").touch()
        assert [process.wait(120) for process in (one, two, three)] == [0, 0, 0]
    numbers = [int(number) for number in (place.parent / "inside").read_text().split()]
    assert numbers == list(range(1, 76))


def test_a_damaged_token_file_is_nobodys(place):
    place.mkdir()
    (place / "00000004.held").write_text("{")
    assert not held(place)
    lease = acquire(place, 5, wait=False)
    assert lease and lease.number == 5
