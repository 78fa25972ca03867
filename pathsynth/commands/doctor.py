"""`pathsynth doctor [--json]`: what this machine can do, and what the newest trial needs that is not there."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from rich.markup import escape
from rich.table import Table

from pathsynth.commands.extras import extra_libraries, installed_version, requirements
from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.hub import hub_is_offline
from pathsynth.ledger.lease import acquire
from pathsynth.ledger.versions import cores, processor
from pathsynth.stages.fingerprints import hub_snapshot
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.studies.trials.hydra_files import launcher_targets
from pathsynth.studies.trials.trial_table import MANIFEST, trial_folders
from pathsynth.terminal.tables import print_table
from pathsynth.tracking.mlflow_sender import is_web, masked_address
from pathsynth.tracking.reachability import WANDB, answers, wandb_key_place

OK, NOTE, MISSING = "ok", "note", "missing"
_COLOURS = {OK: "green", NOTE: "yellow", MISSING: "red"}
_HUB = "https://huggingface.co"
_PATIENCE_SECONDS = 3
_EXTRA_OF = {"ray_launcher": "ray", "submitit": "slurm", "optuna": "optuna"}
"""A part of the name of a launcher's or a sweeper's class, and the extra that it needs."""
_LITTLE_DISK, _LITTLE_MEMORY = 5e9, 4e9


@dataclass(frozen=True)
class Finding:
    """``state``: ok, note (something to know) or missing (the newest trial needs it, or the program does). ``remedy``: what to do."""

    part: str
    value: str
    state: str = OK
    remedy: str = ""


def examine_machine(multirun: Path, as_json: bool) -> int:
    """Print what was found; 1 where something is missing. Addresses are asked whether they answer: the hub's, W&B's, MLflow's."""
    findings = [*_software(), *_hardware(), *_disk(multirun), *_network(), *_mlflow(multirun), *_data(), *_needs(multirun)]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        _print(findings)
    return EXIT_FAILED if any(finding.state == MISSING for finding in findings) else EXIT_DONE


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "found", "", "what to do"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("part", ""))
    right = [f for f in findings if f.part in _libraries() and f.state == OK]
    rows = [Finding("libraries", f"{len(right)} as they were tested (--json lists them)"), *(f for f in findings if f not in right)]
    for f in rows:
        table.add_row(escape(f.part), escape(f.value), f"[{_COLOURS[f.state]}]{f.state}[/]", escape(f.remedy))
    print_table(table)


def _software() -> Iterator[Finding]:
    yield Finding("Python", platform.python_version())
    for requirement in _libraries().values():
        yield _library(requirement)
    for extra, library in extra_libraries().items():
        there = installed_version(library)
        if there:
            yield Finding(f"extra {extra}", f"{library} {there}")
        else:
            yield Finding(f"extra {extra}", "not installed", NOTE, f"pip install 'pathsynth[{extra}]' where you want it")


def _libraries() -> dict[str, Requirement]:
    """What the program always needs, by name."""
    return {requirement.name: requirement for requirement in requirements() if "extra" not in str(requirement.marker or "")}


def _library(requirement: Requirement) -> Finding:
    version = installed_version(requirement.name)
    if version is None:
        return Finding(requirement.name, "not installed", MISSING, "make setup, or pip install pathsynth again")
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, version, MISSING, f"pathsynth was tested with {requirement.specifier}; make setup")
    return Finding(requirement.name, version)


def _hardware() -> Iterator[Finding]:
    import torch

    memory = psutil.virtual_memory()
    yield Finding("processor", f"{processor()}, {cores()} cores")
    little = memory.available < _LITTLE_MEMORY
    value = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    yield Finding("memory", value, NOTE if little else OK, "close other programs; a trial takes about 2 GB" if little else "")
    if not torch.cuda.is_available():
        yield Finding("GPU", "none", NOTE, "the embedded base needs none; base=sd15 does")
    for number in range(torch.cuda.device_count()):
        size = torch.cuda.get_device_properties(number).total_memory / 1e9
        precision = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
        yield Finding(f"GPU {number}", f"{torch.cuda.get_device_name(number)}, {size:.0f} GB, trainer.precision={precision}")
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler:
        yield Finding("C++ compiler", compiler)
    else:
        yield Finding("C++ compiler", "none", NOTE, "only training.compile=true on a CPU needs one")


def _disk(multirun: Path) -> Iterator[Finding]:
    place = next(folder for folder in (multirun.absolute(), *multirun.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    little = free < _LITTLE_DISK
    yield Finding("disk", f"{free / 1e9:.1f} GB free in {place}", NOTE if little else OK, "free some, or set multirun=…" if little else "")
    yield Finding("file system", _file_system(place))
    yield _leases(place)


def _file_system(place: Path) -> str:
    mounts = [p for p in psutil.disk_partitions(all=True) if place.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else "unknown"


def _leases(place: Path) -> Finding:
    """Whether two operators can share a study here: a lease is taken, refused to a second one and given back."""
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor.") as folder:
            try:
                os.link(_touched(Path(folder) / "one"), Path(folder) / "two")
                links = "hard links"
            except OSError:
                links = "no hard links"
            lease = acquire(Path(folder) / "lease", wait=False)
            works = lease is not None and acquire(Path(folder) / "lease", wait=False) is None
            if lease:
                lease.release()
    except (OSError, RequestError) as error:
        return Finding("leases", f"{place}: {error}", MISSING, "name a folder that can be written, as in multirun=…")
    remedy = "" if works else "set multirun=… to a folder on another file system"
    return Finding("leases", f"{'work' if works else 'do not work'}, {links}", OK if works else MISSING, remedy)


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _network() -> Iterator[Finding]:
    if hub_is_offline():
        yield Finding("hub", "HF_HUB_OFFLINE is set", NOTE, "only files in its cache are found; the embedded base needs no hub")
    else:
        yield _reachable("hub", os.environ.get("HF_ENDPOINT", _HUB), "the embedded base needs no hub")
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled", "dryrun"):
        yield Finding("W&B", f"WANDB_MODE is {mode}")
    else:
        yield _reachable("W&B", os.environ.get("WANDB_BASE_URL", WANDB), "runs are kept offline")
    place = wandb_key_place()
    yield Finding("W&B login", f"a key in {place}") if place else Finding("W&B login", "none", NOTE, "wandb login, to track online")


def _mlflow(multirun: Path) -> Iterator[Finding]:
    """The server that the environment names, and the one of the newest trial."""
    named = [(_newest_config(multirun).get("tracking") or {}).get("uri"), os.environ.get("MLFLOW_TRACKING_URI")]
    for address in dict.fromkeys(address for address in named if address and is_web(address)):
        value = _reachable("MLflow", address, "records wait beside the trials; pathsynth send sends them later")
        yield replace(value, value=value.value.replace(address, masked_address(address)))


def _reachable(part: str, address: str, otherwise: str) -> Finding:
    if not answers(address, _PATIENCE_SECONDS):
        return Finding(part, f"{address} does not answer", NOTE, otherwise)
    return Finding(part, f"{address} answers")


def _data() -> Iterator[Finding]:
    named = os.environ.get("PATHSYNTH_DATA")
    if named and not Path(named).is_dir():
        yield Finding("data", f"PATHSYNTH_DATA={named} is no folder", MISSING, "name a folder that is there, or unset it")
        return
    places = [Path(named)] if named else [Path.home() / ".medmnist"]
    files = [file.name for place in places for file in sorted(place.glob("*.npz"))]
    if files:
        yield Finding("data", ", ".join(files))
    else:
        remedy = "data=phantom needs none; PATHSYNTH_DATA names a folder of MedMNIST files"
        yield Finding("data", f"no .npz in {places[0]}", NOTE, remedy)


def _newest_manifest(multirun: Path) -> Path | None:
    try:
        manifests = [folder / MANIFEST for folder in trial_folders(multirun)]
    except RequestError:
        return None
    return max(manifests, key=lambda path: path.stat().st_mtime, default=None)


def _newest_config(multirun: Path) -> dict[str, Any]:
    """The settings of the newest trial; none where there is no trial, or its manifest cannot be read."""
    newest = _newest_manifest(multirun)
    try:
        return dict(read_json(newest)["config"]) if newest else {}
    except (OSError, ValueError, KeyError):
        return {}


def _needs(multirun: Path) -> Iterator[Finding]:
    """What the newest trial names and is not there."""
    newest = _newest_manifest(multirun)
    if newest is None:
        return
    try:
        config = read_json(newest)["config"]
    except (OSError, ValueError, KeyError) as error:
        yield Finding("newest trial", f"{newest}: {error}", MISSING, "run the trial again")
        return
    lacking = [*_lacking(config), *_lacking_extras(newest.parent)]
    yield from lacking
    if not lacking:
        yield Finding("newest trial", f"{newest.parent.name}: all that it names is there")


def _lacking(config: dict[str, Any]) -> Iterator[Finding]:
    for group, key in (("data", "root"), ("data", "prompts"), ("base", "path"), ("lora", "start")):
        path = (config.get(group) or {}).get(key)
        if path and not Path(path).exists():
            yield Finding("newest trial", f"{group}.{key}={path} is not there", MISSING, f"mount it, or set {group}.{key}")
    hub, revision = ((config.get("base") or {}).get(key) for key in ("hub", "revision"))
    if hub and not hub_snapshot(hub, revision or ""):
        address = os.environ.get("HF_ENDPOINT", _HUB)
        if hub_is_offline() or not answers(address, _PATIENCE_SECONDS):
            remedy = "go online once, or set base.path to a local folder"
            yield Finding("newest trial", f"base {hub} is neither in the hub's cache nor reachable", MISSING, remedy)
    accelerator = str((config.get("trainer") or {}).get("accelerator") or "")
    if accelerator in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            state = f"trainer.accelerator={accelerator} and no GPU"
            yield Finding("newest trial", state, MISSING, "leave trainer.accelerator out, or use a GPU")


def _lacking_extras(trial: Path) -> Iterator[Finding]:
    """The extras of the launcher and the sweeper that carried the trial out."""
    for target in launcher_targets(trial):
        for word, extra in _EXTRA_OF.items():
            if word in target and not installed_version(extra_libraries()[extra]):
                yield Finding("newest trial", f"{target} needs the extra {extra}", MISSING, f"pip install 'pathsynth[{extra}]'")
