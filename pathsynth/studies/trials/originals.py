"""Whether the files of a trial are still those that its stages made: people open, edit and copy a trial's folder, and disks fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.contents import digests
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.local_cache import file_digest
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.studies.trials.trial_table import MANIFEST


def refuse_changed(trial: Path, names: Iterable[str]) -> None:
    """Refuse to pass on files that are not what the trial made. Nothing is known of a trial without its stages beside it.

    Raises:
        RequestError: a file of these, named by its path below ``trial``, was changed.
    """
    originals = _originals(trial)
    for name in names:
        if name in originals and file_digest(trial / name) not in originals[name]:
            remedy = "run the trial again with study.force=true, which copies it from the store"
            raise RequestError(f"{trial / name} has changed since it was written; {remedy}")


def _originals(trial: Path) -> Mapping[str, set[str]]:
    """SHA-256 of the files of the trial's stages, by their paths; two stages may have a file of the same name."""
    try:
        stages = read_json(trial / MANIFEST)["plan"]["stages"]
        named = [(stage["name"], stage["identity"]) for stage in stages]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    store = StageStore(trial.absolute().parents[1] / STAGES)
    sources: dict[str, set[str]] = {}
    for folder in (place for stage in named if (place := store.find(*stage))):
        for name, digest in digests(folder).items():
            sources.setdefault(name, set()).add(digest)
    return sources
