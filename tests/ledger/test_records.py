from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pathsynth.ledger import records
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.records import (
    Missing,
    OptimizerGroup,
    Result,
    load_result,
    read_metric,
    read_optimizer,
    read_result,
    write_result,
)
from pathsynth.ledger.versions import Provenance
from tests.metric_records import first_attempts_metric

OVERALL = first_attempts_metric(metric="accuracy", value=0.75, low=0.7, high=0.8, scorer="judge", data="phantom 32 px")
RECALL = replace(OVERALL, metric="recall", class_="tumour", low=None, high=None)
AFTER = replace(OVERALL, value=0.9, stage="after filtering")
REAL = replace(OVERALL, value=0.95, split="val", stage=None, prompts=None)


@pytest.fixture
def result() -> Result:
    return Result(
        identity="0123456789ab",
        versions={"torch": "2.15.0"},
        settings={"lora": {"rank": 8}},
        metrics=(OVERALL, RECALL, AFTER, REAL),
        missing=(Missing("kid", "fewer than 10 accepted images"),),
        extras={"before filtering/judge": [[3, 1], [0, 4]]},
        timings={"generate": 1.5},
        stages={"gate": Provenance({"torch": "2.14.1"}, "0123456789ab+", "a processor"), "generate": Provenance({}, None, "a GPU")},
        optimizer=(OptimizerGroup("unet_up", "muon", 12, 4096, 6e-3), OptimizerGroup("unet_magnitude", "adamw", 3, 20, 1e-3)),
    )


def test_what_is_written_is_read(tmp_path: Path, result: Result) -> None:
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path / "result.json") == result
    assert os.listdir(tmp_path) == ["result.json"]


def test_metrics_lie_in_the_file_as_one_table(tmp_path: Path, result: Result) -> None:
    write_result(tmp_path / "result.json", result)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["schema_version"] == 2
    columns = ["metric", "value", "low", "high", "n", "unit", "class", "split", "stage", "scorer", "prompts", "data", "seed"]
    assert [list(row) for row in record["metrics"]] == [columns] * 4
    assert [row["class"] for row in record["metrics"]] == [None, "tumour", None, None]
    assert record["missing"] == [{"metric": "kid", "reason": "fewer than 10 accepted images"}]


def test_a_result_loads_from_a_trials_folder_or_its_file_and_is_one_table(tmp_path: Path, result: Result) -> None:
    write_result(tmp_path / "result.json", result)
    written = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["metrics"]
    for path in (tmp_path, str(tmp_path / "result.json")):
        table = load_result(path).table()
        assert list(table.columns) == list(written[0])
        assert table.value.tolist() == [m["value"] for m in written]
        assert table["class"].isna().tolist() == [m["class"] is None for m in written]
    assert list(replace(result, metrics=()).table().columns) == list(written[0])
    with pytest.raises(RequestError, match="no result at"):
        load_result(tmp_path / "elsewhere")


def test_another_schema_version_is_refused(tmp_path: Path, result: Result) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    path.write_text(_changed(lambda record: record.update(schema_version=3))(path.read_text()))
    with pytest.raises(RequestError, match="schema version 3, this program reads 2; evaluate the trial again") as caught:
        read_result(tmp_path / "result.json")
    assert "\n" not in str(caught.value)


VERSION_1 = """{
 "schema_version": 1, "identity": "0123456789ab", "versions": {"torch": "2.15.0"}, "settings": {"lora": {"rank": 8}},
 "metrics": [{"metric": "accuracy", "value": 0.75, "low": 0.7, "high": 0.8, "n": 90, "unit": "image", "class": null, "split": "generated",
  "stage": "before filtering", "scorer": "judge", "prompts": "canonical", "data": "phantom 32 px", "seed": 0}],
 "missing": [{"metric": "kid", "reason": "fewer than 10 accepted images"}],
 "extras": {"before filtering/judge": [[3, 1], [0, 4]]}, "timings": {"gate": 0.0, "generate": 1.5}}"""


def test_a_file_of_version_1_is_read(tmp_path: Path, result: Result) -> None:
    path = tmp_path / "result.json"
    path.write_text(VERSION_1)
    old = read_result(path)
    expected = replace(result, metrics=(OVERALL,), timings={"gate": 0.0, "generate": 1.5}, stages={}, optimizer=())
    assert old == expected
    assert read_metric(path, "accuracy", "before filtering", "judge") == OVERALL
    write_result(path, old)
    assert read_result(path) == old
    path.write_text(VERSION_1.replace('"unit": "image", ', ""))
    with pytest.raises(RequestError, match="is not a result file"):
        read_result(path)


def test_a_file_without_the_optimizer_is_read(tmp_path: Path, result: Result) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    path.write_text(_changed(lambda record: record["extras"].pop("optimizer"))(path.read_text()))
    assert read_result(path) == replace(result, optimizer=())


def test_the_optimizer_of_a_fine_tune_is_what_it_left(tmp_path: Path) -> None:
    assert read_optimizer(tmp_path) == ()
    path = tmp_path / "optimizer.json"
    path.write_text('[{"name": "unet_up", "rule": "muon", "tensors": 12, "parameters": 4096, "lr": 0.006}]')
    assert read_optimizer(tmp_path) == (OptimizerGroup("unet_up", "muon", 12, 4096, 0.006),)
    for damaged in ("[", '[{"rule": "Muon"}]', "[3]"):
        path.write_text(damaged)
        with pytest.raises(StageError, match=r"optimizer\.json cannot be read"):
            read_optimizer(tmp_path)


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        record = json.loads(text)
        change(record)
        return json.dumps(record)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="truncated"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "[1, 2]", id="another JSON value"),
        pytest.param(_changed(lambda record: record.pop("schema_version")), id="no version"),
        pytest.param(_changed(lambda record: record.pop("metrics")), id="no metrics"),
        pytest.param(_changed(lambda record: record.pop("identity")), id="no identity"),
        pytest.param(_changed(lambda record: record.update(surprise=1)), id="an unknown key"),
        pytest.param(_changed(lambda record: record["metrics"][0].pop("n")), id="a metric without its n"),
        pytest.param(_changed(lambda record: record["metrics"].append("accuracy")), id="a metric that is no record"),
        pytest.param(_changed(lambda record: record["missing"][0].pop("reason")), id="missing without a reason"),
        pytest.param(_changed(lambda record: record["metrics"][0].update(value="0.75")), id="a value in quotes"),
        pytest.param(_changed(lambda record: record["metrics"][0].update(stage="while filtering")), id="a stage that is none"),
        pytest.param(_changed(lambda record: record["extras"].update(gate=[[0.5]])), id="a matrix of no counts"),
        pytest.param(_changed(lambda record: record.pop("stages")), id="no stages"),
        pytest.param(_changed(lambda record: record["stages"]["gate"].pop("commit")), id="a stage without its commit"),
        pytest.param(_changed(lambda record: record["extras"]["optimizer"][0].pop("rule")), id="a group without its rule"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, result: Result, damage: Callable[[str], str]) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RequestError, match="is not a result file") as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="is not a result file"):
        read_result(tmp_path / "result.json")


def test_an_absent_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no result at .*result\.json; run the trial"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written(tmp_path: Path, result: Result, value: float) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(path, replace(result, metrics=(replace(OVERALL, low=value),)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "change", [{"metrics": (replace(OVERALL, n=-1),)}, {"timings": {"generate": "fast"}}, {"identity": ""}, {"schema_version": 1}]
)
def test_what_has_not_the_form_of_the_schema_is_not_written(tmp_path: Path, result: Result, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|must contain"):
        write_result(tmp_path / "result.json", replace(result, **change))
    assert os.listdir(tmp_path) == []


def test_the_schema_describes_each_field_of_a_metric_record() -> None:
    schema = json.loads((Path(records.__file__).parent / "result.schema.json").read_text())
    assert list(schema["properties"]["metrics"]["items"]["properties"]) == list(OVERALL.to_json())


def test_find_never_mixes_stages_scorers_classes_or_splits(result: Result) -> None:
    assert result.find("accuracy", "before filtering", "judge") == OVERALL
    assert result.find("accuracy", "after filtering", "judge") == AFTER
    assert result.find("accuracy", scorer="judge", split="val") == REAL
    assert result.find("recall", "before filtering", "judge", class_="tumour") == RECALL
    assert result.find("recall", "before filtering", "judge") is None
    assert result.find("accuracy", "before filtering", "gate") is None
    assert result.find("accuracy", "before filtering", "judge", split="val") is None
    assert result.find("kid") is None
