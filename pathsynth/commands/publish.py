"""`pathsynth publish <study> [--into bundle.zip]`: what a team shares of a study, in one archive."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import collect_trials, is_trial

_FILES = ("manifest.json", "state.json", "result.json", "attempts.parquet", "history.csv")
_SHEETS = ("grids/first_attempts.png", "grids/accepted.png")
_FOLDERS = {"adapter": (".json", ".safetensors"), "images": (".png",)}
_SECRET_KEY = re.compile(r"(^|[_.-])(api_?key|token|secret|password)s?$", re.IGNORECASE)
_SECRET_TEXT = re.compile(rb"hf_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|(?:https?|s3)://[^\s/:@\"]+:[^\s/@\"]+@")
_SECRET_NAMES = ("WANDB_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY")
CONTENTS = "CONTENTS.txt"


def publish_study(folder: Path, into: Path | None = None) -> Path:
    """Write the archive, with a listing of all that is in it, and print the listing; the archive's path.

    Only what is named here goes in: records, ledgers, adapters, and generated images. Real images and logs never do.

    Raises:
        RequestError: there is no such study, the archive exists, or a file holds what looks like a secret.
    """
    if is_trial(folder):
        raise RequestError(f"{folder} is a trial; publish takes a study's folder")
    target = into or folder.absolute().parent / f"{folder.absolute().name}.zip"
    if target.exists():
        raise RequestError(f"{target} exists; remove it, or name another with --into")
    if not target.parent.is_dir():
        raise RequestError(f"no folder {target.parent}; make it first")
    content: dict[str, bytes] = {}
    for trial in collect_trials(folder):
        content |= {f"{trial.folder.name}/{name}": _shared(trial.folder / name) for name in _names(trial.folder)}
    listing = "".join(f"{hashlib.sha256(b).hexdigest()}  {len(b):>10}  {name}\n" for name, b in sorted(content.items()))
    _write(target, {**content, CONTENTS: listing.encode()})
    print(listing, end="")
    print(f"published: {target}")
    return target


def _names(trial: Path) -> list[str]:
    names = [name for name in (*_FILES, *_SHEETS) if (trial / name).is_file()]
    for folder, endings in _FOLDERS.items():
        found = sorted(p for p in (trial / folder).rglob("*") if p.is_file() and p.suffix in endings)
        names += [p.relative_to(trial).as_posix() for p in found]
    return names


def _shared(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            content = json.dumps(_without_secrets(json.loads(content)), indent=2).encode()
        except ValueError as error:
            raise RequestError(f"{path} cannot be read ({error}); run the trial again, or remove it from the study") from error
    known = [os.environ[name].encode() for name in _SECRET_NAMES if os.environ.get(name)]
    if path.suffix in (".json", ".csv") and (_SECRET_TEXT.search(content) or any(secret in content for secret in known)):
        raise RequestError(f"{path} holds what looks like a secret; nothing was published, take it out first")
    return content


def _without_secrets(value: Any) -> Any:
    """The same, with values under keys such as api_key blanked."""
    if isinstance(value, Mapping):
        return {k: "(left out)" if _SECRET_KEY.search(str(k)) and v else _without_secrets(v) for k, v in value.items()}
    return [_without_secrets(v) for v in value] if isinstance(value, list) else value


def _write(target: Path, content: Mapping[str, bytes]) -> None:
    """Whole or absent, and the same bytes for the same study."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in sorted(content.items()):
                archive.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
