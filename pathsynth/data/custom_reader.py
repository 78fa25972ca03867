"""The process that runs a user's data set: it makes the object, then reads, checks and stores each split.

It reads an order as JSON from its input (:mod:`pathsynth.data.custom_data`), and prints the content of the data set, or the fault, as
JSON in the last line of its output.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
import numpy as np

from pathsynth.data.custom_data import CustomData
from pathsynth.data.data_module import DataModuleImages, UnusableItems, is_data_module
from pathsynth.data.dataset import SPLITS, Counts, first_of_each_class
from pathsynth.data.decoded import write_labels
from pathsynth.ledger.errors import RequestError

_GIVEN = ("size", "root")


def read(order: Mapping[str, Any]) -> dict[str, Any]:
    """What :class:`pathsynth.data.custom_data.CustomImages` holds, as JSON.

    Raises:
        RequestError: the class or what it gives is no data set, or it has fewer images than are wanted.
    """
    name, size, folder = order["module"]["_target_"], order["size"], order["folder"]
    data = _build_data(order["module"], size)
    classes = _classes(data, name)
    counts, digests = {}, {}
    for split in SPLITS:
        images, labels = _split(data, split, name, size, classes)
        wanted = Counts(**order["counts"]).of_split(split, len(labels), name, len(classes))
        if wanted:
            rows = first_of_each_class(labels, wanted)
            images, labels = images[rows], labels[rows]
        counts[split], digests[split] = len(labels), _digest(images, labels)
        if folder:
            np.save(Path(folder) / f"{split}.npy", images)
            write_labels(Path(folder), split, labels, None)
    return {"classes": list(classes), "counts": counts, "digests": digests}


def _build_data(module: Mapping[str, Any], size: int) -> Any:
    """The object. Loading the class, binding its arguments and making it each have a line of their own."""
    name = module["_target_"]
    try:
        maker = hydra.utils.get_object(name)
        signature = inspect.signature(maker)
    except Exception as error:  # a user's module may raise any exception
        line = f"data._target_={name} cannot be loaded ({' '.join(str(error).split())})"
        raise RequestError(f"{line}; correct the name, or put its module where the command starts") from error
    arguments = {key: value for key, value in module.items() if not (key.startswith("_") and key.endswith("_"))}
    own = {"size": size} if "size" in signature.parameters or not is_data_module(maker) else {}
    try:
        signature.bind(**own, **arguments)
    except TypeError as error:
        accepted = ", ".join(key for key in signature.parameters if key not in _GIVEN) or "no argument"
        passed = " and ".join(key for key in _GIVEN if key in own or key in signature.parameters)
        besides = f" besides {passed}" if passed else ""
        raise RequestError(f"data: {name} refuses its arguments ({error}); it takes {accepted}{besides}") from error
    try:
        made = hydra.utils.instantiate(dict(module), **own, _convert_="all")
        return DataModuleImages(made, size) if is_data_module(maker) else made
    except Exception as error:
        raise RequestError(f"data: {name} cannot be made ({_reason(error.__cause__ or error)}); correct it, or its arguments") from error


def _classes(data: Any, name: str) -> tuple[str, ...]:
    classes = getattr(data, "classes", None)
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not all(isinstance(c, str) for c in classes):
        raise RequestError(f"data: {name}.classes should be a list of names, in the order of the labels, got {classes!r}")
    if len(classes) < 2:
        raise RequestError(f"data: {name}.classes should be two names or more, got {list(classes)}")
    return tuple(classes)


def _split(data: CustomData, split: str, name: str, size: int, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels (int64) of a split."""
    called, remedy = f"data: {name}.images('{split}')", "it should give the images and labels of train, val and test"
    if isinstance(data, DataModuleImages):
        called, remedy = f"data: {name}.{split}_dataloader()", "it should give the images and labels of one split"
    try:
        pictures = data.images(split)
    except UnusableItems as error:
        raise RequestError(f"{called}: {error}") from error
    except Exception as error:  # a user's code may raise any exception
        raise RequestError(f"{called} raised {_reason(error)}; {remedy}") from error
    if not isinstance(pictures, (tuple, list)) or len(pictures) != 2:
        raise RequestError(f"{called} gave a {type(pictures).__name__}; it should give two arrays, images and labels")
    images, labels = map(np.asarray, pictures)
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
        wanted = f"uint8 (N, {size}, {size}, 3)"
        raise RequestError(f"{called} gave images {images.dtype} {images.shape}; they should be {wanted}: convert them, or set data.size")
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise RequestError(f"{called} gave labels {labels.dtype} {labels.shape}; they should be whole numbers ({len(images)},)")
    labels = labels.astype(np.int64)
    wrong = labels[(labels < 0) | (labels >= len(classes))]
    if len(wrong):
        there = f"the label {wrong[0]}, and there are {len(classes)} classes"
        raise RequestError(f"{called} gave {there}; labels are places in classes, from 0 on")
    absent = sorted(set(range(len(classes))) - set(labels.tolist()))
    if absent:
        raise RequestError(f"{called} has no image of {classes[absent[0]]}; give some of every class, or leave the class out")
    return images, labels


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    checksum = hashlib.blake2b(labels.tobytes(), digest_size=16)
    for image in images:  # one by one, because they may be mapped from the disk
        checksum.update(image.tobytes())
    return checksum.hexdigest()


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def main() -> None:
    """Read an order from the input, carry it out, and print what was read or the fault as the last line of the output."""
    order = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # the user's code may print
        try:
            answer = read(order)
        except RequestError as fault:
            answer = {"fault": str(fault)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
