"""`pathsynth init <folder>`."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

from pathsynth.config.shipped import conf_folder, studies_folder
from pathsynth.ledger.errors import RequestError

_STUDY = "study"


def copy_configurations(folder: Path) -> None:
    """Copy the configuration groups to ``folder/conf``, the studies into its group ``study``, and say how to use them.

    Raises:
        RequestError: there is a ``conf`` already, or the folder cannot be written; nothing is left then.
    """
    target = folder / "conf"
    if target.exists():
        raise RequestError(f"{target} already exists and is not overwritten; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".conf.") as partial:
            copy = Path(partial) / "conf"
            shutil.copytree(conf_folder(), copy)
            shutil.copytree(studies_folder() / _STUDY, copy / _STUDY, dirs_exist_ok=True)
            copy.rename(target)
    except OSError as error:
        raise RequestError(f"{target} cannot be written ({error.strerror or error}); name another folder") from error
    path = shlex.quote(str(target))
    print(f"copied to {target}; studies are in {target / _STUDY}")
    print(f"use it:                 pathsynth run --config-dir {path} …      (a file there wins over the shipped one)")
    print(f"or only what is new:    pathsynth run {shlex.quote(f'hydra.searchpath=[file://{target.absolute()}]')} …")
