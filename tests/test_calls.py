"""A call of our own with many values names them: nobody can count to the ninth."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 8


def test_no_call_gives_more_than_eight_values_by_their_place():
    long = []
    for module in sorted((ROOT / "pathsynth").rglob("*.py")):
        calls = (node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        long += [f"{module.relative_to(ROOT)}:{call.lineno}" for call in calls if len(call.args) > MOST]
    assert long == []
