"""A trial's folder: its name, its manifest, and what became of it. Readers need no torch and no schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pathsynth.config import RunConfig, parse_config
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.lease import Lease, acquire
from pathsynth.ledger.records import OptimizerGroup
from pathsynth.ledger.versions import commit, versions
from pathsynth.stages.plan import Plan
from pathsynth.studies.trials.state import lease_folder
from pathsynth.studies.trials.trial_table import MANIFEST

_HEX = 6
_CLASS_KEY = "._target_"
_CLASS_IN_BRACES = re.compile(r"\{[^{}]*\b_target_:\s*['\"]?(?:\w+\.)*(\w+)")
"""As in ``+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:loss}``; the group is the class."""
_NAME_LENGTH = 60
_SILENT = re.compile(
    r"^(study|study\..*|multirun|tracking.*|hydra.*|data\.(root|allow_fewer|allow_subset|download)|base\.path|pretrain\.root|training\.threads)$"
)
_CUSTOM_OPTIONS = ("own", "own_gate", "own_judge")
"""Options that stand for a class of the user's; the trial's name has the class in their place."""
_DECIMAL = re.compile(r"\d+\.\d{6,}(e-?\d+)?")


@dataclass(frozen=True)
class Manifest:
    """The frozen order of a trial, which the process that runs it reads back."""

    name: str
    config: RunConfig
    plan: Plan
    overrides: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of ``manifest.json``, with this process's versions, commit and time."""
        return {
            "name": self.name,
            "identity": self.plan.identity,
            "command": self.config.command,
            "study": self.config.study.model_dump(mode="json"),
            "overrides": list(self.overrides),
            "config": self.config.model_dump(mode="json", exclude_none=True),
            "plan": self.plan.to_json(),
            "versions": versions(),
            "commit": commit(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def read_manifest(folder: Path) -> Manifest:
    """Read a trial's manifest.

    Raises:
        OSError, ValueError, KeyError: there is none, or it is damaged.
        RequestError: a setting in it is not valid (any more).
    """
    record = read_json(folder / MANIFEST)
    return Manifest(record["name"], parse_config(record["config"]), Plan.from_json(record["plan"]), tuple(record["overrides"]))


def manifest_of(folder: Path) -> Manifest:
    """The manifest of a trial that the user named.

    Raises:
        RequestError: the folder is no trial's, or its manifest is damaged.
    """
    try:
        return read_manifest(folder)
    except FileNotFoundError as error:
        raise RequestError(f"{folder} is no trial's folder; pathsynth status lists them") from error
    except (OSError, ValueError, KeyError, TypeError, RequestError) as error:
        raise RequestError(f"the manifest of {folder} cannot be read ({error}); run the trial again") from error


def computed_by(folder: Path) -> dict[str, str]:
    """Versions of the libraries, and the commit, that a trial's manifest names.

    Raises:
        RequestError: there is no manifest, or it is damaged.
    """
    try:
        record = read_json(folder / MANIFEST)
        recorded = {**record.get("versions", {}), "commit": record.get("commit")}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RequestError(f"{folder / MANIFEST} cannot be read ({error}); run the trial again") from error
    return {name: str(value) for name, value in recorded.items() if value}


def trial_folder(config: RunConfig, plan: Plan, overrides: Sequence[str]) -> Path:
    """``<multirun>/<study>/<name>-<hash6>``; a trial that was once claimed under another name is found under that.

    Where the six digits are another trial's, too, there are as many more as it takes.
    """
    study = Path(config.multirun) / config.study.name
    endings = [plan.identity[:digits] for digits in range(_HEX, len(plan.identity) + 1)]
    alike = [folder for folder in sorted(study.glob(f"*-{endings[0]}*")) if _ending(folder) in endings]
    identities = {folder: _identity_of(folder) for folder in alike}
    matching = [folder for folder in alike if identities[folder] == plan.identity]
    matching += [folder for folder in alike if identities[folder] is None]  # claimed, or damaged: its manifest is still to be written
    if matching:
        return matching[0]
    free = next(ending for ending in endings if ending not in {_ending(folder) for folder in alike})
    return study / f"{trial_name(config, overrides)}-{free}"


def _ending(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


def _identity_of(folder: Path) -> str | None:
    """The identity of the trial that a folder belongs to; None if no manifest records it."""
    try:
        return str(read_json(folder / MANIFEST)["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def trial_name(config: RunConfig, overrides: Sequence[str]) -> str:
    """A name for people, from what was requested beyond the defaults: "rank=16,seed=1"; else the command's.

    Of a class the name alone is shown, behind that of its group or callback ("stop=EarlyStopping"); of a folder of the user's own
    images, or of a base of theirs, the last part, which comes first where the name is too long for all.
    """
    ends: dict[str, int] = {}
    for key in _setting_keys(config.model_dump()):
        ends[key.rsplit(".", 1)[-1]] = ends.get(key.rsplit(".", 1)[-1], 0) + 1
    words: list[str] = []
    places: list[str] = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        place, of_class = _named_place(config, key), _CLASS_IN_BRACES.match(value)
        if place:
            places.append(f"{key.rsplit('.', 1)[-1]}={Path(place).name}")
            words.append(places[-1])
        elif of_class:
            words.append(f"{key.rsplit('.', 1)[-1]}={of_class[1]}")
        elif key.endswith(_CLASS_KEY):
            words.append(f"{key.removesuffix(_CLASS_KEY).rsplit('.', 1)[-1]}={value.rsplit('.', 1)[-1]}")
        elif not _SILENT.match(key) and value not in _CUSTOM_OPTIONS:
            end = key.rsplit(".", 1)[-1]
            words.append(f"{end if ends.get(end, 0) <= 1 else key}={_short(value)}")
    if len(",".join(words)) > _NAME_LENGTH:
        words = [*places, *(word for word in words if word not in places)]
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", ",".join(words)).strip("_.,-")
    return name[:_NAME_LENGTH].rstrip("_.,-=") or config.command


def _short(value: str) -> str:
    """A long decimal number with four digits that count, as a search proposes them; anything else as it is."""
    return f"{float(value):.4g}" if _DECIMAL.fullmatch(value) else value


def _named_place(config: RunConfig, key: str) -> str | None:
    """The folder under a key whose name identifies trials, because people know those images or that base by it."""
    if key == "data.root" and config.data and config.data.name in ("folder", "ready"):
        return config.data.root
    return config.base.path if key == "base.path" and config.base and config.base.name == "local" else None


def _setting_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of settings, groups with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _setting_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def claim(folder: Path, seconds: float, wait: bool, check: Callable[[], None] = lambda: None) -> Lease | None:
    """The lease of a trial's folder: one process supervises it at a time. None if another holds it and ``wait`` is false.

    ``check`` is called again and again while this process waits; what it raises ends the wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return acquire(lease_folder(folder), seconds, wait, check)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a trial into its folder, in one step.

    Raises:
        OSError: the folder cannot be written.
        ValueError: a number is not finite.
    """
    write_json(folder / MANIFEST, manifest.to_json())


def add_optimizer(folder: Path, groups: Sequence[OptimizerGroup]) -> None:
    """Add to a trial's manifest which rule and rate each tensor of the adapter had: known when the base was loaded, not when planned."""
    record = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**record, "optimizer": [asdict(group) for group in groups]})
