"""The judge's answer for each image of a generated set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pathsynth.evaluation.image_sheets import ImageSet
from pathsynth.metrics.agreement import wilson
from pathsynth.models.image_classifier import Classifier
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.pictures import read_png

_COUNTED = 256


def judge_accepted(path: Path, judge: Classifier, images: ImageSet) -> str:
    """Have the judge classify each accepted image, and write its answers to ``path``.

    Returns:
        A line that says for how many of them the judge agrees with the requested class.
    """
    accepted = [r for r in images.rows if r.accepted and r.image]
    if not accepted:
        return "judge: nothing was accepted"
    judged: dict[tuple[str, int, int], np.ndarray] = {}
    for start in range(0, len(accepted), _COUNTED):
        some = accepted[start : start + _COUNTED]
        answers = class_probabilities(judge, np.stack([read_png(images.folder / r.image) for r in some if r.image]))
        judged |= {(r.class_slug, r.slot, r.attempt): answer for r, answer in zip(some, answers, strict=True)}
    write_judged(path, judged)
    right = sum(int(answer.argmax()) == r.label for r, answer in zip(accepted, judged.values(), strict=True))
    share, name = wilson(right, len(accepted)), judge.spec.architecture
    interval = f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
    return f"judge ({name}, trained on other images): names the requested class for {right} of {len(accepted)} accepted images, {interval}"


def write_judged(path: Path, judged: Mapping[tuple[str, int, int], np.ndarray]) -> None:
    """Write the judge's answer for each image: requested class, slot, attempt, the label that it names, and its probabilities."""
    keys = ("class_slug", "slot", "attempt")
    rows = [
        {**dict(zip(keys, key, strict=True)), "predicted": int(answer.argmax()), "probabilities": [float(p) for p in answer]}
        for key, answer in judged.items()
    ]
    pd.DataFrame(rows, columns=[*keys, "predicted", "probabilities"]).to_parquet(path, index=False)
