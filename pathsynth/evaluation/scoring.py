"""The settings by which a trial's images are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pathsynth.config import AnyClassifier
from pathsynth.config.schema import EvaluateConfig


@dataclass(frozen=True)
class ScoringSettings:
    """What an evaluation needs of a trial's settings; all of it is there.

    ``judges``: those of the panel, by the names of their stages. ``seed``: of the trial. ``trial``: all its settings, for ``result.json``.
    """

    evaluate: EvaluateConfig
    gate: AnyClassifier
    judge: AnyClassifier
    judges: Mapping[str, AnyClassifier]
    seed: int
    trial: dict[str, Any]
