from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pathsynth.ledger import versions
from pathsynth.studies.planning.snapshot import write_snapshot


def git(clone: Path, *words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", str(clone), *who, *words], capture_output=True, check=True).stdout.decode().strip()


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone with one commit, which the program takes for its own."""
    clone = tmp_path / "clone"
    clone.mkdir()
    git(clone, "init", "--quiet")
    (clone / "text.py").write_text("a = 1\n")
    (clone / "image.bin").write_bytes(bytes(range(256)))
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(versions, "__file__", str(clone / "versions.py"))
    return clone


def test_commit_and_changes_give_back_the_code_of_a_sweep(clone, tmp_path):
    changed = {"text.py": "# ä \udcff\r\na = 2\n".encode("utf-8", "surrogateescape"), "image.bin": bytes(range(255, -1, -1))}
    for name, content in changed.items():
        (clone / name).write_bytes(content)
    git(clone, "config", "color.ui", "always")
    write_snapshot(tmp_path)
    told = json.loads((tmp_path / "code.json").read_text())
    assert told["commit"] == git(clone, "rev-parse", "--short=12", "HEAD") + "+"
    assert "python" in told["versions"]
    git(clone, "checkout", "--quiet", ".")
    git(clone, "apply", str(tmp_path / "uncommitted.patch"))
    assert {name: (clone / name).read_bytes() for name in changed} == changed


def test_without_changes_there_is_no_patch(clone, tmp_path):
    write_snapshot(tmp_path)
    assert json.loads((tmp_path / "code.json").read_text())["commit"] == git(clone, "rev-parse", "--short=12", "HEAD")
    assert not (tmp_path / "uncommitted.patch").exists()


def test_a_patch_of_an_earlier_command_does_not_stay(clone, tmp_path):
    (clone / "text.py").write_text("a = 2\n")
    write_snapshot(tmp_path)
    assert (tmp_path / "uncommitted.patch").exists()
    git(clone, "checkout", "--quiet", ".")
    write_snapshot(tmp_path)
    assert not (tmp_path / "uncommitted.patch").exists()


@pytest.mark.parametrize("secret", ["hf_" + "a" * 34, "https://me:s3cr3t@example.org", "0123456789abcdef"])
def test_changes_with_a_secret_are_not_kept(clone, tmp_path, monkeypatch, capsys, secret):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    (clone / "text.py").write_text(f"a = '{secret}'\n")
    write_snapshot(tmp_path)
    assert [path.name for path in tmp_path.glob("*.*")] == ["code.json"]
    line = capsys.readouterr().out
    assert "looks like a secret" in line and secret not in line


def test_outside_a_clone_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "versions.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    write_snapshot(tmp_path)
    assert json.loads((tmp_path / "code.json").read_text())["commit"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["code.json"]
