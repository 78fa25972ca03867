from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.records import Missing, Result, read_result, write_result
from pathsynth.sampling.attempts import AttemptRow, AttemptsLedger
from pathsynth.studies.trials.trial_diff import Compared, compare_trials, differing_versions
from tests.metric_records import first_attempts_metric

ROW = AttemptRow("eval", 0, "adipose", 0, 0, "H&E: adipose", 1, 4, 3.0, 8, 0, 0.7, (0.7, 0.3), True, None, False, "images/0.png", "ab")
METRIC = first_attempts_metric(value=0.5, low=0.4, high=0.6)


def attempts(folder: Path, *rows: AttemptRow) -> None:
    ledger = AttemptsLedger(folder)
    for row in rows:
        ledger.append(row)
    ledger.complete(folder, [row.as_attempt() for row in rows])


def rank(value: float) -> np.ndarray:
    return np.array([value], dtype=np.float32)


@pytest.fixture
def twins(tmp_path) -> tuple[Path, Path]:
    """Two trials that came to the same; the second took longer, with another torch."""
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "adapter").mkdir(parents=True)
    save_file({"down": rank(1.0)}, first / "adapter" / "w.safetensors")
    (first / "adapter" / "adapter.json").write_text('{"rank": 1, "step": 20}')
    attempts(first, ROW, replace(ROW, attempt=1, probability=float("nan")))
    result = Result("x", {"torch": "1"}, {}, (METRIC,), (Missing("kid", "too few"),), {"a": [[1, 2], [3, 4]]}, {"gate": 1.0})
    write_result(first / "result.json", result)
    shutil.copytree(first, second)
    write_result(second / "result.json", replace(result, versions={"torch": "2"}, timings={"gate": 9.0}))
    for folder, torch in ((first, "1"), (second, "2")):
        (folder / "manifest.json").write_text(json.dumps({"versions": {"torch": torch, "numpy": "1"}, "commit": f"abc{torch}"}))
    return first, second


def unlike(twins: tuple[Path, Path]) -> dict[str, str]:
    return {row.what: row.detail for row in compare_trials(*twins) if not row.same}


def test_twins_are_the_same_in_everything_that_is_compared(twins):
    rows = compare_trials(*twins)
    adapter = ["adapter/w.safetensors", "adapter/adapter.json"]
    assert [row.what for row in rows] == [*adapter, "attempts.parquet", "metrics", "confusion matrices, missing metrics"]
    assert all(row.same for row in rows)


def test_versions_and_commit_are_reported(twins):
    assert differing_versions(*twins) == ["torch 1 → 2", "commit abc1 → abc2"]
    assert differing_versions(twins[0], twins[0]) == []


def test_a_weight_that_differs_in_its_last_bit(twins):
    save_file({"down": np.nextafter(rank(1.0), rank(2.0))}, twins[1] / "adapter" / "w.safetensors")
    assert list(unlike(twins)) == ["adapter/w.safetensors"]


def test_another_step_that_was_best(twins):
    (twins[1] / "adapter" / "adapter.json").write_text('{"step": 30, "rank": 1}')
    assert list(unlike(twins)) == ["adapter/adapter.json"]
    (twins[1] / "adapter" / "adapter.json").write_text('{"step": 20, "rank": 1}')
    assert unlike(twins) == {}


def test_weights_that_only_one_has(twins):
    (twins[1] / "adapter" / "w.safetensors").unlink()
    assert unlike(twins)["adapter/w.safetensors"].endswith(" → none")


def test_an_attempt_that_differs_is_named(twins):
    attempts(twins[1], ROW, replace(ROW, attempt=1, probability=float("nan"), seed=2, sha256="cd"))
    assert unlike(twins) == {"attempts.parquet": "1 of 2 rows differ, first adipose, slot 0, attempt 1: seed, sha256"}


def test_attempts_that_are_more_or_missing(twins):
    attempts(twins[1], ROW, ROW, replace(ROW, attempt=1), replace(ROW, attempt=2))
    assert unlike(twins) == {"attempts.parquet": "2 rows → 3 rows"}
    (twins[1] / "attempts.parquet").unlink()
    assert unlike(twins) == {"attempts.parquet": "rows → none"}


def test_every_number_and_its_interval_are_compared(twins):
    result = read_result(twins[1] / "result.json")
    write_result(twins[1] / "result.json", replace(result, metrics=(replace(METRIC, high=0.61), replace(METRIC, class_="mucus"))))
    told = unlike(twins)
    assert told["macro_f1, generated, before filtering, gate, canonical, none, 0"] == "0.5 [0.4, 0.6] (n = 90) → 0.5 [0.4, 0.61] (n = 90)"
    assert told["macro_f1, mucus, generated, before filtering, gate, canonical, none, 0"].startswith("none → ")
    assert told["metrics"] == "0 of 2 the same"


def test_confusions_and_what_is_missing_are_compared(twins):
    result = read_result(twins[1] / "result.json")
    for changed in (replace(result, extras={"a": [[1, 2], [3, 5]]}), replace(result, missing=())):
        write_result(twins[1] / "result.json", changed)
        assert list(unlike(twins)) == ["confusion matrices, missing metrics"]
    (twins[1] / "result.json").unlink()
    assert "metrics" in unlike(twins)


def test_a_classifier_has_its_scores(tmp_path):
    for name, value in (("a", 0.5), ("b", 0.5), ("c", 0.6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps([replace(METRIC, value=value).to_json()]))
    assert compare_trials(tmp_path / "a", tmp_path / "b") == [Compared("metrics", True, "1 numbers")]
    assert not all(row.same for row in compare_trials(tmp_path / "a", tmp_path / "c"))


def test_two_empty_folders_are_not_the_same(tmp_path):
    assert [row.same for row in compare_trials(tmp_path, tmp_path)] == [False]


@pytest.mark.parametrize("name, error", [("result.json", RequestError), ("attempts.parquet", StageError)])
def test_damaged_files_are_named(twins, name, error):
    (twins[1] / name).write_text("{")
    with pytest.raises(error, match=name):
        compare_trials(*twins)


def test_a_manifest_that_is_no_manifest(twins):
    (twins[1] / "manifest.json").write_text("[]")
    with pytest.raises(RequestError, match=r"manifest\.json cannot be read"):
        differing_versions(*twins)
