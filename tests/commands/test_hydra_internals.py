"""What the program uses of Hydra that is not public: a list to go through before another Hydra is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import hydra

import pathsynth

PRIVATE = {
    "hydra_plugins/pathsynth/sweeper.py": {"core_plugins.basic_sweeper"},
    "pathsynth/commands/faults.py": {"hydra", "utils"},
    "pathsynth/commands/launch.py": {"hydra", "utils"},
    "pathsynth/studies/execution/ray_worker.py": {"callbacks"},
    "pathsynth/studies/planning/composed.py": {"config_loader_impl", "config_repository"},
}


def test_hydras_private_parts_are_used_where_they_are_listed_and_hold_for_1_3():
    root = Path(pathsynth.__file__).parent.parent
    used: dict[str, set[str]] = {}
    for path in (*(root / "pathsynth").rglob("*.py"), *(root / "hydra_plugins").rglob("*.py")):
        parts = set(re.findall(r"hydra\._internal\.([\w.]+)", path.read_text(encoding="utf-8")))
        if parts:
            used[str(path.relative_to(root))] = parts
    assert used == PRIVATE
    assert hydra.__version__.startswith("1.3."), "go through these places, then change the version here and in pyproject.toml"
