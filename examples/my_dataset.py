"""A data set of your own: a class in the place of the shipped ones, by one override.

::

    cd examples
    pathsynth check data._target_=my_dataset.MyDataset +data.noise=20      # what is in it, and whether a run would take it
    pathsynth run data._target_=my_dataset.MyDataset +data.noise=20

From the folder above, the class is `examples.my_dataset.MyDataset`. What it needs:

- a constructor that takes `size` (pixels, `data.size`) by keyword, and `root` where `data.root` is set; whatever else it takes is set
  by keys of the group: `+data.noise=20` here;
- `classes`: their names, in the order of the labels; images are requested by these words (or by those in the file `data.prompts`);
- `images(split)` for "train", "val" and "test": uint8 (N, size, size, 3), and whole numbers (N,) that are places in `classes`.

It is run by a process of its own before anything is written. What it gives is the identity of the data: edit the class so that a pixel
or a label changes, and gate, judge and adapter are trained again; edit a comment, and all is found done. So it must give the same
whenever it is asked: seed what is random.
"""

from __future__ import annotations

import numpy as np


class MyDataset:
    """Light discs, rings and crosses on a dark field, each in another place and with noise of its own."""

    classes = ("disc", "ring", "cross")

    def __init__(self, size: int, noise: float = 10.0) -> None:
        self.size, self.noise = size, noise

    def images(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([ord(letter) for letter in split])  # the same images each time, others in each split
        n = {"train": 90, "val": 36, "test": 18}[split]
        labels = np.arange(n) % len(self.classes)
        drawn = np.stack([self._draw(self.classes[label], rng) for label in labels])
        return drawn.clip(0, 255).astype(np.uint8), labels

    def _draw(self, shape: str, rng: np.random.Generator) -> np.ndarray:
        """One image, float (size, size, 3)."""
        y, x = np.mgrid[: self.size, : self.size] - self.size * rng.uniform(0.4, 0.6, size=(2, 1, 1))
        radius, far = self.size / 4, np.hypot(x, y)
        inside = {
            "disc": far < radius,
            "ring": (far < radius) & (far > radius / 2),
            "cross": (np.minimum(abs(x), abs(y)) < radius / 4) & (far < radius),
        }[shape]
        return np.where(inside[..., None], [230, 180, 200], [60, 20, 60]) + rng.normal(0, self.noise, (self.size, self.size, 3))
