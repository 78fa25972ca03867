"""What a ready set draws before any filtering, scored by its own gate and judge as they are stored in it.

    python -m benchmarks.ready --out FILE.json [--root FOLDER] [--n 100] [--real FOLDER] [--images FILE.npz]

``--root`` is what ``pathsynth export --ready`` made (default: the shipped set). The first attempts at n slots of every class are drawn
with the usual steps and guidance; ``--real`` names the folder of ``pathmnist.npz``, on whose test images both classifiers are scored, too:
as they are, and as the base's autoencoder gives them back, which is as well as any adapter could draw them. ``--images``
keeps what was drawn: ``images``, uint8 (N, size, size, 3), and the ``labels`` asked for, int64 (N,).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from pathsynth.config import DataConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.data.catalogue import open_data, ready_set
from pathsynth.data.dataset import LabelledImages
from pathsynth.data.ready import ReadySet
from pathsynth.ledger.atomic import write_json
from pathsynth.metrics.agreement import Interval, macro_interval, wilson
from pathsynth.models.base import Base, load_base, reconstructed
from pathsynth.models.classifier import load_classifier
from pathsynth.models.lora import load_adapter
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.slots import Stream, attempt_at, slots_of

_STEPS, _GUIDANCE, _BATCH, _SEED = 20, 5.0, 64, 0  # the guidance is that of conf/data/ready.yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--root", help="a ready set (default: the shipped one)")
    parser.add_argument("--n", type=int, default=100, help="slots a class (default: 100)")
    parser.add_argument("--real", help="folder of pathmnist.npz, a subset or whole")
    parser.add_argument("--images", type=Path, help="npz file for the first attempts and their labels (default: they are not kept)")
    arguments = parser.parse_args()
    report = measure(arguments.root, arguments.n, arguments.real, arguments.images)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    for name, value in report["figures"].items():
        print(f"{name}: {value}")


def measure(root: str | None, n: int, real: str | None, kept: Path | None) -> dict[str, Any]:
    """All figures, as they go into the file."""
    ready = ready_set(DataConfig(name="ready", size=28, root=root))
    if ready.judge is None:
        raise SystemExit(f"the set in {ready.folder} has no judge")
    space = ready.prompts.space
    classifiers = {"gate": load_classifier(ready.gate, space), "judge": load_classifier(ready.judge, space)}
    base = load_base(str(assets_folder() / "tiny"), None, ready.base, None, ready.size)
    shown = _real_images(real, base) if real else {}
    asked, images = _first_attempts(ready, base, n)
    if kept:
        np.savez_compressed(kept, images=images, labels=asked)
    figures = {}
    for role, classifier in classifiers.items():
        predicted = class_probabilities(classifier, images).argmax(axis=1)
        scores = macro_interval(asked, predicted, len(space), _SEED)["macro_f1"]
        figures[f"macro F1 before filtering, {role}"] = _figure(scores, len(asked), "generated")
        for kind, (source, test) in shown.items():
            right = class_probabilities(classifier, test.images).argmax(axis=1) == test.labels
            figures[f"accuracy on {kind}, {role}"] = _figure(wilson(int(right.sum()), len(test)), len(test), source)
            for one in space.classes:
                own = right[test.labels == one.index]
                figures[f"recall on {kind}, {role}, {one.slug}"] = _figure(wilson(int(own.sum()), len(own)), len(own), source)
    return {"machine": machine(), "steps": _STEPS, "guidance": _GUIDANCE, "seed": _SEED, "figures": figures}


def _real_images(folder: str, base: Base) -> dict[str, tuple[str, LabelledImages]]:
    """Real test images as they are and through the autoencoder, each with the name of their data."""
    data = open_data(DataConfig(name="pathmnist", size=28, root=folder, allow_subset=True))
    test = data.split("test")
    through = LabelledImages(reconstructed(base, test.images), test.labels)
    return {"real test images": (data.name, test), "reconstructed test images": (data.name, through)}


def _first_attempts(ready: ReadySet, base: Base, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels asked for, int64 (N,), and images, uint8 (N, size, size, 3)."""
    load_adapter(ready.adapter, base)
    prompts = {c.index: ready.prompts.canonical(c.index) for c in ready.prompts.space.classes}
    attempts = [attempt_at(slot, 0, _SEED) for slot in slots_of(Stream.EVAL, prompts, n)]
    draw = CandidateDrawer(base, ready.size, _STEPS, _GUIDANCE)
    drawn = [image for i in range(0, len(attempts), _BATCH) for image in draw(attempts[i : i + _BATCH])]
    kept = [(a.slot.label, image) for a, image in zip(attempts, drawn, strict=True) if image is not None]
    return np.array([label for label, _ in kept]), np.stack([image for _, image in kept])


def _figure(interval: Interval, n: int, data: str) -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": n, "data": data}


if __name__ == "__main__":
    main()
