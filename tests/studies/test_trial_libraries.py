"""What a fork server loads: all that the stages load when they are built."""

from __future__ import annotations

import ast
from pathlib import Path

import pathsynth.stages
from pathsynth.studies.execution import trial_fork

LIBRARIES = Path(trial_fork.__file__).with_name("trial_libraries.py")


def imported(module: Path, within_functions: bool) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    places = [node for function in functions for node in ast.walk(function)] if within_functions else list(ast.walk(tree))
    found = {node.module for node in places if isinstance(node, ast.ImportFrom) and node.module}
    return found | {alias.name for node in places if isinstance(node, ast.Import) for alias in node.names}


def test_what_a_stage_loads_when_it_is_built_is_loaded_before_a_fork():
    needed = set().union(*(imported(path, within_functions=True) for path in Path(pathsynth.stages.__file__).parent.glob("*.py")))
    assert "pathsynth.training.finetune" in needed
    assert {name for name in needed if name.startswith("pathsynth.")} <= imported(LIBRARIES, within_functions=False)
