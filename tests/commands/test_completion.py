"""Tab completion: what Hydra is asked, and what real shells make of the scripts."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathsynth.__main__ import CONFIG_COMMANDS, FILE_COMMANDS, dispatch
from pathsynth.commands.completion import SHELLS, completion_request
from pathsynth.commands.launch import _parser

LINES = [
    ("pathsynth run lora.ra", "pathsynth -m lora.ra", None),
    ("pathsynth run ", "pathsynth -m ", None),
    ("pathsynth lora.ra", "pathsynth -m lora.ra", None),
    ("/opt/bin/pathsynth run -m lora.rank=1,2 op", "pathsynth -m lora.rank=1,2 op", None),
    ("pathsynth run --config-dir 'my own' lora=", "pathsynth -m lora=", "my own"),
    ("pathsynth run -cd=own --cfg job lora=", "pathsynth -m lora=", "own"),
    ("pathsynth run --config-dir ow", None, None),
    ("pathsynth run prompt='H&E of it' 'prompt=a b' broken=[1 n=3 la", "pathsynth -m n=3 la", None),
    ("pathsynth run prompt='H&E of", None, None),
    ("pathsynth run 'prompt=two words", None, None),
]


@pytest.mark.parametrize("line, asked, folder", LINES, ids=[line for line, *_ in LINES])
def test_a_line_is_fixed_up_for_hydra(line, asked, folder):
    found = completion_request(line, "run", _parser())
    assert (found.line, found.config_dir, found.flags) == (asked, folder, ())


@pytest.mark.slow
def test_flags_are_completed(here_is_bash):
    assert completion_request("pathsynth run --mul", "run", _parser()).flags == ("--multirun",)
    assert answers(here_is_bash, "pathsynth run --config-d") == ["--config-dir"]
    assert answers(here_is_bash, "pathsynth status --") == ["--watch", "--json"]
    assert answers(here_is_bash, "pathsynth report --") == ["--format", "--into", "--include-real", "--watch", "--open", "--anonymous"]


@pytest.fixture
def here_is_bash(tmp_path) -> Path:
    """A folder with the program, in which bash is started; the script completes the program of that name."""
    program = tmp_path / "bin" / "pathsynth"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pathsynth "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb", "HISTFILE": ""}


def answers(folder: Path, line: str, *, breaks: str = "") -> list[str]:
    """What bash's function answers at the end of a line; with ``breaks`` only what readline is to put behind the last of them."""
    program = (
        'eval "$(pathsynth completion bash)"; COMP_WORDBREAKS=$2; COMP_LINE=$1; COMP_POINT=${#COMP_LINE}; _pathsynth; '
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    command = ["bash", "--norc", "-c", program, "bash", line, breaks]
    ended = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split()


def test_commands_are_completed(here_is_bash):
    assert set(answers(here_is_bash, "pathsynth ")) == {*CONFIG_COMMANDS, *FILE_COMMANDS}
    assert answers(here_is_bash, "pathsynth fine") == ["finetune"]


@pytest.mark.slow
def test_hydra_completes_behind_a_command(here_is_bash):
    assert answers(here_is_bash, "pathsynth run lora.ra") == ["lora.rank="]
    assert {"study=demo", "study=none"} <= set(answers(here_is_bash, "pathsynth finetune lora.rank=1,2 prompt='H&E, it' study="))
    assert answers(here_is_bash, "pathsynth generate pro") == ["prompt="]
    assert answers(here_is_bash, "pathsynth run pro") == []


@pytest.mark.slow
def test_readline_gets_what_is_behind_its_last_break(here_is_bash):
    assert answers(here_is_bash, "pathsynth run lora=de", breaks=" =:") == ["default"]
    assert answers(here_is_bash, "pathsynth run lora=de", breaks=" :") == ["lora=default"]


@pytest.mark.slow
def test_options_of_the_users_own_folder_are_completed(here_is_bash):
    (here_is_bash / "my own" / "lora").mkdir(parents=True)
    (here_is_bash / "my own" / "lora" / "wide.yaml").write_text("rank: 7\n")
    assert "lora=wide" in answers(here_is_bash, "pathsynth run --config-dir 'my own' lora=")
    assert "lora=wide" not in answers(here_is_bash, "pathsynth run lora=")


def test_what_a_configuration_says_is_never_run(here_is_bash):
    (here_is_bash / "own" / "lora").mkdir(parents=True)
    (here_is_bash / "own" / "lora" / "$(touch ran).yaml").write_text("rank: 7\n")
    assert any("touch" in answer for answer in answers(here_is_bash, "pathsynth run --config-dir own lora="))
    assert not (here_is_bash / "ran").exists()


@pytest.mark.slow
def test_readline_itself_completes_overrides_and_file_names(here_is_bash):
    (here_is_bash / "multirun").mkdir()
    terminal, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=here_is_bash,
        env={**environment(here_is_bash), "PS1": "$ "},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(terminal, b'bind "set enable-bracketed-paste off"; eval "$(pathsynth completion bash)"; echo rea""dy\n')
    read_until(terminal, b"ready\r\n")
    for typed, completed in [
        (b"run lora.ra\t4 lo", b"lora.rank=4 lo"),
        (b"run lora=def\tx", b"lora=default x"),
        (b"fine\t.", b"finetune ."),
        (b"status mul\tx", b"status multirun/x"),
    ]:
        os.write(terminal, b"pathsynth " + typed)
        read_until(terminal, completed)
        os.write(terminal, b"\x15")  # the line is taken back
    os.write(terminal, b"exit\n")
    assert shell.wait(timeout=30) == 0


def read_until(terminal: int, wanted: bytes) -> None:
    seen, deadline = b"", time.monotonic() + 60
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        seen += os.read(terminal, 4096)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_is_whole_and_its_shell_reads_it(shell, capsys, tmp_path):
    assert dispatch(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "@" not in script.replace("(@f)", "").replace("[@]", "")
    assert "gc" in script and "--yes" in script.replace("-l yes", "--yes")
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_another_shell_is_refused(capsys):
    assert dispatch(["completion", "csh"]) == 2
    assert capsys.readouterr().err == "pathsynth: no completion for csh; choose one of bash, zsh, fish\n"
