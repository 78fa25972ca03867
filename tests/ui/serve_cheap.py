"""`python serve_cheap.py FOLDER SECONDS`: the live page with the cheap model, each step of which takes so long; any free port."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cheap_model import STEPS, CheapModel, grey

from pathsynth.sampling.denoising import Denoising
from pathsynth.ui.draw_request import Limits
from pathsynth.ui.engine import Engine
from pathsynth.ui.server import Site, access_for, listen, serve


class SlowModel(CheapModel):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def drawer(self, sampling, watch):
        def draw(attempts):
            for step in range(STEPS):
                watch(Denoising(attempts, step + 1, STEPS, lambda: [grey(a.seed) for a in attempts]))
                time.sleep(self.seconds)
            return [grey(a.seed) for a in attempts]

        return draw


if __name__ == "__main__":
    made = Engine(SlowModel(float(sys.argv[2])), Limits(), ["base=tiny"])
    serve(Site(made, Path(sys.argv[1])), listen("127.0.0.1", 0), access_for("127.0.0.1"), show=False)
