"""What somebody who watches sees of a batch while it is denoised. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pathsynth.sampling.slots import Attempt


@dataclass(frozen=True)
class Denoising:
    """A batch on its way: ``evaluations`` of the denoiser lie behind ``attempts``, of ``total`` in all.

    ``images`` decodes what they are on the way to: uint8 (H, W, 3) each, None where it is not finite. That changes no bit of what is drawn.
    """

    attempts: Sequence[Attempt]
    evaluations: int
    total: int
    images: Callable[[], list[np.ndarray | None]] = field(repr=False)


Watch = Callable[[Denoising], None]
"""Called after each evaluation of the denoiser; what it raises ends the drawing."""
