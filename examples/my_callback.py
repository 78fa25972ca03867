"""A validation of your own: of all steps, keep the adapter that draws its worst classes best.

The program's own callback compares adapters by macro-F1, a mean over the classes, in which good classes hide a bad one. This one looks at
the worst alone:

    cd examples
    pathsynth finetune study=fast callbacks.regeneration._target_=my_callback.WorstClasses +callbacks.regeneration.worst=2

`--cfg job` at the end shows the callback with its arguments, and a wrong argument is reported before anything starts. The adapter has an
identity of its own, of which this file is a part: change it, and the same command trains again.
"""

from __future__ import annotations

import numpy as np

from pathsynth.training.regeneration import RegenerationCallback, ValidationParts, ValidationScores


class WorstClasses(RegenerationCallback):
    """Keeps the adapter whose ``worst`` classes have the highest mean recall by the gate, on first attempts."""

    def __init__(self, parts: ValidationParts, every: int, n: int, worst: int = 1) -> None:
        # parts: the slots, the gate, the folder …: the program gives them, and they are passed on. Every other argument is a key of
        # callbacks.regeneration; one with a default may be left out there.
        super().__init__(parts, every, n)
        self.worst = worst

    def score(self, scores: ValidationScores) -> float:
        """The adapter with the highest score is kept; of equal ones, the first."""
        recall = np.sort(scores.before.recall)  # float (classes,): of a class's first attempts, the share that the gate takes for it
        return float(recall[: self.worst].mean())
