"""The program as it is when a sweep begins: a copy from which later processes start, so that edits in the clone change nothing.

Only where it is of use: trials that are forks of a server hold the code of their beginning in memory, and installed code is not edited.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pathsynth
from pathsynth.config.shipped import assets_folder, conf_folder, studies_folder
from pathsynth.ledger.atomic import write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.versions import COMMIT_OF_COPY, commit

_NOT_COPIED = ("assets", "frontend", "node_modules")
_MODULES, _SAFE_PATH = "PYTHONPATH", "PYTHONSAFEPATH"


def can_be_edited(folder: Path) -> bool:
    """Whether the program runs from a clone, whose files may be edited, and can run from a copy in ``folder``."""
    separates = any(os.pathsep in str(path) for path in (folder.absolute(), Path.cwd()))  # PYTHONPATH cannot name such a folder
    return not separates and not Path(pathsynth.__file__).is_relative_to(sysconfig.get_path("purelib"))


def copy_code(folder: Path, plugins: Path) -> Path:
    """Copy the program, its configuration and its Hydra ``plugins`` (a folder) into a new folder below ``folder``, and return that.

    The weights that it ships stay where they are, with a link to them. The copy knows the commit that it is of.

    Raises:
        RequestError: it cannot be written; nothing of it is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    package, copy = Path(pathsynth.__file__).parent, Path(tempfile.mkdtemp(prefix="code-", dir=folder))
    ignored = shutil.ignore_patterns(*_NOT_COPIED)
    places = {package: copy / package.name, plugins: copy / plugins.parent.name / plugins.name}
    if not conf_folder().is_relative_to(package):
        places |= {conf_folder(): copy / conf_folder().name, studies_folder(): copy / studies_folder().name}
    try:
        for source, place in places.items():
            shutil.copytree(source, place, ignore=ignored)
        (copy / package.name / "assets").symlink_to(assets_folder().absolute())
        write_text(copy / COMMIT_OF_COPY, commit() or "")
    except OSError as error:
        shutil.rmtree(copy, ignore_errors=True)
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else str(error)  # of many files, the first
        raise RequestError(f"the sweep's copy of the program cannot be written ({reason}); free some space in {folder}") from error
    return copy


@contextmanager
def started_from(copy: Path) -> Iterator[None]:
    """Processes that this one starts meanwhile, and theirs, take the program from the copy.

    Modules of the user's own are still found in the folder where the command was given. The copy is removed when all has
    ended well; after a failure processes of a cluster may still run from it.
    """
    before = {name: os.environ.get(name) for name in (_MODULES, _SAFE_PATH)}
    os.environ[_MODULES] = os.pathsep.join(filter(None, [str(copy.absolute()), os.getcwd(), before[_MODULES]]))
    os.environ[_SAFE_PATH] = "1"  # else `python -m` looks into the working folder first, which may be the clone
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    shutil.rmtree(copy, ignore_errors=True)


def variables_of_copy() -> dict[str, str]:
    """What a process elsewhere needs in its environment to start others from the copy that this one's do; empty where there is none."""
    names = (_MODULES, _SAFE_PATH)
    return {name: os.environ[name] for name in names} if all(name in os.environ for name in names) else {}
