"""Targets that cannot be written: one line each, and nothing left."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.commands.disk import disk_fault, is_wrong_request


@pytest.mark.parametrize(
    ("error", "told", "wrong"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/a/report.html"), "/a/report.html: Read-only file system; name a folder", True),
        (OSError(errno.EACCES, "Permission denied", "/a/.report.html.x1.partial"), "/a: Permission denied; name a folder", True),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space", False),
        (OSError(errno.EIO, "Input/output error", "/a/b"), "/a/b: Input/output error", False),
        (OSError("two\nlines"), "two lines", False),
        (shutil.Error([("a", "/b/c", "[Errno 28] No space left on device: '/b/c'")]), "/b/c: No space left on device; free", False),
        (shutil.Error("a and b are the same file"), "a and b are the same file", False),
    ],
)
def test_what_the_disk_refused_is_a_line(error, told, wrong):
    assert disk_fault(error).startswith(told)
    assert "\n" not in disk_fault(error)
    assert is_wrong_request(error) is wrong


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC])
def test_a_report_that_cannot_be_written_is_reported_in_a_line(tmp_path, monkeypatch, capsys, error):
    def refuse(*_, **__):
        raise OSError(error, os.strerror(error), str(tmp_path))

    monkeypatch.setattr("pathsynth.commands.report.make_report", refuse)
    monkeypatch.setattr("pathsynth.commands.publish.publish_study", refuse)
    monkeypatch.setattr("pathsynth.commands.join.join_study", refuse)
    monkeypatch.setattr("pathsynth.commands.export.export_adapter", refuse)
    for arguments in (["report", "x"], ["publish", "x"], ["join", "x", "y"], ["export", "x", "y"]):
        assert dispatch(arguments) == (1 if error == errno.ENOSPC else 2)
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and told[0].startswith(f"pathsynth: {tmp_path}: {os.strerror(error)}; ")
