"""The state of a batch while it is denoised, for an observer. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pathsynth.sampling.slots import Attempt


@dataclass(frozen=True)
class Denoising:
    """A batch on its way: ``evaluations`` of the denoiser lie behind ``attempts``, of ``total`` in all.

    ``images`` decodes the predicted images: uint8 (H, W, 3) each, None where it is not finite. Decoding changes no bit of the final images.
    """

    attempts: Sequence[Attempt]
    evaluations: int
    total: int
    images: Callable[[], list[np.ndarray | None]] = field(repr=False)


Watch = Callable[[Denoising], None]
"""Called after each evaluation of the denoiser; what it raises ends the drawing."""
