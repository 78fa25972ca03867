from __future__ import annotations

import os
import subprocess
import sys

import pytest

WRITER = """
import sys
from pathsynth.studies.execution.output import drop_unread_output
drop_unread_output()
for number in range(3):
    print(f"line {number}", flush=True)
    sys.stdin.readline()
import subprocess
code = subprocess.run([sys.executable, "-c", "print('from a child')"]).returncode
print("to the end", code, file=sys.stderr)
print("é", end="")
"""


@pytest.mark.parametrize("flags", [(), ("-u",)])
def test_a_reader_that_goes_changes_nothing(flags):
    process = subprocess.Popen(
        [sys.executable, *flags, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdin and process.stderr
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    process.stdin.write("\n\n\n")
    process.stdin.close()
    assert process.stderr.read() == "to the end 0\n"
    assert process.wait(30) == 0


@pytest.mark.parametrize("flags", [(), ("-u",)])
def test_a_reader_that_stays_reads_everything(flags):
    ended = subprocess.run([sys.executable, *flags, "-c", WRITER], input="\n\n\n", capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "line 0\nline 1\nline 2\nfrom a child\né")


def test_a_full_disk_is_still_reported():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-c", WRITER], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode != 0
    assert b"No space left" in ended.stderr


NAMED = """
import sys
from pathsynth.studies.execution.output import drop_unread_output, name_lines
drop_unread_output()
name_lines("rank=4")
print("one", 1)
print("two\\n\\nfour", end="")
print(" continues", flush=True)
sys.stdout.buffer.write(b"as it is\\n")
print("to whom it concerns", file=sys.stderr)
"""


def test_in_a_log_each_line_names_its_trial():
    ended = subprocess.run([sys.executable, "-c", NAMED], capture_output=True, text=True, check=True)
    assert ended.stdout == "rank=4: one 1\nrank=4: two\n\nrank=4: four continues\nas it is\n"
    assert ended.stderr == "rank=4: to whom it concerns\n"


def test_lines_with_names_get_no_bars_of_progress_on_a_terminal():
    """Bars of trials side by side would overwrite each other."""
    code = "from rich.console import Console; print(Console().is_terminal)"
    leader, follower = os.openpty()
    subprocess.run([sys.executable, "-c", NAMED + code], stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, check=True)
    os.close(follower)
    assert os.read(leader, 1000).splitlines()[-1] == b"rank=4: False"
    os.close(leader)
