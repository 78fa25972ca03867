"""The help of config commands: ten keys with values and meanings, three examples that work, the rest behind --cfg job."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from pathsynth.__main__ import CONFIG_COMMANDS, dispatch
from pathsynth.commands.command_help import EXAMPLES, FIRST_KEYS


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])


@pytest.mark.parametrize("command", CONFIG_COMMANDS)
def test_the_help_begins_with_ten_keys_that_have_a_value_and_a_meaning(command, capsys):
    assert dispatch([command, "--help"]) == 0
    out = capsys.readouterr().out
    head, _, tail = out.partition("Groups (group=option):")
    assert head.startswith(f"pathsynth {command}: {CONFIG_COMMANDS[command]}\n") and "Usage: " in head
    entries = re.findall(r"^  ([\w.]+)=(\S+)\s+(\w.*)$", head.partition("Examples:")[0], re.MULTILINE)
    assert [key for key, _, _ in entries] == list(FIRST_KEYS[command]) and len(entries) == 10
    assert [line.split("  # ")[0].strip() for line in head.partition("Examples:\n")[2].splitlines() if line] == [
        example.command for example in EXAMPLES[command]
    ]
    assert f"pathsynth {command} --cfg job" in tail and "tracking: csv, mlflow, none, wandb" in tail
    assert "checkpoint_every" not in out, "all keys are behind --cfg job"


@pytest.mark.slow
def test_the_values_are_those_of_the_words_beside_it(capsys):
    assert dispatch(["run", "study=fast", "lora.rank=3", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  lora.rank=3 " in out and "  study.name=fast " in out


@pytest.mark.slow
@pytest.mark.parametrize("command", CONFIG_COMMANDS)
def test_every_example_can_be_composed(command, capsys):
    for example in EXAMPLES[command]:
        words = [word for word in shlex.split(re.sub("<[^>]*>", "X", example.command))[1:] if word != "-m"]
        single = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in words]
        assert dispatch([*single, "--cfg", "job"]) == 0, capsys.readouterr().err
