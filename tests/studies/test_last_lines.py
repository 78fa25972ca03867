"""What a trial that is not evaluated says at its end."""

from __future__ import annotations

import json

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.records import Metric
from pathsynth.ledger.stages import StageStore
from pathsynth.stages.plan import plan
from pathsynth.studies.execution.pipeline import Trial


@pytest.fixture
def trial(tmp_path):
    """A trial in an empty folder, none of whose stages is built."""

    def make(command: str) -> Trial:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = from_hydra(compose(command, ["tracking=none", "data=phantom"]))
        (tmp_path / "trial").mkdir()
        return Trial(config, plan(config), StageStore(tmp_path / "stages", 60), tmp_path / "trial", lambda *_: None)

    return make


@pytest.mark.parametrize("accepted", [True, False])
def test_a_sheet_is_named_where_there_is_one(trial, tmp_path, capsys, accepted):
    made = trial("generate")
    (tmp_path / "drawn" / "images").mkdir(parents=True)
    if accepted:
        Image.new("RGB", (4, 4)).save(tmp_path / "drawn" / "sheet.png")
    made.built["generate"] = tmp_path / "drawn"
    made.show()
    line = capsys.readouterr().out.strip()
    if accepted:
        assert line == f"images: {made.folder / 'images'}; on one sheet: {made.folder / 'sheet.png'}"
    else:
        assert line == f"no image was accepted; every attempt is in {made.folder / 'attempts.parquet'}"


def test_classify_ends_with_its_scores(trial, tmp_path, capsys):
    def metric(name: str, value: float, slug: str | None = None) -> dict[str, object]:
        return Metric(
            metric=name,
            value=value,
            low=value - 0.1,
            high=value + 0.1,
            n=18,
            unit="image",
            class_=slug,
            split="val",
            data="phantom",
            seed=0,
        ).to_json()

    made = trial("classify")
    (tmp_path / "classifier").mkdir()
    records = [metric("accuracy", 0.75), metric("macro_f1", 0.5), metric("f1", 0.25, "mucus")]
    (tmp_path / "classifier" / "scores.json").write_text(json.dumps(records))
    made.built["classifier"] = tmp_path / "classifier"
    made.show()
    expected = "real images (val): accuracy 0.750 [0.650, 0.850] n=18, macro-F1 0.500 [0.400, 0.600] n=18"
    assert capsys.readouterr().out.strip() == expected
