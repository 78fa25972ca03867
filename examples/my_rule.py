"""An acceptance rule of your own: an image that is too dark is rejected and drawn again.

Start it where this file lies, so that Python finds the module:

    pathsynth generate labels=all n=4 +sampling.rules.bright._target_=my_rule.Bright +sampling.rules.bright.least=0.4

``bright`` is a name of your choice. The rule comes after the program's own (the requested class is the most probable one, …); an image is
accepted if it meets all of them. Whatever else holds for rules holds for this one: docs/how-to/objects.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from pathsynth import Candidate


@dataclass(frozen=True)
class Bright:
    """The mean of all pixels is at least ``least``, from 0 (black) to 1 (white)."""

    least: float = 0.4

    @property
    def reason(self) -> str:
        """Why an image is rejected: what the attempts log, the report and W&B say."""
        return f"darker than {self.least:g}"

    def slack(self, candidate: Candidate, label: int) -> float:
        """How far the image is on the right side of the limit; below zero it is rejected.

        ``candidate.image``: the pixels, uint8 (height, width, 3). ``candidate.probabilities``: those of the classes by the gate. ``label``:
        the number of the requested class, if the limit depends on it.
        """
        return float(candidate.image.mean()) / 255 - self.least
