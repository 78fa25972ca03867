"""What classifiers that were trained on phantoms alone see in phantoms, in their reconstructions and in real tissue.

A logistic regression on colour histograms stands beside each ResNet-18: what colour gives away without any structure.
``benchmarks.phantom`` runs this and writes the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.base import Figure, proportion, psnr
from pathsynth.config import ClassifierConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.medmnist import PATHMNIST, medmnist_data
from pathsynth.data.phantom import phantom_data
from pathsynth.data.tensors import pad_to, to_float, to_uint8
from pathsynth.metrics.colour import fit_colour
from pathsynth.models.base import load_base, reconstructed
from pathsynth.models.image_classifier import WEIGHTS, Classifier, load_classifier
from pathsynth.sampling.gate import class_probabilities
from pathsynth.training.train_classifier import train_classifier
from pathsynth.vocabulary.labels import COLORECTAL

CLASSIFIERS = ("gate", "stains", "tiles")
"""What is trained, each a ResNet-18 on 3,000 phantoms for four epochs: a gate, one with stain augmentation, and that at 64 px."""


def transfer_figures(real: Path | None, work: Path, only: Sequence[str] = CLASSIFIERS) -> list[Figure]:
    """All figures, or those of some classifiers.

    Those on real tissue need ``real``, a folder of ``pathmnist.npz`` and, if there, of ``tiles224``. The classifiers are kept in ``work``
    under the identity of their data, and not trained again where they are there.
    """
    figures = _small_figures(real, work, only) if {"gate", "stains"} & set(only) else []
    if real is not None and "tiles" in only and (real / "tiles224").is_dir():
        figures += _tile_figures(real / "tiles224", work)
    return figures


def _small_figures(real: Path | None, work: Path, only: Sequence[str]) -> list[Figure]:
    """At 32 px."""
    small = phantom_data(32, 6000, 900, 1800, seed=0)
    test, name = small.split("test"), f"{small.name} test"
    base = load_base(str(assets_folder() / "tiny"), None, "base", 32, 32)
    copies = LabelledImages(reconstructed(base, test.images), test.labels)
    figures = [psnr("reconstructions", test.images[:], copies.images[:], name)]
    seen = {name: test, f"{name}, reconstructed": copies}
    if real is not None:
        tissue = medmnist_data(PATHMNIST, real, 28, allow_subset=True)
        seen[f"{tissue.name} test"] = _padded(tissue.split("test"))
    named = {"gate": ("gate", False), "stains": ("gate with stain augmentation", True)}
    for who, stains in (named[role] for role in named if role in only):
        classifier = _trained(small, work / small.identity / who.replace(" ", "_"), "small", stains)
        figures += [_accuracy(who, classifier, images, source) for source, images in seen.items()]
        if real is not None:
            figures += _recalls(who, classifier, seen[f"{tissue.name} test"], f"{tissue.name} test")
    return figures + colour_figures(small, {source: images for source, images in seen.items() if "reconstructed" not in source})


def _tile_figures(folder: Path, work: Path) -> list[Figure]:
    """The same at 64 px, on 224 px tiles resized to 64."""
    large = phantom_data(64, 6000, 450, 900, seed=0)
    seen = {f"{large.name} test": large.split("test"), "NCT-CRC-HE and CRC-VAL-HE tiles, 64 px": read_tiles(folder, 64)}
    classifier = _trained(large, work / large.identity / "64_px", "stock", stains=True)
    figures = [_accuracy("64 px classifier", classifier, images, source) for source, images in seen.items()]
    return figures + colour_figures(large, seen)


def read_tiles(folder: Path, size: int) -> LabelledImages:
    """The tiles ``<set>/<CLASS>/*.tif`` and ``*.png`` of a folder, resized as PathMNIST was (bilinear)."""
    found = [(path, COLORECTAL.by_slug(path.parent.name).index) for path in sorted(folder.glob("*/*/*")) if path.suffix in (".tif", ".png")]
    images = [np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) for path, _ in found]
    return LabelledImages(np.stack(images), np.asarray([label for _, label in found], dtype=np.int64))


def colour_figures(data: DataSet, seen: dict[str, LabelledImages]) -> list[Figure]:
    """What a logistic regression on colour histograms, trained on the phantoms of ``data``, gets right."""
    train = data.split("train")
    model = fit_colour(train.images, train.labels, len(data.space))
    return [
        proportion(f"colour histogram alone, {data.size} px", model.predict(images.images) == images.labels, source)
        for source, images in seen.items()
    ]


def _trained(data: DataSet, folder: Path, stem: Literal["small", "stock"], stains: bool) -> Classifier:
    settings = ClassifierConfig(
        architecture="resnet18",
        stem=stem,
        part="a",
        pretrained=False,
        epochs=4,
        batch_size=16,
        lr=1.5e-3,
        weight_decay=0.02,
        augment_d4=True,
        augment_stain=stains,
        augment_noise=True,
        patience=4,
        seed=1,
    )
    if not (folder / WEIGHTS).is_file():
        train_classifier(settings, data, folder, [], ())
    return load_classifier(folder, COLORECTAL)


def _accuracy(who: str, classifier: Classifier, images: LabelledImages, source: str) -> Figure:
    return proportion(f"{who}, accuracy", _predicted(classifier, images) == images.labels, source)


def _recalls(who: str, classifier: Classifier, images: LabelledImages, source: str) -> list[Figure]:
    predicted = _predicted(classifier, images)
    rows = [(c.slug, images.labels == c.index) for c in COLORECTAL.classes]
    return [proportion(f"{who}, recall of {slug}", predicted[there] == images.labels[there], source) for slug, there in rows]


def _predicted(classifier: Classifier, images: LabelledImages) -> np.ndarray:
    return class_probabilities(classifier, images.images).argmax(axis=1)


def _padded(images: LabelledImages) -> LabelledImages:
    """28 px images reflected to the 32 px of the phantoms."""
    return LabelledImages(to_uint8(pad_to(to_float(images.images[:]), 32)), images.labels)
