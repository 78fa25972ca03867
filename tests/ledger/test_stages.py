from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pathsynth.ledger import stages
from pathsynth.ledger.contents import damage
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import acquire
from pathsynth.ledger.stages import Built, StageStore, _remove_leftovers, read_built
from pathsynth.ledger.versions import Provenance, processor, provenance, versions

IDENTITY = "0123456789ab"

SLOW_BUILD = """
import sys, time
from pathlib import Path
from pathsynth.ledger.stages import StageStore, _remove_leftovers

root = Path(sys.argv[1])

def make(folder):
    (folder / "weights").write_text("half")
    with open(root / "made", "a") as made:
        made.write("x")
    time.sleep(float(sys.argv[2]))

print(StageStore(root).build("adapter", "0123456789ab", {}, make))
"""


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path)


def _make(folder: Path) -> None:
    (folder / "weights").write_text("whole")


def _start(root: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(root), str(seconds)], stdout=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


def _damage(folder: Path) -> None:
    """Change a byte in place, as an editor would."""
    path = folder / "weights"
    path.chmod(0o644)
    told = path.stat()
    path.write_text("Whole")
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns + 10**7))


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "adapter").iterdir() if path.is_dir() and path.suffix != ".lease")


def test_a_stage_is_made_once(store: StageStore) -> None:
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        _make(folder)

    assert store.find("adapter", IDENTITY) is None
    first = store.build("adapter", IDENTITY, {"rank": 8}, make)
    assert store.build("adapter", IDENTITY, {}, make) == first == store.find("adapter", IDENTITY)
    assert len(calls) == 1
    assert (first / "weights").read_text() == "whole"
    record = json.loads((first / "stage.json").read_text())
    assert 0 <= record["seconds"] < 5
    assert (record["stage"], record["identity"], record["settings"]) == ("adapter", IDENTITY, {"rank": 8})
    told = (first / "weights").stat()
    assert record["files"] == {"weights": f"{hashlib.sha256(b'whole').hexdigest()} 5 {told.st_mtime_ns}"}
    assert [path.stat().st_mode & 0o777 for path in first.iterdir()] == [0o444, 0o444]


def test_another_identity_and_another_stage_are_other_folders(store: StageStore) -> None:
    first = store.build("adapter", IDENTITY, {}, _make)
    assert store.find("adapter", "ba9876543210") is None
    assert store.find("samples", IDENTITY) is None
    assert store.build("samples", IDENTITY, {}, _make) != first


def test_a_build_that_raises_leaves_no_finished_stage_and_the_next_succeeds(store: StageStore) -> None:
    def failing(folder: Path) -> None:
        (folder / "leftover").write_text("half")
        raise RuntimeError("loss is not finite")

    with pytest.raises(RuntimeError, match="not finite"):
        store.build("adapter", IDENTITY, {}, failing)
    assert store.find("adapter", IDENTITY) is None
    assert _folders(store.root) == []
    folder = store.build("adapter", IDENTITY, {}, _make)
    assert sorted(os.listdir(folder)) == ["stage.json", "weights"]
    assert _folders(store.root) == [IDENTITY]


def test_a_stage_under_construction_is_not_found(store: StageStore) -> None:
    seen: list[Path | None] = []

    def make(folder: Path) -> None:
        _make(folder)
        seen.append(store.find("adapter", IDENTITY))

    store.build("adapter", IDENTITY, {}, make)
    assert seen == [None]


def test_a_folder_without_its_record_is_made_again(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make)
    (folder / "stage.json").unlink()
    (folder / "stale").touch()
    assert store.find("adapter", IDENTITY) is None
    assert store.build("adapter", IDENTITY, {}, _make) == folder
    assert sorted(os.listdir(folder)) == ["stage.json", "weights"]


def test_a_killed_build_leaves_only_a_partial_folder_that_the_next_removes(store: StageStore) -> None:
    with _start(store.root, 60) as process:
        _wait_for(store.root / "made")
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert store.find("adapter", IDENTITY) is None
    assert _folders(store.root) == [f"{IDENTITY}.1.partial"]

    def make(folder: Path) -> None:
        assert os.listdir(folder) == []
        _make(folder)

    folder = store.build("adapter", IDENTITY, {}, make)
    assert (folder / "weights").read_text() == "whole"
    assert _folders(store.root) == [IDENTITY]


def test_two_processes_make_a_stage_once(store: StageStore) -> None:
    first = _start(store.root, 2)
    _wait_for(store.root / "made")
    second = _start(store.root, 2)
    said = [process.communicate(timeout=60)[0].strip() for process in (first, second)]
    assert said == [str(store.root / "adapter" / IDENTITY)] * 2
    assert [first.returncode, second.returncode] == [0, 0]
    assert (store.root / "made").read_text() == "x"


def test_a_builder_that_stands_still_is_taken_over_and_what_it_makes_later_is_not_taken(store: StageStore) -> None:
    code = SLOW_BUILD.replace("StageStore(root)", "StageStore(root, 1)").replace('write_text("half")', "write_text('of ' + sys.argv[2])")
    command = [sys.executable, "-c", code, str(store.root)]
    first = subprocess.Popen([*command, "0.5"], stdout=subprocess.PIPE, text=True)
    _wait_for(store.root / "made")
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run([*command, "0"], stdout=subprocess.PIPE, text=True, timeout=60)
    folder = store.root / "adapter" / IDENTITY
    assert second.stdout.strip() == str(folder)
    first.send_signal(signal.SIGCONT)
    assert first.communicate(timeout=60)[0].strip() == str(folder)
    assert first.returncode == 0
    assert (folder / "weights").read_text() == "of 0"
    assert _folders(store.root) == [IDENTITY]


def test_the_work_folder_outlives_a_failed_build_and_goes_with_a_finished_one(store: StageStore) -> None:
    work = store.work("adapter", IDENTITY)

    def stopping(folder: Path) -> None:
        work.mkdir()
        (work / "last.ckpt").write_text("step 100")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("adapter", IDENTITY, {}, stopping)
    assert (work / "last.ckpt").read_text() == "step 100"
    store.build("adapter", IDENTITY, {}, _make)
    assert not work.exists()
    assert _folders(store.root) == [IDENTITY]


COMPUTER = Provenance({"torch": "2.15.0"}, "0123456789ab", "a processor")


def test_a_stage_keeps_what_computed_it_whoever_asks_later(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make, COMPUTER)
    store.build("adapter", IDENTITY, {}, _make, Provenance({}, None, "another"))
    assert read_built(folder).provenance == COMPUTER
    here = provenance(processor())
    assert here.versions == versions() and here.device.strip()


def test_a_stage_from_before_that_was_kept_says_nothing(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make, COMPUTER)
    (folder / "stage.json").write_text(json.dumps({"stage": "adapter", "identity": IDENTITY, "settings": {}}))
    assert read_built(folder) == Built(None, None)


def test_waiting_for_another_builder_is_no_work(store: StageStore) -> None:
    lease = acquire(store.lease("adapter", IDENTITY))
    assert lease
    threading.Timer(1.0, lease.release).start()
    begun: list[float] = []

    def make(folder: Path) -> None:
        begun.append(time.monotonic())
        _make(folder)

    started = time.monotonic()
    folder = store.build("adapter", IDENTITY, {}, make)
    ended, seconds = time.monotonic(), read_built(folder).seconds
    assert begun[0] - started > 0.9
    assert seconds is not None and seconds < ended - started - 0.8


def test_the_seconds_of_a_resumed_stage_are_those_of_all_its_attempts(store: StageStore) -> None:
    work = store.work("adapter", IDENTITY)

    def build(seconds: float, end: BaseException | None) -> Path:
        def make(folder: Path) -> None:
            work.mkdir(exist_ok=True)
            time.sleep(seconds)
            if end:
                raise end

        return store.build("adapter", IDENTITY, {}, make)

    started = time.monotonic()
    for end in (RuntimeError("cut"), KeyboardInterrupt()):
        with pytest.raises(type(end)):
            build(0.3, end)
    folder = build(0.1, None)
    seconds = read_built(folder).seconds
    assert seconds is not None and 0.7 <= seconds <= time.monotonic() - started


def test_what_left_nothing_to_go_on_from_costs_the_result_nothing(store: StageStore) -> None:
    def failing(folder: Path) -> None:
        time.sleep(0.3)
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        store.build("adapter", IDENTITY, {}, failing)
    started = time.monotonic()
    seconds = read_built(store.build("adapter", IDENTITY, {}, _make)).seconds
    assert seconds is not None and seconds <= time.monotonic() - started + 0.01, "rounded"


def test_a_kill_makes_few_seconds_forgotten(store: StageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_TIME_KEPT_EVERY", 0.05)
    work = store.work("adapter", IDENTITY)
    noted: list[float] = []

    def make(folder: Path) -> None:
        work.mkdir()
        _wait_for(work / "seconds.json")
        noted.append(json.loads((work / "seconds.json").read_text()))

    started = time.monotonic()
    store.build("adapter", IDENTITY, {}, make)
    assert 0.05 <= noted[0] < time.monotonic() - started


def test_a_stage_that_was_changed_in_place_is_made_again_and_said(store: StageStore, capsys) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make)
    _damage(folder)
    assert store.find("adapter", IDENTITY)
    assert store.read("adapter", IDENTITY) is None
    assert store.build("adapter", IDENTITY, {}, _make) == folder
    assert (folder / "weights").read_text() == "whole"
    assert capsys.readouterr().out == f"adapter {IDENTITY}: weights was changed; it is built again\n"
    assert _folders(store.root) == [IDENTITY]


def test_a_file_that_is_missing_or_a_damaged_record_is_damage(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make)
    assert damage(folder) == ""
    (folder / "weights").unlink()
    assert damage(folder) == "weights is missing"
    for content in ("", "[]", '{"files": {"a": "b"}}', "[" * 200_000):
        (folder / "stage.json").chmod(0o644)
        (folder / "stage.json").write_text(content)
        assert damage(folder) == "stage.json is damaged"
    store.build("adapter", IDENTITY, {}, _make)
    assert damage(folder) == ""


def test_another_time_alone_is_no_damage(store: StageStore) -> None:
    """A store that was copied without its times is whole."""
    folder = store.build("adapter", IDENTITY, {}, _make)
    os.utime(folder / "weights", (0, 0))
    assert store.read("adapter", IDENTITY) == folder


def test_a_stage_of_before_contents_were_noted_is_found(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make)
    (folder / "stage.json").chmod(0o644)
    (folder / "stage.json").write_text('{"stage": "adapter", "settings": {}}')
    assert store.read("adapter", IDENTITY) == folder


def test_what_was_found_useless_is_discarded_and_what_came_after_it_is_not(store: StageStore) -> None:
    folder = store.build("adapter", IDENTITY, {}, _make)
    stamp = store.stamp("adapter", IDENTITY)
    store.discard("adapter", IDENTITY, stamp)
    assert store.find("adapter", IDENTITY) is None
    store.build("adapter", IDENTITY, {}, _make)
    store.discard("adapter", IDENTITY, stamp)
    assert store.read("adapter", IDENTITY) == folder


class Disk:
    """Records what was synced; a folder that is accepted while anything in it was not is a failure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, tuple[int, int]] = {}
        self.accepted: list[Path] = []
        self._fsync, self._rename = os.fsync, os.rename
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "rename", self.rename)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        told = os.fstat(descriptor)
        self.synced[told.st_ino] = (told.st_size, told.st_mtime_ns)

    def is_synced(self, path: Path) -> bool:
        told = path.stat()
        return self.synced.get(told.st_ino) == (told.st_size, told.st_mtime_ns)

    def rename(self, source: str, target: str) -> None:
        if Path(target).name == IDENTITY:
            inside = [Path(source), *Path(source).rglob("*")]
            assert [str(path) for path in inside if not self.is_synced(path)] == []
            assert (Path(source) / "stage.json").is_file()
            self.accepted.append(Path(target))
        self._rename(source, target)


def _make_much(folder: Path) -> None:
    _make(folder)
    (folder / "images" / "mucus").mkdir(parents=True)
    for number in range(3):
        (folder / "images" / "mucus" / f"{number}.png").write_bytes(bytes(number))


def test_a_stage_is_on_the_disk_before_it_counts_as_finished(store: StageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    folder = store.build("adapter", IDENTITY, {}, _make_much)
    assert disk.accepted == [folder]
    assert disk.is_synced(folder.parent), "the name itself is on the disk as well"
    assert disk.is_synced(store.root)


@pytest.mark.parametrize("forgotten", ["weights", "1.png", "mucus", "images", "stage.json", f"{IDENTITY}.1.partial"])
def test_what_is_not_synced_is_noticed(store: StageStore, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    disk = Disk(monkeypatch)
    whole = disk.fsync

    def fsync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        if forgotten not in (name, name.removeprefix(".").partition(".json.")[0] + ".json"):
            whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(AssertionError, match=forgotten):
        store.build("adapter", IDENTITY, {}, _make_much)


def test_only_what_earlier_builders_left_is_removed(store: StageStore) -> None:
    """A builder that stood still when it had just begun must not remove what its successor is at."""
    place = store.root / "adapter" / IDENTITY
    for name in (".partial", ".1.partial", ".gone0_1.partial", ".2.partial", ".3.partial", ".work"):
        place.with_name(f"{IDENTITY}{name}").mkdir(parents=True)
    _remove_leftovers(place, 2)
    assert _folders(store.root) == [f"{IDENTITY}{name}" for name in (".3.partial", ".work")]


def _replaces(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    os.replace(source, target)


def _refuses(source: Path, target: Path) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


@pytest.mark.parametrize(("rename", "told"), [(_replaces, "replaces a folder by another"), (_refuses, "moves no folders")])
def test_a_file_system_that_cannot_keep_two_results_apart_is_refused(store: StageStore, monkeypatch, rename, told) -> None:
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(RequestError, match=rf"{told}.*{store.root}, as in multirun=") as refused:
        store.build("adapter", IDENTITY, {}, _make)
    assert "\n" not in str(refused.value)
    assert _folders(store.root) == []
