"""Generated sets with made-up images and probabilities, for the atlas's tests. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pathsynth.sampling.attempts import AttemptRow, write_attempts
from pathsynth.sampling.pictures import pixel_hash

HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>'


def probabilities(label: int, classes: int, own: float = 0.8) -> tuple[float, ...]:
    """The class itself, and what is left for the next one."""
    values = [0.0] * classes
    values[label], values[(label + 1) % classes] = own, 1 - own
    return tuple(values)


def write_set(
    folder: Path, slugs: Sequence[str], n: int = 3, size: tuple[int, int] = (28, 28), empty: Sequence[str] = (), prompt: str = "an image"
) -> Path:
    """A set of ``n`` accepted images of each class, the first slot after a rejected attempt; none of those in ``empty``.

    ``size``: width and height. The gate takes each rejected attempt for the next class.
    """
    rows, rng = [], np.random.default_rng(0)
    for label, slug in enumerate(slugs):
        for slot in range(n):
            tries = [False] if slug in empty else [False, True] if slot == 0 else [True]
            rows += [_attempt(folder, rng, label, slugs, slot, number, good, size, prompt) for number, good in enumerate(tries)]
    write_attempts(folder, rows)
    return folder


def _attempt(
    folder: Path,
    rng: np.random.Generator,
    label: int,
    slugs: Sequence[str],
    slot: int,
    number: int,
    accepted: bool,
    size: tuple[int, int],
    prompt: str,
) -> AttemptRow:
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    seen = probabilities(label, len(slugs), 0.8 if accepted else 0.3)
    name = f"images/c{label}/{slot:05d}-{number}.png"
    folder.mkdir(parents=True, exist_ok=True)
    if accepted:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return AttemptRow(
        stream="generate",
        label=label,
        class_slug=slugs[label],
        slot=slot,
        attempt=number,
        prompt=prompt,
        seed=slot,
        steps=10,
        guidance=5.0,
        denoiser_calls=20,
        predicted=int(np.argmax(seen)),
        probability=seen[label],
        probabilities=seen,
        accepted=accepted,
        reason=None if accepted else "another class is more probable",
        near_margin=False,
        image=name if accepted else None,
        sha256=pixel_hash(pixels),
    )
