from __future__ import annotations

import json
from pathlib import Path

from hydra import compose, initialize_config_dir

from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.stages import finetune
from pathsynth.studies.trials.variants import variants


def trial(root: Path, name: str, written: str, base: str = "b1", **finetune) -> Path:
    folder = root / name
    folder.mkdir()
    stages = [
        {"name": "cache", "settings": {"augment": True}, "parents": {"data": "d1", "base": base}},
        {"name": "finetune", "settings": {"lora": {"rank": 1}, **finetune}, "parents": {"cache": written}},
    ]
    (folder / "manifest.json").write_text(json.dumps({"written": written, "plan": {"stages": stages}}))
    return folder


def test_trials_of_one_name_tell_what_is_between_them_oldest_first(tmp_path):
    folders = [
        trial(tmp_path, "rank=1-aaaaaa", "2026-01-02", max_steps=300),
        trial(tmp_path, "rank=1-bbbbbb", "2026-01-01", max_steps=240),
        trial(tmp_path, "rank=1-cccccc", "2026-01-03", max_steps=300, base="b2"),
        trial(tmp_path, "rank=4-dddddd", "2026-01-01", max_steps=240),
    ]
    assert variants(folders) == [
        "rank=1-aaaaaa differs from rank=1-bbbbbb: finetune.max_steps 240 → 300",
        "rank=1-cccccc differs from rank=1-aaaaaa: base files b1 → b2",
    ]


def test_many_settings_are_counted_and_none_is_the_programs(tmp_path):
    one = trial(tmp_path, "x-aaaaaa", "1")
    many = trial(tmp_path, "x-bbbbbb", "2", a=1, b=2, c=3, d=4, e=5, f=6)
    added = [f"finetune.{key} unset → {value}" for value, key in enumerate("abcd", start=1)]
    assert variants([one, many]) == [f"x-bbbbbb differs from x-aaaaaa: {', '.join(added)}, and 2 more"]
    assert variants([one, trial(tmp_path, "x-cccccc", "3")]) == ["x-cccccc differs from x-aaaaaa: the program's version"]


def test_a_setting_that_the_older_trials_version_did_not_have_is_no_difference(tmp_path):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("run", ["tracking=none"])).model_dump(mode="json", exclude_none=True)
    one, other = trial(tmp_path, "x-aaaaaa", "1", max_steps=300), trial(tmp_path, "x-bbbbbb", "2", max_steps=600, ema_decay=0.0)
    for folder in (one, other):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "config": config}))
    assert finetune.NEUTRAL["ema_decay"] == 0.0
    assert variants([one, other]) == ["x-bbbbbb differs from x-aaaaaa: finetune.max_steps 300 → 600"]


def test_damaged_manifests_are_left_out(tmp_path):
    one, other = trial(tmp_path, "x-aaaaaa", "1"), trial(tmp_path, "x-bbbbbb", "2")
    (other / "manifest.json").write_text("{")
    assert variants([one, other]) == []
