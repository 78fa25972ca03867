"""What people import: it loads lazily, its names are known, and every example of docs/how-to/python.md and of the docstrings runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pathsynth
from pathsynth.sampling.attempts import AttemptRow, write_attempts

PACKAGE = Path(pathsynth.__file__).parent
PAGE = PACKAGE.parent / "docs" / "how-to" / "python.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
HEAVY = ("torch", "hydra", "omegaconf", "pytorch_lightning", "lightning_fabric", "diffusers", "transformers", "wandb")


def loaded(program: str) -> list[str]:
    """The heavy modules that a program of one line loads in a process of its own."""
    code = f"import sys; {program}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_package_loads_none_of_its_modules():
    code = "import sys, pathsynth; dir(pathsynth); print(*[name for name in sys.modules if name.startswith('pathsynth.')])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []
    assert loaded("import pathsynth") == []


def test_all_that_needs_no_training_loads_without_torch():
    light = ", ".join(name for name in pathsynth.__all__ if name != "RegenerationCallback")
    assert loaded(f"from pathsynth import {light}") == []


def test_every_name_is_there_and_type_checkers_know_the_same_ones():
    assert all(getattr(pathsynth, name).__doc__ for name in pathsynth.__all__)
    assert set(pathsynth.__all__) <= set(dir(pathsynth))
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    [known] = [node for node in tree.body if isinstance(node, ast.If)]
    assert {alias.name: node.module for node in known.body for alias in node.names} == {
        name: importlib.import_module(pathsynth._HOMES[name]).__name__ for name in pathsynth.__all__
    }
    assert pathsynth.__all__ == sorted(pathsynth._HOMES)


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="pathsynth.Seen is pathsynth.Candidate now"):
        _ = pathsynth.Seen
    with pytest.raises(AttributeError, match="no attribute 'Sampler'"):
        _ = pathsynth.Sampler
    with pytest.raises(ImportError, match="Sampler"):
        from pathsynth import Sampler  # noqa: F401 - the import itself is what fails


@pytest.mark.parametrize("module", ["sampling.sampler", "data.phantom.images", "metrics.image_scores"])
def test_examples_of_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"pathsynth.{module}"))
    assert result.attempted and not result.failed


def trial(folder: Path) -> None:
    """A trial's folder with the result of the shipped set and four attempts."""
    folder.mkdir(parents=True)
    shutil.copy(PACKAGE / "assets" / "tissue" / "result.json", folder)
    known = {"stream": "generate", "prompt": "x", "steps": 2, "guidance": 1.0, "denoiser_calls": 2, "probability": 0.5}
    last = {"probabilities": (0.5, 0.5), "reason": None, "near_margin": False, "image": None, "sha256": None}
    rows = [
        AttemptRow(**known, **last, label=label, class_slug=slug, slot=0, attempt=k, seed=k, predicted=1, accepted=k == label)
        for label, slug in enumerate(("adipose", "background"))
        for k in range(label + 1)
    ]
    write_attempts(folder, rows)


def test_examples_of_the_page_run_and_print_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trial(tmp_path / "multirun" / "demo" / "rank=16")
    names = {"__name__": "__main__", "BASE": str(PACKAGE / "assets" / "tiny")}
    snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
    assert len(snippets) >= 7
    for code, expected in snippets:
        exec(compile(code, str(PAGE), "exec"), names)
        assert capsys.readouterr().out == expected, code


def test_the_page_shows_every_name():
    page = PAGE.read_text(encoding="utf-8")
    records = {"AttemptRecord", "Evaluation", "Metric", "Result", "SampledImages", "SlotStatus"}
    assert [name for name in pathsynth.__all__ if name not in records and f"`{name}`" not in page] == []
