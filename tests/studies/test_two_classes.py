"""The whole loop and its report on a folder of two classes, one of which has a name in another script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.forked import forked_output

pytestmark = pytest.mark.slow

SMALL = [
    *("study=fast", "debug=fast_dev_run", "study.name=two", "tracking=none", "lora.targets=attention", "lora.rank=1"),
    *("data=folder", "data.size=32", "data.n_train=12", "data.n_val=2", "data.n_test=2"),
]


def test_a_run_and_its_report(tmp_path: Path, small_base_folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, low in (("01_TUMOR", 0), ("汉字", 120)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(low, low + 120, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{i}.png")
    (tmp_path / "own" / "汉字" / "._0.png").write_bytes(b"left by a Mac")
    told = forked_output(tmp_path, "run", *SMALL, f"data.root={tmp_path / 'own'}", f"base.path={small_base_folder}")
    assert "note: hidden files passed over: 1 (汉字/._0.png)" in told
    assert "01_TUMOR is requested as “tumor”" in told and "splits: 汉字" in told
    (trial,) = (path.parent for path in (tmp_path / "multirun" / "two").glob("*/result.json"))
    assert {path.name for path in (trial / "grids").iterdir()} >= {"real.png", "first_attempts.png", "accepted.png"}
    forked_output(tmp_path, "report", str(trial))
    forked_output(tmp_path, "report", str(trial.parent))
    page = (trial / "report.html").read_text(encoding="utf-8")
    assert "汉字" in page and "01 tumor" in page and page.count("data:image/png;base64") >= 2
    assert (trial.parent / "report.html").is_file()
