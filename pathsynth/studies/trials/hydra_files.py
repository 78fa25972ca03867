"""``.hydra/`` in a trial's folder: what Hydra composed the trial from, in the three files that every Hydra run leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pathsynth.config.secrets import is_secret
from pathsynth.ledger.atomic import write_text

FOLDER = ".hydra"
_LEFT_OUT = "(left out)"
_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/@]+@")
_SETTING = re.compile(r"([\w.-]+)(\s*[:=]\s*)(\$\{[^}]*\}|'[^']*'|\"[^\"]*\"|[^\s,{}\[\]]+)")
"""A key and its value within an override, also in a dictionary: ``hydra.job.env_set={HF_TOKEN:…}``."""


def write_hydra_files(place: Path, job: DictConfig, hydra: DictConfig) -> None:
    """Write ``config.yaml`` (the ``job``'s configuration), ``overrides.yaml`` and ``hydra.yaml`` (the node that holds ``hydra``)."""
    place.mkdir(exist_ok=True)
    for name, config in _nodes(job, hydra).items():
        write_text(place / f"{name}.yaml", yaml_without_secrets(config))


def hide_secrets(job: DictConfig, hydra: DictConfig) -> None:
    """Where a secret was typed, write the files anew that Hydra has written into the folder of a ``job``."""
    subfolder = hydra.hydra.output_subdir
    if subfolder is None or all(_without_secrets(_plain(node)) == _plain(node) for node in _nodes(job, hydra).values()):
        return
    place = Path(hydra.hydra.runtime.output_dir) / subfolder
    if place.is_dir():
        write_hydra_files(place, job, hydra)


def yaml_without_secrets(config: Any) -> str:
    """A node as YAML, without what looks like a secret. References (``${oc.env:…}``) stay, so no value of the environment is in it."""
    return OmegaConf.to_yaml(OmegaConf.create(_without_secrets(_plain(config))))


def _nodes(job: DictConfig, hydra: DictConfig) -> dict[str, Any]:
    """What each of the three files holds, by its name."""
    return {"config": job, "overrides": hydra.hydra.overrides.task, "hydra": hydra}


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True)


def started_in(folder: Path) -> Path | None:
    """The folder where the command of a trial was given, so that its relative paths hold there; None if no file records it."""
    cwd = _hydra_setting(folder, "runtime.cwd")
    return Path(cwd) if cwd else None


def launcher_targets(folder: Path) -> tuple[str, ...]:
    """The classes of the launcher and the sweeper of a trial's command; none if no file records them."""
    named = (_hydra_setting(folder, f"{part}._target_") for part in ("launcher", "sweeper"))
    return tuple(name for name in named if name)


def _hydra_setting(folder: Path, key: str) -> str:
    """A setting of the node ``hydra``; empty where there is no such file or setting."""
    place = folder / FOLDER / "hydra.yaml"
    return str(OmegaConf.select(OmegaConf.load(place), f"hydra.{key}") or "") if place.is_file() else ""


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _LEFT_OUT if _is_withheld(key, inner) else _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_SETTING.sub(_masked, _without_secrets(inner)) if isinstance(inner, str) else _without_secrets(inner) for inner in value]
    return _PASSWORD.sub(rf"\1:{_LEFT_OUT}@", value) if isinstance(value, str) else value


def _masked(setting: re.Match[str]) -> str:
    key, equals, value = setting.groups()
    return f"{key}{equals}'{_LEFT_OUT}'" if _is_withheld(key, value) else setting[0]


def _is_withheld(key: Any, value: Any) -> bool:
    """Whether a setting is a secret and says it, instead of referring to it."""
    return is_secret(str(key), value) and not (isinstance(value, str) and value.strip("'\"").startswith("${"))
