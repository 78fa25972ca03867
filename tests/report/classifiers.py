"""Trials of ``classify`` with made-up scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.report.conftest import N, agreement_metrics, confusion


def write_classifier(folder: Path, epochs: int, seed: int, right: int) -> None:
    """A trial of ``classify``: of 50 real images of each class so many are named right, and the others as the next class."""
    folder.mkdir(parents=True)
    config = {"command": "classify", "classifier": {"epochs": epochs, "seed": seed}, "study": {"name": "gates"}}
    (folder / "manifest.json").write_text(json.dumps({"name": folder.name, "config": config, "overrides": [f"classifier.epochs={epochs}"]}))
    (folder / "state.json").write_text(json.dumps({"state": "done", "identity": folder.name}))
    matrix = confusion((right,) * 9, (N,) * 9)
    found = agreement_metrics(matrix, "", "", "phantom 32 px")
    records = [replace(m, split=split, stage=None, scorer=None).to_json() for split in ("val", "test") for m in found]
    (folder / "scores.json").write_text(json.dumps(records))
    (folder / "confusion.json").write_text(json.dumps({split: matrix.tolist() for split in ("val", "test")}))
