"""Identities of fine-tunes and generations that earlier versions made, and settings under the names that those versions had."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import RunConfig, from_hydra, parse_config
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import stage_identity
from pathsynth.stages.finetune import NEUTRAL
from pathsynth.stages.plan import plan


def settings(*overrides: str) -> RunConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose("finetune", quote_free_text(list(overrides), False)))


def settings_identity(config: RunConfig) -> str:
    """Of the fine-tune's own settings; its parents have identities of their own."""
    (stage,) = (stage for stage in plan(config).stages if stage.name == "finetune")
    return stage_identity("finetune", stage.settings, {}, NEUTRAL)


STOP = "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:finetune/loss}"
GOLDEN = {
    (): "995d842caacc",
    ("callbacks.regeneration.every=0",): "6d1682fcfebf",
    ("~callbacks.regeneration",): "6d1682fcfebf",
    ("callbacks=none",): "6d1682fcfebf",
    ("callbacks.regeneration.every=50", "callbacks.regeneration.n=2"): "dba6d948e853",
    ("~callbacks.lr_monitor",): "995d842caacc",
    ("schedule=constant",): "ec77154b42b2",
    ("schedule.restart_steps=100", "training.warmup_steps=7"): "58062445184c",
    ("schedule.restart_steps=100", "schedule.warmup_steps=7"): "58062445184c",
    ("schedule=constant", "training.retries=2", "lora.dropout=0.1"): "a123630df1b5",
    (STOP, "trainer.max_steps=90"): "379a1db257a0",
}
"""Recorded while ``validation.every`` and ``trainer.schedule`` were keys: what is there must be found."""


@pytest.mark.parametrize("overrides", GOLDEN, ids=" ".join)
def test_a_fine_tune_keeps_the_identity_that_it_had(overrides):
    assert settings_identity(settings(*overrides)) == GOLDEN[overrides]


def test_a_callback_of_ones_own_makes_another_adapter():
    own = settings("callbacks.regeneration._target_=my_module.Callback", "+callbacks.regeneration.floor=0.5")
    (stage,) = (stage for stage in plan(own).stages if stage.name == "finetune")
    assert stage.settings["callbacks"] == {"regeneration": {"_target_": "my_module.Callback", "floor": 0.5}}
    assert stage.settings["validation"] == {"every": 200, "n": 4}
    assert settings_identity(own) not in GOLDEN.values()


def test_a_study_gives_no_settings_to_a_callback_that_is_left_out():
    config = settings("callbacks=none", "study=fast")
    assert config.callbacks == {}
    assert config.validation.every == 0


OWN = {
    "schedule": ("schedule=own", "schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule.step_size=9"),
    "module": ("finetune._target_=my_module.Finetune",),
    "trainer": ("trainer._target_=my_module.Trainer",),
}


@pytest.mark.parametrize("key", OWN)
def test_a_class_of_ones_own_makes_another_adapter(key):
    (stage,) = (stage for stage in plan(settings(*OWN[key])).stages if stage.name == "finetune")
    assert stage.settings[key] not in (None, {}, "cosine", "pytorch_lightning.Trainer")
    assert settings_identity(settings(*OWN[key])) not in GOLDEN.values()


AFTER = "sampling.early_rejection.after_step"
DRAWN = {
    (): ("af3580c32702", {"generate": "482e713a5a66"}),
    (f"{AFTER}=5",): ("67c26ac362df", {"early_rejection": "9de976658aa9", "generate": "9a345f71f947"}),
    (f"{AFTER}=5", "sampling.early_rejection.max_lost=0.1", "sampling.early_rejection.n=9"): (
        "53ab49e12820",
        {"early_rejection": "0d2d109148b2", "generate": "ea014a865a24"},
    ),
    ("sampling.image_to_image=0.4",): ("0ca40a3b61b1", {"generate": "a0c49c1ad3d2"}),
    (f"{AFTER}=3", "sampling.image_to_image=0.25", "sampling.threshold=0.5"): (
        "db63b357d59f",
        {"early_rejection": "8e4d6a192852", "generate": "857b6c6eba2e"},
    ),
}
"""Recorded while the keys were ``sampling.look_after``, ``look_loss``, ``look_n`` and ``revise``, and the stage was ``look``."""


@pytest.mark.parametrize("overrides", DRAWN, ids=" ".join)
def test_a_generation_keeps_the_identity_that_it_had(overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        made = plan(from_hydra(compose("generate", quote_free_text(list(overrides), False))))
    assert (made.identity, {stage.name: stage.identity for stage in made.stages}) == DRAWN[overrides]


EARLIER = {
    "constant": ("schedule=constant", {"schedule": "constant", "restart_steps": None}),
    "restarts": ("schedule.restart_steps=100", {"schedule": "cosine", "restart_steps": 100}),
    "older": ("callbacks.regeneration.n=4", {}),
}


@pytest.mark.parametrize("case", EARLIER)
def test_the_settings_of_an_earlier_manifest_are_read_as_they_were_meant(case):
    override, of_trainer = EARLIER[case]
    now = settings("callbacks.regeneration.every=50", override)
    earlier = now.model_dump(mode="json")
    del earlier["callbacks"]["regeneration"], earlier["schedule"], earlier["finetune"], earlier["trainer"]["_target_"]
    accumulate = earlier["trainer"].pop("accumulate_grad_batches")
    of_trainer = {**earlier["trainer"], **earlier.pop("training"), "accumulate": accumulate, **of_trainer}
    earlier |= {"validation": {"every": 50, "n": 4}, "trainer": of_trainer}
    assert parse_config(earlier) == now
    assert parse_config(now.model_dump(mode="json")) == now


def test_earlier_keys_of_sampling_are_read_as_they_were_meant():
    now = settings(f"{AFTER}=3", "sampling.early_rejection.max_lost=0.1", "sampling.image_to_image=0.25")
    earlier = now.model_dump(mode="json")
    del earlier["sampling"]["early_rejection"], earlier["sampling"]["image_to_image"]
    earlier["sampling"] |= {"look_after": 3, "look_loss": 0.1, "look_n": 20, "revise": 0.25}
    assert parse_config(earlier) == now


@pytest.mark.parametrize(
    "overrides, told",
    [
        (["schedule.warmup_steps=-1"], "schedule.warmup_steps: input should be greater than or equal to 0, got -1; set"),
        (["+schedule.gamma=2"], "unknown key schedule.gamma; leave it out"),
        (["schedule=constant", "schedule._target_=StepLR"], "schedule._target_ should name a class, as in torch.optim.lr_scheduler.StepLR"),
        (["schedule=own", "schedule._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"], "follows a metric; name one that"),
        (["schedule=own", "schedule._target_=my.S", "training.retries=1"], "training.retries lowers the rates of schedule=cosine"),
        (["schedule=own"], "schedule._target_ should name a class, as in torch.optim.lr_scheduler.StepLR"),
        (["finetune._target_=Mine"], "finetune._target_ should name a class"),
        (["trainer._target_=Mine"], "trainer._target_ should name a class"),
        (["callbacks.regeneration.every=-1"], "callbacks.regeneration.every: input should be greater than or equal to 0, got -1"),
        (["~callbacks.regeneration.n"], "callbacks.regeneration.n is missing; set it"),
    ],
)
def test_a_wrong_setting_of_an_object_is_reported_in_one_line(overrides, told):
    with pytest.raises(RequestError) as caught:
        settings(*overrides)
    (line,) = caught.value.faults
    assert told in line
