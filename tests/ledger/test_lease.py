"""Leases between real processes: one holds, a dead or stopped holder is taken over, and what woke up too late is told so."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.ledger import lease as lease_module
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import StaleLease, acquire, adopt, is_held, newest

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
    assert not is_held(place)
    numbers = []
    for _ in range(6):
        lease = acquire(place, 5, wait=False)
        assert lease and is_held(place) and lease.current
        assert acquire(place, 5, wait=False) is None
        numbers.append(lease.number)
        lease.release()
        assert not is_held(place)
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
    assert is_held(place)
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
    assert is_held(place), "who handed it over still has to see to how it ended"
    assert acquire(place, 5, wait=False) is None
    file = place / "00000001.held"
    file.write_text(json.dumps({**json.loads(file.read_text()), "keeper_born": 1}))  # that one is no more, either
    assert not is_held(place)


def test_of_many_that_want_it_one_is_inside(place):
    with started(CONTENDER, place) as one, started(CONTENDER, place) as two, started(CONTENDER, place) as three:
        (place.parent / "go").touch()
        assert [process.wait(120) for process in (one, two, three)] == [0, 0, 0]
    numbers = [int(number) for number in (place.parent / "inside").read_text().split()]
    assert numbers == list(range(1, 76))


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 200_000])
def test_a_token_that_cannot_be_read_is_watched_for_the_own_term(place, content):
    """It may be one that is being written, where there are no hard links; or a power cut left it."""
    place.mkdir()
    (place / "00000004.held").write_text(content)
    assert is_held(place)
    assert acquire(place, 0.5, wait=False) is None
    lease = acquire(place, 0.5)
    assert lease and lease.number == 5


def test_the_clock_of_this_machine_may_be_wrong(place, holder, monkeypatch):
    """A file server's clock is another; a holder that works is not taken over whatever the two say."""
    now = time.time
    for skew in (-3600, 60, 3600):
        monkeypatch.setattr(time, "time", lambda skew=skew: now() + skew)
        assert is_held(place)
        assert acquire(place, 1, wait=False) is None
    end, watched = time.monotonic() + 2.5, lease_module._Watch(1)
    while time.monotonic() < end:
        assert not watched.over(newest(place))
        time.sleep(0.1)


def test_one_look_tells_by_the_file_systems_clock_that_a_holder_elsewhere_is_silent(place, holder):
    holder.send_signal(signal.SIGSTOP)
    file = place / "00000001.held"
    record = {**json.loads(file.read_text()), "boot": "another", "seconds": 0.5}
    file.write_text(json.dumps(record))
    assert is_held(place)
    time.sleep(0.6)
    assert not is_held(place)


def test_a_watcher_that_stood_still_itself_starts_anew(place, holder, monkeypatch):
    holder.send_signal(signal.SIGSTOP)
    moment = [1000.0]
    monkeypatch.setattr(lease_module.time, "monotonic", lambda: moment[0])
    watched, token = lease_module._Watch(1), newest(place)
    assert not watched.over(token)
    moment[0] += 60
    assert not watched.over(token)
    for _ in range(6):
        moment[0] += 0.2
        over = watched.over(token)
    assert over


@pytest.mark.parametrize("field", ["boot", "namespace", "host"])
def test_a_process_number_says_nothing_in_another_kernel_or_namespace(place, field):
    """The host's name is no machine: containers and cloned machines share it."""
    assert acquire(place, 60)
    file = place / "00000001.held"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: "another", "born": 1}))
    assert is_held(place)
    assert acquire(place, 60, wait=False) is None


def test_a_token_of_before_boots_were_noted_is_watched(place):
    place.mkdir()
    old = {"host": socket.gethostname(), "pid": os.getpid(), "born": 1, "seconds": 60}
    (place / "00000003.held").write_text(json.dumps(old))
    assert acquire(place, 60, wait=False) is None


def test_a_holder_in_another_namespace_of_process_numbers_is_alive(place):
    """Under the same host name and the same kernel; its number is another process's here, or nobody's."""
    unshare = ["unshare", "--pid", "--fork", "--uts", "--mount-proc"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no new namespace here: {tried.stderr.strip()}")
    with subprocess.Popen([*unshare, sys.executable, "-c", HOLDER, str(place), "30"]) as process:
        wait_for(place.parent / "holds")
        assert json.loads((place / "00000001.held").read_text())["host"] == socket.gethostname()
        assert is_held(place)
        assert acquire(place, 30, wait=False) is None
        (place.parent / "end").touch()
        process.wait(30)
    assert (place.parent / "was current").read_text() == "True"


def refuse_links(monkeypatch, error):
    def link(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_the_token_is_created_exclusively(place, monkeypatch, error):
    refuse_links(monkeypatch, error)
    first = acquire(place, 5)
    assert first and is_held(place)
    assert acquire(place, 5, wait=False) is None
    assert lease_module._create(place, 1, lease_module.Holder.me(5)) is None
    first.release()
    second = acquire(place, 5, wait=False)
    assert second and second.number == 2
    assert sorted(path.name for path in place.iterdir()) == ["00000001.over", "00000002.held"]


def test_a_file_system_without_exclusive_creation_is_refused_in_a_line(place, monkeypatch):
    refuse_links(monkeypatch, errno.EPERM)
    whole = Path.open

    def without(self, mode="r", **options):
        if mode == "x":
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        return whole(self, mode, **options)

    monkeypatch.setattr(Path, "open", without)
    with pytest.raises(RequestError, match=rf"the file system of {place} can create no file exclusively .*multirun="):
        acquire(place, 5)


def test_a_link_that_was_made_and_denied_counts(place, monkeypatch):
    """A network file system may lose its answer, carry the request out again, and say that the file exists."""
    real = os.link

    def twice(source, target):
        real(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", twice)
    lease = acquire(place, 5, wait=False)
    assert lease and lease.current


def test_a_number_that_was_given_back_is_not_taken_again(place, monkeypatch):
    """This process looked, stood still while another had the number, and only then creates its file."""
    numbers = lease_module._numbers
    looks = []

    def late(folder):
        found = numbers(folder)
        if len(looks) == 0:
            looks.append(found)
            monkeypatch.setattr(lease_module, "_numbers", numbers)
            other = acquire(place, 5, wait=False)
            assert other and other.number == 1
            other.release()
        return found

    place.mkdir()
    monkeypatch.setattr(lease_module, "_numbers", late)
    assert lease_module._create(place, 1, lease_module.Holder.me(5)) is None
    assert not is_held(place)


def test_other_people_can_read_who_holds_a_lease(place):
    assert acquire(place, 5)
    assert (place / "00000001.held").stat().st_mode & 0o777 == 0o644


def test_a_wait_ends_where_its_check_raises(place, holder):
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acquire(place, 60, check=check)
