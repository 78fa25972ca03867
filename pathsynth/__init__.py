"""Text prompts to histology images: a LoRA-tuned diffusion model, a gate that discards and asks again, and a judge.

The names in ``__all__`` may be imported from here; docs/how-to/python.md has an example of each. Each is loaded at its first use, so
that ``import pathsynth`` alone loads neither torch nor Hydra nor Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathsynth.data.phantom import Phantom
    from pathsynth.ledger.errors import RequestError, StageError
    from pathsynth.ledger.records import Metric, Result, load_result
    from pathsynth.metrics.custom_metrics import EvaluationData, ImageSample, MetricValue, RealSample
    from pathsynth.metrics.image_scores import Evaluation, evaluate_images
    from pathsynth.sampling.acceptance_rules import AtLeast, Candidate, Leads, MostProbable
    from pathsynth.sampling.attempts import load_attempts
    from pathsynth.sampling.plain_loop import regenerate_until_correct
    from pathsynth.sampling.rejection import SlotStatus
    from pathsynth.sampling.retry import Rejection, Retry
    from pathsynth.sampling.sampler import AttemptRecord, RejectionSampler, SampledImages
    from pathsynth.training.regeneration import RegenerationCallback
    from pathsynth.vocabulary.labels import UnknownLabelError

__version__ = "0.2.0"

__all__ = [
    "AtLeast",
    "AttemptRecord",
    "Candidate",
    "Evaluation",
    "EvaluationData",
    "ImageSample",
    "Leads",
    "Metric",
    "MetricValue",
    "MostProbable",
    "Phantom",
    "RealSample",
    "RegenerationCallback",
    "Rejection",
    "RejectionSampler",
    "RequestError",
    "Result",
    "Retry",
    "SampledImages",
    "SlotStatus",
    "StageError",
    "UnknownLabelError",
    "evaluate_images",
    "load_attempts",
    "load_result",
    "regenerate_until_correct",
]

_MODULES = {
    "data.phantom": ("Phantom",),
    "ledger.errors": ("RequestError", "StageError"),
    "ledger.records": ("Metric", "Result", "load_result"),
    "metrics.custom_metrics": ("EvaluationData", "ImageSample", "MetricValue", "RealSample"),
    "metrics.image_scores": ("Evaluation", "evaluate_images"),
    "sampling.attempts": ("load_attempts",),
    "sampling.plain_loop": ("regenerate_until_correct",),
    "sampling.rejection": ("SlotStatus",),
    "sampling.retry": ("Rejection", "Retry"),
    "sampling.sampler": ("AttemptRecord", "RejectionSampler", "SampledImages"),
    "sampling.acceptance_rules": ("AtLeast", "Candidate", "Leads", "MostProbable"),
    "training.regeneration": ("RegenerationCallback",),
    "vocabulary.labels": ("UnknownLabelError",),
}
_EARLIER_NAMES = {"Seen": "Candidate"}
_HOMES = {name: f"pathsynth.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _EARLIER_NAMES:
        raise AttributeError(f"pathsynth.{name} is pathsynth.{_EARLIER_NAMES[name]} now; use that name")
    if name not in _HOMES:
        raise AttributeError(f"module 'pathsynth' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
