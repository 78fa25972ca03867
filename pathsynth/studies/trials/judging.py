"""The judge of a trial, and what it says of images on disk. Torch is loaded only when a judge is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.vocabulary.labels import LabelSpace

JudgeImages = Callable[[Sequence[Path], LabelSpace], np.ndarray]
"""Images on disk to calibrated probabilities of the classes, float (N, C)."""


def judge_of(trial: Path) -> JudgeImages | None:
    """The judge of a trial: that of its pretrained bundle, or of its own stage; None where it has none any more.

    Raises:
        RequestError: the trial's manifest, or the bundle that it drew from, is damaged.
    """
    folder = _judge_folder(trial)
    return None if folder is None else lambda paths, space: _probabilities(folder, paths, space)


def _judge_folder(trial: Path) -> Path | None:
    manifest = manifest_of(trial)
    if manifest.config.data and manifest.config.data.name == "ready":
        return ready_set(manifest.config.data).judge
    store = StageStore(trial.absolute().parents[1] / STAGES)
    return next((store.read(s.name, s.identity) for s in manifest.plan.stages if s.name == "judge"), None)


def _probabilities(folder: Path, paths: Sequence[Path], space: LabelSpace) -> np.ndarray:
    from pathsynth.models.image_classifier import load_classifier  # loads torch
    from pathsynth.sampling.gate import class_probabilities
    from pathsynth.sampling.pictures import read_png

    return class_probabilities(load_classifier(folder, space), np.stack([read_png(path) for path in paths]))
