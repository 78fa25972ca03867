"""What a command takes unless it is set belongs to the base: what was measured on the embedded one is nothing for Stable Diffusion."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError


@pytest.fixture
def composed():
    def make(*overrides: str, command: str = "run") -> RunConfig:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return from_hydra(compose(command, list(overrides)))

    return make


def recipe(config: RunConfig) -> tuple[object, ...]:
    optimizer, sampling = config.optimizer, config.sampling
    rule = (optimizer["_target_"].rsplit(".", 1)[-1], optimizer["lr"], config.trainer.max_steps)
    return *rule, sampling.steps, sampling.guidance, sampling.guidance_rescale, sampling.scheduler


@pytest.mark.parametrize("command", ["run", "finetune", "evaluate"])
def test_the_embedded_base_brings_what_was_measured_on_it(composed, command):
    assert recipe(composed(command=command)) == ("Muon", 6e-3, 600, 10, 3.0, 0.7, "UniPCMultistepScheduler")
    assert recipe(composed("optimizer=adamw", command=command))[:2] == ("AdamW", 3e-3)


@pytest.mark.parametrize("base", ["sd15", "sd21", "local"])
def test_stable_diffusion_brings_what_is_usual_for_it(composed, base):
    assert recipe(composed(f"base={base}")) == ("AdamW", 1e-4, 2000, 30, 7.5, 0.0, "DPMSolverMultistepScheduler")


def test_what_is_set_wins_over_the_base(composed):
    chosen = composed("base=sd15", "optimizer=muon", "optimizer.lr=3e-4", "sampling.guidance=5", "trainer.max_steps=7")
    assert recipe(chosen)[:5] == ("Muon", 3e-4, 7, 30, 5.0)
    assert recipe(composed("study=best"))[:3] == ("Muon", 9e-3, 600)
    assert composed(command="generate").sampling.guidance == 5.0  # of the shipped adapter


def test_the_rate_of_a_group_is_a_number(composed):
    assert composed("+optimizer.group_lr.unet_up=1e-2").optimizer["group_lr"] == {"unet_up": 1e-2}
    with pytest.raises(RequestError, match=r"optimizer\.group_lr\.unet_up should be a number greater than 0, got 'fast'"):
        composed("+optimizer.group_lr.unet_up=fast")
