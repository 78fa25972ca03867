"""Ledger and pictures: what was written is read back, and every picture says that it is synthetic."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pathsynth.ledger.errors import StageError
from pathsynth.sampling.attempts import AttemptRow, AttemptsLedger, load_attempts, read_attempts, write_attempts
from pathsynth.sampling.pictures import contact_sheet, labelled_sheet, pixel_hash, read_png, save_png
from pathsynth.sampling.slots import Slot, Stream, attempt_at


def row(slot: int, accepted: bool) -> AttemptRow:
    return AttemptRow(
        stream="eval",
        label=1,
        class_slug="background",
        slot=slot,
        attempt=0,
        prompt="glass, “bare” & empty",
        seed=attempt_at(Slot(Stream.EVAL, 1, slot, ""), 0, 0).seed,
        steps=4,
        guidance=3.0,
        denoiser_calls=8,
        predicted=1 if accepted else 0,
        probability=0.7,
        probabilities=(0.3, 0.7),
        accepted=accepted,
        reason=None if accepted else "another class is more probable",
        near_margin=False,
        image=f"images/{slot}.png" if accepted else None,
        sha256="ab" if accepted else None,
    )


def test_rows_grow_as_lines_and_come_back_from_parquet(tmp_path):
    rows = [row(0, True), row(1, False)]
    ledger = AttemptsLedger(tmp_path)
    ledger.append(rows[0])
    assert len((tmp_path / "attempts.jsonl").read_text().splitlines()) == 1
    ledger.append(rows[1])
    assert ledger.complete(tmp_path, [r.as_attempt() for r in rows]) == ["images/0.png"]
    assert list(read_attempts(tmp_path)) == rows
    assert rows[0].seed > 2**53, "a seed of this size would not survive a float column"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["attempts.jsonl", "attempts.parquet"]


def test_a_ledger_of_an_earlier_version_lacks_some_columns(tmp_path):
    write_attempts(tmp_path, [replace(row(0, True), scheduler="PNDMScheduler", timestep_spacing="leading")])
    (kept,) = read_attempts(tmp_path)
    assert (kept.scheduler, kept.timestep_spacing) == ("PNDMScheduler", "leading")
    path = tmp_path / "attempts.parquet"
    pd.read_parquet(path).drop(columns=["stopped_at", "scheduler", "timestep_spacing"]).to_parquet(path, index=False)
    assert list(read_attempts(tmp_path)) == [row(0, True)]
    write_attempts(tmp_path, [replace(row(0, True), strategy="revise")])
    assert [kept.strategy for kept in read_attempts(tmp_path)] == ["image_to_image"], "under the name that it has now"


def test_a_row_holds_the_attempt_and_the_verdict(tmp_path):
    one = row(3, True)
    assert one.as_attempt() == attempt_at(Slot(Stream.EVAL, 1, 3, one.prompt), 0, 0)
    assert one.as_verdict().accepted and one.as_verdict().probabilities == (0.3, 0.7)


def test_a_damaged_ledger_is_named(tmp_path):
    (tmp_path / "attempts.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StageError, match=r"attempts\.parquet"):
        list(read_attempts(tmp_path))


def test_pictures_say_that_they_are_synthetic(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    attempt = attempt_at(Slot(Stream.GENERATE, 4, 2, "mucus & “more”"), 1, 9)
    save_png(tmp_path / "deep" / "a.png", image, attempt, "mucus")
    text = Image.open(tmp_path / "deep" / "a.png").text
    assert text["synthetic"] == "true" and text["prompt"] == "mucus & “more”" and text["seed"] == str(attempt.seed)
    assert np.array_equal(read_png(tmp_path / "deep" / "a.png"), image)
    assert pixel_hash(read_png(tmp_path / "deep" / "a.png")) == hashlib.sha256(image.tobytes()).hexdigest()
    assert json.dumps(text)  # plain strings only


def test_sheets_have_a_row_a_class_and_grey_gaps():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    sheet = np.asarray(contact_sheet([[image], []], columns=2, size=4, scale=2))
    assert sheet.shape == (22, 22, 3)
    assert (sheet[2:10, 2:10] == 0).all()
    assert (sheet[12:] == 235).all()


def test_the_sheet_of_a_set_names_its_rows(tmp_path):
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    plain = contact_sheet([[image], [image]], 1, 32)
    named = labelled_sheet([[image], [image]], ["mucus", "smooth muscle"], 1, 32)
    wide = named.width - plain.width
    assert wide > 60 and named.height == plain.height and np.array_equal(np.asarray(named)[:, wide:], np.asarray(plain))
    inked = np.asarray(named)[:, :wide].min(axis=2) < 128
    rows = np.array_split(inked, 2)
    assert all(row.any() for row in rows) and rows[1].sum() > rows[0].sum(), "a name beside each row, the longer one below"


def test_a_ledger_loads_as_one_table_from_its_folder_or_its_file(tmp_path):
    rows = [row(0, True), row(1, False)]
    write_attempts(tmp_path, rows)
    pd.read_parquet(tmp_path / "attempts.parquet").drop(columns="scheduler").to_parquet(tmp_path / "attempts.parquet")
    for path in (tmp_path, str(tmp_path / "attempts.parquet")):
        table = load_attempts(path)
        assert list(table.columns) == [f.name for f in fields(AttemptRow)] and table.scheduler.isna().all()
        for name in ("seed", "predicted", "probabilities", "accepted"):
            assert table[name].tolist() == [getattr(r, name) for r in rows]
        assert table.reason.isna().tolist() == table.accepted.tolist() == [True, False]
    with pytest.raises(StageError, match="elsewhere"):
        load_attempts(tmp_path / "elsewhere")
