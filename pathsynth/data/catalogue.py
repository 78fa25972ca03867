"""The data sets that a configuration can name."""

from __future__ import annotations

from pathlib import Path

from pathsynth.config import DataConfig
from pathsynth.data.dataset import DataSet
from pathsynth.data.medmnist import Counts, pathmnist_data
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
    return pathmnist_data(root, config.size, config.allow_subset, config.download, counts)
