"""`pathsynth join <study> <folder>`: the shards of one generation as one set of images."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pathsynth.config import RunConfig
from pathsynth.ledger.atomic import sync_tree
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import collect_trials
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.studies.trials.state import DONE, read_state


def join_study(study: Path, folder: Path) -> None:
    """Join the shards that a study's trials drew, as after ``pathsynth generate -m 'shard=range(0,4)' shards=4``.

    Raises:
        RequestError: the study holds no shards, not all of them, some that are not done, or those of several generations; or the
            folder is in use; or an image of a shard was removed or changed.
    """
    if folder.exists():
        raise RequestError(f"{folder} already exists and is not overwritten; name another folder")
    shards = _shards(study)
    from pathsynth.sampling.image_set import class_counts, format_unreachable
    from pathsynth.sampling.joining import join_shards

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        target = Path(partial) / folder.name
        target.mkdir()
        rows = join_shards([shards[number] for number in sorted(shards)], target)
        sync_tree(target)
        target.rename(folder)
    for line in format_unreachable(class_counts(rows)):
        print(line)
    print(f"joined {len(shards)} shards: {sum(row.accepted for row in rows)} images in {folder}")


def _shards(study: Path) -> Mapping[int, Path]:
    """The trial of each shard of the study's one generation.

    Raises:
        RequestError: as for ``join_study``.
    """
    found: dict[int, Path] = {}
    request: dict[str, object] | None = None
    wanted = 0
    for trial in collect_trials(study):
        config = manifest_of(trial.folder).config
        if config.generate is None or config.generate.shards == 1:
            continue
        settings = _request(config)
        if request not in (None, settings) or config.generate.shard in found:
            raise RequestError(f"{study} holds shards of more than one generation; give each a study of its own, as in study.name=<name>")
        if read_state(trial.folder).state != DONE:
            raise RequestError(f"shard {config.generate.shard} ({trial.folder}) is not done; run the same command again")
        request, wanted = settings, config.generate.shards
        found[config.generate.shard] = trial.folder
    missing = sorted(set(range(wanted)) - set(found))
    if missing or not found:
        what = f"lacks shard {', '.join(map(str, missing))} of {wanted}" if found else "holds no shards"
        raise RequestError(f"{study} {what}; run pathsynth generate -m 'shard=range(0,N)' shards=N")
    return found


def _request(config: RunConfig) -> dict[str, object]:
    """What the shards of one generation have in common."""
    settings = config.model_dump(mode="json", exclude={"multirun": True, "study": True, "tracking": True, "generate": {"shard"}})
    settings["training"] = {**settings["training"], "threads": None}
    return settings
