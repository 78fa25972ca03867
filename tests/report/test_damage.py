"""One damaged trial in a study: it has a line with the reason, and the others have theirs and their pages."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pathsynth.commands.publish import publish_study
from pathsynth.commands.report import make_report
from pathsynth.commands.status import show_status
from pathsynth.ledger.errors import RequestError
from pathsynth.report.page import write_report


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _cut_attempts(trial: Path) -> None:
    pd.DataFrame({"label": range(100)}).to_parquet(trial / "attempts.parquet")
    _cut(trial / "attempts.parquet")


def _changed(path: Path, change: Callable[[dict], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def _not_a_number(record: dict) -> None:
    record["metrics"][0]["value"] = float("nan")


def _too_large(record: dict) -> None:
    record["metrics"][0]["value"] = 10**400


def _odd_extras(record: dict) -> None:
    record["extras"]["before filtering/gate"] = [[1]]


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut attempts": _cut_attempts,
    "NaN": lambda trial: _changed(trial / "result.json", _not_a_number),
    "odd extras": lambda trial: _changed(trial / "result.json", _odd_extras),
    "nested result": lambda trial: (trial / "result.json").write_text("[" * 200_000),
    "nested manifest": lambda trial: (trial / "manifest.json").write_text("[" * 200_000),
    "odd overrides": lambda trial: _changed(trial / "manifest.json", lambda record: record.update(overrides=7)),
    "nested state": lambda trial: (trial / "state.json").write_text("[" * 200_000),
    "state of a list": lambda trial: (trial / "state.json").write_text("[]"),
    "state of odd types": lambda trial: (trial / "state.json").write_text('{"state": "done", "step": "x", "reason": 3}'),
    "huge number": lambda trial: _changed(trial / "result.json", _too_large),
    "binary history": lambda trial: (trial / "history.csv").write_bytes(b"step,val_macro_f1\n\xff\xfe,\xff\n"),
    "endless field": lambda trial: (trial / "history.csv").write_text("step,val_macro_f1\n" + "1" * 200_000 + ",1\n"),
    "cut image": lambda trial: _cut(trial / "images" / "mucus" / "mucus-00000-0.png"),
    "no picture": lambda trial: (trial / "grids" / "real" / "mucus" / "0.png").write_text("no picture"),
}


@pytest.fixture(params=DAMAGES)
def damaged(study: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    DAMAGES[request.param](study / "b-4")
    return request.param, study


def test_the_other_trials_keep_their_row_and_page(damaged: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, study = damaged
    page = write_report(study)
    assert "rank 16" in page.read_text()
    assert (study / "a-16" / "report.html").is_file()
    show_status(study)
    show_status(study, as_json=True)
    for form in ("md", "svg"):
        make_report([study], form)
    told = capsys.readouterr().out
    assert "a-16" in told and "b-4" in told


@pytest.mark.parametrize("what", ["cut attempts", "NaN", "odd extras", "nested result", "huge number", "binary history", "endless field"])
def test_the_damaged_one_says_why(study: Path, what: str) -> None:
    DAMAGES[what](study / "b-4")
    payload = write_report(study).read_text()
    assert "unreadable" in payload
    if what != "cut attempts":  # which its own page does not show
        assert not (study / "b-4" / "report.html").exists()
        with pytest.raises(RequestError) as refused:
            write_report(study / "b-4")
        assert "\n" not in str(refused.value)


def test_a_study_whose_trials_are_all_damaged_is_refused_in_one_line(study: Path) -> None:
    for trial in ("a-16", "b-4"):
        _cut_attempts(study / trial)
    with pytest.raises(RequestError, match=r"a-16|rank 16") as refused:
        write_report(study)
    assert "\n" not in str(refused.value)


def test_publishing_refuses_what_is_nested_too_deep_in_one_line(study: Path) -> None:
    DAMAGES["nested result"](study / "b-4")
    with pytest.raises(RequestError, match=r"b-4/result\.json cannot be read"):
        publish_study(study)


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99)], ids=["encrypted", "oddly compressed"])
def test_a_bundle_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path, offset: int, value: int) -> None:
    """Flags and method of a member, in both of its headers."""
    bundle = tmp_path / "a.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("a.txt", "a")
    content = bytearray(bundle.read_bytes())
    content[offset] = value
    content[content.index(b"PK\x01\x02") + offset + 2] = value
    bundle.write_bytes(content)
    with pytest.raises(RequestError, match=r"a\.zip is no bundle \([^\n]+\)"):
        make_report([bundle], into=tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_bundle_with_a_damaged_byte_anywhere_is_refused_in_one_line_or_opened(tmp_path: Path, method: int) -> None:
    bundle = tmp_path / "a.zip"
    with zipfile.ZipFile(bundle, "w", method) as archive:
        archive.writestr("a.txt", "".join(map(str, range(99))))
    content = bundle.read_bytes()
    for place in range(len(content)):
        for value in (0, 255, content[place] ^ 1):
            bundle.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            with pytest.raises(RequestError, match=r"a\.zip (is no bundle|holds no trial)") as refused:
                make_report([bundle], into=tmp_path)
            assert "\n" not in str(refused.value)
