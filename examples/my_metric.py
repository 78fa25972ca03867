"""A metric of your own: how much brighter generated images are than real ones, with an interval.

Start it where this file lies, so that Python finds the module:

    pathsynth run study=fast +evaluate.metrics.brightness_gap._target_=my_metric.BrightnessGap

``brightness_gap`` is a name of your choice. ``result.json`` then has records with ``metric: brightness_gap``, and the trial's page, the
leaderboard and W&B show them. Whatever else holds for metrics holds for this one: docs/how-to/objects.md.
"""

from __future__ import annotations

import numpy as np

from pathsynth import EvaluationData, ImageSample, MetricValue


class BrightnessGap:
    """The mean brightness of the generated images less that of the real ones, each from 0 (black) to 1 (white).

    ``resamples``: how often both sets are drawn again, with replacement, for the 95% interval.
    """

    def __init__(self, resamples: int = 1000) -> None:
        self.resamples = resamples

    def measure(self, data: EvaluationData) -> list[MetricValue]:
        """One value for the first attempts, and one for the accepted images.

        ``data.before`` and ``data.after`` have ``images`` (uint8, n × height × width × 3), ``labels`` (the requested classes), and what
        ``gate`` and ``judge`` give each class; ``data.real`` has images and labels.
        """
        return [self.gap(data, data.before, "before filtering"), self.gap(data, data.after, "after filtering")]

    def gap(self, data: EvaluationData, drawn: ImageSample, stage: str) -> MetricValue:
        if len(drawn.images) < 2:  # NaN: the metric is listed among those that are missing, with the reason
            return MetricValue(float("nan"), None, None, len(drawn.images), stage=stage, reason="fewer than two images")
        own, real = (images.mean(axis=(1, 2, 3)) / 255 for images in (drawn.images, data.real.images))
        rng = np.random.default_rng(data.seed)  # never a generator without a seed: the same images have the same interval
        gaps = [rng.choice(own, len(own)).mean() - rng.choice(real, len(real)).mean() for _ in range(self.resamples)]
        low, high = np.quantile(gaps, [0.025, 0.975])
        return MetricValue(own.mean() - real.mean(), low, high, n=len(own), unit="image", stage=stage)
