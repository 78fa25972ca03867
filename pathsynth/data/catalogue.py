"""The data sets that a configuration can name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pathsynth.config import DataConfig
from pathsynth.config.schema import CAPTIONS_BESIDE
from pathsynth.config.shipped import assets_folder
from pathsynth.data.caption_files import ImageCaptions, read_captions
from pathsynth.data.custom_data import custom_data, read_custom_data, stored_custom_data
from pathsynth.data.dataset import Counts, DataSet
from pathsynth.data.folder import FolderSplits, Shares, decoded_folder_data, folder_data, folder_splits
from pathsynth.data.medmnist import PATHMNIST, medmnist_data
from pathsynth.data.medmnist_sets import MedSet, medmnist_set
from pathsynth.data.phantom import phantom_data
from pathsynth.data.prompt_file import read_prompts
from pathsynth.data.ready import ReadySet, read_ready
from pathsynth.ledger.errors import RequestError

_SHIPPED = "tissue"


@dataclass(frozen=True)
class Decoded:
    """The images of a folder, or of a class of the user's, as they were decoded before: where they are, and the data's identity."""

    folder: Path
    identity: str


def open_data(config: DataConfig, decoded: Decoded | None = None) -> DataSet:
    """The data set of a configuration; its images are read when a split is first used.

    Args:
        config: of the data.
        decoded: of ``data=folder`` and ``data=own``, what a trial takes instead of decoding the folder's images or running the class.

    Raises:
        RequestError: a file is missing, damaged or not the official one; the message says what to do.
    """
    return _with_prompts(_decoded(config, decoded) if decoded else _opened(config), config)


def read_class(config: DataConfig, folder: Path) -> DataSet:
    """As :func:`open_data` of a class of the user's, with the images kept in ``folder`` as they are read: the class is made once."""
    return _with_prompts(read_custom_data(config, folder), config)


def _with_prompts(data: DataSet, config: DataConfig) -> DataSet:
    if not config.prompts:
        return data
    prompts = read_prompts(Path(config.prompts), data.prompts)
    return replace(data, space=prompts.space, prompts=prompts)


def _opened(config: DataConfig) -> DataSet:
    if config.name == "phantom":
        return phantom_data(config.size, config.n_train, config.n_val, config.n_test, config.seed)
    root = Path(config.root) if config.root else None
    if config.name == "ready":
        return ready_set(config).as_data()
    if config.name == "own":
        return custom_data(config)
    counts = counts_of(config)
    if config.name == "folder":
        return folder_data(root, config.size, config.symmetry, shares_of(config), counts, config.classes, config.group)
    return medmnist_data(medmnist_source(config), root, config.size, config.allow_subset, config.download, counts)


def _decoded(config: DataConfig, decoded: Decoded) -> DataSet:
    if config.name == "own":
        return stored_custom_data(config, decoded.folder, decoded.identity)
    root, by_group = Path(config.root) if config.root else None, bool(config.group)
    return decoded_folder_data(root, config.size, config.symmetry, config.classes, by_group, decoded.folder, decoded.identity)


def counts_of(config: DataConfig) -> Counts:
    """How many images of each split the settings ask for."""
    return Counts(config.n_train, config.n_val, config.n_test, config.allow_fewer)


def splits_of(config: DataConfig) -> FolderSplits:
    """Which image of ``data=folder`` is in which split, as :func:`pathsynth.data.folder.folder_splits` has it, and what it raises."""
    root, counts = Path(config.root) if config.root else None, counts_of(config)
    beside = (".txt",) if config.captions == CAPTIONS_BESIDE else ()
    return folder_splits(root, config.symmetry, shares_of(config), counts, config.classes, config.group, beside)


def captions_of(config: DataConfig, splits: FolderSplits | None = None) -> ImageCaptions | None:
    """The captions of the training images of ``data=folder``; None where they are learned with the prompts of their classes.

    Args:
        config: of the data.
        splits: of the folder, where they are known.

    Raises:
        RequestError: as :func:`splits_of` and :func:`pathsynth.data.caption_files.read_captions`.
    """
    if not config.captions:
        return None
    splits = splits or splits_of(config)
    return read_captions(config.captions, splits.root, [file.path for file in splits.files["train"]])


def shares_of(config: DataConfig) -> Shares:
    """How ``data=folder`` is cut into splits that it has no folders for."""
    return Shares(config.val_share, config.test_share, config.seed)


def medmnist_source(config: DataConfig) -> MedSet:
    """The MedMNIST set that ``data=pathmnist``, or ``data=medmnist`` with ``data.flag``, names.

    Raises:
        RequestError: there is none of that name, or none that can be used.
    """
    return medmnist_set(str(config.flag)) if config.name == "medmnist" else PATHMNIST


def ready_set(config: DataConfig) -> ReadySet:
    """The ready set that ``data=ready data.root=…`` names; the shipped one without a root.

    Raises:
        RequestError: it is missing or damaged, or it is of another size than ``config.size``.
    """
    ready = read_ready(Path(config.root) if config.root else assets_folder() / _SHIPPED)
    if ready.size != config.size:
        raise RequestError(f"the ready set in {ready.folder} draws {ready.size} px images, not {config.size}; set data.size={ready.size}")
    return ready
