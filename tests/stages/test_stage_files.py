"""A stage is one file: each is in the list of stages, and a list of them costs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

import pathsynth.stages
from pathsynth.config import RunConfig, SamplingConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import stage_identity
from pathsynth.stages.classifier import NEUTRAL, classifier_stage, score_stage
from pathsynth.stages.finetune import served_model
from pathsynth.stages.fingerprints import base_source, data_source
from pathsynth.stages.plan import known_stage, listed_stages
from pathsynth.stages.sampling_settings import sampling_settings
from pathsynth.stages.stage import PlanContext, StagePlan

SHARED = {"plan", "__init__", "stage", "fingerprints", "sampling_settings", "scoring_settings"}
"""What the stages share."""


@pytest.fixture(scope="module")
def config() -> RunConfig:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose("run", ["data=phantom"]))


def test_every_file_is_a_stage_of_the_list(config):
    files = {path.stem for path in Path(pathsynth.stages.__file__).parent.glob("*.py")} - SHARED
    stages = [stage for stage, _ in listed_stages(config)]
    assert {stage.build.__module__ for stage in stages} == {f"pathsynth.stages.{name}" for name in files}
    assert len({stage.name for stage in stages}) == len(stages)


def test_a_judge_more_is_a_role_more(config):
    context = PlanContext(config, data_source(config.data), None)
    judge, other = (classifier_stage(role, config.judge).plan(context) for role in ("judge", "judge_vit"))
    assert (other.name, other.settings, other.parents) == ("judge_vit", judge.settings, judge.parents)
    assert other.identity == stage_identity("judge_vit", judge.settings, judge.parents, NEUTRAL) != judge.identity
    context.identities["judge_vit"] = other.identity
    assert score_stage("judge_vit", config.judge).plan(context).parents["classifier"] == other.identity
    with pytest.raises(RequestError, match="no group judge_vit; choose one, as in judge_vit=<option>"):
        classifier_stage("judge_vit", None).plan(context)


def test_the_stages_are_listed_without_what_builds_them():
    heavy = "{'torch', 'pytorch_lightning', 'diffusers', 'pandas', 'pyarrow', 'scipy', 'rich.progress'}"
    program = f"import sys, pathsynth.stages.plan; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_what_is_known_of_a_stage_by_its_name_is_what_a_trial_has(config):
    for stage, _ in listed_stages(config):
        known = known_stage(stage.name)
        assert known is not None
        assert (known.effort.long, known.loads, known.artifact) == (stage.effort.long, stage.loads, stage.artifact)
    assert known_stage("data") is None


def test_a_model_that_a_tracker_serves_draws_first_attempts_alone():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["data=phantom", "sampling.image_to_image=0.4", "sampling.early_rejection.after_step=4", "sampling.steps=7"]
        config = from_hydra(compose("run", words))
    assert config.base and config.sampling
    context = SimpleNamespace(config=config, stage=lambda name: StagePlan(name, "1a", {}, {}))
    model = served_model(context, Path("adapter"), config.sampling, base_source(config.base))
    drawn = SamplingConfig.model_validate(model.sampling)
    assert (drawn.image_to_image, drawn.early_rejection.after_step, drawn.steps) == (0.0, None, 7)
    assert model.path == "adapter-1a/model"


def test_images_beyond_the_bases_size_are_decoded_in_tiles_which_their_identity_says():
    settings = {}
    for size in (32, 64):
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = from_hydra(compose("run", ["data=phantom", f"data.size={size}"]))
        assert config.base
        settings[size] = sampling_settings(PlanContext(config, None, base_source(config.base)))
    assert settings[64].pop("tile") == 32
    assert settings[32] == settings[64]
