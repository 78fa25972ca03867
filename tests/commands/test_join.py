"""Joining shards: what is missing, mixed or unfinished is told; what is there comes together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.config import parse_config


def shard(study: Path, number: int, shards: int = 2, state: str = "done", n: int = 4) -> Path:
    folder = study / f"shard={number},n={n}"
    folder.mkdir(parents=True)
    config = {
        "command": "generate",
        "study": {"name": "draw"},
        "tracking": {"name": "none"},
        "trainer": {"max_steps": 1, "batch_size": 1, "accumulate": 1, "precision": "32-true", "gradient_clip_val": 0}
        | {"warmup_steps": 0, "ema_decay": 0},
        "generate": {"n": n, "shard": number, "shards": shards},
    }
    frozen = parse_config(config).model_dump(mode="json", exclude_none=True)
    plan = {"stages": [], "base": None, "settings": {}, "identity": f"{number}"}
    (folder / "manifest.json").write_text(json.dumps({"name": folder.name, "config": frozen, "plan": plan, "overrides": []}))
    (folder / "state.json").write_text(json.dumps({"state": state}))
    return folder


def refusal(study: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert dispatch(["join", str(study), str(folder)]) == 2
    assert not folder.exists()
    return capsys.readouterr().err


def test_a_shard_that_is_missing_is_named(tmp_path, capsys):
    shard(tmp_path / "draw", 1, shards=3)
    assert "lacks shard 0, 2 of 3" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_a_shard_that_is_not_done_is_named(tmp_path, capsys):
    shard(tmp_path / "draw", 0)
    place = shard(tmp_path / "draw", 1, state="interrupted")
    assert f"shard 1 ({place}) is not done" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_shards_of_two_generations_are_not_mixed(tmp_path, capsys):
    shard(tmp_path / "draw", 0)
    shard(tmp_path / "draw", 1, n=5)
    assert "more than one generation" in refusal(tmp_path / "draw", tmp_path / "set", capsys)


def test_a_study_without_shards_says_so_and_nothing_is_overwritten(tmp_path, capsys):
    shard(tmp_path / "draw", 0, shards=1)
    assert "holds no shards" in refusal(tmp_path / "draw", tmp_path / "set", capsys)
    (tmp_path / "there").mkdir()
    assert dispatch(["join", str(tmp_path / "draw"), str(tmp_path / "there")]) == 2
    assert "not overwritten" in capsys.readouterr().err
