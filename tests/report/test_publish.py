from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pathsynth.commands.publish import publish_study
from pathsynth.commands.report import make_report
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import merge_trials


def test_bundle_lists_all_it_holds_and_no_real_image(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)
    manifest = folder / "rank-4-0" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "tracking": {"api_key": "sesame"}}))
    (folder / "rank-4-0" / "log.txt").write_text("sesame")
    with zipfile.ZipFile(publish_study(folder)) as bundle:
        names = set(bundle.namelist())
        listed = {line.split("  ")[-1].strip() for line in bundle.read("CONTENTS.txt").decode().splitlines()}
        assert listed == names - {"CONTENTS.txt"}
        assert all(b"sesame" not in bundle.read(name) for name in names)
    assert "rank-4-0/grids/accepted.png" in names and not any("real" in name or "log" in name for name in names)


def test_what_looks_like_a_secret_is_refused(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(4,), seeds=1, prompt="x", failed=0)
    state = folder / "rank-4-0" / "state.json"
    state.write_text(json.dumps({"state": "done", "detail": "https://me:open@example.org/x"}))
    with pytest.raises(RequestError, match="state.json holds what looks like a secret"):
        publish_study(folder)
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".*"))


def test_same_trial_from_two_people_counts_once(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    mine = make_sweep(tmp_path / "mine", ranks=(1, 4), seeds=1, failed=0)
    theirs = make_sweep(tmp_path / "theirs", ranks=(4, 16), seeds=1, failed=0)
    assert [t.settings["lora.rank"] for t in merge_trials([mine, theirs])] == ["1", "4", "16"]
    (tmp_path / "both").mkdir()
    make_report([mine, publish_study(theirs)], into=tmp_path / "both")
    text = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "Study of 3 trials, 3 finished" in text
