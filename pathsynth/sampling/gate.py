"""The gate: the classifier and the rule that accept or reject a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pathsynth.data.images import Images
from pathsynth.data.tensors import to_float
from pathsynth.models.image_classifier import Classifier
from pathsynth.sampling.acceptance_rules import Candidate, Rule, Verdict, broken, image_fault, judged_by, needs_features, read_only
from pathsynth.sampling.draw import fixed_batches
from pathsynth.sampling.slots import Attempt

_BATCH = 256


class Gate:
    """Judges the very pixels that are stored (uint8), so that a verdict can be checked from the file.

    ``rules``: all of them must be met. ``fixed``: as the drawer's, so that a verdict has the same bits in any company.
    """

    def __init__(self, classifier: Classifier, rules: Sequence[Rule], fixed: bool = False) -> None:
        self._classifier, self._rules, self._fixed = classifier, tuple(rules), fixed
        self._by_features = bool(needs_features(rules))
        self._classes = len(classifier.spec.classes)

    def __call__(self, attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
        """A verdict for each image uint8 (H, W, 3); an image of None (not finite) is rejected."""
        candidates = self.see(images)
        return [s if isinstance(s, Verdict) else judged_by(self._rules, s, a.slot.label) for a, s in zip(attempts, candidates, strict=True)]

    def see(self, images: Sequence[np.ndarray | None]) -> list[Candidate | Verdict]:
        """The gate's answer for each image, or a verdict where the image is black or missing."""
        faults = [image_fault(image) for image in images]
        sound = [image for image, fault in zip(images, faults, strict=True) if image is not None and fault is None]
        candidates = iter(self._candidates(sound))
        return [broken(fault, self._classes) if fault else next(candidates) for fault in faults]

    def _candidates(self, images: list[np.ndarray]) -> list[Candidate]:
        if not images:
            return []
        probabilities = self._in_batches(class_probabilities, images)
        features = self._in_batches(class_features, images) if self._by_features else [None] * len(images)
        return [Candidate(p, f, read_only(i)) for p, f, i in zip(probabilities, features, images, strict=True)]

    def _in_batches(self, what: Callable[[Classifier, np.ndarray], np.ndarray], images: list[np.ndarray]) -> np.ndarray:
        if not self._fixed:
            return what(self._classifier, np.stack(images))
        return np.concatenate([what(self._classifier, np.stack(batch))[:n] for batch, n in fixed_batches(images)])


@torch.no_grad()
def class_probabilities(classifier: Classifier, images: Images) -> np.ndarray:
    """Calibrated probabilities, float64 (N, C), of uint8 images (N, H, W, 3)."""
    return np.concatenate([classifier.probabilities(batch).cpu().numpy() for batch in _batches(classifier, images)])


@torch.no_grad()
def class_features(classifier: Classifier, images: Images) -> np.ndarray:
    """The input of the classifier's last layer, float64 (N, F), of uint8 images (N, H, W, 3)."""
    found, row = np.empty((0, 0)), 0
    for batch in _batches(classifier, images):
        features = classifier.features(batch).cpu().numpy()
        if not row:
            found = np.empty((len(images), features.shape[1]))  # those of a large data set exist once, not in parts as well
        found[row : row + len(features)] = features
        row += len(features)
    return found


def _batches(classifier: Classifier, images: Images) -> Iterator[Tensor]:
    device = next(classifier.parameters()).device
    return (to_float(images[i : i + _BATCH]).to(device) for i in range(0, len(images), _BATCH))
