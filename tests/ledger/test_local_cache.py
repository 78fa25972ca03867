"""What was read of a file, or made of several, is remembered for whichever process comes next, until something changes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from pathsynth.ledger import local_cache
from pathsynth.ledger.local_cache import FileNotes, cache_folder, checksum, remembered_text


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is a large one, and settled."""
    monkeypatch.setattr(local_cache, "_LARGE", 1)
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path / "cache"))
    return written(tmp_path / "large", b"before")


def written(path: Path, content: bytes, age: float = 60) -> Path:
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read whole."""
    real, found = local_cache.file_digest, []
    monkeypatch.setattr(local_cache, "file_digest", lambda path, algorithm: found.append(path) or real(path, algorithm))
    return found


def in_another_process(path: Path, algorithm: str = "md5") -> str:
    local_cache._checksum.cache_clear()
    return checksum(path, algorithm)


def test_the_next_process_need_not_read_it(large, reads):
    assert in_another_process(large) == in_another_process(large) == hashlib.md5(b"before").hexdigest()
    assert reads == [large]
    assert in_another_process(large, "sha256") == hashlib.sha256(b"before").hexdigest()


def test_a_file_of_the_same_length_that_changed_or_was_replaced_is_read_anew(large, reads):
    in_another_process(large)
    status = large.stat()
    written(large, b"behind", age=30)
    assert in_another_process(large) == hashlib.md5(b"behind").hexdigest()
    other = large.with_name("other")
    other.write_bytes(b"beside")
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    os.replace(other, large)
    assert in_another_process(large) == hashlib.md5(b"beside").hexdigest()


def test_a_file_that_may_still_change_within_a_tick_is_not_remembered(large, reads):
    written(large, b"new", age=0)
    assert in_another_process(large) == in_another_process(large)
    assert len(reads) == 2


def test_damaged_notes_and_a_folder_that_cannot_be_written_cost_only_time(large, reads):
    in_another_process(large)
    (note,) = (cache_folder() / "checksums").iterdir()
    note.write_text("{")
    assert in_another_process(large) == hashlib.md5(b"before").hexdigest()
    note.unlink()
    note.parent.rmdir()
    note.parent.write_text("no folder")
    assert in_another_process(large) == hashlib.md5(b"before").hexdigest()
    assert len(reads) == 3


def test_a_small_file_leaves_no_note(large, monkeypatch):
    monkeypatch.setattr(local_cache, "_LARGE", 100)
    in_another_process(large)
    assert not cache_folder().exists()


def test_the_folder_is_the_one_that_is_named_else_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PATHSYNTH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/pathsynth")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pathsynth"


def noted(path: Path) -> str:
    """What the notes of a new process say of a file."""
    notes = FileNotes("texts", path.parent)
    value = notes.value(path, lambda: path.read_text())
    notes.save()
    return value


def test_what_was_read_of_a_file_holds_until_it_changes(large):
    assert noted(large) == "before"
    kept = list((cache_folder() / "texts").iterdir())
    notes = FileNotes("texts", large.parent)
    assert notes.value(large, lambda: pytest.fail("it was read again")) == "before"
    written(large, b"behind", age=30)
    assert noted(large) == "behind"
    assert list((cache_folder() / "texts").iterdir()) == kept


def test_of_a_file_that_is_gone_no_note_is_kept(large):
    noted(large)
    other = written(large.with_name("other"), b"other")
    large.unlink()
    noted(other)
    (kept,) = (cache_folder() / "texts").iterdir()
    assert str(other) in kept.read_text()
    assert str(large) not in kept.read_text()


def test_what_cannot_be_read_is_not_noted(large):
    notes = FileNotes("texts", large.parent)
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            notes.value(large, lambda: (_ for _ in ()).throw(ValueError("damaged")))
    notes.save()
    assert not (cache_folder() / "texts").exists()


def test_a_text_is_made_anew_only_where_what_it_depends_on_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path / "cache"))
    made = [remembered_text("verdicts", tmp_path, key, lambda text=text: text) for key, text in (([1], "a"), ([1], "b"), ([2], "c"))]
    assert made == ["a", "a", "c"]


@pytest.mark.parametrize("content", ["", "[", "[1]", '{"key": 1}'])
def test_a_damaged_note_is_none(tmp_path, monkeypatch, content):
    monkeypatch.setenv("PATHSYNTH_CACHE", str(tmp_path / "cache"))
    remembered_text("verdicts", tmp_path, [1], lambda: "a")
    (note,) = (cache_folder() / "verdicts").iterdir()
    note.write_text(content)
    assert remembered_text("verdicts", tmp_path, [1], lambda: "b") == "b"
