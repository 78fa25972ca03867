from __future__ import annotations

import io
import re
import time

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from pathsynth.terminal.stage_display import Count, StageDisplay, hidden
from pathsynth.training.progress import DisplayProgress, LogProgress, Pace, SamplingProgress, training_progress


def test_a_pace_is_reported_every_two_seconds_at_most_and_measures_from_the_second_telling():
    told, at = [], [100.0]
    pace = Pace(lambda *words: told.append(words), clock=lambda: at[0])
    for seconds, done in [(0, 0), (1.9, 50), (2, 60), (3, 62), (4, 64), (7, 66), (8, 72)]:
        at[0] = 100.0 + seconds
        pace.note(done, 90)
    assert told == [(0, 90, None), (60, 90, None), (64, 90, 2.0), (66, 90, pytest.approx(1.2))]


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_index):
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_training_tells_its_steps(monkeypatch):
    told, at = [], [0.0]

    def second() -> float:
        at[0] += 1.0
        return at[0]

    monkeypatch.setattr(time, "monotonic", second)
    monkeypatch.setattr(Pace.__init__, "__defaults__", (second,))
    trainer = pl.Trainer(
        max_steps=5,
        accelerator="cpu",
        callbacks=training_progress("finetune", lambda *words: told.append(words), hidden()),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(5, 1))))
    assert [words[:2] for words in told][:2] == [(1, 5), (2, 5)]
    assert told[2][2] > 0


def test_a_generation_tells_settled_slots():
    told = []
    shown = SamplingProgress(hidden(), "generate", 2, "slots", lambda *words: told.append(words))
    shown.count(settled=True)
    shown.count(settled=False)
    assert told == [(1, 2, None)]


def test_a_generation_tells_of_itself_while_its_first_batch_is_on_its_way():
    told = []
    SamplingProgress(hidden(), "generate", 54, "slots", lambda *words: told.append(words)).denoise(1, 20)
    assert told == [(0, 54, None)]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def line(display: StageDisplay) -> str:
    """What stands on the terminal of the stage at work."""
    console = terminal()
    console.print(display.line)
    return " ".join(console.file.getvalue().split())


def test_finished_stages_are_ticked_and_the_one_at_work_has_its_number_count_and_loss():
    console = terminal()
    display = StageDisplay(3, console)
    assert "loading the libraries" in line(display)
    with display.shown():
        display.begin("gate", "reused")
        display.begin("finetune", "building")
        display.count(Count(40, 200, "steps", ("loss 0.45",)))
        print("printed meanwhile")
        assert re.search(r"\[2/3\] fine-tune ━+\S* 40/200 steps · .*loss 0\.45$", line(display)), line(display)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"✓ \[1/3\] gate  reused.*✓ \[2/3\] fine-tune  0:\d\d", plain, re.DOTALL)


def test_the_display_moves_with_each_denoising_step_and_each_attempt():
    display = StageDisplay(1, terminal())
    display.begin("generate", "building")
    shown = SamplingProgress(display, "generate", 54, "slots", lambda *words: None)
    assert "0/54 slots · 0 attempts" in line(display)
    shown.denoise(7, 20)
    assert line(display).endswith("0/54 slots · 0 attempts · step 7/20")
    shown.count(settled=True)
    assert "1/54 slots" in line(display) and "1 attempts · step 7/20" in line(display)


def test_in_a_log_nothing_is_drawn_and_a_line_is_printed_now_and_then():
    console = Console(file=io.StringIO(), width=120)
    display = StageDisplay(1, console)
    with display.shown():
        display.begin("finetune", "building")
        display.count(Count(1, 2))
    assert not display.is_seen and console.file.getvalue() == ""
    elsewhere = StageDisplay(1, console, elsewhere=True)
    with elsewhere.shown():
        elsewhere.begin("finetune", "building")
        elsewhere.count(Count(1, 2, "steps", ("loss 0.45",)))
    assert (elsewhere.is_seen, elsewhere.notes, console.file.getvalue()) == (True, "loss 0.45", ""), "the command draws it"
    assert [type(training_progress("x", print, d)[0]) for d in (display, elsewhere, StageDisplay(1, terminal()))] == [
        LogProgress,
        DisplayProgress,
        DisplayProgress,
    ]
