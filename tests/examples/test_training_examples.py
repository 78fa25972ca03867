"""The examples of a callback and of a fine-tune of one's own, as a reader would try them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from pathsynth.__main__ import dispatch
from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.stages.plan import plan
from tests.forked import forked_output

EXAMPLES = Path(__file__).parents[2] / "examples"
CALLBACK = ("callbacks.regeneration._target_=my_callback.WorstClasses", "+callbacks.regeneration.worst=2")
FINETUNE = ("finetune._target_=my_finetune.LowNoise", "+finetune.power=2")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A copy of the examples, in which commands are started."""
    for name in ("my_callback.py", "my_finetune.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name, words", [("my_callback", CALLBACK), ("my_finetune", FINETUNE)])
def test_the_command_of_an_example_names_it(name, words):
    assert f"pathsynth finetune study=fast {' '.join(words)}\n" in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def test_what_would_run_is_shown(folder, capsys):
    assert dispatch(["finetune", *CALLBACK, *FINETUNE, "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert "  regeneration:\n    _target_: my_callback.WorstClasses\n    every: 200\n    'n': 4\n    worst: 2\n" in shown
    assert "finetune:\n  _target_: my_finetune.LowNoise\n  power: 2\n" in shown


@pytest.mark.parametrize("name, words", [("my_callback", CALLBACK), ("my_finetune", FINETUNE)])
def test_an_edited_example_makes_another_adapter_and_nothing_else(folder, name, words):
    def stages() -> dict[str, str]:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return {stage.name: stage.identity for stage in plan(from_hydra(compose("finetune", list(words)))).stages}

    before = stages()
    with (folder / f"{name}.py").open("a", encoding="utf-8") as file:
        file.write("# another idea\n")
    after = stages()
    assert {stage for stage in before if before[stage] != after[stage]} == {"finetune"}


@pytest.mark.slow
def test_wrong_arguments_are_reported_in_a_line_each_and_nothing_is_written(folder, capsys):
    before = sorted(folder.iterdir())
    words = ["callbacks.regeneration._target_=my_callback.WorstClasses", "+callbacks.regeneration.wurst=2"]
    assert dispatch(["finetune", *words, "finetune._target_=my_finetune.LowNoise", "+finetune.powr=2"]) == 2
    told = capsys.readouterr().err
    callback, module = told.strip().splitlines()[-2:]
    assert "callbacks.regeneration: my_callback.WorstClasses refuses its arguments" in callback
    assert "wurst" in callback and "it takes every, n, worst besides parts" in callback
    assert "finetune: my_finetune.LowNoise refuses its arguments" in module
    assert "powr" in module and "it takes power besides parts" in module
    assert sorted(path for path in folder.iterdir() if path.name != "__pycache__") == before


SMALLEST = [
    *("study=fast", "data.n_train=36", "data.n_val=18", "data.n_test=18", "gate.epochs=1", "lora.rank=2"),
    *("lora.targets=attention", "trainer.max_steps=4", "training.batch_size=4", "callbacks.regeneration.every=2", "sampling.steps=2"),
]


MORE = [
    *("schedule=own", "schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule.step_size=2", "trainer._target_=mine.Noting"),
    *("tracking=csv", "trainer.log_every_n_steps=1"),
]
TRAINER = """
import pytorch_lightning as pl
class Noting(pl.Trainer):
    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)
        open("fitted", "w").write(str(self.global_step))
"""


@pytest.mark.slow
def test_a_fine_tune_is_made_of_them(folder):
    (folder / "mine.py").write_text(TRAINER)
    forked_output(folder, "finetune", *SMALLEST, *CALLBACK, *FINETUNE, *MORE)
    (trial,) = (folder / "multirun" / "fast").glob("[!.]*/")
    (stage,) = (stage for stage in json.loads((trial / "manifest.json").read_text())["plan"]["stages"] if stage["name"] == "finetune")
    assert set(stage["settings"]["classes"]) == {"my_callback.WorstClasses", "my_finetune.LowNoise", "mine.Noting"}
    assert (folder / "fitted").read_text() == "4"
    logged = pd.concat(pd.read_csv(path) for path in trial.glob("metrics/*/metrics.csv"))
    (rates,) = (logged[column].dropna().tolist() for column in logged if column.startswith("lr-") and column.endswith("unet_down"))
    assert [rate / rates[0] for rate in rates] == pytest.approx([1, 1, 0.1, 0.1])
    card, history = json.loads((trial / "adapter" / "adapter.json").read_text()), (trial / "history.csv").read_text().splitlines()
    assert card["step"] in (2, 4) and len(history) == 3


@pytest.mark.slow
def test_the_loss_is_what_its_docstring_says(small_base_folder, tmp_path, monkeypatch):
    import torch

    from pathsynth.config import ObjectiveConfig, TrainingConfig
    from pathsynth.data.phantom import phantom_data
    from pathsynth.models.base import load_base
    from pathsynth.models.design import AdapterDesign
    from pathsynth.models.lora import attach
    from pathsynth.training.batches import BatchPlan
    from pathsynth.training.latent_cache import build_cache, load_cache
    from pathsynth.training.lora_module import FinetuneParts, LoraFinetuning

    monkeypatch.syspath_prepend(EXAMPLES)
    from my_finetune import LowNoise

    data, base = phantom_data(32, 18, 9, 9, seed=0), load_base(str(small_base_folder), None, "b", 32, 32)
    build_cache(tmp_path, data, base, augment=False)
    objective = ObjectiveConfig(noise_offset=0.0, caption_dropout=0.0, paraphrases=False, augment=False)
    batches = BatchPlan(load_cache(tmp_path, data, base), objective, 4, 0, 1000)
    training = TrainingConfig(batch_size=4, warmup_steps=0, ema_decay=0)
    parts = FinetuneParts(base, attach(base, AdapterDesign(2, 2), 0), batches, training, {}, {})
    plain, even, low, batch = LoraFinetuning(parts), LowNoise(parts, power=0), LowNoise(parts, power=2), batches.train(0)
    for module in (plain, even, low):
        module.eval()
    with torch.no_grad():
        assert even.loss(batch) == plain.loss(batch)
        expected = (3 * (1 - batch.timesteps / 1000) ** 2 * plain.denoising_errors(batch)).mean()
        assert low.loss(batch) == expected != plain.loss(batch)
