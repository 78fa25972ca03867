"""MedMNIST's single-label sets of images: their classes, files and checksums, as the medmnist package gives them. No torch."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace
from pathsynth.vocabulary.prompts import PromptBook, colorectal_prompts, generic_prompts
from pathsynth.vocabulary.spelling import nearest_hint

SIZES = (28, 64, 128, 224)

_TURNED = ("pathmnist", "bloodmnist", "tissuemnist", "dermamnist")
"""Sets whose images may be flipped and turned; organs have a left and a right, and the others are always held alike."""

_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "bloodmnist": {
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)": ("immature granulocyte", "immature granulocytes")
    },
    "breastmnist": {"normal, benign": ("normal or benign", "benign", "normal")},
    "retinamnist": {str(grade): (f"diabetic retinopathy of grade {grade}", f"grade {grade}") for grade in range(5)},
    "tissuemnist": {"Collecting Duct, Connecting Tubule": ("collecting duct or connecting tubule", "collecting duct", "connecting tubule")},
}
"""Names of classes, and other names for them, that read better in a prompt than the package's."""


@dataclass(frozen=True)
class MedSet:
    """One set: its ``flag`` (the name of its file) and ``title``, its classes, its images by split, and each size's file."""

    flag: str
    title: str
    space: LabelSpace
    prompts: PromptBook
    channels: int
    images: Mapping[str, int]
    md5: Mapping[int, str]
    urls: Mapping[int, str] = field(repr=False)


def medmnist_set(flag: str) -> MedSet:
    """The set that ``data.flag`` names.

    Raises:
        RequestError: there is none of that name, its images have several labels or three dimensions, or the medmnist package is not there.
    """
    table = _info()
    if flag not in table:
        hint = nearest_hint(flag, known_flags())
        raise RequestError(f"MedMNIST has no set {flag}{hint}; set data.flag to one of: {', '.join(known_flags())}")
    entry = table[flag]
    if flag not in known_flags():
        why = "its images have several labels each" if "multi-label" in entry["task"] else "its images have three dimensions"
        raise RequestError(f"data.flag={flag} cannot be used: {why}; choose one of: {', '.join(known_flags())}")
    space, prompts = _vocabulary(flag, entry)
    md5 = {size: entry[_key("MD5", size)] for size in SIZES}
    urls = {size: entry[_key("url", size)] for size in SIZES}
    return MedSet(flag, entry["python_class"], space, prompts, entry["n_channels"], entry["n_samples"], md5, urls)


def known_flags() -> tuple[str, ...]:
    """The sets that have one label an image, and images of two dimensions."""
    return tuple(flag for flag, entry in _info().items() if "3D" not in entry["python_class"] and "multi-label" not in entry["task"])


def _key(name: str, size: int) -> str:
    return name if size == SIZES[0] else f"{name}_{size}"


def _vocabulary(flag: str, entry: Mapping[str, Any]) -> tuple[LabelSpace, PromptBook]:
    if flag == "pathmnist":
        return COLORECTAL, colorectal_prompts()
    known = _NAMES.get(flag, {})
    classes = []
    for index, label in enumerate(entry["label"].values()):
        name, *others = known.get(label, (label.lower().replace("-", " "),))
        aliases = tuple(dict.fromkeys(other for other in (*others, label) if other != name))
        classes.append(LabelClass(index, re.sub(r"[^a-z0-9]+", "-", name).strip("-"), name, aliases))
    space = LabelSpace(entry["python_class"], tuple(classes), "d4" if flag in _TURNED else "none")
    return space, generic_prompts(space)


@functools.cache
def _info() -> Mapping[str, Mapping[str, Any]]:
    """The package's own table, read without the package, which would load torch."""
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise RequestError("data.flag needs the medmnist package; install it: pip install medmnist")
    spec = importlib.util.spec_from_file_location("pathsynth_medmnist_info", Path(package.origin).with_name("info.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: Mapping[str, Mapping[str, Any]] = module.INFO
    return table
