"""The data sets that a configuration can name."""

from __future__ import annotations

from pathlib import Path

from pathsynth.config import DataConfig
from pathsynth.data.dataset import Counts, DataSet
from pathsynth.data.folder import Shares, folder_data
from pathsynth.data.medmnist import pathmnist_data
from pathsynth.data.phantom import phantom_data


def open_data(config: DataConfig) -> DataSet:
    """The data set of a configuration; its images are read when a split is first asked for.

    Raises:
        RequestError: a file is missing, damaged or not the official one; the message says what to do.
    """
    if config.name == "phantom":
        return phantom_data(config.size, config.n_train, config.n_val, config.n_test, config.seed)
    root = Path(config.root) if config.root else None
    counts = Counts(config.n_train, config.n_val, config.n_test)
    if config.name == "folder":
        shares = Shares(config.val_share, config.test_share, config.seed)
        return folder_data(root, config.size, config.symmetry, shares, counts, config.classes)
    return pathmnist_data(root, config.size, config.allow_subset, config.download, counts)
