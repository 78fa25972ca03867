"""`pathsynth ui [bundle | study] [key=value …] [--host] [--port] [--open]`: the live page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pathsynth.config import RunConfig, from_hydra
from pathsynth.ledger.errors import RequestError

BATCH = "sampling.batch_size=8"
"""Fewer at once than on the command line, so that the first images are there sooner."""
_CHOSEN = ("sampling.attempts", "sampling.threshold", "sampling.margin", "sampling.seed")
"""Keys that visitors choose; given as overrides they are where the page begins."""
_OF_THE_REQUEST = ("prompt", "label", "labels", "n", "shard", "shards")


def bundle_config(bundle: Path | None, overrides: Sequence[str]) -> tuple[RunConfig, tuple[str, ...]]:
    """The settings of `pathsynth generate` for a bundle (None: the shipped one), and the words that every command of the page has.

    Raises:
        RequestError: they cannot be composed, name another data set or what visitors choose, or do not fit the bundle.
    """
    from pathsynth.commands.composition import composed
    from pathsynth.data.ready import read_ready
    from pathsynth.study.job import check
    from pathsynth.ui.model import check_sampling

    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in _OF_THE_REQUEST or key in ("data", "data.root", "data.size"):
            raise RequestError(f"{override} is no setting of the page: visitors choose what is drawn, and a bundle is named by its folder")
    words = [] if bundle is None else [f"data.root={bundle.absolute()}", f"data.size={read_ready(bundle).size}"]
    words += [] if any(override.lstrip("+").startswith("sampling.batch_size=") for override in overrides) else [BATCH]
    words += overrides
    settings = composed("generate", words)
    check(settings, overrides)
    config = from_hydra(settings)
    assert config.sampling
    check_sampling(config.sampling)
    return config, tuple(word for word in words if word.lstrip("+").partition("=")[0] not in _CHOSEN)
