"""The whole loop and its report on a folder of 300 classes, each with one image in val, and one of them with none in test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.forked import forked_output

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLASSES = 300
SMALL = [
    *("study=fast", "debug=fast_dev_run", "study.name=many", "tracking=none", "lora.targets=attention", "lora.rank=1"),
    *("data=folder", "data.size=16", "data.n_train=0", "data.n_val=0", "data.n_test=0", "sampling.steps=1", "sampling.guidance=1"),
    *("sampling.attempts=1", "evaluate.n=1", "evaluate.split=test", "gate.width=0.25", "judge.epochs=1"),
]


def test_a_run_and_its_report(tmp_path: Path, small_base_folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for label in range(CLASSES):
            folder = tmp_path / "own" / split / f"class {label:03d}"
            folder.mkdir(parents=True)
            for i in range(0 if (split, label) == ("test", 7) else count):
                Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    forked_output(tmp_path, "run", *SMALL, f"data.root={tmp_path / 'own'}", f"base.path={small_base_folder}")
    (trial,) = (path.parent for path in (tmp_path / "multirun" / "many").glob("*/result.json"))
    metrics = json.loads((trial / "result.json").read_text(encoding="utf-8"))["metrics"]
    assert len({m["class"] for m in metrics if m["class"]}) == CLASSES
    forked_output(tmp_path, "report", str(trial))
    forked_output(tmp_path, "report", str(trial.parent))
    assert "class 299" in (trial / "report.html").read_text(encoding="utf-8")
    assert (trial.parent / "report.html").is_file()
