from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pathsynth.ledger.atomic import copy_file, read_json, write_bytes, write_json, write_text


def test_replaces_the_content(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old and longer")
    write_text(path, "é×")
    assert path.read_bytes() == "é×".encode()
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize("broken", ["fsync", "chmod", "replace"])
def test_a_failure_inside_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    path = tmp_path / "result.json"
    write_bytes(path, b"old")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_an_interrupt_inside_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "result.json", b"new")
    assert os.listdir(tmp_path) == []


def test_synced_before_it_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "result.json", b"new")
    assert calls == ["fsync", "replace"]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_what_is_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"accuracy": 0.5})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"accuracy": value})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_copy_is_a_file_of_its_own(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(bytes(range(256)) * 5000)
    source.chmod(0o444)
    copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino != source.stat().st_ino
    target.write_bytes(b"other")
    assert source.read_bytes()[:2] == b"\x00\x01"


def test_json_that_is_nested_too_deep_is_a_value_error(tmp_path):
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deep"):
        read_json(tmp_path / "a.json")


def test_a_write_to_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []
