"""Imports run one way: the list in docs/architecture.md, from the top."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = re.findall(r"^pathsynth/(\w+)/ ", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
HEAVY = ("torch", "pytorch_lightning", "diffusers", "peft", "timm", "torchmetrics", "wandb")
LIGHT = ("vocabulary", "ledger", "config", "report", "ui", "commands")
"""Layers whose modules load no torch as they are loaded."""


def imported(module: Path) -> Iterator[str]:
    """Names of the modules that a module imports anywhere in its code."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(name: str) -> str:
    return name.split(".")[1] if name.startswith("pathsynth.") else ""


def test_the_architecture_page_lists_every_layer():
    folders = {path.parent.name for path in (ROOT / "pathsynth").glob("*/__init__.py")}
    assert set(LAYERS) == folders


def test_no_module_imports_from_a_layer_below_its_own():
    wrong = []
    for name in LAYERS:
        below = LAYERS[LAYERS.index(name) + 1 :]
        for module in sorted((ROOT / "pathsynth" / name).rglob("*.py")):
            wrong += [f"{module.relative_to(ROOT)} imports {found}" for found in imported(module) if layer(found) in below]
    assert wrong == []


def test_light_layers_import_no_torch_as_they_are_loaded():
    wrong = []
    for name in LIGHT:
        for module in sorted((ROOT / "pathsynth" / name).rglob("*.py")):
            tree = ast.parse(module.read_text(encoding="utf-8"))
            at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [getattr(node, "module", None) or node.names[0].name for node in at_once]
            wrong += [f"{module.relative_to(ROOT)} imports {found}" for found in names if found.split(".")[0] in HEAVY]
    assert wrong == []
