"""What the embedded base is worth before any fine-tuning: reconstructions, asked-for colours, CIFAR classes, tissue prompts.

Reconstructions stand beside those of a linear projection with as many channels, fitted on CIFAR-10 (the mark to beat), and
drawing has its time: 64 images with guidance.

    python -m benchmarks.base --cifar ../shared/data/cifar10.tar --gate FOLDER --judge FOLDER [--pathmnist FOLDER] --out FILE.json
    python -m benchmarks.base --cifar ../shared/data/cifar10.tar --only cifar --epochs 6 --out FILE.json

``--only`` takes some of ``PARTS``; without it, all. ``--gate`` and ``--judge`` are folders of classifiers
(``multirun/.stages/gate/<identity>``), trained on phantoms, or with ``--pathmnist`` on the PathMNIST archive (a subset is fine) in that
folder. All proportions carry Wilson intervals.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.machine import machine
from pathsynth.config import ClassifierConfig, DataConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.tensors import crop_to, pad_to, to_float, to_uint8
from pathsynth.ledger.atomic import write_json
from pathsynth.metrics.agreement import agreement, wilson
from pathsynth.models.base import Base, load_base
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.pretraining.autoencoder import PatchProjection, fit_projection, reconstruct_linearly
from pathsynth.pretraining.captions import HUES, hue_degrees
from pathsynth.pretraining.cifar import CIFAR_CLASSES, read_cifar
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.gate import class_probabilities
from pathsynth.sampling.slots import Stream, attempt_at, slots_of
from pathsynth.training.train_classifier import train_classifier
from pathsynth.vocabulary.labels import LabelClass, LabelSpace
from pathsynth.vocabulary.prompts import colorectal_prompts

SAMPLERS = ((None, 20), ("UniPCMultistepScheduler", 10))
"""Schedulers (None: the base's own) and steps whose time is taken."""
PARTS = ("colours", "time", "reconstructions", "tissue", "cifar")
"""Figures that can be requested alone; those of tissue need gate and judge, those of cifar a classifier of some epochs."""

_BATCH = 90
_HUE_TOLERANCE = 30.0


@dataclass(frozen=True)
class Figure:
    """A measured number with its n and, for a proportion, its 95% Wilson interval."""

    figure: str
    value: float
    low: float | None
    high: float | None
    n: int
    data: str


def proportion(figure: str, hits: np.ndarray, data: str) -> Figure:
    """The share of true entries of a boolean array."""
    interval = wilson(int(hits.sum()), len(hits))
    return Figure(figure, interval.value, interval.low, interval.high, len(hits), data)


def drawn(base: Base, prompts: dict[int, str], n: int, size: int, guidance: float) -> tuple[np.ndarray, np.ndarray]:
    """Images, n of each prompt: uint8 (N, size, size, 3), and the key of each; 20 steps, fixed seeds."""
    attempts = [attempt_at(slot, 0, 0) for slot in slots_of(Stream.EVAL, prompts, n)]
    draw = CandidateDrawer(base, size, 20, guidance)
    images = [image for i in range(0, len(attempts), _BATCH) for image in draw(attempts[i : i + _BATCH])]
    return np.stack([image for image in images if image is not None]), np.array([a.slot.label for a in attempts])


Reconstruct = Callable[[Tensor], Tensor]
"""Float images (N, 3, H, W) in [0, 1], H and W of the base's canvas, to what is left of them."""


def ways(base: Base, projection: PatchProjection) -> dict[str, Reconstruct]:
    """The base's autoencoder, and the linear projection beside it."""
    return {
        "reconstructions": lambda images: base.decode(base.encode(images)),
        "linear reconstructions": lambda images: reconstruct_linearly(projection, images),
    }


def reconstructed(reconstruct: Reconstruct, images: np.ndarray, canvas: int) -> np.ndarray:
    """uint8 images after encoding and decoding, padded by reflection where they are 28 px."""
    size = images.shape[1]
    batches = [pad_to(to_float(images[i : i + _BATCH]), canvas) for i in range(0, len(images), _BATCH)]
    return np.concatenate([to_uint8(crop_to(reconstruct(batch), size)) for batch in batches])


def reconstruction_figures(
    base: Base, projection: PatchProjection, images: LabelledImages, classifiers: dict[str, Classifier], data: str
) -> list[Figure]:
    """PSNR over all pixels, and what gate and judge say of originals and of reconstructions; ``data`` is the images' name."""
    originals = images.images[:]
    copies = {what: reconstructed(way, originals, base.canvas) for what, way in ways(base, projection).items()}
    figures = [psnr(what, originals, copy, data) for what, copy in copies.items()]
    for role, classifier in classifiers.items():
        for what, shown in {"originals": originals, **copies}.items():
            hits = class_probabilities(classifier, shown).argmax(axis=1) == images.labels
            figures.append(proportion(f"{role} accuracy on {what}", hits, data))
    return figures


def psnr(what: str, images: np.ndarray, copies: np.ndarray, data: str) -> Figure:
    """Peak signal-to-noise ratio in dB of the mean squared error over all images."""
    error = ((images.astype(np.float64) - copies) / 255) ** 2
    return Figure(f"PSNR of {what} (dB)", float(-10 * np.log10(error.mean())), None, None, len(images), data)


def time_figures(base: Base, repeats: int = 5) -> list[Figure]:
    """Seconds for 64 images with guidance, by the base's own scheduler and by the default, in either precision, all in turn.

    The median, the fastest and the slowest.
    """
    attempts = [attempt_at(slot, 0, 0) for slot in slots_of(Stream.EVAL, {0: "a vivid red picture"}, 64)]
    taken: dict[tuple[str | None, int, str], list[float]] = {
        (scheduler, steps, precision): [] for scheduler, steps in SAMPLERS for precision in ("32-true", "bf16-mixed")
    }
    for _ in range(repeats):
        for (scheduler, steps, precision), seconds in taken.items():
            draw = CandidateDrawer(base, 32, steps, 3.0, half=precision == "bf16-mixed", scheduler=scheduler)
            start = time.perf_counter()
            draw(attempts)
            seconds.append(time.perf_counter() - start)
    figure = "seconds for 64 images, {} steps of {}, guidance 3 (median, fastest, slowest), {}"
    return [
        Figure(
            figure.format(steps, scheduler or "the base's own scheduler", precision),
            statistics.median(s),
            min(s),
            max(s),
            repeats,
            "this machine",
        )
        for (scheduler, steps, precision), s in taken.items()
    ]


def colour_figures(base: Base, n: int) -> list[Figure]:
    """Share of ``a vivid <hue> picture`` whose mean colour lies within 30 degrees of the hue's own."""
    images, asked = drawn(base, {i: f"a vivid {hue} picture" for i, hue in enumerate(HUES)}, n, 32, 3.0)
    hue = hue_degrees(images.mean(axis=(1, 2)) / 255)
    distance = np.abs((hue - asked * 30 + 180) % 360 - 180)
    return [proportion(f"requested hue drawn within {_HUE_TOLERANCE:.0f}°", distance <= _HUE_TOLERANCE, "generated")]


def tissue_figures(base: Base, data: DataSet, classifiers: dict[str, Classifier], n: int) -> list[Figure]:
    """Agreement of the untaught base with canonical tissue prompts: it should be near chance."""
    book = colorectal_prompts()
    images, asked = drawn(base, {c.index: book.canonical(c.index) for c in book.space.classes}, n, data.size, 3.0)
    figures = []
    for role, classifier in classifiers.items():
        predicted = class_probabilities(classifier, images).argmax(axis=1)
        figures.append(proportion(f"tissue prompts before fine-tuning, accuracy by the {role}", predicted == asked, data.name))
        f1 = agreement(asked, predicted, len(book.space)).macro_f1
        figures.append(Figure(f"tissue prompts before fine-tuning, macro-F1 by the {role}", f1, None, None, len(asked), data.name))
    return figures


def cifar_figures(base: Base, archive: Path, folder: Path, n: int, settings: ClassifierConfig) -> list[Figure]:
    """A CIFAR-10 classifier of ours, its own accuracy on test, and what it sees in ``a photo of a <class>``."""
    space = LabelSpace("CIFAR-10", tuple(LabelClass(i, c, c) for i, c in enumerate(CIFAR_CLASSES)), "none")
    splits = {"train": read_cifar(archive, "train"), "val": read_cifar(archive, "test")}
    data = DataSet(
        name="CIFAR-10",
        identity="cifar10",
        size=32,
        space=space,
        prompts=colorectal_prompts(),
        read=lambda split: LabelledImages(splits[split].images, splits[split].labels),
    )
    train_classifier(settings, data, folder, [], ())
    classifier = load_classifier(folder, space)
    test = data.split("val")
    own = class_probabilities(classifier, test.images).argmax(axis=1) == test.labels
    images, asked = drawn(base, {i: f"a photo of a {name}" for i, name in enumerate(CIFAR_CLASSES)}, n, 32, 3.0)
    hits = class_probabilities(classifier, images).argmax(axis=1) == asked
    return [
        proportion("accuracy of our CIFAR-10 classifier", own, "CIFAR-10 test"),
        proportion("CIFAR prompts, accuracy by that classifier (chance 0.1)", hits, "generated"),
    ]


def cifar_classifier(epochs: int) -> ClassifierConfig:
    """The demo gate's settings for natural images: upright and unstained."""
    return ClassifierConfig(
        architecture="resnet18",
        stem="stock",
        part="all",
        pretrained=False,
        epochs=epochs,
        batch_size=64,
        lr=3e-3,
        weight_decay=0.02,
        augment_d4=False,
        augment_stain=False,
        augment_noise=True,
        patience=epochs,
        seed=0,
    )


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """The figures of the parts that ``arguments.only`` names; those of tissue need both classifiers, those of CIFAR classes need epochs.

    Raises:
        RequestError: the base, a classifier or a data file is missing or damaged.
    """
    base, parts = load_base(str(arguments.base), None, "base", 32, 32), arguments.only
    figures = colour_figures(base, arguments.n) if "colours" in parts else []
    figures += time_figures(base) if "time" in parts else []
    data = open_data(_classified(arguments.pathmnist))
    folders = {"gate": arguments.gate, "judge": arguments.judge} if arguments.gate and arguments.judge else {}
    classifiers = {role: load_classifier(folder, data.space) for role, folder in folders.items()}
    if "reconstructions" in parts:
        natural = read_cifar(arguments.cifar, "train").images[::5]
        projection = fit_projection(to_float(natural), base.latent_shape[0])
        held_out = read_cifar(arguments.cifar, "test")
        first = LabelledImages(held_out.images[:2000], held_out.labels[:2000])
        figures += reconstruction_figures(base, projection, first, {}, "CIFAR-10 test")
        for split in ("val", "test") if classifiers else ():
            figures += reconstruction_figures(base, projection, data.split(split), classifiers, f"{data.name} {split}")
    if "tissue" in parts and classifiers:
        figures += tissue_figures(base_for(arguments.base, data.size), data, classifiers, arguments.n)
    if "cifar" in parts and arguments.epochs:
        figures += cifar_figures(base, arguments.cifar, arguments.work, arguments.n, cifar_classifier(arguments.epochs))
    return figures


def _classified(pathmnist: Path | None) -> DataConfig:
    """What gate and judge were trained on."""
    if pathmnist:
        return DataConfig(name="pathmnist", size=28, root=str(pathmnist), allow_subset=True)
    return DataConfig(name="phantom", size=32, seed=0, n_train=6000, n_val=900, n_test=1800)


def base_for(folder: Path, size: int) -> Base:
    """The base as it draws images of that size."""
    return load_base(str(folder), None, "base", 32, size)


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, measure, write the figures to ``--out`` and print a line for each. A wrong request ends with status 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, default=assets_folder() / "tiny", help="a folder in diffusers layout")
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10.tar")
    parser.add_argument("--gate", type=Path, help="folder of a trained gate")
    parser.add_argument("--judge", type=Path, help="folder of a trained judge")
    parser.add_argument("--pathmnist", type=Path, help="folder of pathmnist.npz, where gate and judge were trained on it")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="some of: %(choices)s (default: all)")
    parser.add_argument("--n", type=int, default=30, help="images a prompt")
    parser.add_argument("--epochs", type=int, default=0, help="epochs of the CIFAR-10 classifier (0: leave it out)")
    parser.add_argument("--work", type=Path, default=Path("multirun/.benchmarks/cifar"), help="where that classifier goes")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(words)
    if not (arguments.gate and arguments.judge) and list(arguments.only) == ["tissue"]:
        parser.error("the figures of tissue need --gate and --judge")
    if not arguments.epochs and list(arguments.only) == ["cifar"]:
        parser.error("the figures of cifar need a classifier: --epochs 6")
    figures = measure(arguments)
    write_json(arguments.out, {"machine": machine(), "seed": 0, "figures": [asdict(f) for f in figures]})
    for f in figures:
        bounds = f" [{f.low:.3f}, {f.high:.3f}]" if f.low is not None else ""
        print(f"{f.value:7.3f}{bounds}  n={f.n}  {f.figure} ({f.data})")


if __name__ == "__main__":
    main()
