"""Imports run one way: the list in docs/explanation/architecture.md, from the top."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
LAYERS = re.findall(r"^pathsynth/([\w/]+)/ ", PAGE, flags=re.MULTILINE)
"""Folders from the top; of a folder with parts, its parts."""
HEAVY = ("torch", "pytorch_lightning", "diffusers", "peft", "timm", "torchmetrics", "wandb")
LIGHT = ("vocabulary", "ledger", "terminal", "config", "stages", "report", "ui", "commands")
"""Layers whose modules load no torch as they are loaded."""


def imported(module: Path) -> Iterator[str]:
    """Names of the modules that a module imports anywhere in its code."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(name: str) -> str:
    """The line of the list that a module falls under: its folder, or its part of a folder that has parts."""
    parts = name.split(".")
    if parts[0] != "pathsynth" or len(parts) < 2:
        return ""
    part = "/".join(parts[1:3])
    return part if part in LAYERS else parts[1]


def test_the_architecture_page_lists_every_layer():
    package = ROOT / "pathsynth"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    parts = {path.parent.relative_to(package).as_posix() for path in package.glob("*/*/__init__.py")}
    listed_by_part = {name.split("/")[0] for name in LAYERS if "/" in name}
    assert set(LAYERS) == (folders - listed_by_part) | {part for part in parts if part.split("/")[0] in listed_by_part}


def test_no_module_imports_from_a_layer_below_its_own():
    wrong = []
    for module in sorted((ROOT / "pathsynth").glob("*/**/*.py")):
        own = layer(".".join(module.relative_to(ROOT).with_suffix("").parts))
        below = LAYERS[LAYERS.index(own) + 1 :] if own in LAYERS else []
        wrong += [f"{module.relative_to(ROOT)} imports {found}" for found in imported(module) if layer(found) in below]
    assert wrong == []


def test_a_file_name_means_one_thing():
    """Only a stage, a command and its settings are called as what they make, do and set."""
    named: dict[str, list[str]] = {}
    for module in sorted((ROOT / "pathsynth").rglob("*.py")):
        folder = module.parent.relative_to(ROOT / "pathsynth").as_posix()
        if module.name != "__init__.py" and folder not in ("stages", "commands", "config"):
            named.setdefault(module.name, []).append(folder)
    assert {name: folders for name, folders in named.items() if len(folders) > 1} == {"images.py": ["data", "data/phantom"]}


def test_light_layers_import_no_torch_as_they_are_loaded():
    wrong = []
    for name in LIGHT:
        for module in sorted((ROOT / "pathsynth" / name).rglob("*.py")):
            tree = ast.parse(module.read_text(encoding="utf-8"))
            at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [getattr(node, "module", None) or node.names[0].name for node in at_once]
            wrong += [f"{module.relative_to(ROOT)} imports {found}" for found in names if found.split(".")[0] in HEAVY]
    assert wrong == []
