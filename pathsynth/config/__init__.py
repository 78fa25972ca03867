"""Typed settings, one record a config group; built from what Hydra composed, frozen into a trial's manifest."""

from pathsynth.config.parse import from_hydra, parse_config
from pathsynth.config.schema import (
    BaseConfig,
    ClassifierConfig,
    DataConfig,
    DebugConfig,
    EvaluateConfig,
    GenerateConfig,
    LightningConfig,
    LoraConfig,
    ObjectiveConfig,
    PretrainConfig,
    RunConfig,
    SamplingConfig,
    StudyConfig,
    TrackingConfig,
    TrainerConfig,
    ValidationConfig,
)

__all__ = [
    "BaseConfig",
    "ClassifierConfig",
    "DataConfig",
    "DebugConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "LightningConfig",
    "LoraConfig",
    "ObjectiveConfig",
    "PretrainConfig",
    "RunConfig",
    "SamplingConfig",
    "StudyConfig",
    "TrackingConfig",
    "TrainerConfig",
    "ValidationConfig",
    "from_hydra",
    "parse_config",
]
