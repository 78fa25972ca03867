"""`pathsynth replay`: what is refused, without loading torch. What is drawn: tests/study/test_pipeline.py."""

from __future__ import annotations

import pytest
from PIL import Image

from pathsynth.__main__ import dispatch


@pytest.mark.parametrize(
    "words, told",
    [
        (["gone.png"], "no image at gone.png"),
        (["stray.png"], "stray.png lies in no trial's folder"),
        ([".", "mucus-00003-1"], "is no trial's folder; pathsynth status lists them"),
        (["stray.png", "--save", "stray.png"], "lies in no trial's folder"),
        ([".", "mucus-00003-1", "--save", "stray.png"], "stray.png is there already and is not overwritten"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("stray.png")
    assert dispatch(["replay", *words]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1
