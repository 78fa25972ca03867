"""A file by which another machine shows that it sees a folder of this one's. No torch."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def probe_file(folder: Path) -> Iterator[tuple[Path, str]]:
    """A new file in ``folder``, and the words that stand in it; afterwards all is as it was before, folders that had to be made included.

    Raises:
        OSError: the folder cannot be written.
    """
    content = uuid.uuid4().hex
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{content}"
    probe.write_text(content, encoding="utf-8")
    try:
        yield probe, content
    finally:
        probe.unlink()
        with suppress(OSError):  # another command may have begun to use one
            for place in made:
                place.rmdir()
