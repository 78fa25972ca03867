"""The loop of the paper at its plainest, as a reference for the rejection sampler.

One image at a time, no batches, no log. It is here to be read, and a test checks that both accept the same images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pathsynth.sampling.sampler import ClassifyFunction, DrawFunction
from pathsynth.sampling.slots import Slot, attempt_at


def regenerate_until_correct(
    slots: Sequence[Slot], draw: DrawFunction, classify: ClassifyFunction, attempts: int, seed: int
) -> dict[Slot, np.ndarray]:
    """The accepted image of each slot: the first whose most probable class is the requested one (Choudhary, arXiv 2506.00786).

    The paper's text has no budget; without one a class that is never drawn right has no end. Slots that used up theirs are left out.
    """
    accepted = {}
    for slot in slots:
        for number in range(attempts):
            image = np.asarray(draw([slot.prompt], [attempt_at(slot, number, seed).seed])[0])
            if np.argmax(classify(image[None])) == slot.label:
                accepted[slot] = image
                break
    return accepted
