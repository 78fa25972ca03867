"""A retry strategy of your own: a near miss is drawn over, anything else is drawn again with a stronger hold on the prompt.

Start it where this file lies, so that Python finds the module:

    pathsynth generate labels=all n=4 sampling.retry._target_=my_retry.ByDistance +sampling.retry.near=0.3

It takes the place of ``sampling.guidance_step`` and ``sampling.image_to_image``. Whatever else holds for strategies holds for this one:
docs/how-to/objects.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from pathsynth import Rejection, Retry


@dataclass(frozen=True)
class ByDistance:
    """``near``: the probability of the requested class, in [0, 1], from which on a rejected image is worth keeping in part."""

    near: float = 0.3

    def retry(self, slot, number: int, rejection: Rejection) -> Retry:
        """How attempt ``number`` (1, 2, …) at a slot is drawn, beside its seed, which is another one in any case.

        ``slot`` has the class (``label``), the ``index`` and the ``prompt``. ``rejection.verdict`` says what the gate made of the attempt
        before, ``rejection.image`` is what it looked like, uint8 (height, width, 3). The answer depends on these alone, never on chance or
        on what was seen earlier: a run that was stopped continues with the same attempts.
        """
        if rejection.verdict.probability >= self.near:
            return Retry(again=0.4)  # noise the rejected image again, and take the last two fifths of the steps once more
        return Retry(more_guidance=0.5 * number)  # start from new noise; the scale is sampling.guidance and so much more
