"""`pathsynth ui [bundle | study] [key=value …] [--host] [--port] [--open]`: the live page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pathsynth.config import RunConfig, from_hydra
from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.closing import EXIT_DONE
from pathsynth.studies.trials.trial_table import trial_folders
from pathsynth.terminal.work_line import working_on

if TYPE_CHECKING:
    from pathsynth.ui.engine import Engine

MULTIRUN = "multirun"

BATCH = "sampling.batch_size=8"
"""Fewer at once than on the command line, so that the first images are there sooner."""
_CHOSEN = ("sampling.attempts", "sampling.threshold", "sampling.margin", "sampling.seed")
"""Keys that visitors choose; given as overrides they are where the page begins."""
_OF_THE_REQUEST = ("prompt", "label", "labels", "n", "shard", "shards")


def show_page(place: Path | None, overrides: Sequence[str], host: str, port: int, show: bool) -> int:
    """Serve the live page until Ctrl-C.

    Args:
        place: a bundle to draw from, the folder of a study, a trial or all studies to watch, or None: the shipped bundle and ``multirun``.
        overrides: settings of `pathsynth generate`, as in ``base=sd15``; for a bundle.
        host: the address to listen on; where other machines can reach it, the page's address holds a token.
        port: 0: any that is free.
        show: open the page in the browser.

    Raises:
        RequestError: the extra is not installed, there is no such place, it does not fit the settings, or the port is taken.
    """
    from pathsynth.ui.model import is_bundle
    from pathsynth.ui.server import Site, access_for, listen, require_library, serve

    require_library()
    draws = place is None or is_bundle(place)
    if not draws:
        _refuse_settings(overrides)
        trial_folders(place or Path())
    listening = listen(host, port)
    with listening:
        with working_on("preparing the page"):
            engine = _engine(place, overrides) if draws else None
        serve(Site(engine, Path(MULTIRUN) if draws or place is None else place), listening, access_for(host), show)
    return EXIT_DONE


def _refuse_settings(overrides: Sequence[str]) -> None:
    if overrides:
        raise RequestError(f"{overrides[0]} is a setting of drawing, and a study is only watched; leave it out, or name a bundle")


def _engine(bundle: Path | None, overrides: Sequence[str]) -> Engine:
    from pathsynth.ui.engine import Engine
    from pathsynth.ui.model import load_model

    config, words = bundle_config(bundle, overrides)
    print(f"loading {bundle or 'the shipped bundle'}", flush=True)
    return Engine(load_model(config), overrides=words)


def bundle_config(bundle: Path | None, overrides: Sequence[str]) -> tuple[RunConfig, tuple[str, ...]]:
    """The settings of `pathsynth generate` for a bundle (None: the shipped one), and the words that every command of the page has.

    Raises:
        RequestError: they cannot be composed, name another data set or what visitors choose, or do not fit the bundle.
    """
    from pathsynth.commands.composition import composed
    from pathsynth.data.ready import read_ready
    from pathsynth.studies.planning.request_check import check
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
