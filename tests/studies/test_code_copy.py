"""The copy of the program from which a sweep's later processes start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pathsynth
from pathsynth.config.shipped import assets_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.versions import commit
from pathsynth.studies.planning import code_copy
from pathsynth.studies.planning.code_copy import can_be_edited, copy_code, started_from, variables_of_copy

PLUGINS = Path(pathsynth.__file__).parent.parent / "hydra_plugins" / "pathsynth"

ASK = """
import json, of_the_user, pathsynth, hydra_plugins.pathsynth.sweeper as plugin
from pathsynth.config.shipped import assets_folder, conf_folder, studies_folder
from pathsynth.ledger.versions import commit
places = [pathsynth.__file__, plugin.__file__, conf_folder(), studies_folder(), assets_folder()]
print(json.dumps([*map(str, places), of_the_user.VALUE, commit()]))
"""


def test_other_processes_start_from_it_also_where_the_working_folder_is_the_clone(tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    (clone / "pathsynth").mkdir(parents=True)
    (clone / "pathsynth" / "__init__.py").write_text("raise SystemExit('edited')\n")
    (clone / "of_the_user.py").write_text("VALUE = 7\n")
    (clone / "ask.py").write_text(ASK)
    monkeypatch.chdir(clone)
    before = dict(os.environ)
    copy = copy_code(tmp_path / "jobs", PLUGINS)
    with started_from(copy):
        told = json.loads(subprocess.run([sys.executable, "-m", "ask"], capture_output=True, check=True, text=True).stdout)
        assert variables_of_copy()["PYTHONPATH"].startswith(str(copy))
    *code, assets, value, of_commit = told
    assert all(Path(place).is_relative_to(copy) for place in code)
    assert (assets, value, of_commit) == (str(assets_folder()), 7, commit())
    assert not copy.exists()
    assert dict(os.environ) == before


def test_after_a_failure_it_stays_for_what_may_still_run_from_it(tmp_path):
    copy = copy_code(tmp_path, PLUGINS)
    with pytest.raises(RuntimeError), started_from(copy):
        raise RuntimeError
    assert (copy / "pathsynth" / "__init__.py").is_file()
    assert (copy / "pathsynth" / "assets").is_symlink(), "the weights are not copied"


def test_on_a_full_disk_it_is_refused_in_a_line_and_nothing_of_it_is_left(tmp_path, small_disk):
    disk = small_disk(tmp_path / "jobs")
    disk.fill(20)
    with pytest.raises(RequestError, match=r"copy of the program cannot be written \(.*No space left on device.*\); free some space in"):
        copy_code(disk.place, PLUGINS)
    assert [path.name for path in disk.place.iterdir()] == ["filler"]


def test_it_is_of_no_use_for_an_installed_program_or_where_no_path_can_name_it(tmp_path, monkeypatch):
    assert can_be_edited(tmp_path)
    assert not can_be_edited(tmp_path / "a:b")
    monkeypatch.setattr(code_copy.sysconfig, "get_path", lambda _: str(PLUGINS.parent.parent))
    assert not can_be_edited(tmp_path)
