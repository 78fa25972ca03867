"""The gate: the classifier and the rule that accept or reject a candidate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pathsynth.data.tensors import to_float
from pathsynth.models.classifier import Classifier
from pathsynth.sampling.draw import fixed_batches
from pathsynth.sampling.slots import Attempt
from pathsynth.sampling.verdict import AcceptanceRule, Verdict, broken


class Gate:
    """Judges the very pixels that are stored (uint8), so that a verdict can be checked from the file.

    ``fixed``: as the drawer's, so that a verdict has the same bits in any company.
    """

    def __init__(self, classifier: Classifier, rule: AcceptanceRule, fixed: bool = False) -> None:
        self._classifier, self._rule, self._fixed = classifier, rule, fixed
        self._classes = len(classifier.spec.classes)

    def __call__(self, attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
        faults = [_fault(image) for image in images]
        sound = [image for image, fault in zip(images, faults, strict=True) if image is not None and fault is None]
        probabilities = iter(self._probabilities(sound) if sound else ())
        return [
            broken(fault, self._classes) if fault else self._rule.verdict(next(probabilities), attempt.slot.label)
            for attempt, fault in zip(attempts, faults, strict=True)
        ]


    def _probabilities(self, images: list[np.ndarray]) -> np.ndarray:
        if not self._fixed:
            return class_probabilities(self._classifier, np.stack(images))
        return np.concatenate([class_probabilities(self._classifier, np.stack(batch))[:n] for batch, n in fixed_batches(images)])


@torch.no_grad()
def class_probabilities(classifier: Classifier, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Calibrated probabilities, float64 (N, C), of uint8 images (N, H, W, 3)."""
    device = next(classifier.parameters()).device
    batches = [to_float(images[i : i + batch_size]).to(device) for i in range(0, len(images), batch_size)]
    return np.concatenate([classifier.probabilities(batch).cpu().numpy() for batch in batches])


def _fault(image: np.ndarray | None) -> str | None:
    if image is None:
        return "not finite"
    if image.max() == 0:
        return "black"
    return None
